"""Files that travel with the work: through Ray's object store, checked by content, kept by the machine that got them.

A voice lies in the library of whoever starts the work; the machines of a cluster need not have it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.cluster.connecting import ray_module
from ultimate_rvc.errors import ClusterError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.paths import shipped_dir


@dataclass(frozen=True)
class ShippedFile:
    """A file that any machine of the cluster can have."""

    path: Path
    """Where it lies for whoever sent it, and for all who share that disk."""
    sha256: str
    content: Any = field(compare=False)
    """Its bytes in the object store."""


def ship(path: Path) -> ShippedFile:
    """Put a file into the object store, once for all machines."""
    content = path.read_bytes()
    return ShippedFile(path, hashlib.sha256(content).hexdigest(), ray_module().put(content))


def received(file: ShippedFile) -> Path:
    """The file on this machine: where it lies on a shared disk, else what this machine got of it.

    Raises
    ------
    ClusterError
        What arrived is not what was sent.
    """
    kept = shipped_dir() / file.sha256 / file.path.name
    for path in (file.path, kept):
        if path.is_file() and file_hash(path) == file.sha256:
            return path
    content = ray_module().get(file.content)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ClusterError(f"{file.path} did not arrive as it was sent; start the command again.")
    with atomic_path(kept) as unfinished:
        unfinished.write_bytes(content)
    return kept
