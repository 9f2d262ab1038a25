"""All downloadable models at once: which are here, whether they are sound, and how to be rid of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.download import partial_path
from ultimate_rvc.assets.registry import Asset, AssetFile, AssetKind, asset, assets, is_right
from ultimate_rvc.assets.stamps import forget_hash
from ultimate_rvc.assets.transfer import forget_sidecar
from ultimate_rvc.errors import AssetMissingError
from ultimate_rvc.paths import models_dir
from ultimate_rvc.plain import to_plain
from ultimate_rvc.progress import Progress


class AssetState(StrEnum):
    """How much of a model is here."""

    PRESENT = "present"
    PARTLY = "partly"
    """Some of its files, or a download that broke off and will be continued."""
    DAMAGED = "damaged"
    """A file with other bytes than those of the table; it is never used."""
    ABSENT = "absent"


@dataclass(frozen=True)
class AssetReport:
    """One model of the table, and what this machine has of it."""

    name: str
    kind: AssetKind
    state: AssetState
    bytes: int
    """Of the whole model."""
    path: Path
    """Its file, or the folder of its files."""
    damaged: tuple[Path, ...]
    sources: tuple[str, ...]
    """Links to its first file, the preferred mirror first."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return dict(to_plain(self))


def list_assets(kinds: Iterable[AssetKind] = ()) -> list[AssetReport]:
    """What is here of every model of the table, in its order; only of some kinds if any are named.

    A file's SHA-256 is computed the first time it is seen, and again when it has changed.
    """
    wanted = set(kinds)
    return [_report(known) for known in assets().values() if not wanted or known.kind in wanted]


def verify_assets(names: Sequence[str] = (), progress: Progress | None = None) -> list[AssetReport]:
    """Read every byte of models again and compare it with the table, whatever was noted before.

    Without ``names``, all models of which something is here.

    Raises
    ------
    SettingError
        The table has no such name.
    CancelledError
        ``progress`` was cancelled.
    """
    progress = progress or Progress()
    chosen = [asset(name) for name in names] or [known for known in assets().values() if _is_here(known)]
    reports = []
    for number, known in enumerate(chosen):
        progress.report("verify", number / len(chosen), known.name)
        for file in known.files:
            forget_hash(file.path)
        reports.append(_report(known))
    progress.report("verify", 1.0)
    return reports


def remove_assets(names: Sequence[str]) -> dict[str, int]:
    """Delete models, with what is left of downloads that broke off; the bytes freed, by name.

    Other files in their folders stay.

    Raises
    ------
    SettingError, AssetMissingError
        The table has no such name, or nothing of one of them is here; then nothing is deleted.
    """
    chosen = [asset(name) for name in dict.fromkeys(names)]
    for known in chosen:
        if not _is_here(known):
            raise AssetMissingError(f"Nothing of the model '{known.name}' is at {known.path}.")
    return {known.name: sum(_remove(file) for file in known.files) for known in chosen}


def _report(known: Asset) -> AssetReport:
    right = [file for file in known.files if is_right(file)]
    damaged = tuple(file.path for file in known.files if file.path.is_file() and file not in right)
    if len(right) == len(known.files):
        state = AssetState.PRESENT
    elif damaged:
        state = AssetState.DAMAGED
    else:
        state = AssetState.PARTLY if _is_here(known) else AssetState.ABSENT
    sources = tuple(mirror.url for mirror in known.files[0].mirrors)
    return AssetReport(known.name, known.kind, state, known.bytes, known.path, damaged, sources)


def _is_here(known: Asset) -> bool:
    return any(file.path.is_file() or _partial(file).is_file() for file in known.files)


def _partial(file: AssetFile) -> Path:
    return partial_path(file.path, file.contents[0].sha256)


def _remove(file: AssetFile) -> int:
    freed = 0
    for path in (file.path, _partial(file)):
        if path.is_file():
            freed += path.stat().st_size
            path.unlink()
    forget_hash(file.path)
    forget_sidecar(_partial(file))
    file.path.with_name(f".{file.path.name}.lock").unlink(missing_ok=True)
    folder = file.path.parent
    while folder != models_dir() and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    return freed
