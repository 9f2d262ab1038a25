"""The table of public model files: what each is called, where it lies, and how to get it.

A file counts as present only when its bytes are those of the table. That is checked by size each
time and by SHA-256 once; a stamp beside the file remembers the outcome.
"""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from ultimate_rvc.assets.download import Patience, fetch
from ultimate_rvc.assets.stamps import remember_hash, remembered_hash
from ultimate_rvc.errors import AssetMissingError, SettingError
from ultimate_rvc.paths import models_dir, packaged_assets_dir
from ultimate_rvc.progress import Progress

log = logging.getLogger(__name__)

PUBLIC_ENDPOINT = "https://huggingface.co"
ENDPOINT_VARIABLES = ("URVC_HF_ENDPOINT", "HF_ENDPOINT")
OFFLINE_VARIABLE = "URVC_OFFLINE"
NO_MIRROR = "-"


class AssetKind(StrEnum):
    ENCODER = "encoder"
    PITCH = "pitch"
    SEPARATION = "separation"
    PRETRAINED = "pretrained"
    VOICE = "voice"


@dataclass(frozen=True)
class Mirror:
    """One place on Hugging Face that serves a file."""

    repository: str
    revision: str
    path: str

    @property
    def url(self) -> str:
        return f"{endpoint()}/{self.repository}/resolve/{quote(self.revision)}/{quote(self.path)}"


@dataclass(frozen=True)
class Content:
    """The bytes that a file may have; several when it was published in several forms."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset, at ``relative_path`` below the models folder.

    ``contents[0]`` is what ``mirrors`` serve; the others are accepted where they are found.
    """

    relative_path: PurePosixPath
    contents: tuple[Content, ...]
    mirrors: tuple[Mirror, ...]

    @property
    def path(self) -> Path:
        return models_dir() / self.relative_path


@dataclass(frozen=True)
class Asset:
    """A model: one file, or a folder of files that belong together."""

    name: str
    kind: AssetKind
    files: tuple[AssetFile, ...]

    @property
    def path(self) -> Path:
        """The file, or the folder when there are several files."""
        return self.files[0].path if len(self.files) == 1 else self.files[0].path.parent

    @property
    def bytes(self) -> int:
        return sum(file.contents[0].bytes for file in self.files)


def endpoint() -> str:
    """Where models are fetched from; ``URVC_HF_ENDPOINT`` or ``HF_ENDPOINT`` name another server."""
    chosen = next((value for name in ENDPOINT_VARIABLES if (value := os.environ.get(name))), PUBLIC_ENDPOINT)
    return chosen.rstrip("/")


def is_offline() -> bool:
    """Whether ``URVC_OFFLINE`` forbids every download."""
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


@cache
def assets() -> dict[str, Asset]:
    """Every known asset by name, in the order of the table."""
    return read_table(packaged_assets_dir() / "registry.tsv")


def read_table(path: Path) -> dict[str, Asset]:
    """Read a registry table; rows of one path are forms of one file, rows of one name one asset."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
    kinds: dict[str, AssetKind] = {}
    rows: dict[str, dict[str, list[dict[str, str]]]] = {}
    for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
        kinds[row["name"]] = AssetKind(row["kind"])
        rows.setdefault(row["name"], {}).setdefault(row["path"], []).append(row)
    return {
        name: Asset(name, kinds[name], tuple(_read_file(path, forms) for path, forms in files.items()))
        for name, files in rows.items()
    }


def _read_file(relative_path: str, forms: list[dict[str, str]]) -> AssetFile:
    contents = tuple(Content(int(form["bytes"]), form["sha256"]) for form in forms)
    mirrors = tuple(_read_mirror(text) for text in forms[0]["mirrors"].split() if text != NO_MIRROR)
    return AssetFile(PurePosixPath(relative_path), contents, mirrors)


def _read_mirror(text: str) -> Mirror:
    repository, _, place = text.partition("@")
    revision, _, path = place.partition(":")
    return Mirror(repository, revision, path)


def asset(name: str) -> Asset:
    """The asset called ``name``.

    Raises
    ------
    SettingError
        The table has no such name.
    """
    if found := assets().get(name):
        return found
    alike = get_close_matches(name, assets(), n=3)
    hint = f"did you mean {' or '.join(alike)}?" if alike else f"known are {', '.join(assets())}."
    raise SettingError(f"There is no downloadable model called '{name}': {hint}")


def locate(name: str) -> Path | None:
    """The file or folder of an asset below the models folder, or None unless all of it is right."""
    wanted = asset(name)
    return wanted.path if all(is_right(file) for file in wanted.files) else None


def require(name: str, progress: Progress | None = None) -> Path:
    """The file or folder of an asset, downloaded if it is not there.

    Raises
    ------
    AssetMissingError
        It is not there and ``URVC_OFFLINE`` forbids fetching it.
    DownloadError
        It is not there and could not be fetched.
    """
    if (found := locate(name)) is not None:
        return found
    if is_offline():
        raise AssetMissingError(_absence(asset(name)))
    return download(name, progress)


def download(name: str, progress: Progress | None = None, *, patience: Patience | None = None) -> Path:
    """Fetch what is missing of an asset and return its file or folder.

    Raises
    ------
    DownloadError
        No mirror served the right bytes, or the disk is full.
    """
    wanted, progress = asset(name), progress or Progress()
    done_bytes = 0
    for file in wanted.files:
        size = file.contents[0].bytes
        start, done_bytes = done_bytes / wanted.bytes, done_bytes + size
        if is_right(file):
            continue
        fetch(
            [mirror.url for mirror in file.mirrors],
            file.path,
            label=name,
            size_bytes=size,
            sha256=file.contents[0].sha256,
            progress=progress.part(f"download {name}", start, done_bytes / wanted.bytes),
            patience=patience or Patience(),
        )
        remember_hash(file.path, file.contents[0].sha256)
    return wanted.path


def is_right(file: AssetFile) -> bool:
    """Whether the file is there with the bytes of the table."""
    path = file.path
    if not path.is_file():
        return False
    size = path.stat().st_size
    accepted = {content.sha256 for content in file.contents if content.bytes == size}
    if accepted and remembered_hash(path) in accepted:
        return True
    log.warning(
        "%s is not the published file (%d bytes, expected %d): it is left unused and replaced by a download.",
        path,
        size,
        file.contents[0].bytes,
    )
    return False


def _absence(wanted: Asset) -> str:
    megabytes = max(1, round(wanted.bytes / 1e6))
    places = " and ".join(f"{file.mirrors[0].url} as {file.path}" for file in wanted.files)
    return (
        f"The model '{wanted.name}' ({megabytes} MB) is not at {wanted.path}, and {OFFLINE_VARIABLE} "
        f"forbids downloading: unset it, or put {places}."
    )
