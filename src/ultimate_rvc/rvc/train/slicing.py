"""Where recordings are cut into pieces.

Every cut falls on a multiple of 20 ms, the frames of the content encoders, so that features, pitch and
samples of a piece begin and end together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.rvc.train.data_settings import PreprocessSettings, SplitMethod

FRAMES_PER_SECOND = 50
LEVEL_FRAMES = 3  # 60 ms, over which loudness is averaged
SILENCE_DB = -42.0  # below full scale, or below the peak of a recording that stays under full scale
SHORTEST_SILENCE_FRAMES = 20  # 0.4 s: shorter ones are left inside a piece
SHORTEST_CLIP_FRAMES = 75  # 1.5 s: a silence that comes earlier does not cut
KEPT_SILENCE_FRAMES = 25  # 0.5 s at most on each side of a cut
SHORTEST_PIECE_FRAMES = 20  # 0.4 s: what a training step looks at
LEAST_SOUNDING_FRAMES = 5  # 0.1 s: a piece with less holds no word

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Span = tuple[int, int]


def levels(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """RMS of 60 ms around each whole frame of 20 ms of ``waveform`` ``(samples,)``."""
    frame = sample_rate // FRAMES_PER_SECOND
    count = len(waveform) // frame
    framed = waveform[: count * frame].reshape(count, frame)
    energies = np.einsum("fs,fs->f", framed, framed, dtype=np.float64) / frame
    # Sums of three neighbours by the running sum; at the ends there are fewer of them.
    running = np.concatenate([[0.0], np.cumsum(energies)])
    first = np.maximum(np.arange(count) - LEVEL_FRAMES // 2, 0)
    last = np.minimum(np.arange(count) + LEVEL_FRAMES // 2 + 1, count)
    means = (running[last] - running[first]) / (last - first)
    level: FloatArray = np.sqrt(np.maximum(means, 0)).astype(np.float32)
    return level


def sounding(waveform: FloatArray, sample_rate: int) -> BoolArray:
    """Which frames of 20 ms ``(frames,)`` are louder than -42 dB, counted from the peak or from full scale."""
    return _sounding(waveform, levels(waveform, sample_rate))


def _sounding(waveform: FloatArray, level: FloatArray) -> BoolArray:
    # Relative to the peak: a quiet recording is cut like the same recording made louder.
    peak = max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))
    return level > min(peak, 1.0) * 10 ** (SILENCE_DB / 20)


def cut(waveform: FloatArray, sample_rate: int, settings: PreprocessSettings) -> list[list[Span]]:
    """The pieces of ``waveform`` ``(samples,)``, as first and last + 1 frame of 20 ms.

    Pieces that follow each other without a silence between them stand in one list; they overlap by
    ``settings.overlap_len``. Pieces in which next to nothing sounds, or shorter than 0.4 s, are left out.
    """
    level = levels(waveform, sample_rate)
    sounds = _sounding(waveform, level)
    whole = (0, len(sounds))
    if settings.split_method == SplitMethod.SKIP:
        clips = [[whole]]
    elif settings.split_method == SplitMethod.SIMPLE:
        clips = [list(_equal_pieces(whole, settings, keep_tail=False))]
    else:
        spans = _between_silences(level, ~sounds)
        clips = [list(_equal_pieces(span, settings, keep_tail=True)) for span in spans]
    # Where a piece is left out, those before and after it no longer follow each other.
    return [
        list(pieces)
        for clip in clips
        for kept, pieces in groupby(clip, lambda piece: _is_worth_keeping(piece, sounds))
        if kept
    ]


def _is_worth_keeping(piece: Span, sounds: BoolArray) -> bool:
    start, end = piece
    return end - start >= SHORTEST_PIECE_FRAMES and int(sounds[start:end].sum()) >= LEAST_SOUNDING_FRAMES


def covered_frames(clip: list[Span]) -> int:
    """Frames in which a clip's pieces lie, overlaps counted once."""
    shared = sum(max(left[1] - right[0], 0) for left, right in pairwise(clip))
    return sum(end - start for start, end in clip) - shared


def _equal_pieces(span: Span, settings: PreprocessSettings, *, keep_tail: bool) -> Iterator[Span]:
    """Pieces of ``chunk_len``; of the tail, one that is up to ``overlap_len`` longer, or none."""
    length = round(settings.chunk_len * FRAMES_PER_SECOND)
    overlap = round(settings.overlap_len * FRAMES_PER_SECOND)
    start, end = span
    while end - start > length + overlap:
        yield start, start + length
        start += length - overlap
    if keep_tail:
        yield start, end
    elif end - start >= length:
        yield start, start + length


def _between_silences(level: FloatArray, silent: BoolArray) -> Iterator[Span]:
    """Clips between silences, with up to half a second of silence at their ends."""
    start = 0
    for first, last in _runs(silent):
        if last - first < SHORTEST_SILENCE_FRAMES:
            continue
        if first > 0 and last - start < SHORTEST_CLIP_FRAMES:
            continue
        end, following = _cuts(level, first, last)
        if first > 0:
            yield start, end
        start = following
        if last == len(level):
            return
    yield start, len(level)


def _cuts(level: FloatArray, first: int, last: int) -> Span:
    """Where the clip before the silence ``[first, last)`` ends and the next begins: where it is quietest."""
    if last - first <= KEPT_SILENCE_FRAMES:
        quietest = first + int(level[first:last].argmin())
        return quietest, quietest
    end = first + int(level[first : first + KEPT_SILENCE_FRAMES].argmin())
    begin = last - KEPT_SILENCE_FRAMES
    return end, begin + int(level[begin:last].argmin())


def _runs(flags: BoolArray) -> list[Span]:
    """First and last + 1 place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
