"""Where the files of content encoders lie, and what identifies them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from ultimate_rvc.assets.registry import assets, require
from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.errors import AssetMissingError, EncoderFileError, SettingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import models_dir, packaged_assets_dir

STARTER_FILE = "starter_encoder.safetensors"
CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
# Below the models folder: ours and Ultimate RVC's, each with the user's own encoders beside or below.
PARENT_FOLDERS = ("embedders", "embedders/custom", "rvc/embedders", "rvc/embedders/custom")
HUBERT_BASE_FOLDER = "hubert_base"  # what the original RVC calls contentvec


def starter_file() -> Path:
    """The weights of `starter`, which ship with the package."""
    return packaged_assets_dir() / STARTER_FILE


def encoder_folder(name: str) -> Path | None:
    """The folder on this machine that holds the encoder ``name`` completely, if there is one.

    Looked for below ``models_dir()``: ``embedders/<name>``, and ``rvc/embedders/<name>`` as Ultimate
    RVC lays it out, each also with underscores for hyphens and below ``custom``; for contentvec also
    ``hubert_base``.
    """
    if not name or Path(name).name != name:
        return None  # a name out of a voice file must not lead out of the models folder
    candidates = [
        f"{parent}/{spelling}"
        for parent in PARENT_FOLDERS
        for spelling in dict.fromkeys((name, name.replace("-", "_")))
    ]
    if name == EmbedderModel.CONTENTVEC:
        candidates.append(HUBERT_BASE_FOLDER)
    folders = (models_dir() / candidate for candidate in candidates)
    return next((folder for folder in folders if _is_complete(folder)), None)


def require_encoder_folder(name: str, folder: Path | None) -> Path:
    """``folder`` if it is one, else that of the encoder ``name``, downloaded if need be.

    Raises as :func:`ultimate_rvc.rvc.content.load_content_encoder` says.
    """
    if folder is not None:
        return _chosen_folder(folder)
    if found := encoder_folder(name):
        return found
    if name in assets() and name in set(EmbedderModel):
        return require(name)
    if name == EmbedderModel.CUSTOM:
        raise SettingError(
            "The content encoder (embedder_model) 'custom' needs a folder (custom_embedder_model)."
        )
    raise SettingError(
        f"There is no content encoder called '{name}': known are {', '.join(EmbedderModel)}, and the folders "
        f"below {models_dir() / 'embedders'}."
    )


def _chosen_folder(folder: Path) -> Path:
    if folder.is_dir():
        weights_file(folder)  # says what is missing
        return folder
    if found := encoder_folder(str(folder)):
        return found
    if folder.exists():
        raise EncoderFileError(
            f"{folder} is a file; a custom encoder is a folder with {CONFIG_FILE} and {WEIGHTS_FILES[1]}."
        )
    raise AssetMissingError(
        f"The custom encoder '{folder}' is neither a folder nor a name below {models_dir() / 'embedders'}."
    )


def weights_file(folder: Path) -> Path:
    """The file of weights in an encoder's folder.

    Raises
    ------
    EncoderFileError
        The folder lacks it, or ``config.json``.
    """
    weights = next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG_FILE).is_file():
        missing = CONFIG_FILE if weights is not None else " or ".join(WEIGHTS_FILES)
        raise EncoderFileError(
            f"{folder} has no {missing}; a content encoder is a folder with {CONFIG_FILE} and its weights."
        )
    return weights


def _is_complete(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() and any((folder / name).is_file() for name in WEIGHTS_FILES)


def files_identity(*paths: Path) -> str:
    """One hash over the contents of files; each is read once per process while it is unchanged."""
    states = [(path, path.stat()) for path in paths]
    hashes = [_hash_of(path, state.st_mtime_ns, state.st_size) for path, state in states]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


@lru_cache(maxsize=32)
def _hash_of(path: Path, _mtime_ns: int, _size: int) -> str:
    return file_hash(path)
