"""How well and how fast songs are separated: SDR on mixtures with known stems, time against audio.

    python benchmarks/separation.py                      # table for the signal processing
    python benchmarks/separation.py --model vocals       # also a network, by any name urvc knows
    python benchmarks/separation.py --json results.json  # the same figures for machines

SDR is the plain one, 10 log10(|s|^2 / |s - estimate|^2) over all channels and the whole excerpt, no
scaling or filtering of the estimate allowed. The first three songs are those that the signal
processing was tuned on; the six crossed ones put each singer over another song's band.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.separation import separate

FloatArray = NDArray[np.float32]
Method = Callable[[FloatArray, int], FloatArray]

SONGS_DIR = Path(__file__).parent.parent / "tests" / "data" / "songs"
SONGS = ("water", "thunder", "evening")
HIGH_PASS_HZ = 130.0  # how far a mere high-pass gets, for scale


@dataclass(frozen=True)
class Row:
    """One method on one mixture; SDR in dB, time as a share of the audio's length."""

    song: str
    layout: str
    method: str
    vocals_sdr_db: float
    vocals_gain_db: float
    instrumental_sdr_db: float
    time_per_audio: float


def read(name: str) -> tuple[FloatArray, int]:
    return decode(SONGS_DIR / f"{name}.ogg")


def mixtures() -> Iterator[tuple[str, str, FloatArray, FloatArray, int]]:
    """Song, layout, vocals, instrumental, rate; every singer over every band, in stereo and mono."""
    for singer in SONGS:
        for band in SONGS:
            vocals, rate = read(f"{singer}_vocals")
            instrumental, _ = read(f"{band}_instrumental")
            name = singer if singer == band else f"{singer} over {band}"
            yield name, "stereo", np.repeat(vocals, 2, axis=0), instrumental, rate
            if singer == band:
                yield name, "mono", vocals, instrumental.mean(axis=0, keepdims=True), rate


def sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    s, e = reference.astype(np.float64), estimate.astype(np.float64)
    return float(10 * np.log10((s**2).sum() / ((s - e) ** 2).sum()))


def high_pass(mixture: FloatArray, rate: int) -> FloatArray:
    filtered = sosfiltfilt(butter(4, HIGH_PASS_HZ, "high", fs=rate, output="sos"), mixture, axis=-1)
    return np.asarray(filtered, dtype=np.float32)


def methods(models: list[str], device: str) -> dict[str, Method]:
    chosen: dict[str, Method] = {"mixture": lambda mixture, rate: mixture, "high-pass 130 Hz": high_pass}
    for model in models:
        chosen[model] = lambda mixture, rate, model=model: (  # type: ignore[misc]
            separate(mixture, rate, model=model, device=device).vocals
        )
    return chosen


def measure(models: list[str], device: str) -> Iterator[Row]:
    table = methods(models, device)
    warm_up, warm_up_rate = read("real_song")
    for method in table.values():
        method(warm_up[:, : 2 * warm_up_rate], warm_up_rate)
    for song, layout, vocals, instrumental, rate in mixtures():
        mixture = vocals + instrumental
        for name, method in table.items():
            started = time.perf_counter()
            estimate = method(mixture, rate)
            took = time.perf_counter() - started
            yield Row(
                song,
                layout,
                name,
                sdr_db(vocals, estimate),
                sdr_db(vocals, estimate) - sdr_db(vocals, mixture),
                sdr_db(instrumental, mixture - estimate)
                if name != "mixture"
                else sdr_db(instrumental, mixture),
                took / (mixture.shape[-1] / rate),
            )


def print_table(rows: list[Row]) -> None:
    print("| Song | Layout | Method | Vocals SDR | over mixture | Instrumental SDR | Time / audio |")
    print("|---|---|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.song} | {row.layout} | {row.method} | {row.vocals_sdr_db:.1f} dB "
            f"| {row.vocals_gain_db:+.1f} dB | {row.instrumental_sdr_db:.1f} dB | {row.time_per_audio:.3f} |"
        )


def long_song(model: str, device: str, minutes: float) -> dict[str, float]:
    """Seconds to separate the real song repeated to ``minutes`` of stereo, stems checked for sanity."""
    excerpt, rate = read("real_song")
    samples = round(minutes * 60 * rate)
    song = np.tile(excerpt, (1, samples // excerpt.shape[1] + 1))[:, :samples]
    started = time.perf_counter()
    stems = separate(song, rate, model=model, device=device)
    took = time.perf_counter() - started
    if not np.isfinite(stems.vocals).all() or np.abs(stems.vocals + stems.instrumental - song).max() > 1e-6:
        sys.exit("The stems of the real song do not add up.")
    return {"minutes": minutes, "seconds": took, "time_per_audio": took / (minutes * 60)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", action="append", default=[], help="a further model (repeatable)")
    parser.add_argument("--device", default="auto", help="auto, mps, cuda or cpu, for networks")
    parser.add_argument("--long-minutes", type=float, default=4.0, help="length of the real song, 0 to skip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    models = ["dsp", *options.model]
    rows = list(measure(models, options.device))
    print_table(rows)
    long = {}
    if options.long_minutes > 0:
        long = {model: long_song(model, options.device, options.long_minutes) for model in models}
        for model, figures in long.items():
            print(
                f"\nReal song, {figures['minutes']:g} minutes of stereo, {model}: {figures['seconds']:.1f} s"
            )
    if options.json:
        machine = {
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        }
        report = {"environment": machine, "rows": [asdict(row) for row in rows], "long_song": long}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
