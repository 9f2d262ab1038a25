"""Retrieval: features of the source are drawn towards those the voice was trained on.

One retriever per voice, read once. :class:`FaissRetriever` is the plain one and what other tools do;
:class:`DeviceRetriever` searches exactly, on the device where the features are.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer.devices import is_out_of_memory
from ultimate_rvc.rvc.infer.optimization.index_file import check_index_file

log = logging.getLogger(__name__)

NEIGHBOURS = 8
BLOCK_FRAMES = 1024  # frames searched at once: bounds the memory for their neighbours to 25 MB
# Of DeviceRetriever. Distances by matrix product are rounded, so four times the neighbours are measured anew.
CANDIDATES = 4 * NEIGHBOURS
BLOCK_VECTORS = 16_384  # vectors compared at once: 50 MB centred, and 64 MB of distances to BLOCK_FRAMES
REFINED_FRAMES = 256  # frames whose candidates are gathered at once: 25 MB
DIRECT_FRAMES = 32  # frames compared with every vector without a matrix product
FLOAT32_ROUNDING = 2.0**-23


class Retriever(Protocol):
    """The vectors of a voice's index, and the blend of features with the nearest of them."""

    @property
    def dim(self) -> int:
        """Numbers per vector: those of the content features of the voice."""
        ...

    @property
    def size(self) -> int:
        """Vectors in the index."""
        ...

    def blend(self, features: Tensor, index_rate: float) -> Tensor:
        """``index_rate`` of the weighted mean of each frame's neighbours, the rest of the frame itself.

        Parameters
        ----------
        features
            Shape ``(frames, dim)``, on any device.
        index_rate
            0 (the features as they are) to 1.

        Returns
        -------
        Tensor
            Same shape, dtype and device.

        Raises
        ------
        VoiceFileError
            ``features`` have another dimension than the index.
        """
        ...


class FaissRetriever:
    """Eight nearest neighbours by faiss on the CPU, in as many cells as the file says (RVC: one).

    Each weighs the inverse square of the squared distance that faiss gives, as in every RVC tool. A frame
    that is in the index becomes what it is; a frame without any neighbour stays itself.
    """

    def __init__(self, index: Any, name: str) -> None:
        self._index = index
        self._name = name
        self._vectors: NDArray[np.float32] = index.reconstruct_n(0, index.ntotal)

    @property
    def dim(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def size(self) -> int:
        return int(self._vectors.shape[0])

    def on_device(self, device: torch.device) -> DeviceRetriever:
        """The same vectors, searched exactly on ``device``; the cells of the file are not used."""
        return DeviceRetriever(self._vectors, self._name, device)

    def blend(self, features: Tensor, index_rate: float) -> Tensor:
        check_dim(self, self._name, features)
        if index_rate == 0:
            return features
        frames = features.detach().to("cpu", torch.float32).numpy()
        means = np.empty_like(frames)
        for start in range(0, len(frames), BLOCK_FRAMES):
            means[start : start + BLOCK_FRAMES] = self._neighbour_means(frames[start : start + BLOCK_FRAMES])
        moved = torch.from_numpy(means).to(features)
        return features + index_rate * (moved - features)

    def _neighbour_means(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        import faiss

        # Per calling thread, so it has to be said here.
        faiss.omp_set_num_threads(_search_threads())
        squared_distances, ids = self._index.search(np.ascontiguousarray(frames), min(NEIGHBOURS, self.size))
        weights = neighbour_weights(squared_distances, ids)
        means: NDArray[np.float32] = np.einsum("fk,fkd->fd", weights, self._vectors[ids])
        means[~weights.any(axis=1)] = frames[~weights.any(axis=1)]
        return means


def neighbour_weights(squared_distances: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights ``(frames, neighbours)`` in proportion to ``1 / s**2``, where s is a squared distance.

    They sum to 1 in each row; neighbours at distance 0 share all of it, missing ones (id -1) get none, and
    a row without any gets only zeros.
    """
    present = (ids >= 0) & np.isfinite(squared_distances)
    squared = np.where(present, squared_distances, np.inf).astype(np.float64)
    nearest = squared.min(axis=1, keepdims=True)
    # In units of the nearest, which neither overflows nor divides by a distance of 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(nearest > 0, nearest / squared, squared == 0)
    weights = np.where(present, ratio, 0.0) ** 2
    total = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.asarray(shares, np.float32)


class DeviceRetriever:
    """Eight nearest neighbours among all vectors, searched where the features are.

    The squared distance of a frame to every vector comes from one matrix product,
    ``|a|^2 + |b|^2 - 2ab``, of data centred on the block's mean, which costs digits where vectors are
    nearly the same. So the best :data:`CANDIDATES` are measured again as ``sum((a - b)^2)``, and a frame
    for which rounding could have hidden a nearer vector is compared with all of them that way.

    Weights, and what becomes of frames in the index or without neighbours, are as in
    :class:`FaissRetriever`.

    Parameters
    ----------
    vectors
        Shape ``(size, dim)``; copied to ``device`` once.
    name
        Of the index, for messages.
    """

    def __init__(self, vectors: NDArray[np.float32], name: str, device: torch.device) -> None:
        self._vectors = torch.from_numpy(vectors).to(device)
        self._name = name
        log.info("Loaded %d embeddings to %s for GPU-accelerated retrieval", len(vectors), device)

    @property
    def dim(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def size(self) -> int:
        return int(self._vectors.shape[0])

    def blend(self, features: Tensor, index_rate: float) -> Tensor:
        check_dim(self, self._name, features)
        if index_rate == 0 or len(features) == 0:
            return features
        frames = features.detach().to(self._vectors.device, torch.float32)
        squared, ids = self.search(frames)
        weights = _device_weights(squared)
        moved = torch.cat(
            [
                torch.einsum("fk,fkd->fd", weights[rows], self._vectors[ids[rows]])
                for rows in _slices(len(frames), REFINED_FRAMES)
            ]
        )
        moved = torch.where(weights.any(dim=1, keepdim=True), moved, frames).to(features)
        return features + index_rate * (moved - features)

    def search(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances and ids of the nearest vectors, nearest first; ``(frames, min(8, size))``."""
        parts = [self._search_block(frames[rows]) for rows in _slices(len(frames), BLOCK_FRAMES)]
        return torch.cat([squared for squared, _ in parts]), torch.cat([ids for _, ids in parts])

    def _search_block(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        rough, ids, rounding = self._candidates(frames)
        squared, ids = self._refine(frames, ids)
        if self.size > CANDIDATES:
            # Every vector that is no candidate is at least this far away.
            unsafe = (squared[:, -1] > rough[:, -1] - rounding).nonzero()[:, 0]
            for rows in _slices(len(unsafe), DIRECT_FRAMES):
                part = unsafe[rows]
                squared[part], ids[part] = self._search_directly(frames[part])
        return squared, ids

    def _candidates(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest vectors by matrix product: squared distances, ids, and how wrong a distance may be."""
        best = frames.new_empty(len(frames), 0)
        ids = torch.empty(len(frames), 0, dtype=torch.int64, device=frames.device)
        rounding = frames.new_zeros(len(frames))
        for rows in _slices(self.size, BLOCK_VECTORS):
            block = self._vectors[rows]
            centre = block.mean(dim=0)
            block, centred = block - centre, frames - centre
            block_squares, frame_squares = block.square().sum(dim=1), centred.square().sum(dim=1)
            squared = torch.addmm(block_squares, centred, block.T, alpha=-2).add_(frame_squares[:, None])
            found, places = squared.topk(min(CANDIDATES, block.shape[0]), dim=1, largest=False)
            best, ids = torch.cat([best, found], dim=1), torch.cat([ids, places + rows.start], dim=1)
            best, places = best.topk(min(CANDIDATES, best.shape[1]), dim=1, largest=False)
            ids = ids.gather(1, places)
            rounding = torch.maximum(rounding, frame_squares + block_squares.max())
        # The error of a sum of `dim` products grows with the root of their number; 4 is to be safe.
        return best, ids, rounding * (4 * FLOAT32_ROUNDING * self.dim**0.5)

    def _refine(self, frames: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest of the candidates ``ids``, by differences instead of products."""
        squared = torch.cat(
            [
                (self._vectors[ids[rows]] - frames[rows, None]).square().sum(dim=2)
                for rows in _slices(len(frames), REFINED_FRAMES)
            ]
        )
        squared, places = squared.topk(min(NEIGHBOURS, ids.shape[1]), dim=1, largest=False)
        return squared, ids.gather(1, places)

    def _search_directly(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        direct = torch.cdist(frames, self._vectors, compute_mode="donot_use_mm_for_euclid_dist")
        _, ids = direct.topk(min(CANDIDATES, self.size), dim=1, largest=False)
        return self._refine(frames, ids)


def _device_weights(squared: Tensor) -> Tensor:
    """:func:`neighbour_weights` on the device; a distance that is no number means no neighbour."""
    present = squared.isfinite()
    squared = squared.where(present, torch.inf)
    nearest = squared.min(dim=1, keepdim=True).values
    ratio = torch.where(nearest > 0, nearest / squared, (squared == 0).to(squared.dtype))
    weights = torch.where(present, ratio, 0.0).square()
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights / total, 0.0)


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def check_dim(retriever: Retriever, name: str, features: Tensor) -> None:
    """Raise :class:`VoiceFileError` unless ``features`` are as long as the vectors of the index."""
    if features.shape[-1] != retriever.dim:
        raise VoiceFileError(
            f"The index {name} holds vectors of {retriever.dim} numbers, but the voice's features have "
            f"{features.shape[-1]}: it belongs to another voice; convert without it."
        )


def read_index(path: Path) -> FaissRetriever:
    """Read a voice's ``.index`` file.

    Raises
    ------
    VoiceFileError
        The file is absent, no FAISS index, damaged, or of a kind that voices do not use.
    """
    path = Path(path)
    check_index_file(path)
    if sys.platform == "darwin":
        # torch and faiss bring a copy of libomp each; on macOS the second to start ends the process
        # unless this is set. It is safe as long as faiss stays on one thread: see _search_threads.
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    import faiss

    try:
        return FaissRetriever(faiss.read_index(str(path)), str(path))
    except (RuntimeError, MemoryError) as error:
        raise VoiceFileError(
            f"The index {path} is damaged: build or fetch it again, or convert without an index."
        ) from error


def open_retriever(path: Path, device: torch.device | None) -> Retriever:
    """Read an ``.index`` file for a search on ``device``, or by faiss when that is ``None``.

    Raises
    ------
    VoiceFileError
        As :func:`read_index`.
    """
    index = read_index(path)
    if device is None:
        return index
    try:
        return index.on_device(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.warning(
            "%s has no memory left for the %d vectors of %s; faiss searches them.", device, index.size, path
        )
        return index


def _search_threads() -> int:
    """Threads for faiss: torch's number, but one on macOS, where two copies of libomp crash with more."""
    return 1 if sys.platform == "darwin" else torch.get_num_threads()
