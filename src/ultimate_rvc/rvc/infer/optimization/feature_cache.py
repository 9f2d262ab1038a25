"""The second time free: f0 and content features of a vocal, kept by content.

Neither depends on the voice's timbre, the transposition or the index, so that another voice, pitch or
index rate on the same vocal runs retrieval and synthesis only. Features rest as float16, which halves
their size. What was just computed is rounded the same way, so that a conversion gives the same bytes
whether it found its features or computed them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ultimate_rvc.paths import feature_cache_dir
from ultimate_rvc.rvc.infer.chunks import ENCODER_TAIL, PAD_SAMPLES, SAMPLE_RATE, Chunk
from ultimate_rvc.rvc.infer.identity import PIPELINE_VERSION
from ultimate_rvc.rvc.infer.optimization.feature_files import FeatureFiles, limit_bytes

log = logging.getLogger(__name__)

LAYOUT_VERSION = 1  # of the files: raised when what is inside them changes
VALUES, CHECKSUM = "values", "sha256"  # the two tensors of a file
KEY_LENGTH = 40  # hexadecimal digits of SHA-256, as in the cache of the covers

FloatArray = NDArray[np.float32]


# ---------------------------------------------------------------------- keys


def audio_hash(waveform_16k: FloatArray) -> str:
    """Hash of mono audio at 16 kHz: float32, shape ``(samples,)``.

    SHA-256, because processors have instructions for it: 3 minutes take 7 ms, a third of BLAKE2b.
    """
    return hashlib.sha256(np.ascontiguousarray(waveform_16k, np.float32).data).hexdigest()


def f0_key(audio: str, *, pitch: str, computation: str) -> str:
    """The name under which the f0 of a whole vocal is kept, before any transposition or autotune.

    Parameters
    ----------
    audio
        From :func:`audio_hash`, of the audio before the high-pass.
    pitch
        Identity of the pitch methods, in the order the user named them: weights or package versions.
    computation
        Whatever makes the numbers differ by more than rounding: device type, precision, filter.
    """
    return _key("f0", audio, computation, pitch=pitch)


def features_key(audio: str, *, encoder: str, voice_version: str, chunk: Chunk, computation: str) -> str:
    """The name under which the content features of one chunk of a vocal are kept.

    Parameters
    ----------
    audio, computation
        As for :func:`f0_key`.
    encoder
        Identity of the content encoder's weights.
    voice_version
        ``v1`` or ``v2``, which take different layers.
    chunk
        Where it was cut: the context around it decides its features too.
    """
    window = [SAMPLE_RATE, PAD_SAMPLES, ENCODER_TAIL, chunk.start, chunk.end]
    return _key("features", audio, computation, encoder=encoder, voice_version=voice_version, window=window)


def _key(kind: str, audio: str, computation: str, **parts: object) -> str:
    everything = {
        **parts,
        "kind": kind,
        "audio": audio,
        "computation": computation,
        "versions": [PIPELINE_VERSION, LAYOUT_VERSION],
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode())
    return f"{kind}-{digest.hexdigest()[:KEY_LENGTH]}"


# --------------------------------------------------------------------- cache


def open_feature_cache() -> FeatureCache:
    """The user's cache, as large as ``URVC_FEATURE_CACHE_MB`` allows.

    Raises
    ------
    SettingError
        The variable is no whole number above 0.
    """
    return FeatureCache(feature_cache_dir(), limit_bytes())


class FeatureCache:
    """Features and f0 by key, in files below ``folder`` of at most ``max_bytes`` together.

    Nothing it meets on the disk stops a conversion: a damaged file is removed and computed again, and a
    full disk or a folder that cannot be used costs one warning. Two processes that want the same key at
    once both compute it.

    Parameters
    ----------
    folder, max_bytes, clock
        As for :class:`FeatureFiles`.
    """

    def __init__(self, folder: Path, max_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._files = FeatureFiles(folder, max_bytes, clock=clock)
        self._warned = False

    def features(self, key: str, compute: Callable[[], Tensor], device: torch.device) -> Tensor:
        """Content features, found or computed now.

        Parameters
        ----------
        key
            From :func:`features_key`.
        compute
            Gives the features, any shape. Called only if they are not found; what it raises passes.
        device
            Where the result is wanted.

        Returns
        -------
        float32 of the same shape: the features rounded to float16, or as they are if one of them is not
        finite or beyond the range of float16 (65504).
        """
        found = self.find(key, device)
        return found if found is not None else self.keep_features(key, compute(), device)

    def f0(self, key: str, compute: Callable[[], Tensor], device: torch.device) -> Tensor:
        """An f0 curve in Hz, found or computed now: as :meth:`features`, but never rounded."""
        found = self.find(key, device)
        return found if found is not None else self._keep(key, compute().detach().float(), device)

    def find(self, key: str, device: torch.device) -> Tensor | None:
        """What is kept under ``key`` as float32 on ``device``, or None; for work done in batches."""
        try:
            content = self._files.read(key)
        except OSError as error:
            self._warn_once(error)
            return None
        if content is None:
            return None
        values = _unpacked(key, content)
        if values is None:
            log.warning("%s is damaged; it is removed and computed again.", self._files.path(key))
            self._files.remove(key)
            return None
        return values.to(device).float()

    def keep_features(self, key: str, features: Tensor, device: torch.device) -> Tensor:
        """Keep computed features; returns what :meth:`find` will give for ``key`` from now on."""
        features = features.detach().float()
        half = features.half()
        return self._keep(key, half if bool(half.isfinite().all()) else features, device)

    def _keep(self, key: str, values: Tensor, device: torch.device) -> Tensor:
        try:
            self._files.write(key, _packed(key, values.cpu()))
        except OSError as error:
            self._warn_once(error)
        return values.to(device).float()

    def _warn_once(self, error: OSError) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        log.log(
            level,
            "The feature cache in %s cannot be used (%s); conversions go on without it.",
            self._files.folder,
            error.strerror or error,
        )


def _packed(key: str, values: Tensor) -> bytes:
    values = values.contiguous()
    return save({VALUES: values, CHECKSUM: _checksum(key, values)})


def _unpacked(key: str, content: bytes) -> Tensor | None:
    """The values in a file, or None when a byte of it is wrong or it belongs to another key."""
    try:
        tensors = load(content)
        values, checksum = tensors[VALUES], tensors[CHECKSUM]
    # A header with nonsense in it is answered with several of these.
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError):
        return None
    intact = values.dtype in (torch.float16, torch.float32) and checksum.equal(_checksum(key, values))
    return values if intact else None


def _checksum(key: str, values: Tensor) -> Tensor:
    digest = hashlib.sha256(f"{key} {values.dtype} {list(values.shape)}".encode())
    digest.update(values.numpy().reshape(-1).data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
