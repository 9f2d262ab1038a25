"""Is a ``.index`` file sound? Voices come from strangers, and faiss trusts what it reads.

faiss allocates what a header asks for, follows the names of other files, and keeps ids that point
nowhere. So the layout is walked here first: every count against the length of the file, every id against
the number of vectors. Only the two kinds that RVC tools write are let through, ``Flat`` and ``IVFn,Flat``
with squared Euclidean distances.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import VoiceFileError

MAX_FILE_BYTES = 4 << 30  # RVC keeps at most 200 000 vectors of 768 numbers: 0.6 GB
MAX_DIM = 4096  # RVC's features have 256 or 768 numbers
FLAT_KINDS = (b"IxF2", b"IxFl")
IVF_FLAT_KIND = b"IwFl"
METRIC_L2 = 1
ID_BYTES = 8
FLOAT_BYTES = 4


class _UnsoundError(Exception):
    """What is wrong with the file, as the end of a sentence."""


class _Reader:
    """A place in the file's bytes; reading past their end is :class:`_UnsoundError`."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._content = content
        self._position = 0

    @property
    def length(self) -> int:
        return len(self._content)

    def take(self, count: int) -> NDArray[np.uint8]:
        end = self._position + count
        if count < 0 or end > len(self._content):
            raise _UnsoundError("is cut short or damaged")
        taken = self._content[self._position : end]
        self._position = end
        return taken

    def kind(self) -> bytes:
        return self.take(4).tobytes()

    def number(self, byte_count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(byte_count).tobytes(), "little", signed=signed)

    def integers(self, count: int) -> NDArray[np.int64]:
        return self.take(count * ID_BYTES).view("<i8") if count else np.zeros(0, np.int64)


def check_index_file(path: Path) -> None:
    """Raise :class:`VoiceFileError`, in one sentence, unless faiss may read ``path``."""
    try:
        length = path.stat().st_size
        content = np.memmap(path, np.uint8, "r") if 0 < length <= MAX_FILE_BYTES else None
    except OSError as error:
        raise VoiceFileError(f"The index {path} cannot be read: {error.strerror}.") from error
    if length == 0:
        raise VoiceFileError(f"The index {path} is empty: fetch it again, or convert without an index.")
    if content is None:
        limit = MAX_FILE_BYTES >> 20
        raise VoiceFileError(
            f"The index {path} has {length >> 20} MB, and more than {limit} are not read: "
            "convert without an index."
        )
    try:
        _check_index(_Reader(content))
    except _UnsoundError as fault:
        raise VoiceFileError(
            f"The index {path} {fault}: build or fetch it again, or convert without an index."
        ) from None


def _check_index(file: _Reader) -> None:
    kind = file.kind()
    if kind in FLAT_KINDS:
        dim, size = _check_header(file)
        _check_vectors(file, dim, size)
    elif kind == IVF_FLAT_KIND:
        dim, size = _check_header(file)
        _check_ivf(file, dim, size)
    elif kind[:1] == b"I" and kind.isalnum():
        raise _UnsoundError(
            f"is of FAISS's kind {kind.decode()!r}, not Flat or IVF with Flat, the kinds that voices use"
        )
    else:
        raise _UnsoundError("is not a FAISS index")
    if size == 0:
        raise _UnsoundError("holds no vectors (a 'trained_' index; the one to use is called 'added_')")


def _check_header(file: _Reader) -> tuple[int, int]:
    """Dimension and number of vectors."""
    dim, size = file.number(4, signed=True), file.number(8, signed=True)
    file.take(16)  # two numbers that faiss writes and ignores
    is_trained, metric = file.number(1), file.number(4, signed=True)
    if not 0 < dim <= MAX_DIM or size < 0 or not is_trained:
        raise _UnsoundError("is damaged or not a FAISS index")
    if metric != METRIC_L2:
        raise _UnsoundError("does not measure Euclidean distances, as indexes of voices do")
    return dim, size


def _check_vectors(file: _Reader, dim: int, size: int) -> None:
    if file.number(8) != size * dim:
        raise _UnsoundError("is damaged")
    _check_finite(file.take(size * dim * FLOAT_BYTES))


def _check_finite(floats: NDArray[np.uint8]) -> None:
    # One pass without a copy: a NaN or an infinity makes the sum one.
    if not math.isfinite(np.sum(np.frombuffer(floats, "<f4"), dtype=np.float64)):
        raise _UnsoundError("holds vectors that are no numbers")


def _check_ivf(file: _Reader, dim: int, size: int) -> None:
    lists, probes = file.number(8), file.number(8)
    if probes < 1 or file.kind() not in FLAT_KINDS or _check_header(file) != (dim, lists):
        raise _UnsoundError("is damaged, or its cells are not found by a Flat index")
    _check_vectors(file, dim, lists)
    direct_map_kind, direct_map_size = file.number(1), file.number(8)
    if direct_map_kind > 1 or direct_map_size not in (0, size):
        raise _UnsoundError("has a map of ids that voices do not use")
    file.take(direct_map_size * ID_BYTES)
    _check_inverted_lists(file, dim, size, lists)


def _check_inverted_lists(file: _Reader, dim: int, size: int, lists: int) -> None:
    if file.kind() != b"ilar":
        raise _UnsoundError("keeps its vectors in another file or in a form that voices do not use")
    if file.number(8) != lists or file.number(8) != dim * FLOAT_BYTES:
        raise _UnsoundError("is damaged")
    lengths = _list_lengths(file, lists)
    if sum(lengths) != size or size * dim * FLOAT_BYTES > file.length:
        raise _UnsoundError("is cut short or damaged")
    seen = np.zeros(size, bool)
    for length in lengths:
        _check_finite(file.take(length * dim * FLOAT_BYTES))
        ids = file.integers(length)
        if length and (ids.min() < 0 or ids.max() >= size):
            raise _UnsoundError("numbers vectors that it does not hold")
        seen[ids] = True
    if not seen.all():
        raise _UnsoundError("lacks some of its vectors")


def _list_lengths(file: _Reader, lists: int) -> list[int]:
    """Vectors in each non-empty cell, in the order of the file."""
    form, count = file.kind(), file.number(8)
    lengths = file.integers(count)
    if form == b"sprs":  # pairs of a cell's number and its length
        cells, lengths = lengths[0::2], lengths[1::2]
        if len(cells) != len(lengths) or (len(cells) and (cells.min() < 0 or cells.max() >= lists)):
            raise _UnsoundError("is damaged")
    elif form != b"full" or count != lists:
        raise _UnsoundError("is damaged")
    return [int(length) for length in lengths]
