"""Ways to compute the same sound faster, or to see what they cost; each has its switch in ``switches.py``.

=================  ================================
backends           backend, use_int8, compile_model
batching           batch_size
cpu_vocoder        fast_vocoder
device_highpass    use_gpu_filter
device_retrieval   use_gpu_retrieval
feature_cache      feature_cache
feature_files      feature_cache
fixed_tiles        backend, compile_model
precision          use_fp16, use_bf16, use_tf32
profiler           enable_profiling
rendering          fast_vocoder, skip_silence, use_bf16
several_devices    device
=================  ================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
    from ultimate_rvc.switches import OptimizationConfig

__all__ = ["OptimizationConfig", "PerformanceProfiler"]


def __getattr__(name: str) -> Any:
    # The profiler needs torch, which takes seconds to import; a configuration does not.
    if name == "OptimizationConfig":
        from ultimate_rvc.switches import OptimizationConfig

        return OptimizationConfig
    if name == "PerformanceProfiler":
        from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler

        return PerformanceProfiler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
