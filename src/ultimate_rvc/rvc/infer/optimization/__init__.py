"""Ways to compute the same sound faster: one module each, chosen by ``OptimizationConfig``."""

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
