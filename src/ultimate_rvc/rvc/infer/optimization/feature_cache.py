"""The second time free: f0 and content features of a vocal, kept by content.

Neither depends on the voice's timbre, the transposition or the index, so that another voice, pitch or
index rate on the same vocal runs retrieval and synthesis only. Features rest in 16 bits, which halves
their size: as steps between the least and the greatest value that each of them takes in the chunk. That
is 20 dB nearer than float16, which brought a random voice's waveform below 60 dB. What was just computed
is rounded the same way, so that a conversion gives the same bytes whether it found or computed them.
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
from ultimate_rvc.rvc.infer.chunks import ENCODER_TAIL, SAMPLE_RATE, Chunk
from ultimate_rvc.rvc.infer.identity import PIPELINE_VERSION
from ultimate_rvc.rvc.infer.optimization.feature_files import FeatureFiles, limit_bytes
from ultimate_rvc.shared_folder import SharedFolder, open_shared_folder

log = logging.getLogger(__name__)

LAYOUT_VERSION = 1  # of the files: raised when what is inside them changes
VALUES, LOW, STEP, CHECKSUM = "values", "low", "step", "sha256"  # the tensors of a file
STEPS = 2**16 - 1
HALF_STEPS = 2**15  # int16 begins at -32768; uint16 is younger than the oldest torch we run on
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

    ``audio`` is from :func:`audio_hash`, of the audio before the high-pass; ``pitch`` the identity of the
    pitch methods, in the order the user named them: weights or package versions; ``computation`` whatever
    makes the numbers differ by more than float32 rounding: device type, precision, TF32.
    """
    return _key("f0", audio, computation, pitch=pitch)


def features_key(audio: str, *, encoder: str, voice_version: str, chunk: Chunk, computation: str) -> str:
    """The name under which the content features of one chunk of a vocal are kept.

    ``audio`` and ``computation`` are as for :func:`f0_key`, ``encoder`` the identity of the content encoder's
    weights, ``voice_version`` ``v1`` or ``v2``, which take different layers, and ``chunk`` where it was cut:
    the context around it decides its features too.
    """
    window = [SAMPLE_RATE, chunk.pad, ENCODER_TAIL, chunk.start, chunk.end]
    return _key("features", audio, computation, encoder=encoder, voice_version=voice_version, window=window)


def _shared_name(key: str) -> str:
    """Where a key lies in a shared folder: in 256 folders, as many files in one are slow on network disks."""
    return f"features/{key[-2:]}/{key}"


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
    """The user's cache, as large as :func:`limit_bytes` allows, and what other machines share with it."""
    return FeatureCache(feature_cache_dir(), limit_bytes(), shared=open_shared_folder())


class FeatureCache:
    """Features and f0 by key, in files below ``folder`` of at most ``max_bytes`` together.

    Nothing it meets on the disk stops a conversion: a damaged file is removed and computed again, and a
    full disk or a folder that cannot be used costs one warning. Two processes that want the same key at
    once both compute it. ``clock`` is as for :class:`FeatureFiles`. What is not here is looked for in
    ``shared`` and kept here then; what was computed goes to both.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        shared: SharedFolder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = FeatureFiles(folder, max_bytes, clock=clock)
        self._shared = shared
        self._warned = False

    def find(self, key: str, device: torch.device) -> Tensor | None:
        """What is kept under ``key``: float32 ``(frames,)`` or ``(frames, dim)`` on ``device``, or None."""
        try:
            content = self._files.read(key)
        except OSError as error:
            self._warn_once(error)
            return None
        if content is None:
            return self._find_shared(key, device)
        values = _unpacked(key, content)
        if values is None:
            log.warning("%s is damaged; it is removed and computed again.", self._files.path(key))
            self._files.remove(key)
            return None
        return _widened(values, device)

    def _find_shared(self, key: str, device: torch.device) -> Tensor | None:
        content = None if self._shared is None else self._shared.find(_shared_name(key))
        values = None if content is None else _unpacked(key, content)
        if content is None or values is None:
            return None
        self._write(key, content)
        return _widened(values, device)

    def keep_features(self, key: str, features: Tensor, device: torch.device) -> Tensor:
        """Keep float features ``(frames, dim)``; returns what :meth:`find` will give from now on.

        float32 of the same shape: each feature (last dimension) rounded to one of 65,536 steps between its
        least and its greatest value, or all as they are if one of them is not finite.
        """
        features = features.detach().float()
        return self._keep(key, _narrowed(features) or {VALUES: features}, device)

    def keep_unrounded(self, key: str, values: Tensor, device: torch.device) -> Tensor:
        """Keep float values, such as an f0 curve ``(frames,)`` in Hz; returns them as float32 on ``device``."""
        return self._keep(key, {VALUES: values.detach().float()}, device)

    def _keep(self, key: str, tensors: dict[str, Tensor], device: torch.device) -> Tensor:
        content = _packed(key, {name: tensor.cpu() for name, tensor in tensors.items()})
        self._write(key, content)
        if self._shared is not None:
            self._shared.keep(_shared_name(key), content)
        return _widened(tensors, device)

    def _write(self, key: str, content: bytes) -> None:
        try:
            self._files.write(key, content)
        except OSError as error:
            self._warn_once(error)

    def _warn_once(self, error: OSError) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        log.log(
            level,
            "The feature cache in %s cannot be used (%s); conversions go on without it.",
            self._files.folder,
            error.strerror or error,
        )


def rounded_as_kept(features: Tensor) -> Tensor:
    """What :meth:`FeatureCache.find` will give for float32 ``(frames, dim)``; nobody waits for the device."""
    if features.numel() == 0:
        return features
    values, low, step = _in_steps(features)
    return torch.where(step.isfinite().all(), _widened_steps(values, low, step), features)


def _narrowed(features: Tensor) -> dict[str, Tensor] | None:
    """``features`` in 16 bits, or None where there are none or one of them is not finite."""
    if features.numel() == 0:
        return None
    values, low, step = _in_steps(features)
    if not bool(step.isfinite().all()):  # as it is if any feature is not
        return None
    return {VALUES: values.to(torch.int16), LOW: low, STEP: step}


def _in_steps(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole steps from -32768 to 32767, still as float32, with what they stand for."""
    frames = features.reshape(-1, features.shape[-1])
    low = frames.amin(dim=0)
    step = (frames.amax(dim=0) - low) / STEPS
    counts = ((features - low) / torch.where(step > 0, step, 1)).round().clamp(0, STEPS)
    return counts - HALF_STEPS, low, step


def _widened_steps(values: Tensor, low: Tensor, step: Tensor) -> Tensor:
    return (values + HALF_STEPS) * step + low


def _widened(tensors: dict[str, Tensor], device: torch.device) -> Tensor:
    values = tensors[VALUES].to(device).float()
    if LOW not in tensors:
        return values
    return _widened_steps(values, tensors[LOW].to(device), tensors[STEP].to(device))


def _packed(key: str, tensors: dict[str, Tensor]) -> bytes:
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save({**tensors, CHECKSUM: _checksum(key, tensors)})


def _unpacked(key: str, content: bytes) -> dict[str, Tensor] | None:
    """The tensors in a file, or None when a byte of it is wrong or it belongs to another key."""
    try:
        tensors = load(content)
        checksum = tensors.pop(CHECKSUM)
    # A header with nonsense in it is answered with several of these.
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError):
        return None
    intact = VALUES in tensors and checksum.equal(_checksum(key, tensors))
    return tensors if intact else None


def _checksum(key: str, tensors: dict[str, Tensor]) -> Tensor:
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f" {name} {tensor.dtype} {list(tensor.shape)} ".encode())
        # As bytes: a damaged header may name a type that numpy does not have.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
