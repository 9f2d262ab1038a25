"""Which files of a folder make a voice: the model, and the index that belongs to it."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import VoiceFileError

MODEL_SUFFIXES = (".pth", ".safetensors")
INDEX_SUFFIX = ".index"
# What trainers leave beside their voices: G_2333333.pth can be made a voice, D_2333333.pth cannot.
_TRAINING_FILE = re.compile(r"[GD]_(\d+|latest|best)", re.IGNORECASE)
_INDEX_HEADER = struct.Struct("<4siq")  # kind, dimension, number of vectors


@dataclass(frozen=True)
class IndexHeader:
    """The first figures of a FAISS index file."""

    dim: int
    vectors: int


def read_index_header(path: Path) -> IndexHeader | None:
    """Dimension and number of vectors that an index claims, or ``None`` if it is too short for a header."""
    try:
        with path.open("rb") as file:
            _, dim, vectors = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
    except (OSError, struct.error):
        return None
    return IndexHeader(dim, vectors)


def is_model_file(path: Path) -> bool:
    return path.suffix.lower() in MODEL_SUFFIXES and not path.name.startswith(".")


def is_index_file(path: Path) -> bool:
    return path.suffix.lower() == INDEX_SUFFIX and not path.name.startswith(".")


def find_models(files: Sequence[Path]) -> list[Path]:
    """The voices among ``files``, sorted; leftovers of a training only when there is nothing else."""
    models = sorted(path for path in files if is_model_file(path))
    finished = [path for path in models if not _TRAINING_FILE.fullmatch(path.stem)]
    return finished or [path for path in models if path.stem.upper().startswith("G")]


def choose_model(folder: Path, files: Sequence[Path]) -> Path:
    """The model of a folder that holds one voice: the only one, or the one named like the folder.

    Raises
    ------
    VoiceFileError
        There is no model, or there are several and none is named like the folder.
    """
    models = find_models(files)
    named_alike = [path for path in models if path.stem == folder.name]
    if len(models) == 1 or len(named_alike) == 1:
        return (named_alike or models)[0]
    if not models:
        raise VoiceFileError(f"{folder} holds no voice: there is no .pth or .safetensors file in it.")
    names = ", ".join(path.name for path in models[:5]) + (", ..." if len(models) > 5 else "")
    raise VoiceFileError(f"{folder} holds several voices ({names}); name the file you mean.")


def pair_index(model: Path, files: Sequence[Path]) -> tuple[Path | None, tuple[str, ...]]:
    """The index among ``files`` that belongs to ``model``, and warnings about the choice.

    RVC writes a ``trained_*`` index without vectors and then the ``added_*`` one to use; Ultimate RVC
    and Applio name the index like the model. Where several voices share a folder, only an
    index that names the voice is taken.
    """
    indexes = sorted(path for path in files if is_index_file(path))
    filled = [path for path in indexes if not _holds_nothing(path)]
    warnings = []
    if indexes and not filled:
        warnings.append(
            f"{indexes[0].name} holds no vectors and is not used; the index to use is called added_*."
        )
    shared = len(find_models(files)) > 1
    ranked = [(rank, path) for path in filled if (rank := _rank(model, path, shared)) is not None]
    if not ranked:
        return None, tuple(warnings)
    ranked.sort()
    best_rank, best = ranked[0]
    if best_rank > 0 and len(ranked) > 1:
        warnings.append(
            f"{len(ranked)} index files may belong to {model.name}; {best.name} is used, name another "
            "with --index."
        )
    return best, tuple(warnings)


def _rank(model: Path, index: Path, shared: bool) -> int | None:
    """0 for the surest match; ``None`` for an index of another voice."""
    stem, name = model.stem.casefold(), index.stem.casefold()
    if name == stem:
        return 0
    if stem in name:
        return 1 if name.startswith("added_") else 2
    if shared:
        return None
    return 3 if name.startswith("added_") else 4


def _holds_nothing(path: Path) -> bool:
    header = read_index_header(path)
    return header is not None and header.vectors == 0
