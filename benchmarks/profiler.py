"""What a stage costs when nothing is measured: the profiler stays in the code for good.

python benchmarks/profiler.py
"""

from __future__ import annotations

import timeit

from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler

CALLS = 20_000


def disabled_seconds() -> float:
    """Of one ``with profiler.stage(...)``: the best of ten rounds."""
    profiler = PerformanceProfiler(enabled=False)

    def stages() -> None:
        for _ in range(CALLS):
            with profiler.stage("retrieve"):
                pass

    return min(timeit.repeat(stages, number=1, repeat=10)) / CALLS


if __name__ == "__main__":
    print(f"profiler, disabled: {disabled_seconds() * 1e9:.0f} ns per stage")
