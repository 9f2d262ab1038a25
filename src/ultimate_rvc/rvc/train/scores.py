"""How good the voice is by now: it speaks held-out pieces again, and the result is compared with them.

The whole path of a conversion is run (content features and pitch through ``enc_p``, flow and vocoder),
without noise. No loss says that: all of them are about pieces that the network was shown.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.files import atomic_path
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.train.batches import Example
from ultimate_rvc.rvc.train.logs import Excerpt

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

TABLE_FILE = "scores.csv"
PLOT_FILE = "scores.png"
EMBEDDER_SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Score:
    """A saved epoch's score.

    ``mel_distance`` is the mean absolute difference of log mel spectrograms (natural logarithm);
    ``similarity`` the cosine of speaker embeddings of conversion and recordings, None where the
    evaluator, Resemblyzer, is not installed.
    """

    epoch: int
    step: int
    mel_distance: float
    similarity: float | None

    @property
    def value(self) -> float:
        """Lower is better: the mel distance, and what the similarity lacks of 1."""
        return self.mel_distance + (0.0 if self.similarity is None else 1 - self.similarity)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    def state(self) -> dict[str, Any]:
        return asdict(self)


def best_score(scores: Sequence[Score]) -> Score | None:
    """The best of ``scores``; by the mel distance alone where some have no similarity."""
    if not scores:
        return None
    if any(score.similarity is None for score in scores):
        return min(scores, key=lambda score: score.mel_distance)
    return min(scores, key=lambda score: score.value)


# Log mel spectrogram (batch, bands, frames) of a waveform (batch, 1, samples).
MelOf = Callable[[Tensor], Tensor]
# A vector of length 1 for a mono waveform and its sample rate.
SpeakerEmbedder = Callable[[FloatArray, int], FloatArray]


class Scorer:
    """Scores a voice on ``held_out`` pieces, at least one."""

    def __init__(
        self,
        held_out: Sequence[Example],
        sample_rate: int,
        mel: MelOf,
        device: torch.device,
        embedder: SpeakerEmbedder | None,
    ) -> None:
        if not held_out:
            raise ValueError("a voice is scored on at least one held-out piece")
        self._held_out, self._sample_rate, self._mel, self._device = held_out, sample_rate, mel, device
        self._embedder = embedder
        self._target = None if embedder is None else self._target_vector(embedder)

    @torch.no_grad()  # not inference mode: windows and mel bases made there would be useless in training
    def score(self, synthesizer: Synthesizer, epoch: int, step: int) -> tuple[Score, Excerpt]:
        """The score of a voice, its network on the scorer's device, and what it made of the first piece."""
        distances, conversions, excerpt = [], [], None
        for example in self._held_out:
            conversion = self._convert(synthesizer, example)
            recording = example.waveform.to(self._device)[: conversion.shape[-1]]
            mels = [self._mel(waveform[None, None])[0] for waveform in (recording, conversion)]
            distances.append(float((mels[0] - mels[1]).abs().mean()))
            conversions.append(_on_host(conversion))
            if excerpt is None:
                mel, converted_mel = (_on_host(picture) for picture in mels)
                excerpt = Excerpt(_on_host(recording), conversions[0], mel, converted_mel, self._sample_rate)
        assert excerpt is not None
        return Score(epoch, step, float(np.mean(distances)), self._similarity(conversions)), excerpt

    def _convert(self, synthesizer: Synthesizer, example: Example) -> Tensor:
        def on_device(curve: Tensor | None) -> Tensor | None:
            return None if curve is None else curve[None].to(self._device)

        features = example.features[None].to(self._device)
        return synthesizer.infer(
            features,
            on_device(example.pitch),
            on_device(example.f0_hz),
            torch.tensor([example.speaker], device=self._device),
            noise_scale=0.0,
            source_noise_scale=0.0,
        )[0]

    def _target_vector(self, embedder: SpeakerEmbedder) -> FloatArray:
        waveforms = [_on_host(example.waveform) for example in self._held_out]
        return _mean_direction([embedder(waveform, self._sample_rate) for waveform in waveforms])

    def _similarity(self, conversions: Sequence[FloatArray]) -> float | None:
        if self._embedder is None or self._target is None:
            return None
        vectors = [self._embedder(waveform, self._sample_rate) for waveform in conversions]
        return float(np.mean([vector @ self._target for vector in vectors]))


def speaker_embedder() -> SpeakerEmbedder | None:
    """Resemblyzer's, or None where it is not installed."""
    # Some install it without its dependencies, for its weights alone.
    if find_spec("resemblyzer") is None or find_spec("webrtcvad") is None:
        log.info("Resemblyzer is not installed: the best epoch is chosen by the mel distance alone.")
        return None
    from resemblyzer import VoiceEncoder

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(waveform: FloatArray, sample_rate: int) -> FloatArray:
        from ultimate_rvc.audio.resample import resample

        waveform_16k = resample(waveform, sample_rate, EMBEDDER_SAMPLE_RATE)
        vector: FloatArray = encoder.embed_utterance(waveform_16k)
        return vector

    return embed


def write_table(path: Path, scores: Sequence[Score]) -> None:
    """Write the scores as CSV, one epoch a line."""
    with atomic_path(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "mel_distance", "similarity", "score"])
        for score in scores:
            similarity = "" if score.similarity is None else f"{score.similarity:.4f}"
            row = [score.epoch, score.step, f"{score.mel_distance:.4f}", similarity, f"{score.value:.4f}"]
            writer.writerow(row)


def write_plot(path: Path, scores: Sequence[Score]) -> None:
    """Draw the scores over the epochs, the best one marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [score.epoch for score in scores]
    axes.plot(epochs, [score.mel_distance for score in scores], "o-", label="mel distance")
    axes.set(xlabel="epoch", ylabel="mel distance of held-out pieces (lower is better)")
    similarities = [score.similarity for score in scores if score.similarity is not None]
    if len(similarities) == len(scores):
        beside = axes.twinx()
        beside.plot(epochs, similarities, "s--", color="tab:green")
        beside.set_ylabel("speaker similarity (higher is better)", color="tab:green")
    if (best := best_score(scores)) is not None:
        axes.axvline(best.epoch, color="grey", linewidth=1, label=f"best: epoch {best.epoch}")
    axes.legend()
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=120)


def _on_host(signal: Tensor) -> FloatArray:
    array: FloatArray = signal.detach().float().cpu().numpy()
    return array


def _mean_direction(vectors: Sequence[FloatArray]) -> FloatArray:
    mean = np.mean(vectors, axis=0)
    direction: FloatArray = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return direction
