"""Reading audio out of any file that FFmpeg's libraries (through PyAV) can decode."""

from __future__ import annotations

import logging
import os
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import ThreadType
from av.container import InputContainer
from numpy.typing import NDArray

from ultimate_rvc.audio.downmix import downmix_stereo, to_mono
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

MAX_CHANNELS = 8
MAX_PEAK = 1000.0  # +60 dBFS: beyond it a float file is damaged, or holds integers as floats
BLOCK_SAMPLES = 1 << 20
KEPT_BLOCKS = 2  # longer than padding, and the last may hold less
MAX_PADDING_SAMPLES = 4096  # the most that codecs add to fill their last frames
SHORT_FRACTION = 0.98  # of the duration the file names; below it the file is taken to be cut off
MIN_MISSING_SECONDS = 0.25  # and this much must be missing: some durations count what encoders pad
GUESSED_DURATIONS = ("aac",)  # containers whose duration FFmpeg only guesses from the bitrate
UNKNOWN_BYTES = 0x7FFF_0000  # who writes a WAV into a pipe names a size from here up, not knowing it

# What full scale is in each of FFmpeg's sample formats, planar or not.
SAMPLE_SCALES = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "flt": 1.0, "dbl": 1.0}


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says of itself."""

    duration_seconds: float
    sample_rate: int
    channels: int
    codec: str


def decode(path: Path) -> tuple[FloatArray, int]:
    """Read the first audio stream of a file: of an audio file or of a video, with 1 to 8 channels.

    What encoders add before and after the sound (priming, padding) is taken off again where the file
    records it; raw ``.aac`` does not, and comes about 1024 samples late. A damaged or cut-off file
    gives what can be decoded, with a warning in the log.

    Parameters
    ----------
    path : Path

    Returns
    -------
    waveform : float32, shape (channels, samples)
        In [-1, 1]; only files that hold floats, or lossy ones, can exceed it.
    sample_rate : int
        The file's own, in Hz.

    Raises
    ------
    AudioError
        If the file is missing, holds no audio that can be decoded, has more than 8 channels, or
        holds samples that are not finite.
    """
    waveform, sample_rate, _ = _decode_named(path)
    return waveform, sample_rate


def decode_stereo(path: Path) -> tuple[FloatArray, int]:
    """Like :func:`decode`, folded to ``(2, samples)`` by the channels' names (Rec. ITU-R BS.775)."""
    waveform, sample_rate, channel_names = _decode_named(path)
    return downmix_stereo(waveform, channel_names), sample_rate


def decode_sides(path: Path, shown_as: str | None = None) -> tuple[FloatArray, int]:
    """Like :func:`decode`, with surround sound folded to stereo; mono stays ``(1, samples)``.

    Messages call the file ``shown_as``, for who reads a copy of the user's file.
    """
    waveform, sample_rate, channel_names = _decode_named(path, shown_as)
    return (waveform if len(waveform) == 1 else downmix_stereo(waveform, channel_names)), sample_rate


def decode_mono(path: Path, sample_rate: int) -> FloatArray:
    """Like :func:`decode`, as one channel of shape ``(samples,)`` at ``sample_rate`` in Hz.

    Surround sound is folded to stereo first; the two sides are averaged by :func:`to_mono`.
    """
    waveform, file_rate = decode_sides(path)
    return resample(to_mono(waveform), file_rate, sample_rate)


def probe(path: Path) -> AudioInfo:
    """Read what a file says of its first audio stream, without decoding it where that suffices.

    Raises
    ------
    AudioError
        If the file is missing or holds no audio.
    """
    with _opened(path, str(path)) as container:
        stream = _audio_stream(container, str(path))
        codec = stream.codec_context.codec.canonical_name
        duration = _said_seconds(container, stream)
        channels, sample_rate = stream.channels, stream.sample_rate
    if duration is None or not channels or not sample_rate:
        waveform, sample_rate = decode(path)
        channels, duration = waveform.shape[0], waveform.shape[1] / sample_rate
    return AudioInfo(duration, sample_rate, channels, codec)


def decode_in_blocks(path: Path) -> Iterator[FloatArray]:
    """What :func:`decode` gives, in blocks ``(channels, samples)``, one after the other."""
    return _decoded_blocks(path, _Decoding(str(path)))


def decode_sides_in_blocks(path: Path, shown_as: str | None = None) -> Iterator[tuple[FloatArray, int]]:
    """What :func:`decode_sides` gives, in blocks ``(channels, samples)`` with their rate.

    Only surround sound is held whole: how much its fold is turned down depends on all of it.
    """
    decoding = _Decoding(shown_as or str(path))
    blocks = _decoded_blocks(path, decoding)
    for block in blocks:
        if len(block) > 2:
            whole = np.concatenate([block, *blocks], axis=1)
            yield downmix_stereo(whole, decoding.channel_names), decoding.sample_rate
            return
        yield block, decoding.sample_rate


def _decode_named(path: Path, shown_as: str | None = None) -> tuple[FloatArray, int, tuple[str, ...]]:
    """The waveform, its rate and the names of its channels."""
    decoding = _Decoding(shown_as or str(path))
    blocks = deque(_decoded_blocks(path, decoding))
    waveform = np.empty((len(decoding.channel_names), sum(block.shape[1] for block in blocks)), np.float32)
    filled = 0
    # Each is given back to the system as soon as it is copied: a song never stands in memory twice.
    while blocks:
        block = blocks.popleft()
        waveform[:, filled : filled + block.shape[1]] = block
        filled += block.shape[1]
    return waveform, decoding.sample_rate, decoding.channel_names


def _decoded_blocks(path: Path, decoding: _Decoding) -> Iterator[FloatArray]:
    """The sound of ``path`` in blocks, without what fills its last frames; a damaged file warns in the end."""
    samples = 0
    with _opened(path, decoding.shown) as container:
        stream = _audio_stream(container, decoding.shown)
        for frame in decoding.frames(container, stream):
            decoding.add(frame)
            for block in decoding.full_blocks():
                samples += block.shape[1]
                yield block
        said_seconds = _said_seconds(container, stream)
        if said_seconds is not None and container.format.name == "wav":
            said_seconds *= _promised_factor(path)
        rest = decoding.rest(samples)
        padded = samples + rest.shape[1]
        length = _without_padding(padded, decoding.sample_rate, container, said_seconds)
        yield rest[:, : rest.shape[1] - (padded - length)]
    _warn_if_damaged(decoding, length / decoding.sample_rate, said_seconds)


def _opened(path: Path, shown: str) -> InputContainer:
    if path.is_dir():
        raise AudioError(f'"{shown}" is a folder; name an audio file.')
    if not path.exists():
        raise AudioError(f'There is no file "{shown}"; check its name.')
    if path.is_file() and path.stat().st_size == 0:
        raise AudioError(f'The file "{shown}" is empty (0 bytes); get it again.')
    try:
        # "file:" keeps names with a colon from being taken for a network address, and the whitelist
        # keeps playlists from fetching anything.
        return av.open(
            f"file:{path.absolute()}", options={"protocol_whitelist": "file"}, metadata_errors="ignore"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f'The file "{shown}" cannot be opened as audio ({_reason(error)}); is it an audio or video file?'
        ) from error


def _audio_stream(container: InputContainer, shown: str) -> AudioStream:
    if not container.streams.audio:
        raise AudioError(f'The file "{shown}" holds no audio; name an audio file, or a video with sound.')
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(
            f'The audio in "{shown}" is of a kind that cannot be decoded; convert it to wav or flac.'
        )
    stream.codec_context.thread_type = ThreadType.AUTO
    return stream


class _Decoding:
    """Collects decoded frames, all in the shape of the first, in blocks of :data:`BLOCK_SAMPLES`."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self._blocks: deque[FloatArray] = deque()
        self._filled = 0  # samples of the last block
        self.broken_packets = 0
        self.sample_rate = 0
        self.channel_names: tuple[str, ...] = ()
        self._layout = ""
        self._converters: dict[tuple[str, str, int], av.AudioResampler] = {}

    def frames(self, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        """Every frame that can be decoded; what cannot is counted and left out."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):  # the file ends in the middle of something
                self.broken_packets += 1
                packet = None
            if packet is None:
                return
            try:
                yield from stream.decode(packet)
            except av.EOFError:  # demux ends with an empty packet; some decoders are flushed by then
                return
            except (av.FFmpegError, OSError):
                self.broken_packets += 1

    def add(self, frame: AudioFrame) -> None:
        if not self.sample_rate:
            self._begin(frame)
        for uniform in self._uniform(frame):
            self._append(_scaled(uniform))

    def full_blocks(self) -> Iterator[FloatArray]:
        """Complete blocks, which are forgotten; two stay, so that padding can be cut off the last."""
        while len(self._blocks) > KEPT_BLOCKS:
            yield self._checked(self._blocks.popleft())

    def rest(self, given: int) -> FloatArray:
        """What is left after ``given`` samples."""
        if self._blocks:
            self._blocks.append(self._blocks.pop()[:, : self._filled])
        blocks = [self._checked(block) for block in self._blocks]
        if given + sum(block.shape[1] for block in blocks) == 0:
            raise AudioError(
                f'No audio could be decoded from "{self.shown}"; the file is damaged or has no sound.'
            )
        return np.concatenate(blocks, axis=1)

    def _begin(self, frame: AudioFrame) -> None:
        self.sample_rate = frame.sample_rate
        self.channel_names = tuple(channel.name for channel in frame.layout.channels)
        self._layout = frame.layout.name
        if len(self.channel_names) > MAX_CHANNELS:
            raise AudioError(
                f'The file "{self.shown}" has {len(self.channel_names)} channels, but at most '
                f"{MAX_CHANNELS} can be read; export it with fewer."
            )

    def _uniform(self, frame: AudioFrame) -> list[AudioFrame]:
        """The frame in the rate and channels of the first; streams may change on the way."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        known_format = frame.format.name.removesuffix("p") in SAMPLE_SCALES
        if known_format and kind[1:] == (self._layout, self.sample_rate):
            return [frame]
        if kind not in self._converters:
            self._converters[kind] = av.AudioResampler("fltp", self._layout, self.sample_rate)
        return self._converters[kind].resample(frame)

    def _append(self, samples: FloatArray) -> None:
        position = 0
        while position < samples.shape[1]:
            if not self._blocks or self._filled == BLOCK_SAMPLES:
                self._blocks.append(np.empty((len(self.channel_names), BLOCK_SAMPLES), np.float32))
                self._filled = 0
            count = min(samples.shape[1] - position, BLOCK_SAMPLES - self._filled)
            self._blocks[-1][:, self._filled : self._filled + count] = samples[:, position : position + count]
            self._filled += count
            position += count

    def _checked(self, block: FloatArray) -> FloatArray:
        loudest = max(float(block.max()), -float(block.min()))  # NaN where there is one
        if not np.isfinite(loudest):
            raise AudioError(
                f'The file "{self.shown}" holds samples that are not numbers (NaN or infinite); '
                "export it again."
            )
        if loudest > MAX_PEAK:
            raise AudioError(
                f'The file "{self.shown}" holds samples up to {loudest:.3g} times full scale; '
                "export it with samples between -1 and 1."
            )
        return block


def _scaled(frame: AudioFrame) -> FloatArray:
    """Samples of a frame as float32 of shape ``(channels, samples)``, 1 being full scale."""
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    name = frame.format.name.removesuffix("p")
    floats = samples.astype(np.float32)
    if name == "u8":
        floats -= 128
    if SAMPLE_SCALES[name] != 1:
        floats *= np.float32(SAMPLE_SCALES[name])
    return floats


def _said_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    """How long the file says its sound is, if it says so."""
    if container.format.name in GUESSED_DURATIONS:
        return None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _promised_factor(path: Path) -> float:
    """How often a WAV file's sound goes into what its header promises; FFmpeg trusts the file's size only."""
    if not path.is_file():  # a pipe is read once
        return 1.0
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return 1.0
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"data":
                there = path.stat().st_size - file.tell()
                return size / there if there > 0 and size < UNKNOWN_BYTES else 1.0
            file.seek(size + size % 2, os.SEEK_CUR)
    return 1.0


def _without_padding(
    samples: int, sample_rate: int, container: InputContainer, said_seconds: float | None
) -> int:
    """Samples without what fills the last frame in mp4 files, whose length is exact: FFmpeg decodes whole frames."""
    if said_seconds is None or "mp4" not in container.format.name:
        return samples
    said_samples = round(said_seconds * sample_rate)
    return said_samples if 0 < samples - said_samples <= MAX_PADDING_SAMPLES and said_samples > 0 else samples


def _warn_if_damaged(decoding: _Decoding, seconds: float, said_seconds: float | None) -> None:
    if decoding.broken_packets:
        logger.warning(
            '"%s" is damaged: %d pieces could not be decoded and are left out.',
            decoding.shown,
            decoding.broken_packets,
        )
    if said_seconds is None:
        return
    if seconds < SHORT_FRACTION * said_seconds and said_seconds - seconds > MIN_MISSING_SECONDS:
        logger.warning(
            '"%s" seems to be cut off: it holds %.1f s of the %.1f s that it names.',
            decoding.shown,
            seconds,
            said_seconds,
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
