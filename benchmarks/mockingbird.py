"""What each optimization of a MockingBird model gains and costs: one table in one run.

    python benchmarks/mockingbird.py [--rounds 5] [--seconds 5] [--device cpu] [--json FILE]

The model has the official sizes and random weights, made to move as real mels do: times and sizes are those of a
real one. Distances are mean differences of mels from float32 in decibels: of the synthesizer's own at the same seed,
and of the sound that the vocoder makes of the same mels. They rank; how a trained model sounds they do not say.
With OMP_NUM_THREADS=1 on a processor, its own seconds are counted, so that other programs hardly matter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mockingbird_models import write_model  # beside this file
from ultimate_rvc.audio.mel_filters import mel_filters
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.mockingbird.front_end import symbols_of
from ultimate_rvc.speech.mockingbird.loading import load_model
from ultimate_rvc.speech.mockingbird.model import MockingBirdModel
from ultimate_rvc.speech.mockingbird.optimization.making import optimize_model
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization, Precision, VocoderEngine
from vocoder import own_peak_mb

FloatArray = NDArray[np.float32]

TEXT = "今天天气很好我们一起去公园散步"
SEED = 7
BATCH = 4
DB_A_UNIT = 12.5  # the synthesizer's mels are 100 dB in 8 units
CONFIGURATIONS: Mapping[str, ModelOptimization] = {
    "float32": ModelOptimization(vocoder=VocoderEngine.TORCH),
    "vocoder compiled (as it comes)": ModelOptimization(),
    "bfloat16 (AMP)": ModelOptimization(Precision.BFLOAT16),
    "float16 (AMP)": ModelOptimization(Precision.FLOAT16),
    "int8 dynamic, synthesizer": ModelOptimization(Precision.INT8, VocoderEngine.TORCH),
    "vocoder in ONNX Runtime": ModelOptimization(vocoder=VocoderEngine.ONNX),
    "vocoder in int8 static": ModelOptimization(vocoder=VocoderEngine.ONNX_INT8),
    "vocoder in TensorRT": ModelOptimization(vocoder=VocoderEngine.TENSORRT),
    "half of the weights pruned": ModelOptimization(Precision.FLOAT32, VocoderEngine.TORCH, 0.5),
    "a quarter of the channels pruned": ModelOptimization(pruned_channels=0.25),
    "int8 and vocoder compiled": ModelOptimization(Precision.INT8),
    "int8 dynamic and static": ModelOptimization(Precision.INT8, VocoderEngine.ONNX_INT8),
    "all in int8, half pruned": ModelOptimization(Precision.INT8, VocoderEngine.ONNX_INT8, 0.5, 0.5),
}


@dataclass
class Row:
    """What was measured of a configuration; times are of one text, in shares of the sound's length."""

    name: str
    megabytes: float
    synthesizer_rtf: float
    vocoder_rtf: float
    rtf: float
    times_faster: float
    synthesizer_batch_gain: float
    batch_gain: float
    mel_distance_db: float
    sound_distance_db: float
    peak_mb: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)  # a process of its own measures memory
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(_own_peak_mb(options.peak, options.seconds, options.device)))
        return
    with tempfile.TemporaryDirectory(prefix="urvc-") as folder:
        rows, missing = measured(Path(folder), options.seconds, options.rounds, options.device)
    print(table(rows))
    print("\n".join(f"{name}: {sentence}" for name, sentence in missing.items()))
    if options.json:
        content = {
            "threads": torch.get_num_threads(),
            "rows": [asdict(row) for row in rows],
            "missing": missing,
        }
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def measured(folder: Path, seconds: float, rounds: int, device: str) -> tuple[list[Row], dict[str, str]]:
    """A row for each configuration that runs here, and for the others the sentence that says why not."""
    source = write_model(folder / "plain", encoder=False)
    models: dict[str, MockingBirdModel] = {}
    missing: dict[str, str] = {}
    for name, optimization in CONFIGURATIONS.items():
        try:
            optimize_model(source, folder / name, optimization, Progress())
            models[name] = load_model(folder / name, device)
        except SpeechError as error:
            missing[name] = str(error)
    frames = round(seconds * models["float32"].sample_rate / models["float32"].vocoder.sizes.hop_length)
    mels = {name: mel_of(model, frames) for name, model in models.items()}
    times = timed(models, mels["float32"], frames, rounds)
    sounds = {name: model.render([mels["float32"].clone()], SEED)[0] for name, model in models.items()}
    rows = []
    for name in models:
        took = times[name]
        rows.append(
            Row(
                name=name,
                megabytes=sum(path.stat().st_size for path in (folder / name).iterdir()) / 1e6,
                synthesizer_rtf=took.synthesizer / seconds,
                vocoder_rtf=took.vocoder / seconds,
                rtf=took.one / seconds,
                times_faster=times["float32"].one / took.one,
                synthesizer_batch_gain=BATCH * took.synthesizer / took.synthesizer_batch,
                batch_gain=BATCH * took.one / took.batch,
                mel_distance_db=DB_A_UNIT * float((mels[name] - mels["float32"]).abs().mean()),
                sound_distance_db=float(np.abs(log_mel(sounds[name]) - log_mel(sounds["float32"])).mean()),
                peak_mb=_peak_mb(folder / name, seconds, device),
            )
        )
    return rows, missing


def mel_of(model: MockingBirdModel, frames: int, count: int = 1) -> Tensor:
    """What the synthesizer makes of the text: the first of ``count`` read at once."""
    speaker = torch.linspace(0, 1, model.synthesizer.sizes.speaker)
    symbols = symbols_of(TEXT, model.synthesizer.sizes.symbols)
    return model.mels([symbols] * count, speaker / speaker.norm(), SEED, frames=frames)[0]


@dataclass(frozen=True)
class Times:
    """Seconds for one text and for a batch of it, the least of all rounds: other programs only add to them."""

    synthesizer: float
    vocoder: float
    synthesizer_batch: float
    vocoder_batch: float

    @property
    def one(self) -> float:
        return self.synthesizer + self.vocoder

    @property
    def batch(self) -> float:
        return self.synthesizer_batch + self.vocoder_batch


def timed(models: Mapping[str, MockingBirdModel], mel: Tensor, frames: int, rounds: int) -> dict[str, Times]:
    """How long each model takes, in turn, so that what else the machine does meets all of them."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            steps = (
                lambda model=model: mel_of(model, frames),
                lambda model=model: model.render([mel.clone()], SEED),
                lambda model=model: mel_of(model, frames, BATCH),
                lambda model=model: model.render([mel.clone() for _ in range(BATCH)], SEED),
            )
            row = tuple(_seconds(step) for step in steps)
            if number:  # the first is for warming up
                found[name].append(row)
    return {name: Times(*map(min, zip(*rows, strict=True))) for name, rows in found.items()}


def log_mel(waveform: FloatArray) -> FloatArray:
    """Decibels in 80 mel bands, (80, frames), with a floor at -80 dBFS."""
    filters = mel_filters(sample_rate=16_000, n_fft=1024, n_mels=80, f_min_hz=0.0, f_max_hz=8000.0, htk=False)
    spectrum = torch.stft(
        torch.from_numpy(waveform), 1024, 256, window=torch.hann_window(1024), return_complex=True
    ).abs()
    bands: FloatArray = 20 * np.log10(np.maximum(filters @ spectrum.numpy(), 1e-4))
    return bands


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| configuration | files | synthesizer | vocoder | both | faster | batch of 4 | mel | sound | peak |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.name,
            f"{row.megabytes:.0f} MB",
            *(f"{rtf:.3f}" for rtf in (row.synthesizer_rtf, row.vocoder_rtf, row.rtf)),
            f"{row.times_faster:.2f}",
            f"{row.synthesizer_batch_gain:.2f}, {row.batch_gain:.2f}",  # of the synthesizer, and of both
            *(f"{distance:.2f} dB" for distance in (row.mel_distance_db, row.sound_distance_db)),
            f"{row.peak_mb} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(work: Callable[[], object]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


def _peak_mb(folder: Path, seconds: float, device: str) -> int:
    command = [sys.executable, __file__, "--peak", str(folder), "--seconds", str(seconds), "--device", device]
    return int(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def _own_peak_mb(folder: Path, seconds: float, device: str) -> int:
    """Of this whole process, after a text."""
    model = load_model(folder, device)
    frames = round(seconds * model.sample_rate / model.vocoder.sizes.hop_length)
    model.render([mel_of(model, frames)], SEED)
    return own_peak_mb()


if __name__ == "__main__":
    main()
