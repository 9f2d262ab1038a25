"""Retrieval for 30 s of voice: exact search on a device beside faiss flat and faiss IVF as voices have it.

    python benchmarks/retrieval.py --device cpu --sizes 10000 50000 200000 --json retrieval.json

Frames are vectors of the index moved a little, as the features of another recording of like speech are.
"Recall" is the share of the true eight neighbours that were found.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from ultimate_rvc.rvc.infer.devices import resolve_device
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler, peak_device_bytes
from ultimate_rvc.rvc.infer.optimization.retrieval import DeviceRetriever, FaissRetriever

DIM = 768
FRAMES = 3200  # 64 s at 50 Hz; with context about what 60 s of voice need
INDEX_RATE = 0.75
CLUSTERS = 500  # sounds of a voice: content features crowd around them
ADDED_PER_LIST = 39  # RVC's own rule for the cells of an index: at most size / 39, and 16 * sqrt(size)


def material(size: int, random: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Vectors and frames, float32."""
    centres = random.normal(size=(CLUSTERS, DIM)).astype(np.float32)
    vectors = centres[random.integers(0, CLUSTERS, size)]
    vectors += 0.5 * random.standard_normal((size, DIM), dtype=np.float32)
    frames = vectors[random.integers(0, size, FRAMES)]
    return vectors, frames + 0.3 * random.standard_normal((FRAMES, DIM), dtype=np.float32)


def faiss_index(vectors: np.ndarray[Any, Any], kind: str) -> Any:
    if kind == "flat":
        index: Any = faiss.IndexFlatL2(DIM)
    else:
        cells = min(int(16 * math.sqrt(len(vectors))), len(vectors) // ADDED_PER_LIST)
        index = faiss.index_factory(DIM, f"IVF{cells},Flat")
        index.cp.niter, index.nprobe = 2, 1  # how well the cells are placed hardly matters for the time
        index.train(vectors[: 20 * cells])
    index.add(vectors)
    return index


def median_seconds(work: Callable[[], Any], device: torch.device, runs: int) -> float:
    work()  # kernels are chosen at the first call
    profiler = PerformanceProfiler(enabled=True, device=device)
    for number in range(runs):
        with profiler.stage(str(number)):
            work()
    return statistics.median(stage.seconds for stage in profiler.report())


def recall(ids: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(ids, truth, strict=True)]))


def measure(size: int, device: torch.device, runs: int) -> list[dict[str, Any]]:
    vectors, frames = material(size, np.random.default_rng(size))
    flat, ivf = faiss_index(vectors, "flat"), faiss_index(vectors, "ivf")
    exact = DeviceRetriever(vectors, "benchmark", device)
    features = torch.from_numpy(frames).to(device)
    truth = flat.search(frames, 8)[1]
    found = {
        "faiss IVF, nprobe 1": (FaissRetriever(ivf, "ivf"), ivf.search(frames, 8)[1]),
        "faiss flat": (FaissRetriever(flat, "flat"), truth),
        f"exact on {device}": (exact, exact.search(features)[1].cpu().numpy()),
    }
    rows = []
    for name, (retriever, ids) in found.items():
        seconds = median_seconds(lambda r=retriever: r.blend(features, INDEX_RATE), device, runs)  # type: ignore[misc]
        rows.append({"size": size, "search": name, "seconds": seconds, "recall": recall(ids, truth)})
    rows[-1]["peak_device_bytes"] = peak_device_bytes(device)
    return rows


def disabled_profiler_seconds(calls: int = 20_000) -> float:
    """What one ``with profiler.stage(...)`` costs when nothing is measured: the best of ten rounds."""
    profiler = PerformanceProfiler(enabled=False)

    def stages() -> None:
        for _ in range(calls):
            with profiler.stage("retrieve"):
                pass

    return min(timeit.repeat(stages, number=1, repeat=10)) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    device = resolve_device(chosen.device)
    print(f"{FRAMES} frames of {DIM}, {torch.get_num_threads()} threads, torch {torch.__version__}, {device}")
    print(f"{'vectors':>9}  {'search':<22}{'seconds':>9}{'recall':>8}")
    rows = []
    for size in chosen.sizes:
        for row in measure(size, device, chosen.runs):
            print(
                f"{row['size']:>9}  {row['search']:<22}{row['seconds']:>9.3f}{row['recall']:>8.3f}",
                flush=True,
            )
            rows.append(row)
    overhead = disabled_profiler_seconds()
    print(f"profiler, disabled: {overhead * 1e9:.0f} ns per stage")
    if chosen.json:
        report = {"device": str(device), "rows": rows, "disabled_profiler_seconds": overhead}
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
