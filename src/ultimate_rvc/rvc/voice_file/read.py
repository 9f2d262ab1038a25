"""Voice files in and out: every dialect, read without executing anything.

========================  =====================================================================
Original RVC (``.pth``)   ``weight, config, info, sr, f0, version``
rvc-webui (ddPn08)        the same with 19 sizes, and ``params, embedder_name, speaker_info, ...``
Applio                    the same and ``embedder_model, vocoder, epoch, step, author, ...``
Ultimate RVC              as Applio; some values are members of its own enumerations
rvc-next                  as the original, and ``speaker_info, f0_median``
Training (``G_*.pth``)    ``model, optimizer, iteration, ...``: no sizes, they are inferred
safetensors               the weights; everything else as JSON in the header's metadata
The same in 8 bits        numbers and scales of :mod:`~ultimate_rvc.rvc.voice_file.eight_bits`; ours alone
ONNX (``.onnx``)          a whole network, see :mod:`~ultimate_rvc.rvc.voice_file.onnx_voice`
========================  =====================================================================

Weights keep their ``weight_g``/``weight_v`` pairs in a :class:`VoiceFile`, as other tools expect
them; :func:`load_voice_model` folds them once. Every shape is checked before anything is computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import usual_name
from ultimate_rvc.rvc.voice_file.describe import (
    Dialect,
    Speaker,
    VoiceFile,
    VoiceMetadata,
    describe,
    vocoder_of,
)
from ultimate_rvc.rvc.voice_file.eight_bits import from_eight_bits
from ultimate_rvc.rvc.voice_file.foreign import HEAD_BYTES, foreign_kind
from ultimate_rvc.rvc.voice_file.network import fill, fitting_network
from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer
from ultimate_rvc.rvc.voice_file.onnx_voice import is_onnx_file, read_onnx_voice
from ultimate_rvc.rvc.voice_file.torch_file import ULTIMATE_RVC_ENUMS, map_file, open_torch_file
from ultimate_rvc.rvc.voice_file.training_checkpoint import infer_config
from ultimate_rvc.rvc.voice_file.write import EIGHT_BIT_FORMAT
from ultimate_rvc.rvc.voice_file.zip_directory import ZIP_SIGNATURE

PHONE_WEIGHTS = "enc_p.emb_phone.weight"  # what every voice has, and nothing else
TRAINING_ONLY = "enc_q."  # the posterior encoder, of no use in conversion
# How files of torch begin; a safetensors file has the length of its header in 8 bytes, then a brace. The
# bytes decide: people give files the wrong suffix.
TORCH_SIGNATURES = (ZIP_SIGNATURE, b"\x80")
SAFETENSORS_FAULT = "cut off, damaged or not a safetensors file; fetch or export it again"
MAX_NAME = 200  # characters of a weight's name: longer ones would fill an error


@dataclass(frozen=True)
class VoiceModel:
    """A voice ready to be used."""

    metadata: VoiceMetadata
    synthesizer: Synthesizer | OnnxSynthesizer

    @property
    def sample_rate(self) -> int:
        """Of its output, in Hz."""
        return self.metadata.sample_rate

    @property
    def version(self) -> VoiceVersion:
        return self.metadata.version

    @property
    def has_f0(self) -> bool:
        """Whether it follows a pitch."""
        return self.metadata.has_f0

    @property
    def vocoder(self) -> Vocoder:
        return self.metadata.vocoder

    @property
    def embedder(self) -> str:
        """Name of the content encoder it was trained with."""
        return self.metadata.embedder

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """One per speaker id, from 0."""
        return self.metadata.speakers


def read_voice_file(path: Path, *, sample_rate: int | None = None) -> VoiceFile:
    """Read a voice of any dialect; nothing in it is ever executed.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.safetensors`` file.
    sample_rate : int, optional
        In Hz, for training checkpoints whose weights fit several rates; others record theirs.

    Returns
    -------
    VoiceFile
        Tensors may be views of the file's map: copy them before the file may change.

    Raises
    ------
    VoiceFileError
        The file is missing, damaged, no voice, or asks to run something: one sentence that names it. So
        is a voice in ONNX, whose weights cannot be taken out.
    """
    if is_onnx_file(path):
        read_onnx_voice(path)  # one that is damaged, or no voice, is told so
        raise VoiceFileError(
            f"{path} is an ONNX voice, which can only convert; to train from it, blend it or export it, take "
            "the .pth that it was made of."
        )
    return _read_fitting(path, sample_rate)[0]


def read_voice_metadata(path: Path) -> VoiceMetadata:
    """What a voice of any dialect, ONNX included, tells of itself; nothing in it is ever executed.

    Raises
    ------
    VoiceFileError
        The file is missing, damaged, no voice, or not safe to use: one sentence that names it.
    """
    return read_onnx_voice(path).metadata if is_onnx_file(path) else _read_fitting(path)[0].metadata


def load_voice_model(path: Path, device: torch.device | str = "cpu") -> VoiceModel:
    """Read a voice of any dialect and build its network: strictly, with weight norm folded, in float32.

    Raises
    ------
    VoiceFileError
        As :func:`read_voice_file`; also when a layer is missing, unexpected or of another shape, and
        when a weight is not a number, and when ONNX Runtime cannot run a voice in ONNX.
    """
    if is_onnx_file(path):
        onnx_voice = read_onnx_voice(path)
        return VoiceModel(onnx_voice.metadata, OnnxSynthesizer(onnx_voice, device))
    voice, network = _read_fitting(path)
    try:
        return VoiceModel(voice.metadata, fill(network, voice.state).to(device))
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error


def _read_fitting(path: Path, sample_rate: int | None = None) -> tuple[VoiceFile, Synthesizer]:
    """A voice, and the empty network that shows that its layers fit."""
    record = _read_record(path)
    state = _checked_state(path, record.weight)
    config = record.values.get("config")
    if config is None:
        config = infer_config(path, state, vocoder_of(state), sample_rate)
    state = {key: tensor for key, tensor in state.items() if not key.startswith(TRAINING_ONLY)}
    try:
        metadata = describe(record.values, state, record.dialect, config=config)
        return VoiceFile(metadata, state), fitting_network(metadata, state)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Record:
    """A file's weights and other values, whatever its dialect; ``config`` is absent where unrecorded."""

    weight: Mapping[object, object]
    values: Mapping[str, object]
    dialect: Dialect


def _read_record(path: Path) -> _Record:
    head = _head(path)
    if head[8:9] == b"{" or (path.suffix.lower() == ".safetensors" and not head.startswith(TORCH_SIGNATURES)):
        return _read_safetensors(path, head)
    file = open_torch_file(path)
    content = file.content
    if not isinstance(content, dict):
        raise VoiceFileError(f"{path} holds a {type(content).__name__}, not a voice.")
    weight = content.get("weight")
    if not isinstance(weight, dict):
        return _training_record(path, content)
    if "config" not in content:
        raise VoiceFileError(f"{path} lacks its config, the list of sizes; export the voice again.")
    values = {key: value for key, value in content.items() if isinstance(key, str) and key != "weight"}
    return _Record(weight, values, _dialect_of(values, file.names))


def _dialect_of(values: Mapping[str, object], names: frozenset[str]) -> Dialect:
    speaker_info = values.get("speaker_info")
    if "overtrain_info" in values or names.intersection(ULTIMATE_RVC_ENUMS):
        return Dialect.ULTIMATE_RVC
    if "embedder_name" in values or "embedder_output_layer" in values or isinstance(speaker_info, dict):
        return Dialect.RVC_WEBUI
    if "speaker_info" in values or "f0_median" in values:
        return Dialect.RVC_NEXT
    if "model_hash" in values or "vocoder" in values or "embedder_model" in values:
        return Dialect.APPLIO
    return Dialect.RVC


def _training_record(path: Path, content: Mapping[object, object]) -> _Record:
    """A training checkpoint, or bare weights, as a voice; anything else is refused for what it seems."""
    model = content.get("model")
    weight = model if isinstance(model, dict) else content
    _check_is_voice(path, weight, content)
    epoch = content.get("iteration")
    values = {"epoch": epoch} if isinstance(epoch, int) else {}
    return _Record(weight, values, Dialect.TRAINING)


def _check_is_voice(path: Path, weight: Mapping[object, object], content: Mapping[object, object]) -> None:
    names = [usual_name(key) for key in weight if isinstance(key, str)]
    if PHONE_WEIGHTS not in names:
        raise VoiceFileError(f"{path} {_what_it_seems(names, content)}")


def _what_it_seems(names: Sequence[str], content: Mapping[object, object]) -> str:
    def any_starts(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if any_starts("discriminators."):
        return (
            "is the discriminator of a training (D_*.pth): it judges audio and holds no voice; "
            "take the G_*.pth beside it, or the exported voice."
        )
    if any_starts("unet.encoder.", "unet.intermediate."):
        return "seems to be the pitch model RMVPE, not a voice."
    if any_starts("feature_extractor.conv_layers.", "hubert.feature_extractor.", "encoder.layers."):
        return "seems to be a content encoder (HuBERT), not a voice."
    if "optimizer" in content or "param_groups" in content:
        return "holds the state of an optimizer but no voice; take the G_*.pth of the training."
    if not names:
        return "holds no weights, so no voice."
    return f"is not an RVC voice: its weights begin with {names[0][:60]!r}."


def _head(path: Path) -> bytes:
    with map_file(path) as data:  # the errors of missing, empty and unreadable files, in our words
        return data[:HEAD_BYTES]


def _read_safetensors(path: Path, head: bytes) -> _Record:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            weight = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        kind = foreign_kind(head)
        fault = f"{kind.what}, not a voice: {kind.way_out}" if kind else SAFETENSORS_FAULT
        raise VoiceFileError(f"{path} is {fault}.") from error
    _check_is_voice(path, weight, {})
    values = {key: _from_json(text) for key, text in metadata.items()}
    if metadata.get("format") != EIGHT_BIT_FORMAT:
        return _Record(weight, values, Dialect.SAFETENSORS)
    try:
        return _Record(dict(from_eight_bits(weight).items()), values, Dialect.EIGHT_BITS)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path} {error}") from error


def _from_json(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _checked_state(path: Path, weight: Mapping[object, object]) -> dict[str, Tensor]:
    """The weights under their usual names, each a tensor of fractions."""
    state: dict[str, Tensor] = {}
    for key, tensor in weight.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise VoiceFileError(f"{path} is damaged: its weight {str(key)[:60]!r} is no tensor.")
        if not key.isprintable() or len(key) > MAX_NAME:
            raise VoiceFileError(f"{path} is damaged: {key[:60]!r} is no name of a weight.")
        if not tensor.is_floating_point():
            raise VoiceFileError(f"{path} is damaged: its weight {key[:60]!r} holds {tensor.dtype} values.")
        name = usual_name(key)
        if name in state:
            raise VoiceFileError(f"{path} is damaged: it holds the weight {name[:60]!r} twice.")
        state[name] = tensor
    for key in (PHONE_WEIGHTS, "emb_g.weight"):
        if key not in state or state[key].dim() != 2:
            raise VoiceFileError(f"{path} lacks {key}, or has it in an impossible shape; it is no RVC voice.")
    return state
