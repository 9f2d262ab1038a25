"""The f0 of a recording of any length, piece by piece, as if it had been computed in one go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.pitch.method import HOP_LENGTH, SAMPLE_RATE, PitchMethod, frame_count

CHUNK_SECONDS = 30.0
# Pieces start on a grid of 32 frames, where the five halvings of RMVPE's U-Net fall as in the whole.
FRAME_GRID = 32


@dataclass(frozen=True)
class Piece:
    """Samples of a recording, and which of the frames computed from them belong to the recording's f0."""

    samples: slice
    keep: slice


def grid_frames(seconds: float) -> int:
    """So many seconds in frames, rounded up to the grid."""
    return math.ceil(seconds * SAMPLE_RATE / HOP_LENGTH / FRAME_GRID) * FRAME_GRID


def pieces(samples: int, piece_seconds: float, context_seconds: float) -> Iterator[Piece]:
    """Cut so many samples into pieces that overlap by the context and together keep each frame once.

    What is no longer than a piece with its context on both sides is not cut.
    """
    frames = frame_count(samples)
    length, context = max(FRAME_GRID, grid_frames(piece_seconds)), grid_frames(context_seconds)
    if frames <= length + 2 * context:
        length = frames
    for start in range(0, frames, length):
        end = min(start + length, frames)
        first = max(0, start - context)
        # Half a hop short of the next frame's centre, so that the piece has exactly its own frames.
        end_sample = min(samples, (end + context) * HOP_LENGTH - HOP_LENGTH // 2)
        yield Piece(slice(first * HOP_LENGTH, end_sample), slice(start - first, end - first))


def extract_f0(
    method: PitchMethod,
    waveform_16k: Tensor,
    *,
    chunk_seconds: float = CHUNK_SECONDS,
    silent_below: float | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The f0 of a recording, in memory that does not grow with its length.

    ``(samples,)`` at 16 kHz to ``(samples // 160 + 1,)`` in Hz, as ``method.f0_hz`` has them; docs/pitch.md says
    how closely it agrees with that of the whole. ``chunk_seconds`` is the length of the pieces, without the
    context that each gets on both sides. A piece whose samples, context included, all stay below ``silent_below``
    is unvoiced without being computed; left out, every piece is computed. ``progress`` receives the share that is
    done, as step "pitch".
    """
    samples = waveform_16k.shape[0]
    f0_hz = torch.zeros(frame_count(samples), device=waveform_16k.device)
    method = method.for_recording(waveform_16k)
    done = 0
    for piece in pieces(samples, chunk_seconds, method.context_seconds):
        if progress is not None:
            progress.report("pitch", done / f0_hz.shape[0], method.name)
        heard = waveform_16k[piece.samples]
        count = piece.keep.stop - piece.keep.start
        if silent_below is None or heard.abs().amax() >= silent_below:
            f0_hz[done : done + count] = method.f0_hz(heard)[piece.keep]
        done += count
    if progress is not None:
        progress.report("pitch", 1.0, method.name)
    return f0_hz
