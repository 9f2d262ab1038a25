"""An optimized copy of a model, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.files import atomic_folder
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.mockingbird.checkpoint import Kind
from ultimate_rvc.speech.mockingbird.folder import SPEAKERS_FOLDER
from ultimate_rvc.speech.mockingbird.front_end import symbols_of
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.loading import (
    ModelFiles,
    find_files,
    load_checkpoint_vocoder,
    load_synthesizer,
)
from ultimate_rvc.speech.mockingbird.optimization.int8 import int8_state
from ultimate_rvc.speech.mockingbird.optimization.onnx_vocoder import providers, write_static_int8
from ultimate_rvc.speech.mockingbird.optimization.onnx_writer import write_onnx
from ultimate_rvc.speech.mockingbird.optimization.pruning import narrowed, packed, prune_weights
from ultimate_rvc.speech.mockingbird.optimization.record import RECORD_NAME, write_record
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization, Precision, VocoderEngine
from ultimate_rvc.speech.mockingbird.synthesizer import Synthesizer

# What the vocoder's ranges are measured on: every syllable's onset and all tones are among them.
CALIBRATION_TEXTS = (
    "今天天气很好我们一起去公园散步", "请把那本厚书放在桌子上面", "他昨天从北京坐火车回来了",
    "春眠不觉晓处处闻啼鸟", "四是四十是十", "女儿喜欢吃绿色的葡萄",
)  # fmt: skip
CALIBRATION_FRAMES = 160  # of each text, 2 s
CALIBRATION_SEED = 0


def optimize_model(source: Path, target: Path, optimization: ModelOptimization, progress: Progress) -> None:
    """Write the model in the folder ``source``, optimized, into the new folder ``target``.

    The folder appears when it is complete. Speakers and the encoder go with it.

    Raises
    ------
    SpeechError
        ``target`` is there already, ``source`` is optimized itself, or its vocoder cannot be optimized so.
    """
    if target.exists():
        raise SpeechError(f"{target} is there already: choose another name.")
    if (source / RECORD_NAME).exists():
        raise SpeechError(f"{source} is optimized already: take the model that it was made of.")
    files = find_files(source)
    with atomic_folder(target) as unfinished:
        progress.report("optimize", 0.0, "synthesizer")
        synthesizer = _write_synthesizer(files, unfinished, optimization)
        progress.report("optimize", 0.5, "vocoder")
        _write_vocoder(files, unfinished, optimization, synthesizer)
        if Kind.ENCODER in files.checkpoints:
            shutil.copy(files.checkpoints[Kind.ENCODER][0], unfinished / "encoder.pt")
        if (source / SPEAKERS_FOLDER).is_dir():
            shutil.copytree(source / SPEAKERS_FOLDER, unfinished / SPEAKERS_FOLDER)
        write_record(unfinished, optimization)
    progress.report("optimize", 1.0)


def _write_synthesizer(files: ModelFiles, folder: Path, optimization: ModelOptimization) -> Synthesizer:
    synthesizer, _ = load_synthesizer(files)
    prune_weights(synthesizer, optimization.pruned_weights)
    is_int8 = optimization.precision is Precision.INT8
    _save(
        int8_state(synthesizer) if is_int8 else synthesizer.state_dict(), folder / "synthesizer.safetensors"
    )
    return synthesizer


def _write_vocoder(
    files: ModelFiles, folder: Path, optimization: ModelOptimization, synthesizer: Synthesizer
) -> None:
    vocoder = load_checkpoint_vocoder(files)
    if files.settings is not None:
        shutil.copy(files.settings, folder / "vocoder.json")
    if not isinstance(vocoder, PlainHiFiGAN):
        if optimization.vocoder_is_onnx or optimization.pruned_channels:
            raise SpeechError(
                f"The vocoder of {files.folder} is a WaveRNN, and only a HiFi-GAN can be optimized."
            )
        _save(vocoder.state_dict(), folder / "vocoder.safetensors")
        return
    if optimization.pruned_channels:
        vocoder = narrowed(vocoder, optimization.pruned_channels)
    if not optimization.vocoder_is_onnx:
        _save(vocoder.state_dict(), folder / "vocoder.safetensors")
        return
    providers(tensorrt=optimization.vocoder is VocoderEngine.TENSORRT)  # refuses what this machine has not
    path = folder / "vocoder.onnx"
    if optimization.vocoder is VocoderEngine.ONNX_INT8:
        write_static_int8(vocoder, calibration_mels(synthesizer), path)
    else:
        write_onnx(vocoder, path)
    # The mels are told by a weight that is in the ONNX file now.
    _tell_mels(folder / "vocoder.json", vocoder.sizes.mels)


def calibration_mels(synthesizer: Synthesizer, texts: Sequence[str] = CALIBRATION_TEXTS) -> list[Tensor]:
    """What the vocoder is given: mels (mels, frames) that the synthesizer makes of texts in several voices."""
    generator = torch.Generator().manual_seed(CALIBRATION_SEED)
    mels = []
    for text in texts:
        voice = torch.rand(synthesizer.sizes.speaker, generator=generator)
        symbols = symbols_of(text, synthesizer.sizes.symbols)
        mels += synthesizer.read([symbols], voice / voice.norm(), CALIBRATION_SEED, frames=CALIBRATION_FRAMES)
    return mels


def _tell_mels(path: Path, mels: int) -> None:
    settings = json.loads(path.read_text("utf-8-sig"))
    path.write_text(json.dumps({**settings, "num_mels": mels}, indent=1), encoding="utf-8")


def _save(state: Mapping[str, Tensor], path: Path) -> None:
    save_file(packed(state), path)
