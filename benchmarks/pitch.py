"""RMVPE on a CPU: what each of its changes gives, and what cutting a recording into pieces costs.

    python benchmarks/pitch.py [--seconds 20] [--repeats 5] [--threads 2] [--json]

Random weights in the official sizes; variants run in turn in one process, and the least of all repeats
counts, in seconds and in CPU seconds. SNR is that of the salience against the plain network (batch norms of
their own, planes one after the other), f0 the largest difference in cents where both are voiced. One forward
pass over the recording is compared with the pieces of `extract_f0`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from random_models import SAMPLE_RATE, vocal  # beside this file
from ultimate_rvc.rvc.pitch.chunked import extract_f0, pieces
from ultimate_rvc.rvc.pitch.rmvpe import Rmvpe
from ultimate_rvc.rvc.pitch.rmvpe_network import RMVPENetwork
from vocoder import snr_db

PIECE_SECONDS = (15.0, 30.0, 60.0)
LOUDER_OUTPUT = 12  # so that salience does not stay near one half


@dataclass
class Row:
    name: str
    seconds: float = math.inf
    cpu_seconds: float = math.inf
    ratio: float = 1.0
    cpu_ratio: float = 1.0
    snr_db: float | None = None
    f0_cents: float | None = None
    work: float = 1.0
    """Frames computed per frame of the recording."""


def random_state() -> dict[str, Tensor]:
    """Weights that keep the size of a signal from layer to layer, so that salience spreads over 0 to 1."""
    torch.manual_seed(0)
    state = RMVPENetwork().state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var") or (name.endswith(".weight") and tensor.dim() == 1):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            largest = (3 / tensor[0].numel()) ** 0.5  # a variance of 1 over the number of inputs
            tensor.uniform_(-largest, largest)
    state["fc.1.weight"] *= LOUDER_OUTPUT
    return state


class Plain(Rmvpe):
    """The network as it is in the file, with one or none of the two changes."""

    def __init__(self, state: dict[str, Tensor], *, folded: bool, channels_last: bool) -> None:
        super().__init__(state)
        network = RMVPENetwork()
        network.load_state_dict(state)
        network.eval().requires_grad_(False)
        if folded:
            network.fold_batch_norms()
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._network = network.to(memory_format=memory_format)  # type: ignore[call-overload]


def f0_cents(one_hz: Tensor, other_hz: Tensor) -> float:
    """The largest difference where both are voiced."""
    voiced = (one_hz > 0) & (other_hz > 0)
    cents = 1200 * torch.log2(one_hz[voiced] / other_hz[voiced])
    return float(cents.abs().max()) if voiced.any() else 0.0


def time_in_turn(runs: dict[str, Callable[[], Tensor]], repeats: int) -> tuple[list[Row], list[Tensor]]:
    """The least times of each, and what each gave; the first is what the others are compared with."""
    rows = [Row(name) for name in runs]
    outputs = [run() for run in runs.values()]
    for _ in range(repeats):
        for row, run in zip(rows, runs.values(), strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            row.cpu_seconds = min(row.cpu_seconds, time.process_time() - cpu)
            row.seconds = min(row.seconds, time.perf_counter() - wall)
    for row in rows:
        row.ratio, row.cpu_ratio = rows[0].seconds / row.seconds, rows[0].cpu_seconds / row.cpu_seconds
    return rows, outputs


def networks(waveform_16k: Tensor, repeats: int) -> list[Row]:
    state = random_state()
    methods = {
        "plain": Plain(state, folded=False, channels_last=False),
        "batch norms folded": Plain(state, folded=True, channels_last=False),
        "channels last": Plain(state, folded=False, channels_last=True),
        "both (in force)": Rmvpe(state),
    }
    runs: dict[str, Callable[[], Tensor]] = {
        name: (lambda method=method: method.salience(waveform_16k)) for name, method in methods.items()
    }
    rows, outputs = time_in_turn(runs, repeats)
    f0_hz = [method.f0_hz(waveform_16k) for method in methods.values()]
    for row, salience, curve_hz in zip(rows[1:], outputs[1:], f0_hz[1:], strict=True):
        row.snr_db, row.f0_cents = snr_db(outputs[0], salience), f0_cents(f0_hz[0], curve_hz)
    return rows


def cuts(waveform_16k: Tensor, repeats: int) -> list[Row]:
    rmvpe = Rmvpe(random_state())
    runs: dict[str, Callable[[], Tensor]] = {"in one": lambda: rmvpe.f0_hz(waveform_16k)}
    for seconds in PIECE_SECONDS:
        runs[f"pieces of {seconds:g} s"] = lambda seconds=seconds: extract_f0(
            rmvpe, waveform_16k, chunk_seconds=seconds
        )
    rows, _ = time_in_turn(runs, repeats)
    for row, seconds in zip(rows[1:], PIECE_SECONDS, strict=True):
        cut = pieces(len(waveform_16k), seconds, rmvpe.context_seconds)
        row.work = sum(piece.samples.stop - piece.samples.start for piece in cut) / len(waveform_16k)
    return rows


def print_table(rows: list[Row]) -> None:
    print("| | seconds | ratio | CPU seconds | CPU ratio | SNR dB | f0 cents | work |\n|" + 8 * "---|")
    for row in rows:
        accuracy = ["" if value is None else f"{value:.2g}" for value in (row.f0_cents,)]
        accuracy.insert(0, "" if row.snr_db is None else f"{row.snr_db:.0f}")
        cells = [f"{row.seconds:.2f}", f"{row.ratio:.2f}", f"{row.cpu_seconds:.2f}", f"{row.cpu_ratio:.2f}"]
        print(f"| {row.name} | " + " | ".join([*cells, *accuracy, f"{row.work:.2f}"]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waveform_16k = torch.from_numpy(vocal(options.seconds))
    results: dict[str, Any] = {
        "sample_rate": SAMPLE_RATE,
        "audio_seconds": options.seconds,
        "threads": options.threads,
        "network": [asdict(row) for row in networks(waveform_16k, options.repeats)],
        "pieces": [asdict(row) for row in cuts(waveform_16k, options.repeats)],
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for part in ("network", "pieces"):
        print(f"\n{part}, {options.seconds:g} s of audio, {options.threads} threads:\n")
        print_table([Row(**row) for row in results[part]])


if __name__ == "__main__":
    main()
