"""Voice files in and out: every dialect, read without executing anything.

========================  =====================================================================
Original RVC (``.pth``)   ``weight, config, info, sr, f0, version``
Applio                    the same and ``embedder_model, vocoder, epoch, step, author, ...``
Ultimate RVC              as Applio; some values are members of its own enumerations
rvc-next                  as the original, and ``speaker_info, f0_median``
Training (``G_*.pth``)    ``model, optimizer, iteration, ...``: no sizes, they are inferred
safetensors               the weights; everything else as JSON in the header's metadata
========================  =====================================================================

Weights keep their ``weight_g``/``weight_v`` pairs in a :class:`VoiceFile`, as other tools expect
them; :func:`load_voice_model` folds them once.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ultimate_rvc.choices import EmbedderModel, Vocoder, VoiceVersion
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.rvc.networks.config import CONFIG_LENGTH, SynthesizerConfig
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.networks.weight_norm_layers import unfold_weight_norm
from ultimate_rvc.rvc.voice_file.torch_file import ULTIMATE_RVC_ENUMS, map_file, open_torch_file
from ultimate_rvc.rvc.voice_file.training_checkpoint import infer_config

V1_PHONE_DIM = 256
V2_PHONE_DIM = 768
SAFETENSORS_FORMAT = "rvc-voice"
TRAINING_ONLY = "enc_q."  # the posterior encoder, of no use in conversion

# Bounds of a config's values, far above any model's: they keep a hostile file from asking for
# networks of a million layers.
MAX_CONFIG_VALUE = 1 << 17
MAX_CONFIG_ITEMS = 16
MAX_LAYERS = 256
MAX_TEXT = 1000  # characters of a recorded name or note

_SPEAKERS_PLACE = 15  # in the config list
_LAYERS_PLACE = 6
# torch's own layers call the first three, which older versions pass on as the last two.
_FILLING_FUNCTIONS = (
    torch.nn.init.normal_,
    torch.nn.init.uniform_,
    torch.nn.init.kaiming_uniform_,
    Tensor.normal_,
    Tensor.uniform_,
)


class Dialect(StrEnum):
    """The kind of tool that wrote a voice file."""

    RVC = "RVC"
    APPLIO = "Applio"
    ULTIMATE_RVC = "Ultimate RVC"
    RVC_NEXT = "rvc-next"
    TRAINING = "training checkpoint"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True)
class Speaker:
    """A row of the speaker table; most files name none."""

    id: int
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class VoiceMetadata:
    """All that a voice file tells besides its weights."""

    config: SynthesizerConfig
    version: VoiceVersion
    has_f0: bool
    vocoder: Vocoder
    speakers: tuple[Speaker, ...]
    dialect: Dialect
    embedder: str = EmbedderModel.CONTENTVEC
    embedder_recorded: bool = False
    """False: nothing was recorded, and contentvec, RVC's own encoder, is assumed."""
    info: str | None = None
    epoch: int | None = None
    step: int | None = None
    model_name: str | None = None
    author: str | None = None
    creation_date: str | None = None
    f0_median_hz: float | None = None
    warnings: tuple[str, ...] = ()
    """Contradictions in the file and how each was settled, one sentence each."""

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate


@dataclass(frozen=True)
class VoiceFile:
    """A voice as stored: what it tells, and its weights with weight norm not yet folded."""

    metadata: VoiceMetadata
    state: dict[str, Tensor]


@dataclass(frozen=True)
class VoiceModel:
    """A voice ready to be used."""

    metadata: VoiceMetadata
    synthesizer: Synthesizer

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


# --- reading -----------------------------------------------------------------------------------


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
        The file is missing, damaged, no voice, or asks to run something: one sentence that names it.
    """
    record = _read_record(path)
    state = _checked_state(path, record.weight)
    vocoder = _vocoder_of(state)
    config_list = record.values.get("config")
    if config_list is None:
        config_list = infer_config(path, state, vocoder, sample_rate)
    state = {key: tensor for key, tensor in state.items() if not key.startswith(TRAINING_ONLY)}
    try:
        config = SynthesizerConfig.from_list(
            _checked_config(config_list),
            phone_dim=_side(state, "enc_p.emb_phone.weight", 1),
            speakers=_side(state, "emb_g.weight", 0),
        )
        metadata = _describe(record, state, config, vocoder)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error
    return VoiceFile(metadata, state)


def load_voice_model(path: Path, device: torch.device | str = "cpu") -> VoiceModel:
    """Read a voice and build its network: strictly, with weight norm folded, in float32.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.safetensors`` file of any dialect.
    device : torch.device or str
        Where the network is to run.

    Raises
    ------
    VoiceFileError
        As :func:`read_voice_file`; also when a layer is missing, unexpected or of another shape, and
        when a weight is not a number.
    """
    voice = read_voice_file(path)
    try:
        synthesizer = build_synthesizer(voice)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error
    return VoiceModel(voice.metadata, synthesizer.to(device))


def build_synthesizer(voice: VoiceFile) -> Synthesizer:
    """The network of a voice on the CPU, sharing no memory with the file."""
    metadata = voice.metadata
    # Copied, because a tensor that is still a view of the file's map would fail with the file.
    folded = fold_weight_norm(
        {key: tensor.to(torch.float32, copy=True) for key, tensor in voice.state.items()}
    )
    for key, tensor in folded.items():
        if not _is_finite(tensor):
            raise VoiceFileError(
                f"The voice's {key} holds values that are no numbers; its training failed or it is damaged."
            )
    with _UnfilledLayers(sum(tensor.numel() for tensor in folded.values())):
        network = Synthesizer(metadata.config, has_f0=metadata.has_f0, vocoder=metadata.vocoder)
    network.check_state(folded)
    network.load_state_dict(folded, assign=True)
    return network.eval().requires_grad_(False)


class _UnfilledLayers(TorchFunctionMode):
    """While it is entered, new layers get no random weights, and in all no more than a voice has.

    The random weights would be replaced at once, and a hostile config may ask for any amount of memory.
    """

    def __init__(self, weight_count: int) -> None:
        super().__init__()
        self._left = 2 * weight_count  # twice: what little is too much is for ``check_state`` to name

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        if func in _FILLING_FUNCTIONS:
            return args[0] if args else named["tensor"]
        if func in (torch.empty, torch.randn):
            self._spend(args)
            return torch.empty(*args, **named)  # type: ignore[call-overload]
        return func(*args, **named)

    def _spend(self, arguments: tuple[object, ...]) -> None:
        shape = arguments[0] if arguments and isinstance(arguments[0], tuple | list) else arguments
        self._left -= math.prod(side for side in shape if isinstance(side, int))
        if self._left < 0:
            raise VoiceFileError(
                "The voice's config asks for far more weights than the file holds; it is damaged."
            )


@dataclass(frozen=True)
class _Record:
    """A file's weights and other values, whatever its dialect; ``config`` is absent where unrecorded."""

    weight: Mapping[object, object]
    values: Mapping[str, object]
    dialect: Dialect


def _read_record(path: Path) -> _Record:
    if path.suffix.lower() == ".safetensors" and not path.is_dir():
        return _read_safetensors(path)
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
    if "overtrain_info" in values or names.intersection(ULTIMATE_RVC_ENUMS):
        return Dialect.ULTIMATE_RVC
    if "speaker_info" in values or "f0_median" in values:
        return Dialect.RVC_NEXT
    if "model_hash" in values or "vocoder" in values or "embedder_model" in values:
        return Dialect.APPLIO
    return Dialect.RVC


def _training_record(path: Path, content: Mapping[object, object]) -> _Record:
    """A training checkpoint, or bare weights, as a voice; anything else is refused for what it seems."""
    model = content.get("model")
    weight = model if isinstance(model, dict) else content
    # torch.nn.parallel puts "module." before every name.
    weight = {key.removeprefix("module.") if isinstance(key, str) else key: weight[key] for key in weight}
    if "enc_p.emb_phone.weight" not in weight:
        raise VoiceFileError(f"{path} {_what_it_seems(weight, content)}")
    epoch = content.get("iteration")
    values = {"epoch": epoch} if isinstance(epoch, int) else {}
    return _Record(weight, values, Dialect.TRAINING)


def _what_it_seems(weight: Mapping[object, object], content: Mapping[object, object]) -> str:
    names = [key for key in weight if isinstance(key, str)]

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


def _read_safetensors(path: Path) -> _Record:
    map_file(path).close()  # the errors of missing, empty and unreadable files, in our words
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            weight: dict[object, object] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise VoiceFileError(
            f"{path} is cut off, damaged or not a safetensors file; fetch or export it again."
        ) from error
    if "enc_p.emb_phone.weight" not in weight:
        raise VoiceFileError(f"{path} {_what_it_seems(weight, {})}")
    values = {key: _from_json(text) for key, text in metadata.items()}
    return _Record(weight, values, Dialect.SAFETENSORS)


def _from_json(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


# --- checking and describing -------------------------------------------------------------------


def _checked_state(path: Path, weight: Mapping[object, object]) -> dict[str, Tensor]:
    """The weights under their usual names, each a tensor of fractions."""
    state: dict[str, Tensor] = {}
    for key, tensor in weight.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise VoiceFileError(f"{path} is damaged: its weight {str(key)[:60]!r} is no tensor.")
        if not tensor.is_floating_point():
            raise VoiceFileError(f"{path} is damaged: its weight {key[:60]!r} holds {tensor.dtype} values.")
        for newer, usual in (("original0", "weight_g"), ("original1", "weight_v")):
            key = key.replace(f"parametrizations.weight.{newer}", usual)
        state[key] = tensor
    for key in ("enc_p.emb_phone.weight", "emb_g.weight"):
        if key not in state or state[key].dim() != 2:
            raise VoiceFileError(f"{path} lacks {key}, or has it in an impossible shape; it is no RVC voice.")
    return state


def _side(state: Mapping[str, Tensor], key: str, side: int) -> int:
    return state[key].shape[side]


def _vocoder_of(state: Mapping[str, Tensor]) -> Vocoder:
    if any(key.startswith("dec.mrfs.") for key in state):
        return Vocoder.MRF_HIFI_GAN
    if any(key.startswith("dec.mel_conv.") for key in state):
        return Vocoder.REFINE_GAN
    return Vocoder.HIFI_GAN


def _checked_config(config: object) -> list[object]:
    """The 18 values with every number in bounds; their types are checked by ``SynthesizerConfig``."""
    if not isinstance(config, list | tuple) or len(config) != CONFIG_LENGTH:
        raise VoiceFileError(
            f"The voice's config is not the list of {CONFIG_LENGTH} values of every voice; it is damaged."
        )
    checked = [_bounded(value, depth=0) for value in config]
    layers = checked[_LAYERS_PLACE]
    if isinstance(layers, int | float) and layers > MAX_LAYERS:
        raise VoiceFileError(f"The voice's config asks for {layers} layers; the file is damaged.")
    return checked


def _bounded(value: object, depth: int) -> object:
    if isinstance(value, list | tuple) and depth < 2 and len(value) <= MAX_CONFIG_ITEMS:
        return [_bounded(item, depth + 1) for item in value]
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_CONFIG_VALUE:
        return value  # NaN fails the comparison
    raise VoiceFileError("The voice's config holds an impossible value; the file is damaged.")


def _describe(
    record: _Record, state: Mapping[str, Tensor], config: SynthesizerConfig, vocoder: Vocoder
) -> VoiceMetadata:
    """Metadata from what is recorded, with the weights deciding where both speak."""
    values = record.values
    warnings: list[str] = []
    has_f0 = "enc_p.emb_pitch.weight" in state
    if isinstance(values.get("f0"), int) and bool(values["f0"]) != has_f0:
        warnings.append(f"The file says f0 = {values['f0']!r}, but its weights say {has_f0}; they decide.")
    if (recorded_rate := _recorded_rate(values.get("sr"))) not in (None, config.sample_rate):
        warnings.append(
            f"The file says both {recorded_rate} and {config.sample_rate} Hz; the config's "
            f"{config.sample_rate} Hz is used."
        )
    _check_vocoder(values.get("vocoder"), vocoder, warnings)
    embedder = _text(values.get("embedder_model"))
    return VoiceMetadata(
        config=config,
        version=_version_of(values.get("version"), config.phone_dim, warnings),
        has_f0=has_f0,
        vocoder=vocoder,
        speakers=_speakers(values.get("speaker_info"), config.speakers),
        dialect=record.dialect,
        embedder=embedder or EmbedderModel.CONTENTVEC,
        embedder_recorded=embedder is not None,
        info=_text(values.get("info")),
        epoch=_whole(values.get("epoch")),
        step=_whole(values.get("step")),
        model_name=_text(values.get("model_name")),
        author=_text(values.get("author")),
        creation_date=_text(values.get("creation_date")),
        f0_median_hz=_positive(values.get("f0_median")),
        warnings=tuple(warnings),
    )


def _version_of(recorded: object, phone_dim: int, warnings: list[str]) -> VoiceVersion:
    """v1 works on 256 features per frame, v2 on 768; other encoders' widths go by the record."""
    by_width = {V1_PHONE_DIM: VoiceVersion.V1, V2_PHONE_DIM: VoiceVersion.V2}.get(phone_dim)
    named = next((version for version in VoiceVersion if version == recorded), None)
    if by_width and named and by_width is not named:
        warnings.append(
            f"The file says {named}, but its {phone_dim} features per frame are those of {by_width}; "
            "they decide."
        )
    return by_width or named or VoiceVersion.V2


def _recorded_rate(recorded: object) -> int | None:
    """40000 for ``40000``, ``"40k"`` or ``"40000"``; None for anything else."""
    if isinstance(recorded, str):
        digits = recorded.lower().removesuffix("k")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
            return None
        return int(digits) * (1000 if recorded.lower().endswith("k") else 1)
    return _whole(recorded)


def _check_vocoder(recorded: object, vocoder: Vocoder, warnings: list[str]) -> None:
    name = _text(recorded)
    if name is None or name == vocoder:
        return
    if name not in list(Vocoder):
        raise VoiceFileError(
            f"The voice was trained with the vocoder {name[:60]!r}; only {', '.join(Vocoder)} are known."
        )
    warnings.append(
        f"The file says its vocoder is {name}, but its weights are those of {vocoder}; they decide."
    )


def _speakers(recorded: object, count: int) -> tuple[Speaker, ...]:
    """One per row of the speaker table, with the names that rvc-next records as ``{id, name}``."""
    names: dict[int, str] = {}
    for entry in recorded if isinstance(recorded, list) else []:
        if isinstance(entry, dict):
            number, name = _whole(entry.get("id")), _text(entry.get("name"))
            if number is not None and name is not None:
                names[number] = name
    return tuple(Speaker(number, names.get(number)) for number in range(count))


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return None
    return "".join(letter for letter in value[:MAX_TEXT] if letter.isprintable())


def _whole(value: object) -> int | None:
    if isinstance(value, float) and math.isfinite(value):
        value = int(value) if value == int(value) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        return None
    return value


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        return None
    return float(value)


# --- writing -----------------------------------------------------------------------------------


def write_rvc_voice(path: Path, voice: VoiceFile) -> None:
    """Write a voice as an original-RVC ``.pth``, half precision, which every RVC tool reads.

    Layers that those tools build with weight norm get their ``weight_g``/``weight_v`` back. What the
    voice knows beyond the original's keys is written under the names that Applio and rvc-next use;
    other tools ignore them. The same voice gives the same bytes.
    """
    content: dict[str, object] = {"weight": _half_weights(voice)}
    content |= _values(voice.metadata)
    # To memory first: torch names the archive's folder after the file, which here is a passing name.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(buffer.getbuffer())


def write_safetensors_voice(path: Path, voice: VoiceFile) -> None:
    """Write a voice as safetensors, half precision: the same weights, the other values as JSON metadata."""
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in _values(voice.metadata).items()}
    packed = safetensors.torch.save(_half_weights(voice), {"format": SAFETENSORS_FORMAT, **metadata})
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(_with_sorted_header(packed))


def _with_sorted_header(packed: bytes) -> bytes:
    """The same safetensors file with its metadata in one order: the library writes a random one.

    A file is the header's length in 8 bytes, the header as JSON padded with spaces to a multiple of 8
    bytes, and the tensors, whose places are counted from the header's end.
    """
    tensors_start = 8 + int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8:tensors_start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + packed[tensors_start:]


def _half_weights(voice: VoiceFile) -> dict[str, Tensor]:
    metadata = voice.metadata
    unfolded = unfold_weight_norm(voice.state, metadata.vocoder)
    return {key: _in_half(tensor.detach().to("cpu")) for key, tensor in unfolded.items()}


def _in_half(tensor: Tensor) -> Tensor:
    """A copy in half precision, or in single where a value is too large for half (beyond 65504)."""
    largest = torch.finfo(torch.float16).max
    fits = (
        tensor.dtype is torch.float16
        or tensor.numel() == 0
        or all(abs(float(extreme)) <= largest for extreme in torch.aminmax(tensor.float()))
    )
    # A copy, because a view would drag the whole storage it lies in into the file.
    return tensor.to(torch.float16 if fits else torch.float32, copy=True).contiguous()


def _is_finite(tensor: Tensor) -> bool:
    # Several times quicker than `isfinite().all()`; a NaN is passed on by both extremes.
    return tensor.numel() == 0 or all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))


def _values(metadata: VoiceMetadata) -> dict[str, object]:
    """Everything but the weights, under the keys that the dialects share."""
    sample_rate = metadata.sample_rate
    values: dict[str, object | None] = {
        "config": metadata.config.to_list(),
        "info": metadata.info or (f"{metadata.epoch}epoch" if metadata.epoch is not None else ""),
        "sr": f"{sample_rate // 1000}k" if sample_rate % 1000 == 0 else sample_rate,
        "f0": int(metadata.has_f0),
        "version": str(metadata.version),
        "vocoder": str(metadata.vocoder),
        "embedder_model": str(metadata.embedder) if metadata.embedder_recorded else None,
        "epoch": metadata.epoch,
        "step": metadata.step,
        "model_name": metadata.model_name,
        "author": metadata.author,
        "creation_date": metadata.creation_date,
        "f0_median": metadata.f0_median_hz,
        "speaker_info": [
            {"id": speaker.id, "name": speaker.name} for speaker in metadata.speakers if speaker.name
        ]
        or None,
    }
    return {key: value for key, value in values.items() if value is not None}
