"""Large entries that machines share: files in a shared folder or object storage, through fsspec.

What lies on the own disk is the first place, this the second. A file appears whole or not at all: object storage
promises that, elsewhere it gets its name when it is complete. Nothing is ever removed here.
"""

from __future__ import annotations

import logging
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.shared_cache import VARIABLE, Asking, checked, folder_address, sealed

log = logging.getLogger(__name__)

OBJECT_STORAGE = ("s3://", "gs://", "az://")  # what is written there appears when it is complete


class SharedFolder:
    """Files by name below ``root`` of a file system of fsspec; whatever goes wrong with it, work goes on.

    ``is_atomic`` says that a file which is written appears whole there.
    """

    def __init__(
        self, files: Any, root: str, *, is_atomic: bool = False, asking: Asking | None = None
    ) -> None:
        self._files, self._root, self._is_atomic = files, root.rstrip("/"), is_atomic
        self._asking = asking or Asking()

    def find(self, key: str) -> bytes | None:
        """What :meth:`keep` was given for this key, a path; None where it is not, or damaged, or away."""
        return checked(key, self.get(key))

    def keep(self, key: str, content: bytes) -> None:
        """Keep ``content`` with its checksum, bound to the key."""
        self.set(key, sealed(key, content))

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, or None."""
        found: bytes | None = self._asking.ask(lambda: self._read(self._path(name)))
        return found

    def set(self, name: str, value: bytes, *, ex: int = 0) -> None:
        """Write a file; ``ex`` is for Redis alone."""
        self._asking.ask(
            lambda: self._write(self._path(name), lambda path: self._files.pipe_file(path, value))
        )

    def fetch(self, name: str, path: Path) -> bool:
        """Copy a file from there to ``path``; whether it was there."""
        return bool(self._asking.ask(lambda: self._fetch(self._path(name), path)))

    def send(self, path: Path, name: str) -> bool:
        """Copy the file ``path`` there; whether that was done."""
        written = self._asking.ask(
            lambda: self._write(self._path(name), lambda place: self._files.put_file(str(path), place))
        )
        return bool(written)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name.replace(':', '/')}"

    def _read(self, path: str) -> bytes | None:
        self._check_root()
        try:
            content: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return content

    def _fetch(self, there: str, here: Path) -> bool:
        self._check_root()
        try:
            self._files.get_file(there, str(here))
        except FileNotFoundError:
            return False
        return True

    def _write(self, path: str, write: Any) -> bool:
        self._check_root()
        if self._is_atomic:
            write(path)
            return True
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        unfinished = f"{path}.{secrets.token_hex(6)}.partial"
        try:
            write(unfinished)
            self._files.mv(unfinished, path)
        except BaseException:
            self._remove(unfinished)
            raise
        return True

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm_file(path)

    def _check_root(self) -> None:
        """Raise where a disk is not mounted: what is written to its empty place would fill this machine."""
        if not self._is_atomic and not self._files.isdir(self._root):
            raise FileNotFoundError(f"there is no folder {self._root}")


@cache
def open_shared_folder() -> SharedFolder | None:
    """The folder or object storage that ``URVC_CACHE`` names; None without one, or without what reaches it.

    Raises
    ------
    SettingError
        The variable names something else.
    """
    if (address := folder_address()) is None:
        return None
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(address)
    except ImportError as error:  # such as s3fs, which is a package of its own
        log.warning("%s cannot be used here (%s); work goes on without.", VARIABLE, error)
        return None
    except ValueError as error:
        raise SettingError(f"{VARIABLE} is no address of a folder: {error}.") from error
    return SharedFolder(files, root, is_atomic=address.startswith(OBJECT_STORAGE))
