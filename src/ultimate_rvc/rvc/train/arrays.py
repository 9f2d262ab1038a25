"""Arrays on disk that are longer than the memory: written row by row, read as memory maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.files import atomic_path

FloatArray = NDArray[np.float32]

HEADER_BYTES = 128  # of the ``.npy`` format: a multiple of 64 with room for any shape
_MAGIC = b"\x93NUMPY\x01\x00"


class ArrayWriter:
    """Appends float32 rows to a ``.npy`` file whose length is known only at the end."""

    def __init__(self, file: BufferedRandom, columns: int | None) -> None:
        """``columns`` of a table of shape (rows, columns); None for one number per row."""
        self._file, self._columns = file, columns
        self.rows = 0
        file.write(self._header())

    def append(self, rows: FloatArray) -> None:
        """Add ``rows`` of shape (rows, columns), or (rows,) where there are no columns."""
        expected = (len(rows),) if self._columns is None else (len(rows), self._columns)
        if rows.shape != expected or rows.dtype != np.float32:
            raise ValueError(f"rows are {rows.dtype} {rows.shape}, not float32 {expected}")
        self._file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def finish(self) -> None:
        """Write the true shape."""
        self._file.seek(0)
        self._file.write(self._header())

    def _header(self) -> bytes:
        shape = (self.rows,) if self._columns is None else (self.rows, self._columns)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        length = HEADER_BYTES - len(_MAGIC) - 2
        return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


@contextmanager
def writing_array(path: Path, columns: int | None = None) -> Iterator[ArrayWriter]:
    """A writer of the array ``path``, which appears when the block ends without an error.

    A :class:`TrainingError` where the disk is full, or the folder cannot be written.
    """
    try:
        with atomic_path(path) as unfinished, unfinished.open("wb+") as file:
            writer = ArrayWriter(file, columns)
            yield writer
            writer.finish()
    except OSError as error:
        raise TrainingError(
            f"The folder {path.parent} cannot be written ({error.strerror}): make room there, "
            "or move it with URVC_TRAINING_DIR."
        ) from error


def mapped_array(path: Path, columns: int | None = None) -> FloatArray:
    """The array ``(values,)`` or ``(rows, columns)`` of ``path``, of which only what is looked at is read.

    A :class:`TrainingError` where it is missing, cut short, or of another kind.
    """
    try:
        array: FloatArray = np.load(path, mmap_mode="r" if path.stat().st_size > HEADER_BYTES else None)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is missing or damaged: preprocess and extract again.") from error
    if array.dtype != np.float32 or array.shape[1:] != (() if columns is None else (columns,)):
        raise TrainingError(f"{path} is {array.dtype} {array.shape}: preprocess and extract again.")
    return array
