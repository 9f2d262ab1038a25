"""A whole conversion on a CPU, models of the official sizes: the plain reference against what is in force.

    python benchmarks/conversion.py [--seconds 30 180] [--repeats 3] [--threads 2] [--json]

Encoder as large as ContentVec, RMVPE, a v2 voice at 40 kHz and an index of 50,000 vectors, all with
random weights, so nothing has to be downloaded; times do not depend on what weights say. The reference is
``OptimizationConfig()``: float32, eager, faiss, scipy, every layer over the whole chunk. It runs in turn with
what a CPU gets by default, which leaves out what nobody hears, and with the same without that. All are
in one process for time, and each in one of its own for memory; the feature cache is off.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from interleaved import Measurement, Work, accuracy, as_measured, measure, measure_peak  # beside this file
from random_models import ModelSize, write_models
from ultimate_rvc.switches import OptimizationConfig

BY_DEFAULT = replace(OptimizationConfig.for_cpu(), device="cpu")
CONFIGS = {
    "reference": OptimizationConfig(device="cpu"),
    "in force": BY_DEFAULT,
    "silence computed": replace(BY_DEFAULT, skip_silence=False),
}


def table(work: Work, repeats: int) -> list[dict[str, Any]]:
    """One row for each configuration, the reference first."""
    configs = {name: as_measured(config) for name, config in CONFIGS.items()}
    measurements = measure(configs, work, repeats, lambda line: print(line, file=sys.stderr))
    peaks = {name: measure_peak(name, config, work) for name, config in configs.items()}
    return [
        row(measurement, measurements[0], work.seconds) | {"peak_mb": peaks[measurement.name].host_mb}
        for measurement in measurements
    ]


def row(measurement: Measurement, reference: Measurement, seconds: float) -> dict[str, Any]:
    return {
        "configuration": measurement.name,
        "audio_seconds": seconds,
        "threads": torch.get_num_threads(),
        "seconds": measurement.median_seconds,
        "cpu_seconds": statistics.median(measurement.cpu_seconds),
        "ratio": reference.median_seconds / measurement.median_seconds,
        "cpu_ratio": statistics.median(reference.cpu_seconds) / statistics.median(measurement.cpu_seconds),
        "real_time_factor": measurement.median_seconds / seconds,
        "snr_db": accuracy(reference.output, measurement.output)["snr_db"],
        "stages": measurement.median_stages,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    columns = [f"{rows[0]['audio_seconds']:g} s of audio", *(row["configuration"] for row in rows)]
    print("| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")
    for stage in rows[0]["stages"]:
        print(f"| {stage} | " + " | ".join(f"{row['stages'].get(stage, 0):.2f}" for row in rows) + " |")
    for key, digits in (
        ("seconds", 2),
        ("cpu_seconds", 1),
        ("ratio", 2),
        ("cpu_ratio", 2),
        ("real_time_factor", 2),
        ("snr_db", 0),
        ("peak_mb", 0),
    ):
        cells = ("" if row[key] is None else f"{row[key]:.{digits}f}" for row in rows)
        print(f"| **{key}** | " + " | ".join(cells) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 180.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # for the processes that measure memory
    with tempfile.TemporaryDirectory() as folder:
        os.environ["URVC_MODELS_DIR"] = folder
        write_models(Path(folder), ModelSize.OFFICIAL, seed=0)
        tables = [
            table(Work(Path(folder), ModelSize.OFFICIAL, seconds, 0), options.repeats)
            for seconds in options.seconds
        ]
    if options.json:
        print(json.dumps(tables, indent=2))
        return
    for rows in tables:
        print_table(rows)


if __name__ == "__main__":
    main()
