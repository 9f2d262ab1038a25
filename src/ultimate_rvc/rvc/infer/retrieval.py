"""Retrieval: features of the source are drawn towards those the voice was trained on.

One retriever per voice, read once. :class:`FaissRetriever` is the plain one and what other tools do;
``optimization/device_retrieval.py`` searches exactly, on the device where the features are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer.index_file import check_index_file

NEIGHBOURS = 8
VOICED_ABOVE_HZ = 1.0  # "protect" takes frames below this as unvoiced
PROTECT_OFF = 0.5
FAISS_FRAMES = 1024  # frames that faiss searches at once: bounds the memory for their neighbours to 25 MB


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

    @property
    def needs_exact(self) -> Tensor | None:
        """Whether a blend since :meth:`forget_doubts` may have missed a neighbour: bool ``()`` on the device.

        Reading its value waits for the device, so that is for the end of a job; if it is true, the job's
        blends have to be repeated with ``exact=True``. ``None`` where all of them were exact anyway.
        """
        ...

    def forget_doubts(self) -> None:
        """Call this before a job: ``needs_exact`` becomes ``None``."""
        ...

    def blend(self, features: Tensor, index_rate: float, *, exact: bool = False) -> Tensor:
        """``index_rate`` of the weighted mean of each frame's neighbours, the rest of the frame itself.

        Parameters
        ----------
        features
            Shape ``(frames, dim)``, on any device.
        index_rate
            0 (the features as they are) to 1.
        exact
            Look at once for neighbours that rounding may have hidden, at the price of waiting for the
            device, instead of noting in ``needs_exact`` that there may be some.

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
        import faiss

        self._index = index
        self._name = name
        if isinstance(index, faiss.IndexIVF):
            # Where the vector of an id is. One that came with the file is not to be trusted.
            index.set_direct_map_type(index.direct_map.NoMap)
            index.make_direct_map()

    @property
    def dim(self) -> int:
        return int(self._index.d)

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    @property
    def needs_exact(self) -> None:
        return None

    def forget_doubts(self) -> None:
        """There are none."""

    def blend(self, features: Tensor, index_rate: float, *, exact: bool = False) -> Tensor:
        """Float features ``(frames, dim)`` moved towards the index: see :meth:`Retriever.blend`."""
        check_dim(self, self._name, features)
        if index_rate == 0:
            return features
        frames = features.detach().to("cpu", torch.float32).numpy()
        means = np.empty_like(frames)
        for start in range(0, len(frames), FAISS_FRAMES):
            means[start : start + FAISS_FRAMES] = self._neighbour_means(frames[start : start + FAISS_FRAMES])
        moved = torch.from_numpy(means).to(features)
        return features + index_rate * (moved - features)

    def _neighbour_means(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        import faiss

        # Per calling thread, so it has to be said here.
        faiss.omp_set_num_threads(_search_threads())
        squared_distances, ids = self._index.search(np.ascontiguousarray(frames), min(NEIGHBOURS, self.size))
        weights = neighbour_weights(squared_distances, ids)
        # Missing neighbours (id -1) weigh nothing, but every id that is looked up has to exist.
        vectors = self._index.reconstruct_batch(np.maximum(ids, 0).ravel()).reshape(*ids.shape, self.dim)
        means: NDArray[np.float32] = np.einsum("fk,fkd->fd", weights, vectors)
        means[~weights.any(axis=1)] = frames[~weights.any(axis=1)]
        return means


def neighbour_weights(squared_distances: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Float32 weights ``(frames, neighbours)`` in proportion to ``1 / s**2``, where s is a squared distance.

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


def blend_protected(blended: Tensor, features: Tensor, f0_hz: Tensor | None, protect_rate: float) -> Tensor:
    """Unvoiced frames with ``protect_rate`` of the index: consonants and breath stay the source's.

    ``blended`` and ``features``, with and without the index, are float32 ``(frames, dim)`` at 100 Hz. A voice
    without f0 (``f0_hz``, ``(frames,)``, is None) protects nothing, nor does a rate of 0.5.
    """
    if protect_rate >= PROTECT_OFF or f0_hz is None:
        return blended
    share = torch.where(f0_hz < VOICED_ABOVE_HZ, protect_rate, 1.0)[:, None]
    return blended * share + features * (1 - share)


def check_dim(retriever: Retriever, name: str, features: Tensor) -> None:
    """Raise :class:`VoiceFileError` unless float ``features`` ``(frames, dim)`` fit the index."""
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


def _search_threads() -> int:
    """Threads for faiss: torch's number, but one on macOS, where two copies of libomp crash with more."""
    return 1 if sys.platform == "darwin" else torch.get_num_threads()
