"""What is written about prepared data, beside its arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.files import atomic_path

KEY_LENGTH = 16  # hexadecimal digits of SHA-256: only the data of one voice must not be mixed up


@dataclass(frozen=True)
class Piece:
    """One piece: ``frames`` of 20 ms from frame ``start`` of the arrays, in which pieces lie end to end.

    It was cut from frame ``offset`` on of the recording ``recording``.
    """

    name: str
    speaker: int
    start: int
    frames: int
    offset: int

    @property
    def recording(self) -> str:
        return self.name.rpartition("@")[0]

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.frames)


@dataclass(frozen=True)
class PiecesTable:
    """The result of preprocessing; ``arrays`` are file names by kind: waveform, waveform_16k."""

    key: str
    sample_rate: int
    dataset_seconds: float
    pieces: tuple[Piece, ...]
    arrays: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def speakers(self) -> int:
        """Rows that the speaker table needs."""
        return 1 + max(piece.speaker for piece in self.pieces)

    @property
    def frames(self) -> int:
        """Frames of 20 ms in all."""
        return sum(piece.frames for piece in self.pieces)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The table in the file ``path``; None where there is none, or one that cannot be understood."""
        content = _read(path, cls)
        if content is None:
            return None
        try:
            pieces = tuple(Piece(*piece) for piece in content.pop("pieces"))
        except TypeError:  # written when pieces had fewer parts
            return None
        return cls(**content | {"pieces": pieces, "warnings": tuple(content["warnings"])})

    def write(self, path: Path) -> None:
        pieces = [astuple(piece) for piece in self.pieces]
        _write(path, asdict(self) | {"pieces": pieces})


@dataclass(frozen=True)
class DataDescription:
    """What a set of training data was made from and with.

    ``speakers`` has a name for each row of the speaker table; ``embedder`` is the encoder's name and
    ``embedder_identity`` the hash of its files; ``f0_percentiles_hz`` are the 5th, 50th and 95th of the
    voiced frames, None for a voice without f0.
    """

    sample_rate: int
    version: str
    has_f0: bool
    embedder: str
    embedder_identity: str
    custom_embedder_model: str | None
    phone_dim: int
    speakers: tuple[str, ...]
    n_fft: int
    hop_length: int
    f0_method: str | None
    dataset_seconds: float
    f0_percentiles_hz: tuple[float, float, float] | None


@dataclass(frozen=True)
class ExamplesTable:
    """The result of extraction; ``arrays`` are file names by kind: features, f0, spectrogram, versions,
    perturbed."""

    key: str
    pieces_key: str
    description: DataDescription
    mutes: int
    versions: int
    perturbed_copies: int
    arrays: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """As :meth:`PiecesTable.read`."""
        content = _read(path, cls)
        if content is None:
            return None
        described = content.pop("description")
        described["speakers"] = tuple(described["speakers"])
        if described["f0_percentiles_hz"] is not None:
            described["f0_percentiles_hz"] = tuple(described["f0_percentiles_hz"])
        description = DataDescription(**described)
        return cls(**content | {"description": description, "warnings": tuple(content["warnings"])})

    def write(self, path: Path) -> None:
        _write(path, asdict(self))


def table_key(*parts: object) -> str:
    """One name for everything that decides a result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def remove_others(folder: Path, kept: Iterable[str], kinds: Iterable[str]) -> None:
    """Remove the arrays of these kinds that no table names any more."""
    names = set(kept)
    for kind in kinds:
        for path in folder.glob(f"{kind}-*.npy"):
            if path.name not in names:
                with suppress(OSError):  # a training that still runs may hold it on some systems
                    path.unlink()


def _read(path: Path, table: type[Any]) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}).") from error
    known = {field.name for field in fields(table)}
    return content if isinstance(content, dict) and set(content) == known else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
