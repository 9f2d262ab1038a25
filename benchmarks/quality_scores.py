"""From judgements and analyses to the figures of one item, and from many items to those of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quality_judges import Judgement, cosine
from quality_material import Kind
from quality_measures import (
    SEMITONES_PER_OCTAVE,
    Analysis,
    PitchErrors,
    mel_cepstral_distortion,
    normalised_words,
    pitch_errors,
    word_errors,
)

Embedding = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Listened:
    """A waveform after listening."""

    judgement: Judgement
    analysis: Analysis

    @property
    def embedding(self) -> Embedding:
        return np.asarray(self.judgement.embedding)


@dataclass(frozen=True)
class Score:
    """The figures of one item in one row; NaN where there is nothing to compare with."""

    row: str
    item: str
    source: str
    kind: Kind
    semitones: int
    text: str
    transcript: str
    words: int
    word_errors: int
    target_similarity: float
    source_similarity: float
    pitch: PitchErrors
    agreed_pitch: PitchErrors
    """Where methods agree on the source's pitch."""
    dnsmos: float
    dnsmos_signal: float
    dnsmos_background: float
    mcd_db: float


@dataclass(frozen=True)
class References:
    """What an item is compared with."""

    text: str | None
    """None where nobody told what is said."""
    target_mean: Embedding
    source_mean: Embedding | None
    source: Analysis | None
    """None for speech that has another timing."""
    target: Analysis | None
    """The target saying the same."""


def score(
    row: str, item: str, source: str, kind: Kind, semitones: int, heard: Listened, references: References
) -> Score:
    """All figures of one waveform."""
    spoken = normalised_words(references.text or "")
    judgement, analysis, before = heard.judgement, heard.analysis, references.source
    ratio = 2 ** (semitones / SEMITONES_PER_OCTAVE)
    return Score(
        row=row,
        item=item,
        source=source,
        kind=kind,
        semitones=semitones,
        text=references.text or "",
        transcript=judgement.transcript,
        words=len(spoken),
        word_errors=word_errors(spoken, normalised_words(judgement.transcript)) if spoken else 0,
        target_similarity=cosine(heard.embedding, references.target_mean),
        source_similarity=(
            math.nan if references.source_mean is None else cosine(heard.embedding, references.source_mean)
        ),
        pitch=PitchErrors() if before is None else pitch_errors(before.f0_hz * ratio, analysis.f0_hz),
        agreed_pitch=(
            PitchErrors()
            if before is None
            else pitch_errors(before.agreed_f0_hz * ratio, analysis.voted_f0_hz)
        ),
        dnsmos=judgement.dnsmos_overall,
        dnsmos_signal=judgement.dnsmos_signal,
        dnsmos_background=judgement.dnsmos_background,
        mcd_db=(
            math.nan if references.target is None else mel_cepstral_distortion(references.target, analysis)
        ),
    )


class VoiceMeans:
    """The mean embedding of a voice, without the item that is compared with it."""

    def __init__(self, embeddings: dict[str, Embedding]) -> None:
        self._embeddings = embeddings

    def without(self, name: str) -> Embedding:
        """Mean over all others; over all where ``name`` is the only one or none of them."""
        others = [embedding for other, embedding in self._embeddings.items() if other != name]
        return np.asarray(np.mean(others or list(self._embeddings.values()), axis=0))


# --- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """A row of the table; NaN where nothing was measured."""

    items: int
    word_error_rate: float
    target_similarity: float
    source_similarity: float
    closer_to_target: float
    """Share of items more similar to the target than to the source."""
    pitch_rmse_cents: float
    pitch_gross_rate: float
    agreed_rmse_cents: float
    agreed_gross_rate: float
    agreed_share: float
    """Frames that these two compare, as a share of those that the two before them do."""
    voicing_error_rate: float
    dnsmos: float
    dnsmos_signal: float
    dnsmos_background: float
    mcd_db: float


def figures(scores: Sequence[Score]) -> Figures:
    """Means over items; words and frames are pooled, so long items count more there."""
    words = sum(one.words for one in scores)
    pitch = sum((one.pitch for one in scores), PitchErrors())
    agreed = sum((one.agreed_pitch for one in scores), PitchErrors())
    both = [one for one in scores if not math.isnan(one.source_similarity)]
    return Figures(
        items=len(scores),
        word_error_rate=sum(one.word_errors for one in scores) / words if words else math.nan,
        target_similarity=mean(scores, lambda one: one.target_similarity),
        source_similarity=mean(scores, lambda one: one.source_similarity),
        closer_to_target=mean(both, lambda one: float(one.target_similarity > one.source_similarity)),
        pitch_rmse_cents=pitch.rmse_cents,
        pitch_gross_rate=pitch.gross_rate,
        agreed_rmse_cents=agreed.rmse_cents,
        agreed_gross_rate=agreed.gross_rate,
        agreed_share=agreed.compared / pitch.compared if pitch.compared else math.nan,
        voicing_error_rate=pitch.voicing_rate,
        dnsmos=mean(scores, lambda one: one.dnsmos),
        dnsmos_signal=mean(scores, lambda one: one.dnsmos_signal),
        dnsmos_background=mean(scores, lambda one: one.dnsmos_background),
        mcd_db=mean(scores, lambda one: one.mcd_db),
    )


def word_error_interval(
    ours: Sequence[Score], unchanged: Sequence[Score], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Where the word error rate above the source's lies in 95 % of draws of readers, each with all its items.

    A cluster bootstrap (Field and Welsh, 2007): what one reader is misheard in hangs together, so items are not
    drawn singly. NaN where there are fewer than two readers.
    """
    readers = sorted({one.source for one in ours})
    if len(readers) < 2:
        return math.nan, math.nan
    counts = np.array(
        [
            [
                sum(one.words for one in ours if one.source == reader),
                sum(one.word_errors for one in ours if one.source == reader),
                sum(one.word_errors for one in unchanged if one.source == reader),
            ]
            for reader in readers
        ]
    )
    drawn = np.random.default_rng(seed).integers(len(readers), size=(draws, len(readers)))
    words, errors, before = counts[drawn].sum(axis=1).T
    low, high = np.quantile((errors - before) / words, [0.025, 0.975])
    return float(low), float(high)


def mean(scores: Sequence[Score], figure: Callable[[Score], float]) -> float:
    """Over the items for which there is a figure; NaN where there is none."""
    values = [value for value in map(figure, scores) if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


# --- the limits -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """A figure that a shipped voice has to reach; the functions get conversion, source and target."""

    words: str
    bound: float
    at_most: bool
    unit: str
    value: Callable[[Figures, Figures, Figures], float]
    border: Callable[[Figures, Figures], float]
    """Where the limit lies on the scale of the measure itself; gets source and target."""

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


MOST_WORD_ERRORS_ADDED = 0.10
LEAST_SIMILARITY = 0.80
LEAST_CLOSER = 0.95
MOST_CENTS = 35.0
MOST_GROSS = 0.03
MOST_DNSMOS_LOST = 0.4
WORDS_LIMIT = Limit(
    "word error rate above the source's",
    MOST_WORD_ERRORS_ADDED,
    True,
    "points",
    lambda ours, source, _: ours.word_error_rate - source.word_error_rate,
    lambda source, _: source.word_error_rate + MOST_WORD_ERRORS_ADDED,
)
SIMILARITY_LIMIT = Limit(
    "similarity to the target",
    LEAST_SIMILARITY,
    False,
    "",
    lambda ours, *_: ours.target_similarity,
    lambda *_: LEAST_SIMILARITY,
)
CLOSER_LIMIT = Limit(
    "closer to the target than to the source",
    LEAST_CLOSER,
    False,
    "%",
    lambda ours, *_: ours.closer_to_target,
    lambda *_: LEAST_CLOSER,
)
CENTS_LIMIT = Limit(
    "pitch error (RMSE)",
    MOST_CENTS,
    True,
    "cents",
    lambda ours, *_: ours.pitch_rmse_cents,
    lambda *_: MOST_CENTS,
)
GROSS_LIMIT = Limit(
    "gross pitch errors",
    MOST_GROSS,
    True,
    "%",
    lambda ours, *_: ours.pitch_gross_rate,
    lambda *_: MOST_GROSS,
)
DNSMOS_LIMIT = Limit(
    "DNSMOS below the target's own",
    MOST_DNSMOS_LOST,
    True,
    "",
    lambda ours, _, target: target.dnsmos - ours.dnsmos,
    lambda _, target: target.dnsmos - MOST_DNSMOS_LOST,
)
LIMITS = (WORDS_LIMIT, SIMILARITY_LIMIT, CLOSER_LIMIT, CENTS_LIMIT, GROSS_LIMIT, DNSMOS_LIMIT)
