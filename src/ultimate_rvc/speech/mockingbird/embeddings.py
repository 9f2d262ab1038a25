"""Who speaks in a recording, heard once: embeddings are kept by content, on the disk and in Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.rvc.infer.optimization.feature_cache import FeatureCache, open_feature_cache
from ultimate_rvc.shared_cache import SharedCache, open_shared_cache
from ultimate_rvc.speech.consent import require_consent
from ultimate_rvc.speech.mockingbird.folder import (
    EMBEDDING_SUFFIX,
    SPEAKERS_FOLDER,
    checked_name,
    stored_speakers,
)
from ultimate_rvc.speech.mockingbird.loading import load_encoder
from ultimate_rvc.speech.mockingbird.recording import read_recording
from ultimate_rvc.speech.mockingbird.speaker_encoder import SpeakerEncoder

FloatArray = NDArray[np.float32]

VERSION = 1  # of how a recording becomes an embedding: raised when that changes
KEY_LENGTH = 40  # hexadecimal digits, as in the other caches
CPU = torch.device("cpu")


class EmbeddingCache:
    """Embeddings by key: on this disk first, then where machines share them."""

    def __init__(self, disk: FeatureCache, shared: SharedCache) -> None:
        self._disk = disk
        self._shared = shared

    def get(self, key: str, compute: Callable[[], FloatArray]) -> FloatArray:
        """The embedding (width,) kept under ``key``, else what ``compute`` gives, which is kept from now on."""
        if (found := self._disk.find(key, CPU)) is not None:
            return found.numpy()
        if (content := self._shared.find(key)) is not None and len(content) % 4 == 0:
            embedding = np.frombuffer(content, "<f4").astype(np.float32)
        else:
            embedding = compute()
            self._shared.keep(key, embedding.astype("<f4").tobytes())
        self._disk.keep_unrounded(key, torch.from_numpy(embedding), CPU)
        return embedding


def open_embedding_cache() -> EmbeddingCache:
    """The user's."""
    return EmbeddingCache(open_feature_cache(), open_shared_cache())


def embedding_of(path: Path, encoder: Callable[[], Path], cache_: EmbeddingCache) -> FloatArray:
    """The embedding (width,) that a file of numpy holds, or of who speaks in a recording.

    ``encoder`` gives the file of the speaker encoder; it is asked for recordings only.

    Raises
    ------
    SpeechError
        The file holds no embedding, or the recording too little speech; an AudioError where it is no audio.
    """
    if path.suffix.lower() == EMBEDDING_SUFFIX:
        return _read_embedding(path)
    weights = encoder()
    key = embedding_key(file_hash(path), file_hash(weights))
    return cache_.get(key, lambda: _encoder(weights, weights.stat().st_mtime_ns).embed(read_recording(path)))


def embedding_key(recording: str, encoder: str) -> str:
    """The name under which an embedding is kept; both are hashes of files."""
    digest = hashlib.sha256(f"{VERSION} {recording} {encoder}".encode())
    return f"speaker-{digest.hexdigest()[:KEY_LENGTH]}"


def store_speaker(
    model: Path, name: str, recording: Path, encoder: Callable[[], Path], *, has_consent: bool = False
) -> Path:
    """Hear a recording and keep its embedding with a model, under a new name; returns the file.

    Raises
    ------
    SpeechError
        The name is taken or no name of a file, or as :func:`embedding_of`; a :class:`ConsentError` as
        :func:`require_consent`.
    """
    path = model / SPEAKERS_FOLDER / f"{checked_name(name)}{EMBEDDING_SUFFIX}"
    if name in stored_speakers(model):
        raise SpeechError(f"The name {name!r} is taken in {path.parent}: choose another one.")
    require_consent(str(recording), is_given=has_consent)
    write_embedding(path, embedding_of(recording, encoder, open_embedding_cache()))
    return path


def write_embedding(path: Path, embedding: FloatArray) -> None:
    """Write an embedding (width,) as a file of numpy."""
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, embedding.astype(np.float32), allow_pickle=False)


def _read_embedding(path: Path) -> FloatArray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SpeechError(
            f"{path} is no file of numpy with an embedding: store the speaker again."
        ) from error
    is_vector = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "f"
    if not is_vector or not np.isfinite(values).all() or not values.any():
        raise SpeechError(f"{path} holds no embedding, which is a list of numbers: store the speaker again.")
    embedding: FloatArray = (values / np.linalg.norm(values)).astype(np.float32)
    return embedding


@cache
def _encoder(path: Path, _modified_ns: int) -> SpeakerEncoder:
    return load_encoder(path)
