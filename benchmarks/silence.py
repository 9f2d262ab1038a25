"""What gaps in a vocal save: the time of a conversion by the share of silence in it.

    python benchmarks/silence.py [--shares 0 30 50 70] [--seconds 30] [--repeats 3] [--threads 2] [--json]

A sung vocal, its phrases cut off by so much silence, is converted with models of the official sizes (random
weights) in what a CPU gets by default, gaps left out and gaps computed, in turn. ``heard`` is the SNR of the
two outside of gaps, ``gaps`` the loudest sample of the output inside them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from conversion import BY_DEFAULT  # beside this file
from interleaved import Measurement, as_measured, run_in_turn
from random_models import SAMPLE_RATE, ModelSize, conversion_settings, open_pipeline, vocal, write_models
from ultimate_rvc.rvc.infer.chunks import F0_HOP, SILENT_BELOW, sounding_frames
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from vocoder import snr_db

FloatArray = NDArray[np.float32]
PHRASE_SECONDS = 5.0
FRAMES_PER_SECOND = SAMPLE_RATE // F0_HOP
COLUMNS = ("share", "computed_s", "left_out_s", "ratio", "heard_db", "gaps_peak")


def with_gaps(audio: FloatArray, share: float) -> FloatArray:
    """``audio`` with the end of every phrase of five seconds set to silence, ``share`` of it in all."""
    gapped = audio.copy()
    phrase = round(PHRASE_SECONDS * SAMPLE_RATE)
    for start in range(0, len(gapped), phrase):
        gapped[start + round(phrase * (1 - share)) : start + phrase] = 0
    return gapped


def filtered(audio: FloatArray) -> FloatArray:
    """What the pipeline looks at to find gaps."""
    return ScipyHighpass().apply(torch.from_numpy(audio)).numpy()


def sounding_samples(audio: FloatArray, sample_rate: int, samples: int) -> NDArray[np.bool_]:
    """Where the output of ``samples`` samples answers frames of ``audio`` above -60 dBFS."""
    whole_frames = len(audio) // F0_HOP * F0_HOP
    frames = filtered(audio)[:whole_frames].reshape(-1, F0_HOP)
    loud = np.abs(frames).max(axis=1) >= SILENT_BELOW
    return np.resize(loud.repeat(sample_rate // FRAMES_PER_SECOND), samples)


def row(
    share: float, audio: FloatArray, computed: Measurement, left_out: Measurement, rate: int
) -> dict[str, Any]:
    heard = sounding_samples(audio, rate, len(left_out.output))
    gaps = np.resize(~sounding_frames(filtered(audio)).repeat(rate // FRAMES_PER_SECOND), len(heard))
    reference, output = (torch.from_numpy(each.output[heard]) for each in (computed, left_out))
    return {
        "share": share,
        "computed_s": computed.median_seconds,
        "left_out_s": left_out.median_seconds,
        "ratio": computed.median_seconds / left_out.median_seconds,
        "heard_db": snr_db(reference, output),
        "gaps_peak": float(np.abs(left_out.output[gaps]).max(initial=0.0)),
    }


def table(folder: Path, shares: list[float], seconds: float, repeats: int) -> list[dict[str, Any]]:
    settings = conversion_settings(ModelSize.OFFICIAL, seed=0)
    pipelines = {
        skip: open_pipeline(folder, ModelSize.OFFICIAL, as_measured(replace(BY_DEFAULT, skip_silence=skip)))
        for skip in (False, True)
    }
    rows = []
    for share in shares:
        audio = with_gaps(vocal(seconds), share)
        runs = [
            Measurement(f"{share:.0%}, {'left out' if skip else 'computed'}", pipelines[skip])
            for skip in pipelines
        ]
        run_in_turn(runs, audio, settings, repeats, lambda line: print(line, file=sys.stderr))
        rate = pipelines[True].voice.sample_rate
        rows.append(row(share, audio, runs[0], runs[1], rate))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 30, 50, 70], help="per cent")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["URVC_MODELS_DIR"] = folder
        write_models(Path(folder), ModelSize.OFFICIAL, seed=0)
        rows = table(
            Path(folder), [share / 100 for share in options.shares], options.seconds, options.repeats
        )
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| " + " | ".join(COLUMNS) + " |\n|" + len(COLUMNS) * "---|")
    for measured in rows:
        cells = (f"{measured[name]:.3g}" for name in COLUMNS)
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
