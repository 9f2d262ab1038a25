"""Every way to run the networks on this machine, against plain float32 torch, in one run.

    python benchmarks/backends.py [--seconds 30] [--size small] [--repeats 3] [--routes NAMES] [--out FOLDER]

Routes run in turn in one process for time, and each in one of its own for memory. What a route needs and this machine
lacks is told and left out. The starter voice (``--size small``) has trained weights, so its SNR counts; ``official``
has the sizes that people use, with random weights. Noise is off, so that two ways differ by rounding only.

Where torch is among them, the times of exact routes (60 dB or more, in float32) are kept: the backend ``auto`` goes
by them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from interleaved import (  # beside this file
    Measurement,
    Work,
    accuracy,
    as_measured,
    measure_peak,
    run_in_turn,
)
from machine import machine_of
from random_models import SAMPLE_RATE, ModelSize, open_pipeline, vocal, write_models
from ultimate_rvc import machine
from ultimate_rvc.choices import Backend
from ultimate_rvc.device import resolve_device
from ultimate_rvc.doctor import examine
from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.paths import exports_dir
from ultimate_rvc.rvc.infer.optimization.backends.exports import list_exports
from ultimate_rvc.switches import OptimizationConfig

REFERENCE = "torch, plain"
EXACT_DB, FAST_DB = 60.0, 40.0
APPLES = (
    Backend.COREML,
    Backend.MLX,
)  # Core ML predicts on macOS alone; MLX for processors is there for tests
PLAIN = OptimizationConfig()
ROUTES: dict[str, OptimizationConfig] = {
    REFERENCE: PLAIN,
    "torch": replace(PLAIN, fast_vocoder=True),
    "torch, bfloat16": replace(PLAIN, fast_vocoder=True, use_bf16=True),
    "torch, float16": replace(PLAIN, use_fp16=True),
    "compile": replace(PLAIN, backend=Backend.COMPILE),
    "torchscript": replace(PLAIN, backend=Backend.TORCHSCRIPT),
    "onnx": replace(PLAIN, backend=Backend.ONNX),
    "onnx, int8": replace(PLAIN, backend=Backend.ONNX, use_int8=True),
    "openvino": replace(PLAIN, backend=Backend.OPENVINO),
    "openvino, bfloat16": replace(PLAIN, backend=Backend.OPENVINO, use_bf16=True),
    "openvino, int8": replace(PLAIN, backend=Backend.OPENVINO, use_int8=True),
    "mlx": replace(PLAIN, backend=Backend.MLX),
    "mlx, float16": replace(PLAIN, backend=Backend.MLX, use_fp16=True),
    "coreml": replace(PLAIN, backend=Backend.COREML),
    "coreml, float16": replace(PLAIN, backend=Backend.COREML, use_fp16=True),
    "tensorrt": replace(PLAIN, backend=Backend.TENSORRT),
    "tensorrt, float16": replace(PLAIN, backend=Backend.TENSORRT, use_fp16=True),
}


@dataclass
class Row:
    """What was measured of a route; times in seconds."""

    route: str
    export: float
    """Exporting and loading for the first time."""
    load: float
    """Loading again."""
    first: float
    """The first conversion, beyond the usual time."""
    seconds: float
    ratio: float
    """How many times faster than the reference."""
    snr_db: float | None
    peak_mb: float
    file_mb: float
    by_torch: str = ""
    """Parts that the backend could not run."""

    @property
    def is_exact(self) -> bool:
        return self.snr_db is None or self.snr_db >= EXACT_DB


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--size", type=ModelSize, default=ModelSize.SMALL, choices=list(ModelSize))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--routes", default="", help=f"of {', '.join(ROUTES)}, with semicolons between")
    parser.add_argument("--out", type=Path, help="a folder for backends-SIZE.json, .md and .png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["URVC_MODELS_DIR"] = folder
        os.environ["URVC_AUDIO_DIR"] = folder
        rows, absent = measure_routes(options, device, Path(folder))
    kept = {route: 1 / row.ratio for row in rows if row.is_exact and (route := _backend_of(row.route))}
    if options.seconds >= 10 and Backend.TORCH in kept:  # without it, another would win unopposed
        machine.this_machine(device).note_backends(kept)
    lines = [*table_lines(rows), "", *absent]
    print("\n".join(lines))
    if options.out is not None:
        write(options, rows, lines)


def measure_routes(
    options: argparse.Namespace, device: torch.device, models: Path
) -> tuple[list[Row], list[str]]:
    """The rows, the reference first, and a sentence for each route that this machine has not."""
    write_models(models, options.size, seed=0)
    work = Work(models, options.size, options.seconds, seed=0)
    audio = vocal(options.seconds)
    opened: dict[str, tuple[Any, dict[str, float], str]] = {}
    absent = []
    for name, config in chosen(options.routes).items():
        if not options.routes and sys.platform != "darwin" and config.backend in APPLES:
            absent.append(f"- {name}: for macOS.")
            continue
        tell(f"{name}: exporting, loading and warming up")
        config = as_measured(replace(config, device=str(device)))
        try:
            found = _open(name, config, work, audio)
        except UltimateRVCError as error:
            absent.append(f"- {name}: {error}")
            continue
        if found[0].pipeline.backend.precision != config.precision:
            absent.append(f"- {name}: this machine computes it in {found[0].pipeline.backend.precision}.")
            continue
        opened[name] = found
    measurements = [measurement for measurement, _, _ in opened.values()]
    run_in_turn(measurements, audio, work.settings, options.repeats, tell)
    reference = opened[REFERENCE][0]
    rows = []
    for name, (measurement, times, by_torch) in opened.items():
        config = as_measured(replace(ROUTES[name], device=str(device)))
        rows.append(
            Row(
                name, times["export"], times["load"], max(times["first"] - measurement.median_seconds, 0.0),
                measurement.median_seconds, reference.median_seconds / measurement.median_seconds,
                accuracy(reference.output, measurement.output)["snr_db"],
                measure_peak(name, config, work).host_mb, times["bytes"] / 1e6, by_torch,
            )
        )  # fmt: skip
    return rows, absent


def chosen(names: str) -> dict[str, OptimizationConfig]:
    """The routes to measure, the reference first."""
    wanted = [name.strip() for name in names.split(";") if name.strip()] or list(ROUTES)
    for name in wanted:
        if name not in ROUTES:
            raise SettingError(f"--routes names {name!r}; choose from {'; '.join(ROUTES)}.")
    return {name: ROUTES[name] for name in ROUTES if name == REFERENCE or name in wanted}


def _open(name: str, config: OptimizationConfig, work: Work, audio: Any) -> tuple[Any, dict[str, float], str]:
    times = {}
    before = sum(entry.size_bytes for entry in list_exports(exports_dir()))
    for what in ("export", "load"):
        started = time.perf_counter()
        pipeline = open_pipeline(work.models, work.size, config)
        times[what] = time.perf_counter() - started
    measurement = Measurement(name, pipeline)
    started = time.perf_counter()
    pipeline.convert(audio, SAMPLE_RATE, work.settings)
    times["first"] = time.perf_counter() - started
    times["bytes"] = sum(entry.size_bytes for entry in list_exports(exports_dir())) - before
    return measurement, times, ", ".join(pipeline.backend.run_by_torch)


def _backend_of(route: str) -> str | None:
    """The backend that ``auto`` may choose; None for half precision and for torch without its switches."""
    config = ROUTES[route]
    return None if route == REFERENCE or config.precision != "float32" else config.backend.value


def table_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A table in Markdown."""
    columns = (
        "route", "export s", "load s", "first s more", "seconds", "times faster", "SNR dB", "peak MB", "files MB",
        "by torch",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|" + len(columns) * "---|"
    for row in rows:
        snr = "same" if row.snr_db is None else f"{row.snr_db:.0f}"
        yield (
            f"| {row.route} | {row.export:.1f} | {row.load:.1f} | {row.first:.1f} | {row.seconds:.2f} "
            f"| {row.ratio:.2f} | {snr} | {row.peak_mb:.0f} | {row.file_mb:.0f} | {row.by_torch} |"
        )


def write(options: argparse.Namespace, rows: Sequence[Row], lines: Sequence[str]) -> None:
    """The table, its numbers and a picture."""
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"backends-{options.size}"
    content = {
        "machine": asdict(machine_of(examine())),
        "seconds": options.seconds,
        "threads": options.threads,
        "torch": torch.__version__,
        "rows": [asdict(row) for row in rows],
    }
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(rows, options, stem.with_suffix(".png"))


def draw(rows: Sequence[Row], options: argparse.Namespace, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.45 * len(rows) + 1.4), layout="constrained")
    colours = [
        "tab:blue" if row.is_exact else "tab:green" if (row.snr_db or 0) >= FAST_DB else "tab:orange"
        for row in rows
    ]
    bars = axes.barh([row.route for row in rows], [row.ratio for row in rows], color=colours)
    axes.bar_label(
        bars,
        [f" {row.ratio:.2f}x, {'same' if row.snr_db is None else f'{row.snr_db:.0f} dB'}" for row in rows],
    )
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(
        f"times faster than plain float32 torch, {options.seconds:g} s of singing, {options.threads} threads"
    )
    axes.set_title("blue: 60 dB or more; green: 40 dB or more; orange: less", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def tell(text: str) -> None:
    """Say what happens meanwhile; standard output is for results."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    main()
