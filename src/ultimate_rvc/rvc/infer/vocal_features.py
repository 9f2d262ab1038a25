"""Content features and f0 of a vocal: computed, or remembered from an earlier conversion of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from ultimate_rvc.choices import F0Method
from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.infer.chunks import Chunk
from ultimate_rvc.rvc.infer.identity import pitch_identity
from ultimate_rvc.rvc.infer.optimization.batching import pad_batch
from ultimate_rvc.rvc.infer.optimization.feature_cache import (
    FeatureCache,
    f0_key,
    features_key,
    rounded_as_kept,
)

Stage = Callable[[str], AbstractContextManager[None]]


class VocalFeatures:
    """An encoder and a memory of what it and the pitch methods gave.

    ``version`` is that of the voices the encoder works for; without a ``cache`` nothing is kept.
    ``computation`` makes numbers differ by more than rounding, and is part of the keys. ``stage`` measures a
    named block: it is entered only when something is computed.
    """

    def __init__(
        self,
        encoder: ContentEncoder,
        version: str,
        cache: FeatureCache | None,
        *,
        computation: str,
        device: torch.device,
        stage: Stage,
    ) -> None:
        self._encoder = encoder
        self._version = version
        self._cache = cache
        self._computation = computation
        self._device = device
        self._stage = stage
        self._identity: str | None = None
        self._new: dict[str, Tensor] = {}
        self._new_f0: dict[str, Tensor] = {}

    def f0_hz(self, audio: str, methods: Sequence[F0Method], compute: Callable[[], Tensor]) -> Tensor:
        """f0 of a whole vocal, whose hash is ``audio``: float32 ``(frames,)`` in Hz at 100 Hz."""
        if self._cache is None:
            return self._measured_f0(compute)
        identity = " ".join(map(pitch_identity, methods))
        key = f0_key(audio, pitch=identity, computation=self._computation)
        found = self._cache.find(key, self._device)
        if found is not None:
            return found
        self._new_f0[key] = computed = self._measured_f0(compute)
        return computed

    def _measured_f0(self, compute: Callable[[], Tensor]) -> Tensor:
        with self._stage("f0"):
            return compute()

    def content(
        self,
        audio: Sequence[str],
        chunks: Sequence[Chunk],
        windows_16k: Sequence[Tensor],
        *,
        recompute: bool = False,
    ) -> list[Tensor]:
        """Content features of chunks.

        Parameters
        ----------
        audio, chunks, windows_16k
            The hash of the recording, the place in it, and the samples of each: float32 ``(samples,)``.
        recompute
            Remember nothing: it may be wrong.

        Returns
        -------
        list of float32 Tensor (frames, dim)
            At 50 Hz.
        """
        if self._cache is None:
            return self._encode(windows_16k)
        keys = [self._features_key(*item) for item in zip(audio, chunks, strict=True)]
        found = [None if recompute else self._remembered(key) for key in keys]
        missing = [place for place, features in enumerate(found) if features is None]
        if missing:
            encoded = self._encode([windows_16k[place] for place in missing])
            for place, features in zip(missing, encoded, strict=True):
                self._new[keys[place]] = found[place] = rounded_as_kept(features)
        return [features for features in found if features is not None]

    def _remembered(self, key: str) -> Tensor | None:
        assert self._cache is not None
        return self._new[key] if key in self._new else self._cache.find(key, self._device)

    def keep(self) -> None:
        """Write what is new to the cache, at the end of a job: until then nothing has to leave the device."""
        if self._cache is not None:
            for key, features in self._new.items():
                if bool(features.isfinite().all()):
                    self._cache.keep_features(key, features, self._device)
            for key, f0_hz in self._new_f0.items():
                self._cache.keep_unrounded(key, f0_hz, self._device)
        self.forget()

    def forget(self) -> None:
        """Drop what is new, after a job that failed."""
        self._new.clear()
        self._new_f0.clear()

    def _features_key(self, audio: str, chunk: Chunk) -> str:
        if self._identity is None:
            self._identity = f"{self._encoder.name} {self._encoder.identity()}"
        kind = {"encoder": self._identity, "voice_version": self._version, "computation": self._computation}
        return features_key(audio, chunk=chunk, **kind)

    def _encode(self, windows_16k: Sequence[Tensor]) -> list[Tensor]:
        with self._stage("encode"):
            if len(windows_16k) == 1:
                return [self._encoder.encode(windows_16k[0][None], self._version)[0]]
            padded, lengths = pad_batch(windows_16k)
            features = self._encoder.encode(padded, self._version, lengths)
            return [item[: (length - 80) // 320] for item, length in zip(features, lengths, strict=True)]
