"""The vocoder of a full-size v2 voice at 40 kHz on a CPU: whole against tiles, speed and memory.

    python benchmarks/vocoder.py [--seconds 30] [--tiles 128 512] [--repeats 3] [--threads 2] [--json]

``plain`` is the network as one would write it, in one pass. ``blocks`` computes its layers
as rows, in pieces that fit the cache and with short transforms; numbers are tiles of so many frames on top
of it. All run interleaved in one process for time (CPU time of the process as well, which other load on the
machine hardly changes), and each in a process of its own for memory. Weights are random.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.fast_layers import FastLayers
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.vocoder import build_vocoder, render_whole

FRAMES_PER_SECOND = 100
PLAIN, BLOCKS = "plain", "blocks"
# The official v2 voice at 40 kHz.
FULL_SIZE = SynthesizerConfig(
    spec_channels=1025,
    segment_size=32,
    inter_channels=192,
    hidden_channels=192,
    filter_channels=768,
    heads=2,
    layers=6,
    kernel_size=3,
    dropout=0,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilations=((1, 3, 5),) * 3,
    upsample_rates=(10, 10, 2, 2),
    upsample_initial_channel=512,
    upsample_kernel_sizes=(16, 16, 4, 4),
    speakers=109,
    speaker_channels=256,
    sample_rate=40_000,
    phone_dim=768,
)


def renders(seconds: float, names: list[str]) -> dict[str, Callable[[], Tensor]]:
    """One call per name, all over the same random latent and source."""
    torch.manual_seed(0)
    vocoder: Any = build_vocoder(FULL_SIZE, Vocoder.HIFI_GAN, has_f0=True)
    vocoder.eval().requires_grad_(False)
    frames = round(seconds * FRAMES_PER_SECOND)
    latent = torch.randn(1, FULL_SIZE.inter_channels, frames)
    speaker = torch.randn(1, FULL_SIZE.speaker_channels, 1)
    source = vocoder.excitation(torch.full((1, frames), 220.0), Noise(0.0))
    inputs = (vocoder, latent, source, speaker, Noise(0.0))

    blocks = FastLayers()
    ways: dict[str, Callable[[], Tensor]] = {
        PLAIN: partial(render_whole, *inputs),
        BLOCKS: partial(VocoderRenderer(None, blocks), *inputs),
    }
    for name in names:
        if name not in ways:
            ways[name] = partial(VocoderRenderer(int(name), blocks), *inputs)
    return {name: ways[name] for name in names}


@torch.inference_mode()
def time_all(seconds: float, names: list[str], repeats: int) -> list[dict[str, Any]]:
    ways = renders(seconds, names)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    outputs = {name: render() for name, render in ways.items()}  # weights are transformed the first time
    for _ in range(repeats):
        for name, render in ways.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            outputs[name] = render()
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    first = names[0]
    return [
        {
            "way": name,
            "seconds": statistics.median(wall[name]),
            "cpu_seconds": statistics.median(cpu[name]),
            "ratio": statistics.median(wall[first]) / statistics.median(wall[name]),
            "cpu_ratio": statistics.median(cpu[first]) / statistics.median(cpu[name]),
            "snr_db": snr_db(outputs[first], outputs[name]),
        }
        for name in names
    ]


def snr_db(reference: Tensor, other: Tensor) -> float:
    error = (reference.double() - other.double()).pow(2).sum().item()
    return 10 * math.log10(reference.double().pow(2).sum().item() / error) if error else math.inf


def own_peak_mb() -> float:
    """Peak memory of this program; Linux's ``ru_maxrss`` begins at that of the program that started it."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@torch.inference_mode()
def peak_mb(seconds: float, name: str) -> float:
    renders(seconds, [name])[name]()
    return own_peak_mb()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tiles", type=int, nargs="*", default=[32, 64, 128, 256, 512])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(peak_mb(options.seconds, options.peak_of))
        return
    names = [PLAIN, BLOCKS, *map(str, options.tiles)]
    rows = time_all(options.seconds, names, options.repeats)
    for row in rows:
        command = [sys.executable, __file__, "--seconds", str(options.seconds), "--peak-of", row["way"]]
        command += ["--threads", str(options.threads)]
        row["peak_mb"] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| way | seconds | ratio | CPU seconds | CPU ratio | SNR dB | peak MB |\n|" + 7 * "---|")
    for row in rows:
        print(
            f"| {row['way']} | {row['seconds']:.1f} | {row['ratio']:.2f} | {row['cpu_seconds']:.1f} "
            f"| {row['cpu_ratio']:.2f} | {row['snr_db']:.0f} | {row['peak_mb']:.0f} |"
        )


if __name__ == "__main__":
    main()
