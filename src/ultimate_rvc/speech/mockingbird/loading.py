"""A user's model: its checkpoints found by what they hold, checked strictly, and made ready."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, VocoderLayers
from ultimate_rvc.speech.mockingbird.checkpoint import CHECKPOINT_SUFFIXES, Kind, fitted, read_state
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.model import AnyVocoder, MockingBirdModel
from ultimate_rvc.speech.mockingbird.optimization.int8 import float_state, quantize
from ultimate_rvc.speech.mockingbird.optimization.onnx_vocoder import OnnxVocoder
from ultimate_rvc.speech.mockingbird.optimization.pruning import unpacked
from ultimate_rvc.speech.mockingbird.optimization.record import RECORD_NAME, read_record
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization, Precision, VocoderEngine
from ultimate_rvc.speech.mockingbird.sizes import (
    hifigan_sizes,
    read_settings,
    synthesizer_sizes,
    wavernn_sizes,
)
from ultimate_rvc.speech.mockingbird.speaker_encoder import SpeakerEncoder
from ultimate_rvc.speech.mockingbird.synthesizer import Synthesizer, without_unused_frames
from ultimate_rvc.speech.mockingbird.wavernn import WaveRNN
from ultimate_rvc.switches import config_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ONNX_SUFFIX = ".onnx"
ENCODER_PACKAGE, ENCODER_FILE = "resemblyzer", "pretrained.pt"
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class ModelFiles:
    """The checkpoints in a model's folder by what they are, with their weights, and the vocoder's JSON."""

    folder: Path
    checkpoints: Mapping[Kind, tuple[Path, State]]
    settings: Path | None
    onnx: Path | None

    def need(self, *kinds: Kind) -> tuple[Kind, Path, State]:
        """The checkpoint of one of ``kinds``, or a :class:`SpeechError` that says what is missing."""
        for kind in kinds:
            if kind in self.checkpoints:
                return (kind, *self.checkpoints[kind])
        wanted = " or ".join(kinds)
        raise SpeechError(
            f"The MockingBird model {self.folder} has no {wanted}: put its checkpoint (.pt) there."
        )


def find_files(folder: Path) -> ModelFiles:
    """What is in the folder of a model.

    Raises
    ------
    SpeechError
        A checkpoint cannot be read, or there are two of a kind.
    """
    found: dict[Kind, tuple[Path, State]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES or path.name.startswith("."):
            continue
        kind, state = read_state(path)
        if kind in found and kind is not Kind.UNKNOWN:
            raise SpeechError(f"{found[kind][0]} and {path} both hold a {kind}: leave one in the folder.")
        found[kind] = (path, state)
    onnx = next(iter(sorted(folder.glob(f"*{ONNX_SUFFIX}"))), None)
    return ModelFiles(folder, found, _vocoder_settings(folder), onnx)


def _vocoder_settings(folder: Path) -> Path | None:
    """The JSON of the vocoder: there may be one of the synthesizer beside it."""
    found = [path for path in sorted(folder.glob("*.json")) if path.name != RECORD_NAME]
    tells_rates = [path for path in found if "upsample_rates" in read_settings(path)]
    return next(iter(tells_rates or found), None)


def load_model(folder: Path, device: torch.device | str = "cpu") -> MockingBirdModel:
    """The model in ``folder``, as it is or as it was optimized.

    Raises
    ------
    SpeechError
        A network is missing, there twice, damaged or of other sizes: one sentence that names the file.
    """
    record = read_record(folder)
    optimization = record.optimization if record else ModelOptimization()
    files = find_files(folder)
    if optimization.precision is Precision.INT8:
        device = "cpu"
    elif optimization.precision is Precision.FLOAT16 and torch.device(device).type == "cpu":
        raise SpeechError(
            f"The MockingBird model {folder} wants float16, for GPUs alone: optimize it with another precision here."
        )
    synthesizer, scales = load_synthesizer(files)
    synthesizer.to(device)
    scales = without_unused_frames(synthesizer, scales)
    if optimization.precision is Precision.INT8:
        quantize(synthesizer, scales)
    vocoder = load_vocoder(files, optimization)
    if not isinstance(vocoder, OnnxVocoder):
        vocoder.to(device)
    if vocoder.sizes.mels != synthesizer.sizes.mels:
        raise SpeechError(
            f"The MockingBird model {folder} has a synthesizer of {synthesizer.sizes.mels} mels and a vocoder of "
            f"{vocoder.sizes.mels}: they belong to different models."
        )
    return MockingBirdModel(
        synthesizer, vocoder, optimization.precision, _vocoder_layers(vocoder, optimization, str(device))
    )


def _vocoder_layers(vocoder: AnyVocoder, optimization: ModelOptimization, device: str) -> VocoderLayers:
    fits = isinstance(vocoder, PlainHiFiGAN) and vocoder.fits_compiled_layers
    exact = optimization.precision in (Precision.FLOAT32, Precision.INT8)
    wanted = optimization.vocoder is VocoderEngine.COMPILED and config_for(Device.CPU, None).fast_vocoder
    if not (fits and exact and wanted and torch.device(device).type == "cpu"):
        return PLAIN_LAYERS
    # Imported here, so that without the switch no compiled code is ever loaded.
    from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.fast_layers import FastLayers

    return FastLayers()


def load_synthesizer(files: ModelFiles) -> tuple[Synthesizer, dict[str, Tensor]]:
    """The synthesizer in float32, and the scales of the weights that the file keeps in int8."""
    _, path, state = files.need(Kind.SYNTHESIZER)
    with _naming(path):
        wide, scales = float_state(_whole(state))
        sizes = synthesizer_sizes(wide)
        return fitted(lambda: Synthesizer(sizes), wide), scales


def load_vocoder(files: ModelFiles, optimization: ModelOptimization) -> AnyVocoder:
    """The vocoder of the checkpoint, or of the ONNX file where the model was optimized so."""
    kept = 1 - optimization.pruned_channels
    if not optimization.vocoder_is_onnx:
        return load_checkpoint_vocoder(files, kept)
    if files.onnx is None or files.settings is None:
        raise SpeechError(f"The MockingBird model {files.folder} has no ONNX vocoder: optimize it again.")
    with _naming(files.onnx):
        sizes = hifigan_sizes({}, read_settings(files.settings), inner=kept)
    return OnnxVocoder(files.onnx, sizes, tensorrt=optimization.vocoder is VocoderEngine.TENSORRT)


def load_checkpoint_vocoder(files: ModelFiles, kept: float = 1.0) -> PlainHiFiGAN | WaveRNN:
    """The vocoder of the checkpoint; ``kept`` is the share of inner channels that pruning left."""
    kind, path, state = files.need(Kind.HIFI_GAN, Kind.WAVE_RNN)
    if kind is Kind.HIFI_GAN and files.settings is None:
        raise SpeechError(
            f"{path} needs its JSON (such as config_16k_.json) beside it: it tells the rates of the vocoder."
        )
    settings = read_settings(files.settings) if files.settings else {}
    with _naming(path):
        whole = _whole(state)
        if kind is Kind.HIFI_GAN:
            gan = hifigan_sizes(whole, settings, inner=kept)
            return fitted(lambda: PlainHiFiGAN(gan), whole)
        rnn = wavernn_sizes(whole, settings)
        return fitted(lambda: WaveRNN(rnn), whole)


def encoder_file(folder: Path) -> Path:
    """The speaker encoder of a model: its own, else that of the package Resemblyzer, which is not imported.

    Raises
    ------
    SpeechError
        There is neither.
    """
    files = find_files(folder)
    if Kind.ENCODER in files.checkpoints:
        return files.checkpoints[Kind.ENCODER][0]
    package = importlib.util.find_spec(ENCODER_PACKAGE)
    for place in (package.submodule_search_locations or ()) if package else ():
        if (path := Path(place, ENCODER_FILE)).is_file():
            return path
    raise SpeechError(
        f"There is no speaker encoder to hear a recording with: put MockingBird's (pretrained.pt) into {folder}, or "
        "install the package Resemblyzer without its dependencies (which would want a compiler)."
    )


def load_encoder(path: Path) -> SpeakerEncoder:
    """The speaker encoder of a checkpoint of MockingBird's or Resemblyzer's."""
    kind, state = read_state(path)
    if kind is not Kind.ENCODER:
        raise SpeechError(f"{path} holds no speaker encoder.")
    with _naming(path):
        return fitted(SpeakerEncoder, state, extra=("similarity_",))


def _whole(state: State) -> dict[str, Tensor]:
    try:
        return unpacked(state)
    except (ValueError, RuntimeError, KeyError) as error:
        raise SpeechError("its pruned weights are damaged") from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put a checkpoint's name before what is wrong with it."""
    try:
        yield
    except SpeechError as error:
        raise SpeechError(f"The MockingBird checkpoint {path} cannot be used: {error}.") from error
