"""Sound as an answer: in the format that was asked for, at once or while it is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.encode import encode_bytes, encode_stream
from ultimate_rvc.audio.level import pcm16, peak
from ultimate_rvc.audio.resample import resample, resampled_blocks
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.server.problems import ApiError

FloatArray = NDArray[np.float32]

PCM = "pcm"
MEDIA_TYPES = {
    AudioFormat.MP3: "audio/mpeg",
    AudioFormat.WAV: "audio/wav",
    AudioFormat.FLAC: "audio/flac",
    AudioFormat.OGG: "audio/ogg",
    AudioFormat.M4A: "audio/mp4",
    AudioFormat.AAC: "audio/aac",
    AudioFormat.OPUS: "audio/ogg",
}
RATES = (8000, 192_000)


@dataclass(frozen=True)
class AnswerFormat:
    """How sound is sent."""

    audio_format: AudioFormat | None
    """None: 16-bit samples without a header, the low byte first."""
    sample_rate: int | None = None
    """In Hz; None: as it comes."""
    bitrate_kbps: int | None = None

    @property
    def media_type(self) -> str:
        return "audio/pcm" if self.audio_format is None else MEDIA_TYPES[self.audio_format]

    @property
    def suffix(self) -> str:
        return PCM if self.audio_format is None else str(self.audio_format)


def format_named(name: str, *, field: str = "format", bitrate_kbps: int | None = None) -> AnswerFormat:
    """
    Raises
    ------
    ApiError
        There is no such format.
    """
    if name == PCM:
        return AnswerFormat(None)
    if name not in list(AudioFormat):
        raise ApiError(
            400, f"{field} is {name!r}, but must be one of {', '.join((*AudioFormat, PCM))}.", field
        )
    return AnswerFormat(AudioFormat(name), bitrate_kbps=bitrate_kbps)


def whole_answer(waveform: FloatArray, sample_rate: int, wanted: AnswerFormat) -> bytes:
    """Sound ``(samples,)`` as the bytes of a file; louder than full scale is turned down."""
    if (loudest := peak(waveform)) > 1:
        waveform = waveform / loudest
    if wanted.sample_rate not in (None, sample_rate):
        waveform = np.clip(resample(waveform, sample_rate, wanted.sample_rate), -1, 1)
        sample_rate = wanted.sample_rate
    if wanted.audio_format is None:
        return pcm16(waveform).tobytes()
    return encode_bytes(
        waveform, sample_rate, audio_format=wanted.audio_format, bitrate_kbps=wanted.bitrate_kbps
    )


def answer_stream(portions: Iterable[FloatArray], sample_rate: int, wanted: AnswerFormat) -> Iterator[bytes]:
    """As :func:`whole_answer`, of portions ``(samples,)`` that come one after the other."""
    blocks: Iterable[FloatArray] = (portion[None] for portion in portions)
    if wanted.sample_rate not in (None, sample_rate):
        blocks = (
            np.clip(block, -1, 1) for block in resampled_blocks(blocks, sample_rate, wanted.sample_rate)
        )
        sample_rate = wanted.sample_rate
    if wanted.audio_format is None:
        return (pcm16(block[0]).tobytes() for block in blocks)
    return encode_stream(
        blocks, 1, sample_rate, audio_format=wanted.audio_format, bitrate_kbps=wanted.bitrate_kbps
    )
