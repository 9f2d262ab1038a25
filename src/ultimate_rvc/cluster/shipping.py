"""Files that travel with the work: through Ray's object store, checked by content, kept by the machine that got them.

A voice lies in the library of whoever starts the work; the machines of a cluster need not have it.
"""

from __future__ import annotations

import functools
import hashlib
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.cluster.connecting import ray_module
from ultimate_rvc.errors import ClusterError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.paths import shipped_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from ultimate_rvc.voices.library import VoiceRef

KNOWN_FILES = 16  # that a process looks at once only


@dataclass(frozen=True)
class ShippedFile:
    """A file that any machine of the cluster can have."""

    path: Path
    """Where it lies for whoever sent it, and for all who share that disk."""
    sha256: str
    content: Any = field(default=None, compare=False)
    """Its bytes in the object store; None for a file that all machines have under :attr:`path`."""


@dataclass(frozen=True)
class ShippedVoice:
    """The files of a voice that any machine of the cluster can have."""

    model: ShippedFile
    index: ShippedFile | None = None

    def received(self) -> tuple[Path, Path | None]:
        """Model and index on this machine.

        Raises
        ------
        ClusterError
            One of them is not there.
        """
        return received(self.model), None if self.index is None else received(self.index)


def voice_of(voice: VoiceRef, how: Callable[[Path], ShippedFile]) -> ShippedVoice:
    """The files of a voice of the library, each prepared by ``how``: :func:`ship` or :func:`shared`."""
    return ShippedVoice(how(voice.model_path), None if voice.index_path is None else how(voice.index_path))


def ship(path: Path) -> ShippedFile:
    """Put a file into the object store, once for all machines."""
    content = path.read_bytes()
    return ShippedFile(path, hashlib.sha256(content).hexdigest(), ray_module().put(content))


def shared(path: Path) -> ShippedFile:
    """A file that every machine has under this path: only its content is compared."""
    return ShippedFile(path.absolute(), file_hash(path))


@functools.lru_cache(maxsize=KNOWN_FILES)
def received(file: ShippedFile) -> Path:
    """The file on this machine: where it lies on a shared disk, else what this machine got of it.

    Raises
    ------
    ClusterError
        It is not here and was not sent, or what arrived is not what was sent.
    """
    kept = shipped_dir() / file.sha256 / file.path.name
    for path in (file.path, kept):
        if path.is_file() and file_hash(path) == file.sha256:
            return path
    if file.content is None:
        raise ClusterError(
            f"The machine {socket.gethostname()} has no {file.path}, or another file there; put the voice on a disk "
            "that all machines share."
        )
    content = ray_module().get(file.content)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ClusterError(f"{file.path} did not arrive as it was sent; start the command again.")
    with atomic_path(kept) as unfinished:
        unfinished.write_bytes(content)
    return kept
