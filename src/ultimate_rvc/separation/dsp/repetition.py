"""What repeats is accompaniment: the nearest-neighbour background of REPET-SIM."""

from __future__ import annotations

import numpy as np

from ultimate_rvc.separation.dsp.spectrum import HOP_LENGTH, SAMPLE_RATE, TINY, FloatArray

NEIGHBOURS = 11  # odd, so that the median is one of them
APART_FRAMES = round(0.46 * SAMPLE_RATE / HOP_LENGTH)  # neighbours must be different moments


def novelty(magnitude: FloatArray, bins: slice) -> FloatArray:
    """How much of each bin is not explained by similar moments, 0 to 1.

    Every frame is compared with all others (cosine similarity); the median over the most similar
    ones is the repeating background (Rafii and Pardo, 2012). All bins of ``magnitude`` ``(frames, all bins)``
    decide what is similar; the answer is for ``bins`` of them, ``(frames, bins)``.
    """
    directions = magnitude / (np.linalg.norm(magnitude, axis=1, keepdims=True) + TINY)
    similarity = directions @ directions.T
    wanted = magnitude[:, bins]
    background = np.empty_like(wanted)
    for frame, similar_to in enumerate(similarity):
        background[frame] = _median(wanted[_most_similar(similar_to)])
    explained: FloatArray = np.clip(1 - background / (wanted + TINY), 0, 1)
    return explained


def _median(moments: FloatArray) -> FloatArray:
    """Over the first axis; ``np.median`` looks for what is not a number as well, which takes longer."""
    middle = len(moments) // 2
    if len(moments) % 2 == 0:
        return np.median(moments, axis=0).astype(np.float32)
    median: FloatArray = np.partition(moments, middle, axis=0)[middle]
    return median


def _most_similar(similarity: FloatArray) -> list[int]:
    remaining = similarity.copy()
    found: list[int] = []
    while len(found) < NEIGHBOURS:
        best = int(remaining.argmax())
        if found and remaining[best] <= 0:
            break
        found.append(best)
        remaining[max(0, best - APART_FRAMES) : best + APART_FRAMES + 1] = -1
    return found
