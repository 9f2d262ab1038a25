"""Writing audio files of the usual formats, complete or not at all."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from ultimate_rvc.audio.level import gain_to_db, limit_true_peak, peak
from ultimate_rvc.audio.resample import resample, resampled_blocks
from ultimate_rvc.choices import AudioFormat, SampleFormat
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.files import NO_ROOM, atomic_path

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]
SampleArray = NDArray[Any]  # float32, int16 or int32

BLOCK_SAMPLES = 1 << 16
# A stream has no place for what is known at its end only; ogg would else keep a second back.
STREAM_OPTIONS = {
    "mp3": {"write_xing": "0"},
    "wav": {"rf64": "never"},
    "ogg": {"page_duration": "100000"},
}
STREAMED_SAMPLES = 4096  # sent at once while the rest is still made: a tenth of a second
FLAC_BLOCK_SAMPLES = 4096  # FFmpeg's own choice at high rates and many channels gives blocks it cannot read
PEAK_TOLERANCE = 1e-4  # 0.001 dB over full scale is rounding, not clipping
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

MP3_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3_BITRATES_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP3_LOW_RATE = 24_000  # up to here mp3 is "MPEG-2", whose bitrates end at 160
MP3_LOW_RATE_MAX_KBPS = 160
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
OPUS_RATES = (48_000,)  # Opus is 48 kHz inside whatever it is given


@dataclass(frozen=True)
class _Codec:
    """What one format can hold."""

    container: str  # FFmpeg's muxer
    encoders: tuple[str, ...]  # FFmpeg's encoders, the best first
    max_channels: int = 8
    rates: tuple[int, ...] = ()  # empty: any
    default_kbps: int | None = None  # None: lossless, without a bitrate
    min_kbps: int = 0
    max_kbps: int = 0


CODECS = {
    AudioFormat.WAV: _Codec("wav", ("pcm_s16le",)),
    AudioFormat.FLAC: _Codec("flac", ("flac",)),
    AudioFormat.MP3: _Codec("mp3", ("libmp3lame",), 2, MP3_RATES, 256, 32, 320),
    # FFmpeg's own Vorbis encoder is experimental and ignores the bitrate, so it is not among these.
    AudioFormat.OGG: _Codec("ogg", ("libvorbis", "libopus"), 2, (), 192, 64, 320),
    AudioFormat.M4A: _Codec("ipod", ("aac",), 2, AAC_RATES, 192, 32, 320),
    AudioFormat.AAC: _Codec("adts", ("aac",), 2, AAC_RATES, 192, 32, 320),
    AudioFormat.OPUS: _Codec("ogg", ("libopus",), 2, OPUS_RATES, 128, 32, 320),
}
PCM_ENCODERS = {
    SampleFormat.PCM16: "pcm_s16le",
    SampleFormat.PCM24: "pcm_s24le",
    SampleFormat.FLOAT: "pcm_f32le",
}


def encode(
    path: Path,
    waveform: FloatArray,
    sample_rate: int,
    *,
    audio_format: AudioFormat | None = None,
    bitrate_kbps: int | None = None,
    sample_format: SampleFormat | None = None,
) -> None:
    """Write a waveform to a file that appears under ``path`` only when it is complete.

    A rate that the format cannot hold is changed to its next higher one, or its highest (mp3: up to
    48 kHz; m4a and aac: up to 96 kHz; opus, and ogg holding Opus: 48 kHz always), which the log says. ``ogg``
    holds Vorbis where the installed PyAV can write it, else Opus. Decoded again, the file is as long
    as the waveform; raw ``aac`` cannot say where its sound begins, and comes up to 2047 samples
    longer. The same waveform gives the same bytes.

    Parameters
    ----------
    path : Path
        Its folder is made when missing; a file of that name is replaced.
    waveform : float32, shape (channels, samples) or (samples,)
        In [-1, 1], except for float wav. Mono or stereo; wav and flac up to 8 channels.
    sample_rate : int
        In Hz.
    audio_format : AudioFormat, optional
        By the suffix of ``path`` when left out.
    bitrate_kbps : int, optional
        Of a lossy format, in kbit/s: mp3 32 to 320 (default 256), ogg 64 to 320 (default 192), m4a
        and aac 32 to 320 (default 192), opus 32 to 320 (default 128).
    sample_format : SampleFormat, optional
        For wav and flac: 16 bits (default) or 24, or for wav float. Samples are rounded, not dithered.

    Raises
    ------
    AudioError
        If the waveform is empty, not finite, over full scale (it is never clipped: limit it first, as
        with :func:`~ultimate_rvc.audio.level.limit_true_peak`), or has too many channels; if the file
        cannot be written.
    SettingError
        If the format is unknown or does not have the bitrate or the sample format.
    """
    chosen = audio_format or _format_of(path)
    channels, rate, writing = _ready(path, waveform, sample_rate, chosen, bitrate_kbps, sample_format)
    _write_file(path, [channels], channels.shape[0], rate, writing)


def encode_bytes(
    waveform: FloatArray, sample_rate: int, *, audio_format: AudioFormat, bitrate_kbps: int | None = None
) -> bytes:
    """As :func:`encode`, of a waveform ``(channels, samples)`` or ``(samples,)``, in memory."""
    shown = Path(f"sound.{audio_format}")
    channels, rate, writing = _ready(shown, waveform, sample_rate, audio_format, bitrate_kbps, None)
    target = io.BytesIO()
    for _ in _writing_steps(target, [channels], channels.shape[0], rate, writing):
        pass
    return target.getvalue()


def _ready(
    path: Path,
    waveform: FloatArray,
    sample_rate: int,
    chosen: AudioFormat,
    bitrate_kbps: int | None,
    sample_format: SampleFormat | None,
) -> tuple[FloatArray, int, _Writing]:
    """The channels as the format takes them, their rate, and how they are written."""
    stored = _checked_sample_format(chosen, sample_format)
    channels = _checked_waveform(path, np.atleast_2d(waveform), chosen, stored)
    encoder = _encoder_name(chosen, stored)
    rate = _supported_rate(path, OPUS_RATES if encoder == "libopus" else CODECS[chosen].rates, sample_rate)
    kbps = _checked_bitrate(chosen, rate, bitrate_kbps)
    if rate != sample_rate:
        channels = limit_true_peak(resample(channels, sample_rate, rate), rate, ceiling_dbtp=0.0)
    return channels, rate, _Writing(CODECS[chosen].container, encoder, stored, kbps)


def encode_blocks(
    path: Path,
    blocks: Iterable[FloatArray],
    channel_count: int,
    sample_rate: int,
    *,
    audio_format: AudioFormat,
    bitrate_kbps: int | None = None,
) -> None:
    """As :func:`encode`, of a sound that comes in blocks ``(channels, samples)``, of which few are held at once.

    True peaks must stay below full scale: where the format needs another rate, nothing is limited again.
    """
    ready, rate, writing = _prepared(path, blocks, sample_rate, audio_format, bitrate_kbps)
    _write_file(path, ready, channel_count, rate, writing)


def encode_stream(
    blocks: Iterable[FloatArray],
    channel_count: int,
    sample_rate: int,
    *,
    audio_format: AudioFormat,
    bitrate_kbps: int | None = None,
) -> Iterator[bytes]:
    """As :func:`encode_blocks`, of blocks ``(channels, samples)``, as bytes to be played while the rest is made.

    A wav says that it has no end; mp3 and flac do not say how long they are.

    Raises
    ------
    SettingError
        ``m4a``, whose beginning tells of its end; a bitrate that the format does not have.
    """
    if audio_format is AudioFormat.M4A:
        raise SettingError("m4a cannot be sent while it is made; choose aac or mp3.")
    shown = Path(f"stream.{audio_format}")
    ready, rate, writing = _prepared(shown, blocks, sample_rate, audio_format, bitrate_kbps)
    return _sent(ready, channel_count, rate, writing)


def _sent(blocks: Iterable[FloatArray], channel_count: int, rate: int, writing: _Writing) -> Iterator[bytes]:
    sink = _Sink()
    for _ in _writing_steps(sink, blocks, channel_count, rate, writing):
        if sent := sink.taken():
            yield sent
    if sent := sink.taken():
        yield sent


class _Sink:
    """Takes what a muxer writes; it cannot go back, so the muxer does not try to."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


def _prepared(
    path: Path,
    blocks: Iterable[FloatArray],
    sample_rate: int,
    audio_format: AudioFormat,
    bitrate_kbps: int | None,
) -> tuple[Iterator[FloatArray], int, _Writing]:
    """Blocks as the format takes them, their rate, and how they are written."""
    stored = _checked_sample_format(audio_format, None)
    encoder = _encoder_name(audio_format, stored)
    rate = _supported_rate(
        path, OPUS_RATES if encoder == "libopus" else CODECS[audio_format].rates, sample_rate
    )
    kbps = _checked_bitrate(audio_format, rate, bitrate_kbps)
    checked = (_checked_waveform(path, block, audio_format, stored) for block in blocks if block.size)
    writing = _Writing(CODECS[audio_format].container, encoder, stored, kbps)
    return resampled_blocks(checked, sample_rate, rate), rate, writing


def _write_file(
    path: Path, blocks: Iterable[FloatArray], channel_count: int, rate: int, writing: _Writing
) -> None:
    try:
        with atomic_path(path) as unfinished:
            _write(unfinished, blocks, channel_count, rate, writing)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        way_out = "; make room, or choose another folder" if error.errno in NO_ROOM else ""
        raise AudioError(f'The file "{path}" could not be written: {reason}{way_out}.') from error


def _format_of(path: Path) -> AudioFormat:
    try:
        return AudioFormat(path.suffix.lower().removeprefix("."))
    except ValueError:
        raise SettingError(
            f'The name "{path.name}" does not end in a format that can be written; end it in one of '
            f"{', '.join(f'.{audio_format}' for audio_format in AudioFormat)}."
        ) from None


def _checked_sample_format(chosen: AudioFormat, sample_format: SampleFormat | None) -> SampleFormat | None:
    """How samples are stored: ``None`` for lossy formats."""
    if CODECS[chosen].default_kbps is not None:
        if sample_format is not None:
            raise SettingError(f"{chosen} has no sample format ({sample_format}); choose wav or flac for it.")
        return None
    if chosen is AudioFormat.FLAC and sample_format is SampleFormat.FLOAT:
        raise SettingError("flac holds pcm16 or pcm24, not float; choose wav for float.")
    return sample_format or SampleFormat.PCM16


def _checked_waveform(
    path: Path, channels: FloatArray, chosen: AudioFormat, stored: SampleFormat | None
) -> FloatArray:
    if channels.ndim != 2 or channels.size == 0:
        raise AudioError(f'There is no audio to write to "{path}": it has no samples.')
    if channels.shape[0] > CODECS[chosen].max_channels:
        other = ", or choose wav or flac" if channels.shape[0] <= max(LAYOUTS) else ""
        raise AudioError(
            f'"{path}" would hold {channels.shape[0]} channels, but {chosen} holds at most '
            f"{CODECS[chosen].max_channels}; fold them to stereo{other}."
        )
    loudest = peak(channels)
    if not np.isfinite(loudest):
        raise AudioError(f'The audio for "{path}" holds samples that are not numbers (NaN or infinite).')
    if loudest > 1 + PEAK_TOLERANCE and stored is not SampleFormat.FLOAT:
        raise AudioError(
            f'The audio for "{path}" peaks at {gain_to_db(loudest):+.2f} dBFS and would clip; '
            "turn it down or limit it first, or write a float wav."
        )
    return channels


def _encoder_name(chosen: AudioFormat, stored: SampleFormat | None) -> str:
    if chosen is AudioFormat.WAV and stored is not None:
        return PCM_ENCODERS[stored]
    for name in CODECS[chosen].encoders:
        if name in av.codecs_available:
            return name
    raise AudioError(f"The installed PyAV cannot write {chosen}; choose wav or flac.")


def _supported_rate(path: Path, rates: tuple[int, ...], sample_rate: int) -> int:
    """``sample_rate`` if the format holds it, else the next higher rate it holds, else its highest."""
    if not rates or sample_rate in rates:
        return sample_rate
    rate = min((rate for rate in rates if rate > sample_rate), default=max(rates))
    level = logging.WARNING if rate < sample_rate else logging.INFO
    logger.log(level, '"%s" is written at %d Hz: its format does not hold %d Hz.', path, rate, sample_rate)
    return rate


def _checked_bitrate(chosen: AudioFormat, sample_rate: int, bitrate_kbps: int | None) -> int | None:
    """The bitrate to encode with: ``None`` for lossless formats."""
    codec = CODECS[chosen]
    if codec.default_kbps is None:
        if bitrate_kbps is not None:
            raise SettingError(
                f"bitrate_kbps is {bitrate_kbps}, but {chosen} is lossless and has no bitrate."
            )
        return None
    if chosen is AudioFormat.MP3:
        return _mp3_bitrate(sample_rate, bitrate_kbps)
    if bitrate_kbps is not None and not codec.min_kbps <= bitrate_kbps <= codec.max_kbps:
        raise SettingError(
            f"bitrate_kbps is {bitrate_kbps}, but for {chosen} must be "
            f"from {codec.min_kbps} to {codec.max_kbps}."
        )
    return bitrate_kbps or codec.default_kbps


def _mp3_bitrate(sample_rate: int, bitrate_kbps: int | None) -> int:
    """mp3 knows only certain bitrates, fewer at low rates; another one would silently be changed."""
    highest = MP3_LOW_RATE_MAX_KBPS if sample_rate <= MP3_LOW_RATE else max(MP3_BITRATES_KBPS)
    allowed = [kbps for kbps in MP3_BITRATES_KBPS if kbps <= highest]
    if bitrate_kbps is None:
        return min(CODECS[AudioFormat.MP3].default_kbps or highest, highest)
    if bitrate_kbps not in allowed:
        raise SettingError(
            f"bitrate_kbps is {bitrate_kbps}, but for mp3 at {sample_rate} Hz must be one of "
            f"{', '.join(map(str, allowed))}."
        )
    return bitrate_kbps


@dataclass(frozen=True)
class _Writing:
    """Everything decided about a file but its sound."""

    container: str
    encoder: str
    stored: SampleFormat | None
    kbps: int | None

    @property
    def frame_format(self) -> str:
        """FFmpeg's sample format in which the encoder is given its samples."""
        if self.stored is not None:
            return {SampleFormat.PCM16: "s16", SampleFormat.PCM24: "s32", SampleFormat.FLOAT: "flt"}[
                self.stored
            ]
        return "flt" if self.encoder == "libopus" else "fltp"


def _write(
    path: Path, blocks: Iterable[FloatArray], channel_count: int, rate: int, writing: _Writing
) -> None:
    for _ in _writing_steps(f"file:{path.absolute()}", blocks, channel_count, rate, writing):
        pass


def _writing_steps(
    target: str | io.BytesIO | _Sink,
    blocks: Iterable[FloatArray],
    channel_count: int,
    rate: int,
    writing: _Writing,
) -> Iterator[None]:
    """Write to a file or a sink; whoever asks for the next step goes on with it."""
    # Without "bitexact", ogg files get a random serial number: the same audio would give other bytes.
    options = {"fflags": "+bitexact"}
    if writing.container == "wav":
        options["rf64"] = "auto"  # files beyond 4 GiB
    if isinstance(target, _Sink):
        options |= STREAM_OPTIONS.get(writing.container, {})
        options["flush_packets"] = "1"
    with av.open(target, "w", format=writing.container, options=options) as container:
        stream = _added_stream(container, writing, rate, channel_count)
        for frame in _frames(
            blocks, stream, STREAMED_SAMPLES if isinstance(target, _Sink) else BLOCK_SAMPLES
        ):
            container.mux(stream.encode(frame))
            yield
        container.mux(stream.encode(None))
    yield


def _added_stream(container: OutputContainer, writing: _Writing, rate: int, channels: int) -> AudioStream:
    stream = container.add_stream(writing.encoder, rate=rate)
    assert isinstance(stream, AudioStream)
    stream.codec_context.layout = LAYOUTS[channels]
    stream.codec_context.format = writing.frame_format
    if writing.encoder == "flac":
        stream.codec_context.options = {"frame_size": str(FLAC_BLOCK_SAMPLES)}
    if writing.kbps is not None:
        stream.codec_context.bit_rate = writing.kbps * 1000
    return stream


def _frames(blocks: Iterable[FloatArray], stream: AudioStream, block_samples: int) -> Iterator[AudioFrame]:
    """The sound in frames of the stream's own sample format."""
    context = stream.codec_context
    start = 0
    for block in _evenly(blocks, block_samples):
        samples = _stored_samples(block, context.format.name)
        if context.format.is_packed:
            samples = samples.T.reshape(1, -1)
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format=context.format.name, layout=context.layout.name
        )
        frame.sample_rate = context.sample_rate
        frame.pts = start
        start += block.shape[1]
        yield frame


def _evenly(blocks: Iterable[FloatArray], block_samples: int) -> Iterator[FloatArray]:
    """The same sound in blocks of ``block_samples``, but for the last."""
    rest: FloatArray | None = None
    for block in blocks:
        joined = block if rest is None or not rest.size else np.concatenate([rest, block], axis=1)
        whole = joined.shape[1] // block_samples * block_samples
        for start in range(0, whole, block_samples):
            yield joined[:, start : start + block_samples]
        rest = joined[:, whole:]
    if rest is not None and rest.size:
        yield rest


def _stored_samples(block: FloatArray, frame_format: str) -> SampleArray:
    """Samples as integers of 16 or (in the upper part of 32) 24 bits, or as they are."""
    if frame_format in ("flt", "fltp"):
        return block.astype(np.float32, copy=False)
    bits = 16 if frame_format == "s16" else 24
    full_scale = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(block * full_scale), -full_scale, full_scale - 1)
    stored: SampleArray = whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8
    return stored
