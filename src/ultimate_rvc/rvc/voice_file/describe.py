"""What a voice file tells of its voice, the weights deciding where a record contradicts them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor

from ultimate_rvc.choices import EmbedderModel, Vocoder, VoiceVersion
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig, recorded_phone_dim

V1_PHONE_DIM = 256
V2_PHONE_DIM = 768
MAX_TEXT = 1000  # characters of a recorded name or note
MAX_ID_DIGITS = 6
# Features per frame, and the layer of a HuBERT-like encoder that RVC takes them from.
OUTPUT_LAYERS = {V1_PHONE_DIM: 9, V2_PHONE_DIM: 12}
# RVC's own "hubert_base" is contentvec.
WEBUI_EMBEDDERS = {
    "hubert_base": EmbedderModel.CONTENTVEC,
    "hubert-base-japanese": EmbedderModel.JAPANESE_HUBERT_BASE,
}


class Dialect(StrEnum):
    """The kind of tool that wrote a voice file."""

    RVC = "RVC"
    RVC_WEBUI = "rvc-webui"  # ddPn08's, and its forks
    APPLIO = "Applio"
    ULTIMATE_RVC = "Ultimate RVC"
    RVC_NEXT = "rvc-next"
    TRAINING = "training checkpoint"
    SAFETENSORS = "safetensors"
    EIGHT_BITS = "safetensors in 8 bits"  # ours
    ONNX = "ONNX, as RVC-WebUI exports it"
    VC_CLIENT_ONNX = "ONNX, as w-okada's voice-changer exports it"


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
    """The content encoder it was trained with; it may be one that we do not have."""
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

    def to_json(self) -> dict[str, Any]:
        """The same as plain values: the part of ``voice.json`` that comes from the model."""
        return {
            "written_by": str(self.dialect),
            "sample_rate": self.sample_rate,
            "version": str(self.version),
            "f0": self.has_f0,
            "vocoder": str(self.vocoder),
            "embedder": str(self.embedder),
            "embedder_recorded": self.embedder_recorded,
            "feature_dim": self.config.phone_dim,
            "speakers": len(self.speakers),
            "speaker_names": {str(speaker.id): speaker.name for speaker in self.speakers if speaker.name},
            "pitch_median_hz": self.f0_median_hz,
            "epoch": self.epoch,
            "step": self.step,
            "info": self.info,
            "model_name": self.model_name,
            "author": self.author,
            "creation_date": self.creation_date,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class VoiceFile:
    """A voice as stored: what it tells, and its weights with weight norm not yet folded."""

    metadata: VoiceMetadata
    state: dict[str, Tensor]


def describe(
    values: Mapping[str, object], state: Mapping[str, Tensor], dialect: Dialect, *, config: object
) -> VoiceMetadata:
    """What is told of a voice, with the weights deciding where both speak.

    ``values`` is all that a file records besides its weights, ``state`` the weights under their usual names,
    ``config`` the list of sizes, recorded or inferred.

    Raises
    ------
    VoiceFileError
        The sizes are impossible, or the voice needs something that we do not have.
    """
    phone_dim, vocoder = state["enc_p.emb_phone.weight"].shape[1], vocoder_of(state)
    sizes = SynthesizerConfig.from_list(config, phone_dim=phone_dim, speakers=len(state["emb_g.weight"]))
    warnings: list[str] = []
    has_f0 = "enc_p.emb_pitch.weight" in state
    if isinstance(values.get("f0"), int) and bool(values["f0"]) != has_f0:
        warnings.append(f"The file says f0 = {values['f0']!r}, but its weights say {has_f0}; they decide.")
    if (recorded_rate := _recorded_rate(values.get("sr"))) not in (None, sizes.sample_rate):
        warnings.append(
            f"The file says both {recorded_rate} and {sizes.sample_rate} Hz; the config's "
            f"{sizes.sample_rate} Hz is used."
        )
    if (width := recorded_phone_dim(config)) not in (None, phone_dim):
        warnings.append(
            f"The file says {width} features per frame, but its weights work on {phone_dim}; they decide."
        )
    _check_vocoder(values.get("vocoder"), vocoder, warnings)
    embedder = _text(values.get("embedder_model")) or webui_embedder(values)
    check_output_layer(values.get("embedder_output_layer"), embedder, phone_dim)
    return VoiceMetadata(
        config=sizes,
        version=version_of(values.get("version"), phone_dim, warnings),
        has_f0=has_f0,
        vocoder=vocoder,
        speakers=_speakers(values.get("speaker_info"), sizes.speakers),
        dialect=dialect,
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


def vocoder_of(state: Mapping[str, Tensor]) -> Vocoder:
    if any(key.startswith("dec.mrfs.") for key in state):
        return Vocoder.MRF_HIFI_GAN
    if any(key.startswith("dec.mel_conv.") for key in state):
        return Vocoder.REFINE_GAN
    return Vocoder.HIFI_GAN


def webui_embedder(values: Mapping[str, object]) -> str | None:
    """The encoder that rvc-webui and its forks record, by the name that it has here.

    They call it after the width of its features too (``contentvec768``), which the weights tell.
    """
    recorded = _text(values.get("embedder_name"))
    if recorded is None:
        return None
    name = recorded.removesuffix(str(V2_PHONE_DIM))
    return WEBUI_EMBEDDERS.get(name, name)


def check_output_layer(layer: object, embedder: str | None, phone_dim: int) -> None:
    """Refuse features of a layer that no encoder here gives; they are as wide as the usual ones."""
    usual = OUTPUT_LAYERS.get(phone_dim)
    if usual is not None and isinstance(layer, int) and layer != usual:
        raise VoiceFileError(
            f"The voice was trained on layer {layer} of the encoder {embedder or 'that it does not name'}; "
            f"voices with {phone_dim} features per frame can only be used with those of layer {usual}."
        )


def version_of(recorded: object, phone_dim: int, warnings: list[str]) -> VoiceVersion:
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
    """One per row of the speaker table, with the names that rvc-next lists and rvc-webui has by their ids."""
    entries: list[tuple[object, object]] = []
    if isinstance(recorded, list):
        entries = [(entry.get("id"), entry.get("name")) for entry in recorded if isinstance(entry, dict)]
    elif isinstance(recorded, dict):
        entries = [(int(key) if _is_small_number(key) else key, name) for key, name in recorded.items()]
    names = {_whole(number): _text(name) for number, name in entries}
    return tuple(Speaker(number, names.get(number)) for number in range(count))


def _is_small_number(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS


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
