"""Retrieval: features of the source are drawn towards those the voice was trained on.

One retriever per voice, read once. :class:`FaissRetriever` is the plain one and what other tools do;
:class:`DeviceRetriever` searches exactly, on the device where the features are.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer.devices import is_out_of_memory, release_cached_memory
from ultimate_rvc.rvc.infer.optimization.index_file import IndexLayout, check_index_file

log = logging.getLogger(__name__)

NEIGHBOURS = 8
FAISS_FRAMES = 1024  # frames that faiss searches at once: bounds the memory for their neighbours to 25 MB
# Of DeviceRetriever. Distances by matrix product are rounded, so four times the neighbours are measured anew.
CANDIDATES = 4 * NEIGHBOURS
# On a GPU every operation waits to be launched, so the blocks are as large as the memory of a laptop allows.
BLOCK_FRAMES = 2048  # frames searched at once: 50 MB for their neighbours
BLOCK_VECTORS = 16_384  # vectors compared at once: 50 MB centred, and 128 MB of distances to BLOCK_FRAMES
REFINED_FRAMES = 512  # frames whose candidates are gathered at once: 50 MB
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

    @property
    def needs_exact(self) -> Tensor | None:
        """Whether a blend since :meth:`forget_doubts` may have missed a neighbour: a bool on the device.

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
    ``|a|^2 + |b|^2 - 2ab``, of data centred on the mean of the vectors, which costs digits where vectors
    are nearly the same. So the best :data:`CANDIDATES` are measured again as ``sum((a - b)^2)``, and
    whether rounding could have hidden a nearer vector is known for every frame. Such a frame is compared
    with all vectors that way: at once where that can be asked without waiting (on the CPU) or is asked
    for (``exact``), else the device notes it in ``needs_exact``. It takes vectors that are closer to each
    other than rounding, more than :data:`CANDIDATES` of them: silence that was left in a voice's recordings.

    Weights, and what becomes of frames in the index or without neighbours, are as in
    :class:`FaissRetriever`.

    Parameters
    ----------
    vectors
        Shape ``(size, dim)``, float32, on the device to search on; kept, not copied.
    name
        Of the index, for messages.
    """

    def __init__(self, vectors: Tensor, name: str) -> None:
        self._vectors = vectors
        self._name = name
        # The vectors themselves stay as they are: centred ones would have lost digits for good. Centring a
        # block of them again costs little beside its product.
        self._centre = vectors.mean(dim=0)
        self._squares = torch.cat(
            [
                (vectors[rows] - self._centre).square_().sum(dim=1)
                for rows in _slices(len(vectors), BLOCK_VECTORS)
            ]
        )
        self._host_waits_free = vectors.device.type == "cpu"
        self._needs_exact: Tensor | None = None
        log.info("Loaded %d embeddings to %s for GPU-accelerated retrieval", self.size, vectors.device)

    @classmethod
    def load(cls, layout: IndexLayout, device: torch.device) -> DeviceRetriever:
        """Read the vectors of a checked file to ``device``, which is the only place that holds them all."""
        vectors = torch.empty(layout.size, layout.dim, device=device)
        for ids, block in layout.blocks(BLOCK_VECTORS):
            vectors[torch.from_numpy(ids).to(device)] = torch.from_numpy(block).to(device)
        return cls(vectors, str(layout.path))

    @property
    def dim(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def size(self) -> int:
        return int(self._vectors.shape[0])

    @property
    def needs_exact(self) -> Tensor | None:
        return self._needs_exact

    def forget_doubts(self) -> None:
        self._needs_exact = None

    def blend(self, features: Tensor, index_rate: float, *, exact: bool = False) -> Tensor:
        check_dim(self, self._name, features)
        if index_rate == 0 or len(features) == 0:
            return features
        frames = features.detach().to(self._vectors.device, torch.float32)
        moved = torch.cat(
            [self._neighbour_means(frames[rows], exact) for rows in _slices(len(frames), BLOCK_FRAMES)]
        )
        moved = moved.to(features)
        return features + index_rate * (moved - features)

    def search(self, frames: Tensor, *, exact: bool = False) -> tuple[Tensor, Tensor]:
        """Squared distances and ids of the nearest vectors, nearest first; ``(frames, min(8, size))``.

        ``frames`` are float32 and on the device of the vectors; ``exact`` as in :meth:`blend`.
        """
        parts = [self._search_block(frames[rows], exact) for rows in _slices(len(frames), BLOCK_FRAMES)]
        return torch.cat([squared for squared, _ in parts]), torch.cat([ids for _, ids in parts])

    def _neighbour_means(self, frames: Tensor, exact: bool) -> Tensor:
        squared, ids = self._search_block(frames, exact)
        weights = _device_weights(squared)
        # No matrix product, which might be one of TF32.
        means = self._vectors[ids].mul_(weights[:, :, None]).sum(dim=1)
        return torch.where(weights.any(dim=1, keepdim=True), means, frames)

    def _search_block(self, frames: Tensor, exact: bool) -> tuple[Tensor, Tensor]:
        centred = frames - self._centre
        with _float32_products(frames.device):
            rough, ids = self._candidates(centred)
        squared, ids = self._refine(frames, ids)
        if self.size > CANDIDATES:
            doubtful = self._doubtful(squared[:, -1], rough[:, -1], centred.square().sum(dim=1))
            if exact or self._host_waits_free:
                self._search_directly(frames, doubtful, squared, ids)
            else:
                found = doubtful.any()
                self._needs_exact = found if self._needs_exact is None else self._needs_exact | found
        return squared, ids

    def _candidates(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest vectors by matrix product: squared distances less the frame's own square, and ids."""
        rough, ids = [], []
        for rows in _slices(self.size, BLOCK_VECTORS):
            block = self._vectors[rows] - self._centre
            products = torch.addmm(self._squares[rows], centred, block.T, alpha=-2)
            found, places = products.topk(min(CANDIDATES, len(block)), dim=1, largest=False, sorted=False)
            rough.append(found)
            ids.append(places + rows.start)
        best, places = torch.cat(rough, dim=1).topk(min(CANDIDATES, self.size), dim=1, largest=False)
        return best, torch.cat(ids, dim=1).gather(1, places)

    def _doubtful(self, eighth: Tensor, last_rough: Tensor, frame_squares: Tensor) -> Tensor:
        """Frames that may have a neighbour nearer than the eighth found which is no candidate; bool.

        The error of a product of ``dim`` numbers grows with the root of ``dim`` and with the squares of
        both factors. A vector nearer than the eighth is no further from the centre than frame and eighth
        together; every vector that is no candidate has a rough distance of at least the last candidate's.
        """
        reach = frame_squares.sqrt() + eighth.sqrt()
        rounding = (frame_squares + reach.square()) * (FLOAT32_ROUNDING * (math.sqrt(self.dim) + 4))
        return (eighth > last_rough + frame_squares - rounding) & (eighth > 0)

    def _refine(self, frames: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest of the candidates ``ids``, by differences instead of products."""
        squared = torch.cat(
            [
                self._vectors[ids[rows]].sub_(frames[rows, None]).square_().sum(dim=2)
                for rows in _slices(len(frames), REFINED_FRAMES)
            ]
        )
        squared, places = squared.topk(min(NEIGHBOURS, ids.shape[1]), dim=1, largest=False)
        return squared, ids.gather(1, places)

    def _search_directly(self, frames: Tensor, doubtful: Tensor, squared: Tensor, ids: Tensor) -> None:
        """Put the true neighbours of the ``doubtful`` frames in their places in ``squared`` and ``ids``."""
        places = doubtful.nonzero()[:, 0]  # here the host waits for the device
        for rows in _slices(len(places), DIRECT_FRAMES):
            part = frames[places[rows]]
            direct = torch.cdist(part, self._vectors, compute_mode="donot_use_mm_for_euclid_dist")
            nearest = direct.topk(CANDIDATES, dim=1, largest=False).indices
            squared[places[rows]], ids[places[rows]] = self._refine(part, nearest)


@contextmanager
def _float32_products(device: torch.device) -> Iterator[None]:
    """Matrix products in float32, whatever autocast, TF32 and bfloat16 are set to outside."""
    products, name, plain = _product_precision(device)
    before = getattr(products, name, plain)
    with _autocast_off(device):
        if before == plain:
            yield
            return
        setattr(products, name, plain)
        try:
            yield
        finally:
            setattr(products, name, before)


def _product_precision(device: torch.device) -> tuple[Any, str, object]:
    """Where torch keeps the precision of float32 products on ``device``, and its value for float32."""
    if device.type != "cuda":  # torch 2.2 has no such setting for a CPU, and none has one for MPS
        return getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision", "ieee"
    matmul = torch.backends.cuda.matmul
    try:
        matmul.allow_tf32  # noqa: B018 - raises
    except RuntimeError:  # it was set by the newer name, and torch allows no mixture
        return matmul, "fp32_precision", "ieee"
    return matmul, "allow_tf32", False


def _autocast_off(device: torch.device) -> AbstractContextManager[Any]:
    try:
        return torch.autocast(device.type, enabled=False)
    except RuntimeError:  # torch 2.2 has none for MPS, so it cannot be on
        return nullcontext()


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
    if device is None:
        return read_index(path)
    layout = check_index_file(path)
    try:
        return DeviceRetriever.load(layout, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, whose traceback would keep what was already loaded.
    release_cached_memory(device)
    log.warning(
        "%s has no memory left for the %d vectors of %s; faiss searches them.", device, layout.size, path
    )
    return read_index(path)


def _search_threads() -> int:
    """Threads for faiss: torch's number, but one on macOS, where two copies of libomp crash with more."""
    return 1 if sys.platform == "darwin" else torch.get_num_threads()
