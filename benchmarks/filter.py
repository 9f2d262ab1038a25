"""The zero-phase high-pass in torch beside scipy's: seconds, memory and how far they are apart.

    python benchmarks/filter.py [--minutes 0.1667 3 30] [--devices cuda cpu] [--json FILE]

Each runs in processes of its own, in turn with the other. Seconds are the best of all runs; memory is what
the peak of the process grows by in the first of them, result included, so 30 minutes of float32 are 115 MB
of it. The deviation is the largest from ``scipy.signal.filtfilt`` over the whole signal in float64.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import scipy.signal
import torch
from numpy.typing import NDArray

from ultimate_rvc.device import resolve_device
from ultimate_rvc.rvc.infer.highpass import (
    HIGHPASS_HZ,
    HIGHPASS_ORDER,
    SAMPLE_RATE,
    ScipyHighpass,
)
from ultimate_rvc.rvc.infer.optimization.device_highpass import TorchHighpass
from ultimate_rvc.rvc.infer.optimization.profiler import peak_device_bytes, peak_host_bytes

FloatArray = NDArray[np.float32]

SCIPY = "scipy"
INPUT_PEAK = 0.95  # the engine turns louder input down
RUMBLE_HZ = 5
SIGNAL, EXPECTED = "signal.npy", "expected.npy"


@dataclass(frozen=True)
class Run:
    """What one process found."""

    seconds: float  # the best of its runs
    cpu_seconds: float
    memory_mb: float
    device_mb: float | None  # None: a CPU
    max_deviation: float


@dataclass(frozen=True)
class Row:
    """A line of the table: the best of a filter's processes."""

    minutes: float
    name: str
    best: Run


def prepare(folder: Path, minutes: float) -> None:
    """Half noise, half rumble, as loud as the engine allows, and what scipy makes of it in one piece."""
    samples = round(minutes * 60 * SAMPLE_RATE)
    noise = np.random.default_rng(0).uniform(-1, 1, samples)
    rumble = np.sin(2 * np.pi * RUMBLE_HZ * np.arange(samples) / SAMPLE_RATE + 1)
    signal = (INPUT_PEAK / 2 * (noise + rumble)).astype(np.float32)
    b, a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)
    np.save(folder / SIGNAL, signal)
    np.save(folder / EXPECTED, scipy.signal.filtfilt(b, a, signal.astype(np.float64)))


def measure(folder: Path, name: str, runs: int, threads: int) -> Run:
    torch.set_num_threads(threads)
    device = torch.device("cpu") if name == SCIPY else resolve_device(name)
    highpass = ScipyHighpass() if name == SCIPY else TorchHighpass(device)
    highpass.apply(torch.zeros(SAMPLE_RATE, device=device))  # loads and plans what only a first call needs
    signal = torch.from_numpy(np.load(folder / SIGNAL)).to(device)
    before = peak_host_bytes()
    walls, cpus = [], []
    for number in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        filtered = highpass.apply(signal)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if number == 0:
            grown = peak_host_bytes() - before
    device_bytes = peak_device_bytes(device)
    deviation = np.abs(filtered.cpu().numpy() - np.load(folder / EXPECTED)).max()
    device_mb = None if device_bytes is None else device_bytes / 1e6
    return Run(min(walls), min(cpus), grown / 1e6, device_mb, float(deviation))


def in_its_own_process(*call: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(*call).result()


def compare(minutes: float, options: argparse.Namespace) -> list[Row]:
    """Every filter over the same signal, in turn."""
    names = [SCIPY, *options.devices]
    found: dict[str, list[Run]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="filter-") as place:
        folder = Path(place)
        in_its_own_process(prepare, folder, minutes)
        for _ in range(options.rounds):
            for name in names:
                found[name].append(in_its_own_process(measure, folder, name, options.runs, options.threads))
    return [Row(minutes, name, min(found[name], key=lambda run: run.seconds)) for name in names]


def markdown(row: Row) -> str:
    best = row.best
    name = SCIPY if row.name == SCIPY else f"torch on {row.name}"
    device_mb = "" if best.device_mb is None else f"{best.device_mb:.0f}"
    return (
        f"| {row.minutes:.3g} | {name} | {best.seconds:.3f} | {best.cpu_seconds:.3f} "
        f"| {best.memory_mb:.0f} | {device_mb} | {best.max_deviation:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    devices = list(dict.fromkeys([resolve_device().type, "cpu"]))
    parser.add_argument("--devices", nargs="+", default=devices, help="where torch filters")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1 / 6, 3, 30])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each filter")
    parser.add_argument("--runs", type=int, default=3, help="in each process")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    versions = f"torch {torch.__version__}, scipy {scipy.__version__}, {platform.machine()}"
    print(f"{SAMPLE_RATE} Hz, {options.threads} threads, {versions}\n")
    print("| minutes | filter | seconds | CPU seconds | memory MB | device MB | max deviation |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for minutes in options.minutes:
        for row in compare(minutes, options):
            print(markdown(row), flush=True)
            rows.append(row)
    if options.json:
        report = {"versions": versions, "threads": options.threads, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
