"""Which pieces are in which step: shuffled again every epoch, and the same whenever it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Pieces that share a batch differ in length by no more than this many frames where there are enough of
# them: a frame that is only padding costs as much as one that is heard.
BUCKET_FRAMES = 100


def epoch_batches(frames: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch, each of ``batch_size`` pieces of similar length.

    Parameters
    ----------
    frames : sequence of int
        Length of each piece, at least one.
    batch_size : int
        Pieces in a batch, over all processes.
    seed, epoch : int
        Nothing else decides, so that an epoch can be taken up again in its middle.

    Returns
    -------
    list of lists of int
        Indices of ``frames``. Each is there once; where the last batch is not full, some of this epoch's
        first pieces are there again, as all batches must weigh the same.
    """
    if not frames:
        raise ValueError("there are no pieces to make batches of")
    random = np.random.default_rng((seed, epoch))
    shuffled = [int(index) for index in random.permutation(len(frames))]
    # A stable sort: within a bucket the pieces stay shuffled.
    sorted_by_bucket = sorted(shuffled, key=lambda index: frames[index] // BUCKET_FRAMES)
    missing = -len(sorted_by_bucket) % batch_size
    repeated = [shuffled[place % len(shuffled)] for place in range(missing)]
    filled = sorted_by_bucket + repeated
    batches = [filled[start : start + batch_size] for start in range(0, len(filled), batch_size)]
    return [batches[place] for place in random.permutation(len(batches))]


def share_of(batch: Sequence[int], process: int, processes: int) -> list[int]:
    """The places in ``batch`` that belong to one of several processes; equally many for each."""
    size = len(batch) // processes
    return list(range(process * size, (process + 1) * size))
