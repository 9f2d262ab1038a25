"""The eight nearest vectors of 64 s of voice: exact search on a device beside faiss flat and faiss IVF.

    python benchmarks/retrieval.py [--sizes 10000 50000 200000 1000000] [--devices cuda cpu] [--json FILE]

Each search runs in processes of its own, in turn with the others: index file in, blended frames out, as a
conversion does it. Seconds are the best of all runs with the index loaded; the peak is that of the process,
torch and faiss included (``import`` in the last line). Frames are vectors of
the index moved a little, as the features of another recording of like speech are. "Recall" is the share of
faiss flat's eight neighbours that were found. 1,000,000 vectors take 7 GB of memory and 6 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.device import resolve_device
from ultimate_rvc.rvc.infer.opening import open_retriever
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.optimization.profiler import peak_device_bytes, peak_host_bytes
from ultimate_rvc.rvc.infer.retrieval import NEIGHBOURS

FloatArray = NDArray[np.float32]

DIM = 768
FRAMES = 3200  # 64 s at 50 Hz; with context about what 60 s of voice need
INDEX_RATE = 0.75
CLUSTERS = 500  # sounds of a voice: content features crowd around them
VECTORS_PER_CELL = 39  # RVC's own rule for the cells of an index: at most size / 39, and 16 * sqrt(size)
ROWS = 50_000  # made at once
FLAT, IVF = "faiss flat", "faiss IVF, nprobe 1"
ONCE_FROM = 500_000  # vectors from which everything is run once


@dataclass(frozen=True)
class Run:
    """What one process found."""

    seconds: float  # the best of its blends
    cpu_seconds: float
    load_seconds: float
    peak_mb: float
    device_mb: float | None  # None: a CPU


@dataclass
class Row:
    """A line of the table: the best of a search's processes."""

    vectors: int
    search: str
    best: Run
    recall: float


def material(size: int) -> tuple[FloatArray, FloatArray]:
    """Vectors ``(size, DIM)`` and frames ``(FRAMES, DIM)``."""
    random = np.random.default_rng(size)
    centres = random.standard_normal((CLUSTERS, DIM), dtype=np.float32)
    vectors = np.empty((size, DIM), np.float32)
    for start in range(0, size, ROWS):
        block = vectors[start : start + ROWS]
        random.standard_normal(out=block, dtype=np.float32)
        block *= 0.5
        block += centres[random.integers(0, CLUSTERS, len(block))]
    frames = vectors[random.integers(0, size, FRAMES)]
    return vectors, frames + 0.3 * random.standard_normal((FRAMES, DIM), dtype=np.float32)


def prepare(folder: Path, size: int, threads: int) -> None:
    """Write both kinds of index, the frames, and the neighbours that each finds."""
    faiss.omp_set_num_threads(threads)
    vectors, frames = material(size)
    np.save(folder / "frames.npy", frames)
    for kind in (FLAT, IVF):
        index = faiss_index(vectors, kind)
        faiss.write_index(index, str(folder / f"{kind}.index"))
        np.save(folder / f"{kind}.npy", index.search(frames, NEIGHBOURS)[1])
        del index  # the next is as large


def faiss_index(vectors: FloatArray, kind: str) -> Any:
    if kind == FLAT:
        index: Any = faiss.IndexFlatL2(DIM)
    else:
        cells = min(int(16 * math.sqrt(len(vectors))), len(vectors) // VECTORS_PER_CELL)
        index = faiss.index_factory(DIM, f"IVF{cells},Flat")
        index.cp.niter, index.nprobe = 2, 1  # how well the cells are placed hardly matters for the time
        index.train(vectors[: 20 * cells])
    index.add(vectors)
    return index


def measure(folder: Path, search: str, runs: int, threads: int) -> Run:
    """Load one index and blend the frames ``runs`` times after a first time that counts for nothing."""
    torch.set_num_threads(threads)
    frames = np.load(folder / "frames.npy")
    device = None if search in (FLAT, IVF) else resolve_device(search)
    started = time.perf_counter()
    retriever = open_retriever(folder / f"{FLAT if device else search}.index", device)
    load_seconds = time.perf_counter() - started
    features = torch.from_numpy(frames).to(device or "cpu")

    def blend() -> None:
        retriever.blend(features, INDEX_RATE)
        _wait(device)

    if runs > 1:
        blend()  # kernels are chosen at the first call
    seconds = [timed(blend) for _ in range(runs)]
    device_bytes = peak_device_bytes(device) if device else None
    run = Run(
        min(wall for wall, _ in seconds),
        min(cpu for _, cpu in seconds),
        load_seconds,
        peak_host_bytes() / 1e6,
        None if device_bytes is None else device_bytes / 1e6,
    )
    if isinstance(retriever, DeviceRetriever):
        np.save(folder / f"{search}.npy", retriever.search(features)[1].cpu().numpy())
        if retriever.needs_exact is not None and bool(retriever.needs_exact):
            print(f"{search}: rounding may have hidden neighbours", file=sys.stderr)
    return run


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device is not None and device.type == "mps":
        torch.mps.synchronize()


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_its_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def recall(ids: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(ids, truth, strict=True)]))


def compare(size: int, devices: list[str], options: argparse.Namespace) -> list[Row]:
    """Every search over ``size`` vectors, in turn."""
    rounds, runs = (1, 1) if size >= ONCE_FROM else (options.rounds, options.runs)
    searches = [IVF, FLAT, *devices]
    found: dict[str, list[Run]] = {search: [] for search in searches}
    with tempfile.TemporaryDirectory(prefix="retrieval-", dir=options.folder) as name:
        folder = Path(name)
        in_its_own_process(prepare, folder, size, options.threads)
        for _ in range(rounds):
            for search in searches:
                found[search].append(in_its_own_process(measure, folder, search, runs, options.threads))
        truth = np.load(folder / f"{FLAT}.npy")
        recalls = {search: recall(np.load(folder / f"{search}.npy"), truth) for search in searches}
    return [
        Row(size, search, min(found[search], key=lambda run: run.seconds), recalls[search])
        for search in searches
    ]


def markdown(row: Row) -> str:
    best, exact = row.best, row.search not in (FLAT, IVF)
    device_mb = "" if best.device_mb is None else f"{best.device_mb:.0f}"
    return (
        f"| {row.vectors:,} | {f'exact on {row.search}' if exact else row.search} | {best.seconds:.3f} "
        f"| {best.cpu_seconds:.2f} | {best.load_seconds:.2f} | {best.peak_mb:.0f} | {device_mb} "
        f"| {row.recall:.4f} |"
    )


def available_devices() -> list[str]:
    """The best accelerator, if any, and the CPU."""
    return list(dict.fromkeys([resolve_device().type, "cpu"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=available_devices())
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 200_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each search")
    parser.add_argument("--runs", type=int, default=2, help="blends in each process")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="for the index files (default: the system's)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    versions = f"torch {torch.__version__}, faiss {faiss.__version__}, {platform.machine()}"
    print(f"{FRAMES} frames of {DIM}, {options.threads} threads, {versions}\n")
    print("| vectors | search | seconds | CPU seconds | load s | peak MB | device MB | recall@8 |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for size in options.sizes:
        for row in compare(size, options.devices, options):
            print(markdown(row), flush=True)
            rows.append(row)
    import_mb = in_its_own_process(peak_host_bytes) / 1e6
    print(f"\nimport: {import_mb:.0f} MB")
    if options.json:
        report = {
            "versions": versions,
            "threads": options.threads,
            "import_mb": import_mb,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
