"""Where everything of one training lies: prepared data, checkpoints, logs."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import datasets_dir, training_dir


@dataclass(frozen=True)
class TrainingFolder:
    """The folder of one voice in training, ``path``; none of what is in it need exist yet."""

    path: Path

    @classmethod
    def named(cls, name: str) -> Self:
        """The folder of the voice ``name`` below ``URVC_TRAINING_DIR``; raises as :func:`plain_name`."""
        return cls(training_dir() / plain_name(name))

    @property
    def name(self) -> str:
        return unicodedata.normalize("NFC", self.path.name)

    @property
    def data(self) -> Path:
        """Pieces of the recordings and what was computed from them."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"


def dataset_folder(name: str) -> Path:
    """The folder of the dataset ``name``; raises as :func:`plain_name`."""
    return datasets_dir() / plain_name(name)


def plain_name(name: str) -> str:
    """``name`` in Unicode's composed form; a :class:`SettingError` if it is empty, hidden or a path."""
    normal = unicodedata.normalize("NFC", name)
    is_path = any(letter in normal for letter in "/\\\0")
    if is_path or not normal.strip() or normal != normal.strip() or normal.startswith("."):
        raise SettingError(
            f"{name!r} is no name for a folder: it must not be a path, be empty, begin with a dot, "
            "or begin or end with a space."
        )
    return normal
