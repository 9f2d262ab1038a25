"""Is a ``.index`` file sound, and where are its vectors? Voices come from strangers, and faiss trusts them.

faiss allocates what a header asks for, follows the names of other files, and keeps ids that point
nowhere. So the layout is walked here first: every count against the length of the file, every id against
the number of vectors. Only the two kinds that RVC tools write are let through, ``Flat`` and ``IVFn,Flat``
with squared Euclidean distances.

Whoever wants only the vectors reads them from here in blocks, without faiss and a second copy of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.foreign import HEAD_BYTES, foreign_kind

MAX_FILE_BYTES = 4 << 30  # RVC keeps at most 200 000 vectors of 768 numbers: 0.6 GB
MAX_DIM = 4096  # RVC's features have 256 or 768 numbers
FLAT_KINDS = (b"IxF2", b"IxFl")
IVF_FLAT_KIND = b"IwFl"
METRIC_L2 = 1
ID_BYTES = 8
FLOAT_BYTES = 4
CHECKED_BYTES = 16 << 20  # of vectors looked at at once: the file is never in memory as a whole


@dataclass(frozen=True)
class StoredVectors:
    """A run of vectors in the file: where their float32 numbers begin, and the id of each."""

    offset: int
    ids: NDArray[np.int64]


@dataclass(frozen=True)
class IndexLayout:
    """Where the vectors of a checked file are."""

    path: Path
    dim: int
    size: int
    stored: tuple[StoredVectors, ...]

    def blocks(self, rows: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Ids ``(n,)`` and vectors ``(n, dim)``, at most ``rows`` at once, in the order of the file.

        Both arrays are overwritten by the next block.

        Raises
        ------
        VoiceFileError
            The file has become shorter or unreadable since it was checked.
        """
        ids, vectors = np.empty(rows, np.int64), np.empty((rows, self.dim), np.float32)
        filled = 0
        with _opened(self.path) as file:
            for run in self.stored:
                file.seek(run.offset)
                position = 0
                while position < len(run.ids):
                    count = min(rows - filled, len(run.ids) - position)
                    wanted = vectors[filled : filled + count]
                    if file.readinto(wanted.data) != wanted.nbytes:
                        raise VoiceFileError(
                            f"The index {self.path} was cut short while it was read: fetch it again."
                        )
                    ids[filled : filled + count] = run.ids[position : position + count]
                    filled, position = filled + count, position + count
                    if filled == rows:
                        yield ids, vectors
                        filled = 0
        if filled:
            yield ids[:filled], vectors[:filled]


class _UnsoundError(Exception):
    """What is wrong with the file, as the end of a sentence."""


class _Reader:
    """A place in the file; reading past its end is :class:`_UnsoundError`."""

    def __init__(self, file: BufferedReader, length: int) -> None:
        self._file = file
        self.length = length
        self.position = 0

    def take(self, count: int) -> bytes:
        self._advance(count)
        taken = self._file.read(count)
        if len(taken) != count:
            raise _UnsoundError("is cut short or damaged")
        return taken

    def skip(self, count: int) -> None:
        self._advance(count)
        self._file.seek(self.position)

    def _advance(self, count: int) -> None:
        if count < 0 or count > self.length - self.position:
            raise _UnsoundError("is cut short or damaged")
        self.position += count

    def number(self, byte_count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(byte_count), "little", signed=signed)

    def integers(self, count: int) -> NDArray[np.int64]:
        return np.frombuffer(self.take(count * ID_BYTES), "<i8")

    def finite_floats(self, count: int) -> int:
        """Pass over ``count`` numbers, all of them finite; where they begin."""
        offset, end = self.position, self.position + count * FLOAT_BYTES
        if end > self.length:
            raise _UnsoundError("is cut short or damaged")
        while self.position < end:
            floats = np.frombuffer(self.take(min(CHECKED_BYTES, end - self.position)), "<f4")
            # One pass without a copy: a NaN or an infinity makes the sum one.
            if not math.isfinite(np.sum(floats, dtype=np.float64)):
                raise _UnsoundError("holds vectors that are no numbers")
        return offset


def check_index_file(path: Path) -> IndexLayout:
    """Where the vectors of ``path`` are; a :class:`VoiceFileError` unless faiss may read the file."""
    with _opened(path) as file:
        length = os.fstat(file.fileno()).st_size
        if length == 0:
            raise VoiceFileError(f"The index {path} is empty: fetch it again, or convert without an index.")
        if length > MAX_FILE_BYTES:
            limit = MAX_FILE_BYTES >> 20
            raise VoiceFileError(
                f"The index {path} has {length >> 20} MB, and more than {limit} are not read: "
                "convert without an index."
            )
        if kind := foreign_kind(file.peek(HEAD_BYTES)[:HEAD_BYTES]):
            raise VoiceFileError(
                f"The index {path} is {kind.what}: {kind.way_out}, or convert without an index."
            )
        try:
            return _index_layout(path, _Reader(file, length))
        except _UnsoundError as fault:
            raise VoiceFileError(
                f"The index {path} {fault}: build or fetch it again, or convert without an index."
            ) from None


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """``path``, open for reading; what the system refuses is said in a sentence."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise VoiceFileError(f"The index {path} cannot be read: {error.strerror}.") from error


def _index_layout(path: Path, file: _Reader) -> IndexLayout:
    kind = file.take(4)
    if kind in FLAT_KINDS:
        dim, size = _check_header(file)
        stored = [StoredVectors(_check_vectors(file, dim, size), np.arange(size))]
    elif kind == IVF_FLAT_KIND:
        dim, size = _check_header(file)
        stored = _check_ivf(file, dim, size)
    elif kind[:1] == b"I" and kind.isalnum():
        raise _UnsoundError(
            f"is of FAISS's kind {kind.decode()!r}, not Flat or IVF with Flat, the kinds that voices use"
        )
    else:
        raise _UnsoundError("is not a FAISS index")
    if size == 0:
        raise _UnsoundError("holds no vectors (a 'trained_' index; the one to use is called 'added_')")
    return IndexLayout(path, dim, size, tuple(stored))


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


def _check_vectors(file: _Reader, dim: int, size: int) -> int:
    """Where they begin."""
    if file.number(8) != size * dim:
        raise _UnsoundError("is damaged")
    return file.finite_floats(size * dim)


def _check_ivf(file: _Reader, dim: int, size: int) -> list[StoredVectors]:
    lists, probes = file.number(8), file.number(8)
    if probes < 1 or file.take(4) not in FLAT_KINDS or _check_header(file) != (dim, lists):
        raise _UnsoundError("is damaged, or its cells are not found by a Flat index")
    _check_vectors(file, dim, lists)
    direct_map_kind, direct_map_size = file.number(1), file.number(8)
    if direct_map_kind > 1 or direct_map_size not in (0, size):
        raise _UnsoundError("has a map of ids that voices do not use")
    file.skip(direct_map_size * ID_BYTES)  # not looked at, and not to be used
    return _check_inverted_lists(file, dim, size, lists)


def _check_inverted_lists(file: _Reader, dim: int, size: int, lists: int) -> list[StoredVectors]:
    if file.take(4) != b"ilar":
        raise _UnsoundError("keeps its vectors in another file or in a form that voices do not use")
    if file.number(8) != lists or file.number(8) != dim * FLOAT_BYTES:
        raise _UnsoundError("is damaged")
    lengths = _list_lengths(file, lists)
    if sum(lengths) != size or size * dim * FLOAT_BYTES > file.length:
        raise _UnsoundError("is cut short or damaged")
    seen = np.zeros(size, bool)
    stored = []
    for length in lengths:
        stored.append(StoredVectors(file.finite_floats(length * dim), file.integers(length)))
        ids = stored[-1].ids
        if length and (ids.min() < 0 or ids.max() >= size):
            raise _UnsoundError("numbers vectors that it does not hold")
        seen[ids] = True
    if not seen.all():
        raise _UnsoundError("lacks some of its vectors")
    return stored


def _list_lengths(file: _Reader, lists: int) -> list[int]:
    """Vectors in each non-empty cell, in the order of the file."""
    form, count = file.take(4), file.number(8)
    lengths = file.integers(count)
    if form == b"sprs":  # pairs of a cell's number and its length
        cells, lengths = lengths[0::2], lengths[1::2]
        if len(cells) != len(lengths) or (len(cells) and (cells.min() < 0 or cells.max() >= lists)):
            raise _UnsoundError("is damaged")
    elif form != b"full" or count != lists:
        raise _UnsoundError("is damaged")
    return [int(length) for length in lengths]
