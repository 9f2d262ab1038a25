"""The index of a voice: the content features it was trained on, to be found by their neighbours."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.clusters import cluster_centres
from ultimate_rvc.rvc.train.settings import IndexAlgorithm

MOST_VECTORS = 200_000  # RVC's: more make the index large and slow, and no better
MOST_CENTRES = 10_000  # that then stand for them
VECTORS_PER_CENTRE = MOST_VECTORS // MOST_CENTRES
VECTORS_PER_CELL = 39  # at least: what faiss asks for
CELLS_PER_ROOT = 16
ADDED_VECTORS = 8192  # at once

FloatArray = NDArray[np.float32]


def cell_count(vectors: int) -> int:
    """Cells of an index of so many vectors: RVC's formula, and at least one."""
    return max(min(int(CELLS_PER_ROOT * math.sqrt(vectors)), vectors // VECTORS_PER_CELL), 1)


def build_index(
    features: FloatArray,
    path: Path,
    algorithm: IndexAlgorithm = IndexAlgorithm.AUTO,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> int:
    """Write the index ``path``, of faiss's kind ``IVFn,Flat``, as every RVC tool reads it.

    Parameters
    ----------
    features
        Shape (frames, dim), float32, at 50 Hz; a memory map is read in blocks.
    path
        Appears when the index is complete; its folder is made.
    algorithm
        ``Faiss``: every frame. ``KMeans``: centres of clusters, one for 20 frames, 10000 at most.
        ``Auto``: KMeans from 200000 frames on.
    device
        Where clusters are found.
    seed
        The same features and seed give the same index on a CPU.
    progress
        Hears the share that is done, as step "index"; its ``cancel`` ends the work.

    Returns
    -------
    int
        Vectors in the index.

    Raises
    ------
    TrainingError
        There are no features, or some are not numbers.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise TrainingError("There are no features to build an index from: extract them first.")
    progress = progress or Progress()
    algorithm = IndexAlgorithm(algorithm)
    is_automatic = algorithm is IndexAlgorithm.AUTO and len(features) > MOST_VECTORS
    begun = 0.0
    if algorithm is IndexAlgorithm.KMEANS or is_automatic:
        count = max(min(len(features) // VECTORS_PER_CENTRE, MOST_CENTRES), 1)
        part = progress.part("index", 0.0, 0.5)
        features = cluster_centres(features, count, device=device, seed=seed, progress=part)
        begun = 0.5
    part = progress.part("index", begun, 0.9)
    cells = cluster_centres(features, cell_count(len(features)), device=device, seed=seed, progress=part)
    _write(features, cells, path, progress)
    progress.report("index", 1.0)
    return len(features)


def _write(features: FloatArray, cells: FloatArray, path: Path, progress: Progress) -> None:
    if sys.platform == "darwin":
        # torch and faiss bring a copy of libomp each; on macOS the second to start ends the process
        # unless this is set, which is safe as long as faiss stays on one thread.
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    import faiss

    faiss.omp_set_num_threads(1 if sys.platform == "darwin" else torch.get_num_threads())
    quantizer = faiss.IndexFlatL2(features.shape[1])
    quantizer.add(cells)
    index = faiss.IndexIVFFlat(quantizer, features.shape[1], len(cells), faiss.METRIC_L2)
    index.train(cells)  # finds its cells there already, and takes them
    index.nprobe = 1
    for start in range(0, len(features), ADDED_VECTORS):
        progress.report("index", 0.9 + 0.1 * start / len(features))
        block = np.array(features[start : start + ADDED_VECTORS])
        if not np.isfinite(block).all():
            raise TrainingError(
                "Some features are not numbers, so no index can be built: extract them again."
            )
        index.add(block)
    with atomic_path(path) as unfinished:
        faiss.write_index(index, str(unfinished))
