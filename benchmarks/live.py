"""Whether this machine keeps up with a live conversion: load, lateness and delay by the length of blocks.

    python benchmarks/live.py [--blocks 100 250 500] [--minutes 10] [--threads 1] [--voice starter] [--fast] [--json]

Speech and singing of the tests come again and again, in pieces of 10 ms at their own pace, go through the thread
and the outlet of ``urvc live``, and are taken from there at the same pace. ``late`` is the share of blocks that took
longer than they last, ``drop_outs`` how often nothing was left to play or a block was thrown away. ``cpu`` is the
time of all processors for a block by its length: that of the program alone, where others work too. ``--fast``
converts one block after the other instead: as much audio in less time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.rvc.infer.live import LiveConverter
from ultimate_rvc.rvc.infer.live_session import LiveSession, Outlet
from ultimate_rvc.rvc.infer.live_settings import live_settings
from ultimate_rvc.voices.finding import find_voice
from ultimate_rvc.voices.live import open_live

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
SOURCES = (DATA / "content" / "speech.wav", DATA / "songs" / "water_vocals.ogg")
RATE = 48_000
PIECE = RATE // 100
RESERVE_MS = 50
COLUMNS = (
    "block_ms",
    "latency_ms",
    "blocks",
    "load_50",
    "load_95",
    "load_99",
    "load_max",
    "cpu",
    "late",
    "drop_outs",
)

FloatArray = NDArray[np.float32]


class Watch:
    """Takes the time of each block of a converter: on the clock, and on all processors."""

    def __init__(self, converter: LiveConverter) -> None:
        self._convert = converter.convert_block
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def __call__(self, block: FloatArray) -> FloatArray:
        began, cpu_began = time.perf_counter(), time.process_time()
        converted = self._convert(block)
        self.seconds.append(time.perf_counter() - began)
        self.cpu_seconds.append(time.process_time() - cpu_began)
        return converted


def in_real_time(converter: LiveConverter, sound: FloatArray, minutes: float) -> int:
    """Run so long; returns the drop-outs."""
    outlet = Outlet(converter.block_samples, RESERVE_MS * RATE // 1000)
    session = LiveSession(converter, outlet.put)
    began = time.perf_counter()
    for piece in range(round(minutes * 60 * RATE / PIECE)):
        time.sleep(max(0.0, began + piece * PIECE / RATE - time.perf_counter()))
        start = piece * PIECE % (len(sound) - PIECE)
        session.put(sound[start : start + PIECE])
        outlet.take(PIECE)
        session.check()
    session.close()
    return outlet.drop_outs + session.figures().skipped


def one_after_the_other(converter: LiveConverter, sound: FloatArray, minutes: float) -> int:
    size = converter.block_samples
    for block in range(round(minutes * 60 / converter.block_seconds)):
        start = block * size % (len(sound) - size)
        converter.convert_block(sound[start : start + size])
    return 0


def row(voice: str, block_ms: int, options: argparse.Namespace, sound: FloatArray) -> dict[str, Any]:
    """Convert for so many minutes in blocks of one length."""
    found = find_voice(voice)
    settings = live_settings({"block_ms": block_ms}, found.preset.fill({}))
    converter = open_live(found, settings, input_rate=RATE, output_rate=RATE)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    watch = Watch(converter)
    converter.convert_block = watch  # type: ignore[method-assign]
    run: Callable[[LiveConverter, FloatArray, float], int] = (
        one_after_the_other if options.fast else in_real_time
    )
    drop_outs = run(converter, sound, options.minutes)
    loads = np.array(watch.seconds) / converter.block_seconds
    return {
        "block_ms": block_ms,
        "latency_ms": 1000 * converter.latency_seconds,
        "blocks": len(loads),
        **{f"load_{share}": float(np.percentile(loads, share)) for share in (50, 95, 99)},
        "load_max": float(loads.max()),
        "cpu": float(np.mean(watch.cpu_seconds) / converter.block_seconds),
        "late": float((loads > 1).mean()),
        "drop_outs": drop_outs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[100, 250, 500], help="ms")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, help="left out: one or all, whichever is quicker")
    parser.add_argument("--voice", default="starter")
    parser.add_argument(
        "--fast", action="store_true", help="one block after the other, as fast as they can be"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sound = np.concatenate([decode_mono(source, RATE) for source in SOURCES])
    rows = []
    for block_ms in options.blocks:
        rows.append(row(options.voice, block_ms, options, sound))
        print(rows[-1], file=sys.stderr)
    if options.json:
        print(
            json.dumps({"voice": options.voice, "threads": torch.get_num_threads(), "rows": rows}, indent=2)
        )
        return
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---:|" * len(COLUMNS))
    for each in rows:
        cells = [
            f"{each[name]:.2f}" if isinstance(each[name], float) else str(each[name]) for name in COLUMNS
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
