"""Retrieval by an exact search on the device where the features are."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.rvc.infer.index_file import IndexLayout
from ultimate_rvc.rvc.infer.retrieval import NEIGHBOURS, check_dim

log = logging.getLogger(__name__)

# Distances by matrix product are rounded, so four times the neighbours are measured again.
CANDIDATES = 4 * NEIGHBOURS
# On a GPU every operation waits to be launched, so the blocks are as large as the memory of a laptop allows.
BLOCK_FRAMES = 2048  # frames searched at once: 50 MB for their neighbours
BLOCK_VECTORS = 16_384  # vectors compared at once: 50 MB centred, and 128 MB of distances to BLOCK_FRAMES
REFINED_FRAMES = 512  # frames whose candidates are gathered at once: 50 MB
DIRECT_FRAMES = 32  # frames compared with every vector without a matrix product
FLOAT32_ROUNDING = 2.0**-23


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
    :class:`FaissRetriever`. ``vectors`` are float32 ``(size, dim)`` on the device to search on; kept, not
    copied. ``name`` is that of the index, for messages.
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
        """Whether a neighbour may have been missed: a bool ``()`` on the device, None without doubt."""
        return self._needs_exact

    def forget_doubts(self) -> None:
        self._needs_exact = None

    def blend(self, features: Tensor, index_rate: float, *, exact: bool = False) -> Tensor:
        """Float features ``(frames, dim)`` moved towards the index: see :meth:`Retriever.blend`."""
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
