"""Voices written so that every RVC tool reads them, and in 8 bits for this program alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ultimate_rvc.files import atomic_path
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.networks.weight_norm_layers import unfold_weight_norm
from ultimate_rvc.rvc.voice_file.describe import VoiceFile, VoiceMetadata
from ultimate_rvc.rvc.voice_file.eight_bits import to_eight_bits
from ultimate_rvc.rvc.voice_file.network import check_finite

SAFETENSORS_FORMAT = "rvc-voice"
EIGHT_BIT_FORMAT = "rvc-voice-int8"


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
    _write_safetensors(path, _half_weights(voice), voice.metadata, SAFETENSORS_FORMAT)


def write_eight_bit_voice(path: Path, voice: VoiceFile) -> None:
    """Write a voice as safetensors in 8 bits, weight norm folded, which only this program reads.

    What was read from such a file gives the same bytes again.

    Raises
    ------
    VoiceFileError
        A weight is infinite or not a number.
    """
    folded = {key: tensor.detach().to("cpu") for key, tensor in fold_weight_norm(voice.state).items()}
    check_finite(folded)
    narrow = {
        key: tensor if tensor.dtype is torch.int8 or key not in folded else _in_half(tensor)
        for key, tensor in to_eight_bits(folded).items()
    }
    _write_safetensors(path, narrow, voice.metadata, EIGHT_BIT_FORMAT)


def _write_safetensors(path: Path, weights: dict[str, Tensor], metadata: VoiceMetadata, kind: str) -> None:
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in _values(metadata).items()}
    packed = safetensors.torch.save(weights, {"format": kind, **values})
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
