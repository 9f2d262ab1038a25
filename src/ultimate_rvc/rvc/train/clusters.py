"""k-means over more vectors than fit into memory, on whatever device torch has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.progress import Progress

ROUNDS = 10  # faiss's number for the cells of an index; more change next to nothing
BLOCK_NUMBERS = 1 << 25  # of distances at once: 128 MB

FloatArray = NDArray[np.float32]


def cluster_centres(
    vectors: FloatArray,
    count: int,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> FloatArray:
    """Centres of ``count`` clusters of ``vectors``, by Lloyd's algorithm.

    Parameters
    ----------
    vectors
        Shape (vectors, dim), float32; a memory map is read in blocks, never as a whole.
    count
        From 1 to the number of vectors.
    seed
        Of the vectors to begin with: the same seed gives the same centres on a CPU.
    progress
        Hears the share that is done, as step "index".

    Returns
    -------
    float32, shape (count, dim)
    """
    generator = np.random.default_rng(seed)
    centres = _rows(vectors, generator.choice(len(vectors), count, replace=False)).to(device)
    for turn in range(ROUNDS):
        sums, members = torch.zeros_like(centres), torch.zeros(count, device=device)
        step = max(BLOCK_NUMBERS // count, 1)
        for start in range(0, len(vectors), step):
            if progress is not None:
                progress.report("index", (turn + start / len(vectors)) / ROUNDS)
            block = torch.from_numpy(np.array(vectors[start : start + step])).to(device)
            nearest = _nearest(block, centres)
            sums.index_add_(0, nearest, block)
            members += torch.bincount(nearest, minlength=count)
        empty = (members == 0).nonzero()[:, 0].cpu()
        centres = sums / members.clamp(min=1)[:, None]
        if len(empty):  # a centre that lost its vectors starts again at one of them
            chosen = generator.choice(len(vectors), len(empty), replace=False)
            centres[empty.to(device)] = _rows(vectors, chosen).to(device)
    return centres.cpu().numpy()


def _nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each vector; its own length adds the same to all of its distances."""
    return torch.addmm(centres.square().sum(1), vectors, centres.T, alpha=-2).argmin(1)


def _rows(vectors: FloatArray, places: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.array(vectors[np.sort(places)]))
