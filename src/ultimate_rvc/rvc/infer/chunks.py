"""Where to cut long audio and how to join what comes back.

All positions are samples at 16 kHz and multiples of ``FRAME_SAMPLES``, so that content frames (50 Hz),
f0 frames (100 Hz) and output samples of neighbouring chunks meet exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
F0_HOP = 160  # 10 ms: f0 and synthesizer frames
FRAME_SAMPLES = 320  # 20 ms: the stride of the content encoders, two f0 frames
PAD_SAMPLES = 1 * SAMPLE_RATE  # context on both sides of a chunk, trimmed after synthesis
# A recording that is not cut has only its own reflection as context. That holds off the effects of an edge, and
# tells nothing: against the same words within a longer recording, 0.3 s came out as near as 1 s, and a call of
# half a second of audio takes less than half the time.
REFLECTED_PAD_SAMPLES = 3 * SAMPLE_RATE // 10
ENCODER_TAIL = 80  # a 400-sample receptive field at stride 320 needs 80 more for its last frame
SEARCH_SAMPLES = 6 * SAMPLE_RATE  # how far from the wanted cut a quiet point is looked for
CHUNK_SAMPLES = 38 * SAMPLE_RATE  # wanted distance of cuts
MAX_CHUNK_SAMPLES = 41 * SAMPLE_RATE  # audio up to this length is not cut
MIN_CHUNK_SAMPLES = 1 * SAMPLE_RATE  # below this, halving for lack of memory gives up
QUIET_WINDOW = 160  # quietness is the sum of |sample| over 10 ms
CROSSFADE_SECONDS = 0.02
SILENT_BELOW = 10 ** (-60 / 20)  # peak of 10 ms that nobody hears
SILENCE_MARGIN_FRAMES = 25  # kept on both sides of what sounds: reverb, and what the voice makes of breath
SHORTEST_GAP_FRAMES = 50  # that is left out: each border costs the vocoder some frames of context

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Chunk:
    """The part ``[start, end)`` of the audio; its window reaches ``pad`` samples further on both sides."""

    start: int
    end: int
    pad: int = PAD_SAMPLES

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def window_frames(self) -> int:
        """f0 frames of the window, context included."""
        return (self.length + 2 * self.pad) // F0_HOP


def aligned_length(samples: int) -> int:
    """``samples`` rounded up to whole frames.

    A few samples are added first: a length that was rounded while resampling to 16 kHz may be short
    by one, and the output must still reach the end of the input.
    """
    return -(-(samples + 4) // FRAME_SAMPLES) * FRAME_SAMPLES


def pad_samples(samples: int) -> int:
    """Context of the chunks of a recording of so many samples: 1 s where it is cut, else less."""
    return REFLECTED_PAD_SAMPLES if aligned_length(samples) <= MAX_CHUNK_SAMPLES else PAD_SAMPLES


def pad_for_windows(waveform_16k: torch.Tensor) -> torch.Tensor:
    """Reflect float32 ``(samples,)`` at 16 kHz at both ends, so that every chunk has its context.

    Audio shorter than the context is reflected again and again; torch's own padding refuses it.
    """
    samples = len(waveform_16k)
    pad = pad_samples(samples)
    end = aligned_length(samples) + pad + ENCODER_TAIL
    left = _reflected(waveform_16k, -pad, 0)
    return torch.cat([left, waveform_16k, _reflected(waveform_16k, samples, end)])


def _reflected(waveform: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Samples ``[start, end)`` of ``waveform`` continued to both sides by reflection at its ends."""
    last = len(waveform) - 1
    place = torch.arange(start, end, device=waveform.device)
    if last == 0:
        return waveform[place * 0]
    place = place.remainder(2 * last)
    return waveform[torch.minimum(place, 2 * last - place)]


def window_loudness(waveform_16k: FloatArray) -> FloatArray:
    """Sum of |sample| over ``QUIET_WINDOW`` centred on each frame boundary: ``(frames + 1,)``, float32.

    ``waveform_16k`` is float32 ``(samples,)``. Only frame boundaries can be cuts, so only they are
    measured: frame ``i`` stands for sample ``FRAME_SAMPLES * i``.
    """
    frames = aligned_length(len(waveform_16k)) // FRAME_SAMPLES
    half = QUIET_WINDOW // 2
    sums = np.zeros(frames * FRAME_SAMPLES // half + 1, np.float32)  # of |sample| over half windows
    found = np.add.reduceat(np.abs(waveform_16k), np.arange(0, len(waveform_16k), half))
    sums[: len(found)] = found
    boundary = np.arange(frames + 1) * (FRAME_SAMPLES // half)
    loudness: FloatArray = sums[boundary]
    loudness[1:] += sums[boundary[1:] - 1]
    return loudness


def _quietest(loudness: FloatArray, low: int, high: int) -> int:
    """The quietest cut in ``[low, high)``, in samples; the first of equals."""
    first, last = low // FRAME_SAMPLES, max(high // FRAME_SAMPLES, low // FRAME_SAMPLES + 1)
    return int(first + np.argmin(loudness[first:last])) * FRAME_SAMPLES


def cut(part: Chunk, loudness: FloatArray) -> list[Chunk]:
    """Cut ``part`` at quiet points about every ``CHUNK_SAMPLES``; short parts stay whole.

    ``loudness`` is that of :func:`window_loudness`, float32 ``(frames + 1,)``.
    """
    if part.length <= MAX_CHUNK_SAMPLES:
        return [part]
    chunks, start = [], part.start
    while part.end - start > MAX_CHUNK_SAMPLES:
        middle = start + CHUNK_SAMPLES
        # Leaving the search to the end of the part would allow a cut at its very end: an empty chunk.
        high = min(middle + SEARCH_SAMPLES, part.end - MIN_CHUNK_SAMPLES)
        end = _quietest(loudness, middle - SEARCH_SAMPLES, high)
        chunks.append(Chunk(start, end, part.pad))
        start = end
    return [*chunks, Chunk(start, part.end, part.pad)]


def halve(chunk: Chunk, loudness: FloatArray) -> list[Chunk]:
    """Cut one chunk at the quietest point of its middle half; empty when it is too short for that.

    ``loudness`` is that of :func:`window_loudness`, float32 ``(frames + 1,)``.
    """
    if chunk.length < 2 * MIN_CHUNK_SAMPLES:
        return []
    end = _quietest(loudness, chunk.start + chunk.length // 4, chunk.end - chunk.length // 4)
    end = max(end, chunk.start + FRAME_SAMPLES)
    return [Chunk(chunk.start, end, chunk.pad), Chunk(end, chunk.end, chunk.pad)]


def whole(samples: int) -> Chunk:
    """The part that is everything."""
    return Chunk(0, aligned_length(samples), pad_samples(samples))


def sounding_parts(waveform_16k: FloatArray, *, top_db: float = 60.0) -> list[Chunk]:
    """Parts louder than ``top_db`` below the loudest, found in frames of 250 ms as RVC's "split" does.

    ``waveform_16k`` is float32 ``(samples,)``. Parts are widened to frame boundaries; silence has none.
    """
    from librosa.effects import split

    if not np.any(waveform_16k):
        return []
    end = aligned_length(len(waveform_16k))
    intervals = split(waveform_16k, top_db=top_db, frame_length=4000, hop_length=2000)
    parts: list[Chunk] = []
    for low, high in intervals:
        start = int(low) // FRAME_SAMPLES * FRAME_SAMPLES
        stop = min(aligned_length(int(high)), end)
        if parts and start <= parts[-1].end:
            parts[-1] = replace(parts[-1], end=stop)
        else:
            parts.append(Chunk(start, stop, pad_samples(len(waveform_16k))))
    return parts


def sounding_frames(waveform_16k: FloatArray) -> BoolArray:
    """Frames of 10 ms that are heard or close to what is heard: bool ``(frames,)`` of the aligned length.

    ``waveform_16k`` is float32 ``(samples,)``.
    """
    loud = np.zeros(aligned_length(len(waveform_16k)) // F0_HOP + 1, np.int64)
    peaks = np.maximum.reduceat(np.abs(waveform_16k), np.arange(0, len(waveform_16k), F0_HOP))
    loud[1 : len(peaks) + 1] = peaks >= SILENT_BELOW
    heard = np.cumsum(loud)
    frame = np.arange(len(loud) - 1)
    after = np.minimum(frame + SILENCE_MARGIN_FRAMES + 1, len(loud) - 1)
    before = np.maximum(frame - SILENCE_MARGIN_FRAMES, 0)
    sounding: BoolArray = heard[after] > heard[before]
    return sounding


def wanted_spans(chunk: Chunk, sounding: BoolArray | None) -> Spans:
    """Runs of frames of the chunk's window that are used and, if ``sounding`` is given, heard.

    ``sounding`` is that of :func:`sounding_frames`, bool ``(frames,)`` of the whole recording. The window's
    context is not used, but for half a crossfade; frames are those of f0, from the window's start.
    """
    pad, used = chunk.pad // F0_HOP, chunk.length // F0_HOP
    fade = round(CROSSFADE_SECONDS / 2 * 100)
    if sounding is None:
        return [(pad - fade, pad + used + fade)]
    first = chunk.start // F0_HOP
    heard = np.concatenate(([0], sounding[first : first + used].astype(np.int8), [0]))
    starts, ends = np.flatnonzero(np.diff(heard) == 1), np.flatnonzero(np.diff(heard) == -1)
    spans: Spans = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        low = pad + start - (fade if start == 0 else 0)
        high = pad + end + (fade if end == used else 0)
        if spans and low - spans[-1][1] < SHORTEST_GAP_FRAMES:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
    return spans


def fade_at_gaps(
    window: torch.Tensor, chunk: Chunk, spans: Iterable[tuple[int, int]], hop_length: int
) -> None:
    """Let the output ``window``, float32 ``(samples,)``, rise and fall in place where spans meet gaps."""
    (low, high), fade = wanted_spans(chunk, None)[0], round(CROSSFADE_SECONDS / 2 * 100)
    rise = _rise(fade * hop_length, window.device)
    for start, end in spans:
        if start > low:
            window[start * hop_length : (start + fade) * hop_length] *= rise
        if end < high:
            window[(end - fade) * hop_length : end * hop_length] *= rise.flip(0)


def _rise(samples: int, device: torch.device) -> torch.Tensor:
    """A ramp that adds up to one with its mirror image."""
    return torch.sin((torch.arange(samples, device=device) + 0.5) / samples * torch.pi / 2) ** 2


class Joiner:
    """Puts converted chunks into one waveform, with a short crossfade where two of them meet.

    Each chunk arrives with its context, of which half a crossfade is used on either side; so nothing
    is shortened. At the border of a gap (nothing converted beyond it) the same ramp fades to silence.
    """

    def __init__(self, total_samples_16k: int, sample_rate: int, device: torch.device) -> None:
        self._rate = sample_rate
        length = self._output_samples(aligned_length(total_samples_16k))
        self._length = length
        self.waveform = torch.zeros(length, device=device)
        self._half = round(CROSSFADE_SECONDS / 2 * sample_rate)
        self._ramp = _rise(2 * self._half, device)

    def _output_samples(self, samples_16k: int) -> int:
        # Exact: positions are whole f0 frames, and a frame is a whole number of output samples.
        return samples_16k // F0_HOP * (self._rate // 100)

    def clear(self) -> None:
        """Forget what was added."""
        self.waveform.zero_()

    def add(self, chunk: Chunk, window: torch.Tensor) -> None:
        """Add an output window, its context included: float32 ``(samples,)`` at the voice's rate."""
        pad = self._output_samples(chunk.pad)
        start, end = self._output_samples(chunk.start), self._output_samples(chunk.end)
        at_start, at_end = chunk.start == 0, end >= self._length
        left = 0 if at_start else self._half
        right = 0 if at_end else self._half
        piece = window[pad - left : pad + (end - start) + right].clone()
        if left:
            piece[: 2 * left] *= self._ramp
        if right:
            piece[-2 * right :] *= self._ramp.flip(0)
        self.waveform[start - left : end + right] += piece
