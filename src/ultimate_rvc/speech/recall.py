"""What a slow engine has read before is not read again: passages are kept by content, in the feature cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.speech.engines import SpeechEngine

FloatArray = NDArray[np.float32]
Stamp = tuple[tuple[str, int, int], ...]
"""Paths, sizes and times of files."""

VERSION = 1  # of what is kept: raised when it changes
KEY_LENGTH = 40  # hexadecimal digits, as in the other caches


@runtime_checkable
class Recallable(Protocol):
    """An engine that takes longer to read a passage than the disk to give it back."""

    def identity(self, speaker: str) -> Mapping[str, object]:
        """What decides the samples beside text, pace and seed, in values of JSON."""


def stamp(paths: Iterable[Path]) -> Stamp:
    """What tells that one of the files, or of the files in one of the folders, was changed."""
    files = (file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path]))
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((str(file), facts.st_size, facts.st_mtime_ns) for file, facts in found)


def read_passage(
    engine: SpeechEngine, text: str, speaker: str, rate: float, seed: int
) -> tuple[FloatArray, int]:
    """A passage as ``(samples,)`` with their rate, by :meth:`SpeechEngine.synthesize` where it is not kept."""
    if not isinstance(engine, Recallable):
        return engine.synthesize(text, speaker, rate, seed)
    import torch

    from ultimate_rvc.rvc.infer.optimization.feature_cache import open_feature_cache

    cache, device = open_feature_cache(), torch.device("cpu")
    key = _key({**engine.identity(speaker), "text": text, "rate": rate, "seed": seed})
    if (found := cache.find(key, device)) is not None:
        kept = found.numpy()
        return kept[1:], int(kept[0])
    waveform, sample_rate = engine.synthesize(text, speaker, rate, seed)
    # A whole number below 2^24 is exact in float32, so the rate may stand before the samples.
    cache.keep_unrounded(key, torch.from_numpy(np.append(np.float32(sample_rate), waveform)), device)
    return waveform, sample_rate


def _key(decisive: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps({**decisive, "version": VERSION}, sort_keys=True).encode())
    return f"speech-{digest.hexdigest()[:KEY_LENGTH]}"
