"""A whole conversion on a CPU with models of the official sizes: plain reference against what is in force.

    python benchmarks/conversion.py [--seconds 30] [--repeats 3] [--threads 2] [--json]

Encoder as large as ContentVec, RMVPE, a v2 voice at 40 kHz and an index of 50,000 vectors, all with
random weights, so nothing has to be downloaded; times do not depend on what weights say. The reference
is float32, eager, faiss, scipy, the vocoder over whole windows without operations in place. Both
run in turn in one process for time (CPU time beside it: other load on the machine hardly changes it),
and each in a process of its own for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import faiss
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import HubertConfig, HubertModel

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import F0Method, Vocoder
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.infer import pipeline as pipeline_module
from ultimate_rvc.rvc.infer.optimization.config import OptimizationConfig
from ultimate_rvc.rvc.infer.optimization.vocoder_tiles import render_for_device
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.vocoder import render_whole
from ultimate_rvc.rvc.pitch.rmvpe_network import RMVPENetwork
from vocoder import FULL_SIZE, own_peak_mb, plain_vocoder, snr_db  # beside this file

SAMPLE_RATE = 16_000
INDEX_VECTORS = 50_000
INDEX_CELLS = 2_000  # RVC takes min(16 * sqrt(n), n / 39), which is 1,282 to 3,577 here
V1_WIDTH = 256
REFERENCE, IN_FORCE = "reference", "in force"
SETTINGS = ConversionSettings(f0_methods=(F0Method.RMVPE,), index_rate=0.75)


def write_models(folder: Path) -> None:
    """Write an encoder, rmvpe.pt, a voice and its index, where the product looks for them."""
    torch.manual_seed(0)
    encoder = folder / "embedders" / "contentvec"
    HubertModel(HubertConfig()).save_pretrained(encoder)
    weights = load_file(encoder / "model.safetensors")
    weights["final_proj.weight"] = torch.randn(V1_WIDTH, FULL_SIZE.phone_dim) / 30
    weights["final_proj.bias"] = torch.zeros(V1_WIDTH)
    save_file(weights, encoder / "model.safetensors", {"format": "pt"})
    torch.save(RMVPENetwork().state_dict(), folder / "rmvpe.pt")
    synthesizer = Synthesizer(FULL_SIZE, has_f0=True, vocoder=Vocoder.HIFI_GAN)
    voice = {
        "weight": synthesizer.state_dict(),
        "config": FULL_SIZE.to_list(),
        "f0": 1,
        "version": "v2",
        "sr": "40k",
        "info": "random weights",
    }
    torch.save(voice, folder / "voice.pth")
    vectors = np.random.default_rng(0).standard_normal((INDEX_VECTORS, FULL_SIZE.phone_dim), np.float32)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(FULL_SIZE.phone_dim), FULL_SIZE.phone_dim, INDEX_CELLS)
    index.cp.niter = 1  # random vectors have no clusters to find
    index.cp.max_points_per_centroid = 5
    index.train(vectors[: 5 * INDEX_CELLS])
    index.add(vectors)
    faiss.write_index(index, str(folder / "voice.index"))


def vocal(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    song = decode_mono(packaged_assets_dir() / "demo.ogg", SAMPLE_RATE)
    samples = round(seconds * SAMPLE_RATE)
    return np.tile(song, -(-samples // len(song)))[:samples]


@dataclass
class Measured:
    """One configuration, loaded, and what its runs took."""

    name: str
    pipeline: Pipeline
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    output: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self, audio: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        profiler = self.pipeline.profiler
        profiler.reset()
        with way_of(self.name, profiler):
            wall, cpu = time.perf_counter(), time.process_time()
            converted, _ = self.pipeline.convert(audio, SAMPLE_RATE, SETTINGS)
            self.seconds.append(time.perf_counter() - wall)
            self.cpu_seconds.append(time.process_time() - cpu)
        self.output = torch.from_numpy(converted)
        self.stages.append({stage.name: stage.seconds for stage in profiler.report()})


def open_pipeline(name: str, folder: Path) -> Measured:
    config = OptimizationConfig(device="cpu") if name == REFERENCE else OptimizationConfig.for_cpu()
    config = replace(config, device="cpu", enable_profiling=True)
    pipeline = Pipeline.open(
        folder / "voice.pth", SETTINGS, index_path=folder / "voice.index", optimization=config
    )
    return Measured(name, pipeline)


@contextmanager
def way_of(name: str, profiler: Any) -> Iterator[None]:
    """Run the vocoder as the configuration does, as a stage of its own."""
    chosen = render_whole if name == REFERENCE else render_for_device

    def render(*arguments: Any) -> torch.Tensor:
        with profiler.stage("vocoder"):
            return chosen(*arguments)

    plain = plain_vocoder() if name == REFERENCE else nullcontext()
    with plain, mock.patch.object(pipeline_module, "render_for_device", render):
        yield


def measure(folder: Path, seconds: float, repeats: int, threads: int) -> list[dict[str, Any]]:
    audio = vocal(seconds)
    both = [open_pipeline(name, folder) for name in (REFERENCE, IN_FORCE)]
    for measured in both:  # kernels are chosen and the pitch method is loaded outside the measurement
        measured.run(audio[: SAMPLE_RATE // 2])
        measured.seconds.clear()
        measured.cpu_seconds.clear()
        measured.stages.clear()
    for _ in range(repeats):
        for measured in both:
            measured.run(audio)
    reference = both[0]
    return [
        {
            "configuration": measured.name,
            "audio_seconds": seconds,
            "threads": threads,
            "seconds": statistics.median(measured.seconds),
            "cpu_seconds": statistics.median(measured.cpu_seconds),
            "ratio": statistics.median(reference.seconds) / statistics.median(measured.seconds),
            "cpu_ratio": statistics.median(reference.cpu_seconds) / statistics.median(measured.cpu_seconds),
            "real_time_factor": statistics.median(measured.seconds) / seconds,
            "snr_db": snr_db(reference.output, measured.output),
            "stages": {
                stage: statistics.median(run[stage] for run in measured.stages)
                for stage in measured.stages[0]
            },
        }
        for measured in both
    ]


def peak_mb(name: str, folder: Path, seconds: float, threads: int) -> float:
    """Peak memory of one configuration in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", name, "--models", str(folder)]
    command += ["--seconds", str(seconds), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_table(rows: list[dict[str, Any]]) -> None:
    columns = ["stage, seconds", *(row["configuration"] for row in rows)]
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
        print(f"| **{key}** | " + " | ".join(f"{row[key]:.{digits}f}" for row in rows) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak-of", choices=(REFERENCE, IN_FORCE), help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        os.environ["URVC_MODELS_DIR"] = str(options.models)
        open_pipeline(options.peak_of, options.models).run(vocal(options.seconds))
        print(own_peak_mb())
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["URVC_MODELS_DIR"] = temporary
        write_models(folder)
        rows = measure(folder, options.seconds, options.repeats, options.threads)
        for row in rows:
            row["peak_mb"] = peak_mb(row["configuration"], folder, options.seconds, options.threads)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
