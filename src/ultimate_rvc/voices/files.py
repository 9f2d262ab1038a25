"""Which files of a folder make a voice: the model, and the index that belongs to it."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.onnx_graph import ONNX_SUFFIX

SAFETENSORS_SUFFIX = ".safetensors"
MODEL_SUFFIXES = (".pth", SAFETENSORS_SUFFIX, ONNX_SUFFIX)
ANY_MODEL = f"{', '.join(MODEL_SUFFIXES[:-1])} or {MODEL_SUFFIXES[-1]}"
SIMPLIFIED = "_simple"  # what w-okada's voice-changer adds to the name of the voice that it exports
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
    """Dimension and number of vectors that an index claims, or ``None`` for what is no FAISS index."""
    try:
        with path.open("rb") as file:
            kind, dim, vectors = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
    except (OSError, struct.error):
        return None
    # Every kind of FAISS has four letters or digits of which the first is an I.
    return IndexHeader(dim, vectors) if kind[:1] == b"I" and kind.isalnum() else None


def in_users_words(sentence: str, labels: Mapping[Path, str]) -> str:
    """``sentence`` with passing paths replaced by what the user knows the files as."""
    for path in sorted(labels, key=lambda path: len(str(path)), reverse=True):  # one may begin with another
        sentence = sentence.replace(str(path), labels[path])
    return sentence


def is_model_file(path: Path) -> bool:
    return path.suffix.lower() in MODEL_SUFFIXES and not path.name.startswith(".")


def is_index_file(path: Path) -> bool:
    return path.suffix.lower() == INDEX_SUFFIX and not path.name.startswith(".")


def find_models(files: Sequence[Path]) -> list[Path]:
    """The voices among ``files``, sorted; leftovers of a training only when there is nothing else.

    An ``.onnx`` beside the voice that it was exported from is that voice once more, and is left out.
    """
    models = sorted(path for path in files if is_model_file(path))
    weights = {path.with_suffix("") for path in models if path.suffix.lower() != ONNX_SUFFIX}
    models = [path for path in models if path.suffix.lower() != ONNX_SUFFIX or not _exported(path) & weights]
    finished = [path for path in models if not _TRAINING_FILE.fullmatch(path.stem)]
    return finished or [path for path in models if path.stem.upper().startswith("G")]


def _exported(path: Path) -> set[Path]:
    """What the voices may be called, without a suffix, that an ``.onnx`` was exported from."""
    return {path.with_suffix(""), path.with_name(path.stem.removesuffix(SIMPLIFIED))}


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
        raise VoiceFileError(f"{folder} holds no voice: there is no {ANY_MODEL} file in it.")
    names = ", ".join(path.name for path in models[:5]) + (", ..." if len(models) > 5 else "")
    raise VoiceFileError(f"{folder} holds several voices ({names}); name the file you mean.")


def pair_index(
    model: Path, files: Sequence[Path], feature_dim: int | None = None
) -> tuple[Path | None, tuple[str, ...]]:
    """The index among ``files`` that belongs to ``model``, and warnings about the choice.

    What an index holds decides; its name only chooses among those that fit. RVC writes a ``trained_*``
    index without vectors and then the ``added_*`` one to use; Ultimate RVC and Applio name
    the index like the model. Where several voices share a folder, only an index that names the voice
    is taken.

    ``files`` are those that the model lies among; an index of another width than ``feature_dim``, where that
    is known, is not its own.
    """
    indexes = sorted(path for path in files if is_index_file(path))
    fitting, warnings = _fitting(indexes, feature_dim)
    shared = len(find_models(files)) > 1
    ranked = [(rank, path) for path in fitting if (rank := _rank(model, path, shared)) is not None]
    if not ranked:
        return None, warnings
    ranked.sort()
    best_rank, best = ranked[0]
    if best_rank == 0 or len(ranked) == 1:
        return best, warnings
    doubt = (
        f"{len(ranked)} index files may belong to {model.name}; {best.name} is used, name the right one "
        "if that is another."
    )
    return best, (*warnings, doubt)


def _fitting(indexes: Sequence[Path], feature_dim: int | None) -> tuple[list[Path], tuple[str, ...]]:
    """Indexes with vectors of the voice's width, and why there is none if that is so."""
    headers = [(path, read_index_header(path)) for path in indexes]
    filled = [(path, header) for path, header in headers if header is None or header.vectors != 0]
    if indexes and not filled:
        return [], (
            f"{indexes[0].name} holds no vectors and is not used; the index to use is called added_*.",
        )
    fitting = [path for path, header in filled if header is None or feature_dim in (None, header.dim)]
    if filled and not fitting:
        path, header = filled[0]
        dim = header.dim if header else 0
        return [], (
            f"{path.name} is not used: it holds vectors of {dim} numbers, but the voice works with "
            f"{feature_dim}, so it belongs to another voice.",
        )
    return fitting, ()


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
