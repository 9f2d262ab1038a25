"""Files written by ``torch.save``, read without ``torch.load`` and without executing anything.

Two forms exist. Since torch 1.6 a file is a zip archive whose entries are stored uncompressed:
``<folder>/data.pkl`` describes the object, ``<folder>/data/<key>`` holds the bytes of one storage.
Before, a file was a sequence of pickles (magic number, protocol, system, object, storage keys)
followed by the storages' bytes. In both, the pickle rebuilds tensors as strided views of storages;
here sizes, strides and offsets are checked against the bytes that are really there
(torch before 2.10 trusts them even with ``weights_only=True``: CVE-2026-24747).

Tensors are views of a private memory map of the file, so a 55 MB voice costs no second copy.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.foreign import HEAD_BYTES, foreign_kind
from ultimate_rvc.rvc.voice_file.restricted_pickle import (
    DAMAGED,
    MAX_PICKLE_BYTES,
    ForbiddenNameError,
    Name,
    PickleReader,
    Rebuild,
    RefusedPickleError,
)
from ultimate_rvc.rvc.voice_file.zip_directory import ZIP_SIGNATURE, ZipEntry, read_zip_directory

MAX_DIMENSIONS = 16
# Storages may be shared (tied weights), which multiplies memory once tensors are copied; honest
# files share little.
MAX_SHARING = 4
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_COUNT_BYTES = 8
MAX_COUNT = 2**48  # elements; far beyond any file, and products of two stay exact

_STORAGE_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_MENTIONABLE = ("torch.float16", "torch.float32", "torch.float64", "torch.bfloat16", "torch.int64")
_NUMPY_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
# Ultimate RVC stores members of its own enumerations; each is rebuilt as its plain value.
ULTIMATE_RVC_ENUMS = tuple(
    f"ultimate_rvc.typing_extra.{name}"
    for name in ("TrainingSampleRate", "SampleRate", "Vocoder", "EmbedderModel", "F0Method", "PrecisionType")
)
_FOREIGN_MODULES = {
    "fairseq": "a content encoder in fairseq's form (such as hubert_base.pt)",
    "transformers": "a model of the transformers library",
    "omegaconf": "a model with a configuration object, not a voice",
    "__torch__": "a TorchScript program",
}
_CALLS_AT_START = re.compile(rb"\(*[ci]([\w.]+)\n([\w.]+)\n")


@dataclass(frozen=True)
class TorchFile:
    """What a file holds, and the qualified names of functions and classes its pickle mentions."""

    content: object
    names: frozenset[str]


def read_torch_file(path: Path) -> object:
    """The object in a file of ``torch.save``: plain containers, numbers, text and CPU tensors.

    Raises
    ------
    VoiceFileError
        The file is missing, damaged, not of torch, or asks to run anything. Nothing is ever run.
    """
    return open_torch_file(path).content


def open_torch_file(path: Path) -> TorchFile:
    """As :func:`read_torch_file`, with the names the pickle mentions (they tell dialects apart)."""
    data = map_file(path)
    try:
        if data[: len(ZIP_SIGNATURE)] == ZIP_SIGNATURE:
            return _read_archive(data)
        if data[:1] == b"\x80":
            return _read_legacy(data)
        raise RefusedPickleError(_what_else(data))
    except ForbiddenNameError as error:
        seems = _FOREIGN_MODULES.get(error.name.split(".")[0])
        hint = f" (it seems to be {seems})" if seems else ""
        raise VoiceFileError(f"{path} {error}{hint}.") from error
    except RefusedPickleError as error:
        raise VoiceFileError(f"{path} {error}.") from error


def map_file(path: Path) -> mmap.mmap:
    """The bytes of a file as a private, writable map: writing to it never reaches the file."""
    try:
        if path.is_dir():
            raise VoiceFileError(f"{path} is a folder, not a voice file; name the file inside it.")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError as error:
        raise VoiceFileError(f"There is no file {path}.") from error
    except ValueError as error:  # an empty file cannot be mapped; a NUL in a name is no file either
        raise VoiceFileError(f"{path} is empty; fetch or export it again.") from error
    except OSError as error:
        raise VoiceFileError(f"{path} cannot be read: {error.strerror}.") from error


def _what_else(data: mmap.mmap) -> str:
    """What a file that is no torch file seems to be, for the error."""
    head = data[:HEAD_BYTES]
    if call := _CALLS_AT_START.match(head):
        raise ForbiddenNameError(f"{call[1].decode()}.{call[2].decode()}")
    if kind := foreign_kind(head):
        return f"is {kind.what}, not a voice: {kind.way_out}"
    return "is not a file of torch (neither its zip form nor the older one), so not a voice"


# --- the zip form ------------------------------------------------------------------------------


def _read_archive(data: mmap.mmap) -> TorchFile:
    entries = read_zip_directory(data)
    folder = _archive_folder(entries)
    order = entries.get(f"{folder}/byteorder")
    if order is not None and data[order.start : order.end] != b"little":
        raise RefusedPickleError("was written on a big-endian machine; save it again on a common one")
    pickled = entries[f"{folder}/data.pkl"]
    if pickled.size > MAX_PICKLE_BYTES:
        raise RefusedPickleError("describes more objects than any voice has; refused")
    _check_sums(data, entries)
    prefix = f"{folder}/data/"
    places = {
        name.removeprefix(prefix): (entry.start, entry.size)
        for name, entry in entries.items()
        if name.startswith(prefix)
    }
    file, _ = _read_pickle(data[pickled.start : pickled.end], _Storages(data, places))
    return file


def _archive_folder(entries: Mapping[str, ZipEntry]) -> str:
    """The one folder of the archive; torch names it after the file, so the name may be anything."""
    folders = [name.removesuffix("/data.pkl") for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(folders) != 1:
        raise RefusedPickleError(
            "is a zip file without a torch object; if it holds a voice, import it as an archive (.zip)"
        )
    if f"{folders[0]}/constants.pkl" in entries:
        raise RefusedPickleError("is a TorchScript program, not a voice; refused")
    return folders[0]


def _check_sums(data: mmap.mmap, entries: Mapping[str, ZipEntry]) -> None:
    """Compare the archive's checksums; torch can be told to write none, all are 0 then."""
    if not any(entry.checksum for entry in entries.values()):
        return
    view = memoryview(data)
    for name, entry in entries.items():
        if zlib.crc32(view[entry.start : entry.end]) != entry.checksum:
            raise RefusedPickleError(f"is damaged: the checksum of {name!r} does not match; fetch it again")


# --- the form before torch 1.6 -----------------------------------------------------------------


def _read_legacy(data: mmap.mmap) -> TorchFile:
    magic, position = _read_plain(data, 0)
    if magic != LEGACY_MAGIC:
        raise RefusedPickleError("is a plain pickle, not a file of torch, so not a voice")
    protocol, position = _read_plain(data, position)
    system, object_start = _read_plain(data, position)
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise RefusedPickleError("is of an unknown version of torch's older form; save it again")
    if system.get("little_endian") is not True:
        raise RefusedPickleError("was written on a big-endian machine; save it again on a common one")

    # The storages follow the object and their places depend on all sizes, which the object tells:
    # it is read once for the sizes and once for the tensors.
    sizes = _Storages(data, places=None)
    pickled = data[object_start : object_start + MAX_PICKLE_BYTES]
    _, length = _read_pickle(pickled, sizes)
    keys, position = _read_plain(data, object_start + length)
    places = _legacy_places(data, position, keys, sizes.byte_counts)
    file, _ = _read_pickle(pickled, _Storages(data, places))
    return file


def _read_pickle(pickled: bytes, storages: _Storages) -> tuple[TorchFile, int]:
    """What the pickle at the beginning of ``pickled`` says, and how long it is."""
    stream = io.BytesIO(pickled)
    reader = PickleReader(_rebuilders(storages.rebuild_tensor), storages.load)
    content = reader.read(stream)
    return TorchFile(content, frozenset(reader.names)), stream.tell()


def _read_plain(data: mmap.mmap, start: int) -> tuple[object, int]:
    file, length = _read_pickle(data[start : start + MAX_PICKLE_BYTES], _Storages(data, places=None))
    return file.content, start + length


def _legacy_places(
    data: mmap.mmap, position: int, keys: object, byte_counts: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Start and byte count of each storage: an element count of 8 bytes, then the elements."""
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in byte_counts or key in places:
            raise RefusedPickleError(DAMAGED)
        start = position + LEGACY_COUNT_BYTES
        position = start + byte_counts[key]
        if position > len(data):
            raise RefusedPickleError(DAMAGED)
        places[key] = (start, byte_counts[key])
    return places


# --- tensors -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: torch.dtype
    count: int
    start: int  # position in the file, or -1 while only sizes are read


@dataclass
class _Storages:
    """Storages of one file, and the tensors that are views of them.

    ``places`` has the start and byte count of each storage by its key, or is ``None`` while the
    sizes are only being collected; tensors are ``None`` then.
    """

    data: mmap.mmap
    places: Mapping[str, tuple[int, int]] | None
    byte_counts: dict[str, int] = field(default_factory=dict)
    _viewed_bytes: int = 0

    def load(self, identifier: object) -> _Storage:
        """The storage of a persistent id ``("storage", type, key, device, elements[, view])``."""
        if not (isinstance(identifier, tuple) and len(identifier) in (5, 6) and identifier[0] == "storage"):
            raise RefusedPickleError("asks for something that is no storage; refused")
        kind, key, count = identifier[1], identifier[2], identifier[4]
        dtype = _STORAGE_DTYPES.get(kind.qualified) if isinstance(kind, Name) else None
        is_whole = identifier[5:] in ((), (None,))  # and no view of another
        if dtype is None or not (is_whole and isinstance(key, str) and _is_count(count)):
            raise RefusedPickleError("holds a storage of an unknown kind; refused")
        byte_count = count * dtype.itemsize
        if self.byte_counts.setdefault(key, byte_count) != byte_count:
            raise RefusedPickleError(f"is damaged: its storage {key[:40]!r} has two sizes")
        if self.places is None:
            return _Storage(dtype, count, -1)
        if key not in self.places:
            raise RefusedPickleError(f"is damaged: its storage {key[:40]!r} is missing")
        start, present = self.places[key]
        if present != byte_count:
            raise RefusedPickleError(
                f"is damaged: its storage {key[:40]!r} has {present} bytes, not {byte_count}"
            )
        return _Storage(dtype, count, start)

    def rebuild_tensor(
        self, storage: object, offset: object, size: object, stride: object, *flags: object
    ) -> torch.Tensor | None:
        """A strided view of a storage, checked to lie inside it and to be no larger."""
        if not isinstance(storage, _Storage) or not _is_count(offset):
            raise RefusedPickleError(DAMAGED)
        if not (_is_shape(size) and _is_shape(stride) and len(size) == len(stride) <= MAX_DIMENSIONS):
            raise RefusedPickleError("holds a tensor with an impossible shape; refused")
        if len(flags) > 2 and flags[2]:
            raise RefusedPickleError("holds a tensor with a conjugate or negative bit; refused")
        count = math.prod(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if count > storage.count or (count > 0 and last >= storage.count):
            raise RefusedPickleError("holds a tensor that reaches beyond its storage; refused")
        self._viewed_bytes += count * storage.dtype.itemsize
        if self._viewed_bytes > MAX_SHARING * len(self.data):
            raise RefusedPickleError("holds tensors many times larger than itself; refused")
        if math.prod(max(length, 1) for length in size) >= MAX_COUNT:
            raise RefusedPickleError("holds a tensor with an impossible shape; refused")
        if storage.start < 0:
            return None
        if count == 0:
            return torch.empty(size, dtype=storage.dtype)
        return self._flat(storage).as_strided(size, stride, offset)

    def _flat(self, storage: _Storage) -> torch.Tensor:
        itemsize = storage.dtype.itemsize
        if storage.dtype is torch.bool:  # any byte but 0 is true; a raw view would keep other bytes
            raw = torch.frombuffer(self.data, dtype=torch.uint8, count=storage.count, offset=storage.start)
            return raw != 0
        if storage.start % itemsize:  # older files do not align storages
            end = storage.start + storage.count * itemsize
            return torch.frombuffer(bytearray(self.data[storage.start : end]), dtype=storage.dtype)
        return torch.frombuffer(self.data, dtype=storage.dtype, count=storage.count, offset=storage.start)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _is_shape(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and all(_is_count(length) for length in value)


# --- what a pickle may mention -----------------------------------------------------------------


class _OrderedValues(dict[object, object]):
    """An OrderedDict; a module's state dict is decorated with versions of its layers, of no use here."""

    def accept_state(self, state: object) -> None:
        del state


@dataclass(slots=True)
class _NumpyType:
    """A numpy dtype; its state tells the byte order, which is checked and else of no use."""

    code: str

    def accept_state(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", "|", "=")):
            raise RefusedPickleError("holds a number in an unknown byte order; refused")


def _rebuilders(rebuild_tensor: Rebuild) -> dict[str, Rebuild | None]:
    """The functions that stand for the names a pickle may mention; ``None``: never called."""
    rebuilders: dict[str, Rebuild | None] = {
        "collections.OrderedDict": lambda: _OrderedValues(),  # never with arguments
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch.nn.parameter.Parameter": _rebuild_parameter,
        "torch.Size": _rebuild_size,
        "_codecs.encode": _rebuild_bytes,
        "numpy.dtype": _rebuild_numpy_type,
        "numpy.core.multiarray.scalar": _rebuild_numpy_scalar,
        "numpy._core.multiarray.scalar": _rebuild_numpy_scalar,
    }
    enums = dict.fromkeys(ULTIMATE_RVC_ENUMS, _rebuild_enum)
    return {**rebuilders, **enums, **dict.fromkeys((*_STORAGE_DTYPES, *_MENTIONABLE))}


def _rebuild_parameter(tensor: object, *_requires_grad_and_hooks: object) -> object:
    return tensor


def _rebuild_size(lengths: object) -> tuple[int, ...]:
    if not _is_shape(lengths):
        raise RefusedPickleError(DAMAGED)
    return lengths


def _rebuild_enum(value: object) -> int | str:
    if not isinstance(value, int | str):
        raise RefusedPickleError(DAMAGED)
    return value


def _rebuild_bytes(text: object, encoding: object) -> bytes:
    """How Python writes bytes in a pickle that Python 2 can read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedPickleError(DAMAGED)
    return text.encode("latin1")


def _rebuild_numpy_type(code: object, *_align_and_copy: object) -> _NumpyType:
    if not isinstance(code, str) or code not in _NUMPY_TYPES:
        raise RefusedPickleError("holds a numpy value that is no plain number; refused")
    return _NumpyType(code)


def _rebuild_numpy_scalar(kind: object, raw: object) -> object:
    if not isinstance(kind, _NumpyType) or not isinstance(raw, bytes):
        raise RefusedPickleError(DAMAGED)
    dtype = np.dtype(kind.code).newbyteorder("<")
    if len(raw) != dtype.itemsize:
        raise RefusedPickleError(DAMAGED)
    number: object = np.frombuffer(raw, dtype)[0].item()
    return number
