"""What repeats is accompaniment: the nearest-neighbour background of REPET-SIM."""

from __future__ import annotations

import numpy as np

from ultimate_rvc.separation.dsp.spectrum import HOP_LENGTH, SAMPLE_RATE, TINY, FloatArray

NEIGHBOURS = 11  # odd, so that the median is one of them
APART_FRAMES = round(0.46 * SAMPLE_RATE / HOP_LENGTH)  # neighbours must be different moments


def novelty(magnitude: FloatArray, rows: slice) -> FloatArray:
    """How much of each bin is not explained by similar moments, 0 to 1.

    Every frame is compared with all others (cosine similarity); the median over the most similar
    ones is the repeating background (Rafii and Pardo, 2012). All bins of ``magnitude`` ``(bins, frames)``
    decide what is similar; the answer is for ``rows`` of them, ``(rows, frames)``.
    """
    directions = magnitude / (np.linalg.norm(magnitude, axis=0, keepdims=True) + TINY)
    similarity = directions.T @ directions
    wanted = np.ascontiguousarray(magnitude[rows].T)  # one row per moment, to gather whole rows
    background = np.empty_like(wanted)
    for frame in range(wanted.shape[0]):
        background[frame] = np.median(wanted[_most_similar(similarity[frame])], axis=0)
    explained: FloatArray = np.clip(1 - background / (wanted + TINY), 0, 1).T
    return explained


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
