"""A run of the quality bench: conversions and the two ends of each scale, listened to and scored."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyworld

from quality_judges import FloatArray, Judges
from quality_material import MATERIAL_RATE, Item, Kind, Target
from quality_measures import (
    F0_MAX_HZ,
    F0_MIN_HZ,
    FRAME_MS,
    SEMITONES_PER_OCTAVE,
    Analysis,
    analyse,
)
from quality_scores import Listened, References, Score, VoiceMeans, score
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.covers.suggestion import shift_between

UNCHANGED, TRANSPOSED = "source, unchanged", "source, transposed"
SLOWER, OWN = "target, slower", "target"
MOST_SEMITONES = 24

Tell = Callable[[str], None]
Convert = Callable[[Item, int], tuple[FloatArray, int]]
"""Item and semitones to shift it by; gives waveform and sample rate."""


@dataclass(frozen=True, eq=False)
class Heard:
    """Items and target after listening."""

    items: Sequence[Item]
    sources: dict[str, Listened]
    """By item."""
    target: Target
    own: dict[str, Listened]
    """The target's speech, by text, or by file where the texts are unknown."""


class Listener:
    """Judges and analyses waveforms, several at a time."""

    def __init__(self, judges: Judges, threads: int) -> None:
        self._judges = judges
        self._pool = ThreadPoolExecutor(threads)

    def listen(self, waveforms_16k: Iterable[FloatArray]) -> list[Listened]:
        """What is heard of each; those to come are made meanwhile."""
        return list(self._pool.map(self._listen, waveforms_16k))

    def _listen(self, waveform_16k: FloatArray) -> Listened:
        return Listened(self._judges.judge(waveform_16k), analyse(waveform_16k))


def listen_to_all(items: Sequence[Item], target: Target, listener: Listener, tell: Tell) -> Heard:
    """Judge and analyse the sources and the target's own speech."""
    tell(f"listening to {len(items)} sources")
    sources = listener.listen(item.waveform_16k for item in items)
    tell(f"listening to {len(target.speech)} recordings of the target")
    own = listener.listen(target.speech.values())
    by_item = {item.name: listened for item, listened in zip(items, sources, strict=True)}
    return Heard(items, by_item, target, dict(zip(target.speech, own, strict=True)))


# --- transposition --------------------------------------------------------------------------------


def median_hz(listened: Sequence[Listened]) -> float:
    """Of all voiced frames."""
    curves = np.concatenate([one.analysis.f0_hz for one in listened])
    return float(np.median(curves[curves > 0])) if (curves > 0).any() else math.nan


def shifts(heard: Heard, target_hz: float) -> dict[str, int]:
    """By item, the semitones by which the page's *Suggest* brings a source to a voice that speaks at ``target_hz``.

    Whole semitones from the median of all that a source says; for each song whole octaves from its own.
    """
    of_source: defaultdict[str, list[Listened]] = defaultdict(list)
    for item in heard.items:
        if item.kind is not Kind.SUNG:
            of_source[item.source].append(heard.sources[item.name])
    spoken_hz = {source: median_hz(listened) for source, listened in of_source.items()}
    return {
        item.name: shift(median_hz([heard.sources[item.name]]), target_hz, is_song=True)
        if item.kind is Kind.SUNG
        else shift(spoken_hz[item.source], target_hz, is_song=False)
        for item in heard.items
    }


def shift(source_hz: float, target_hz: float, *, is_song: bool) -> int:
    """As :func:`~ultimate_rvc.covers.suggestion.shift_between`, within two octaves; 0 where nothing is voiced."""
    if not source_hz > 0 or not target_hz > 0:
        return 0
    suggested = shift_between(source_hz, target_hz, whole_octaves=is_song)
    return max(-MOST_SEMITONES, min(MOST_SEMITONES, suggested))


def transposed_by_world(waveform_16k: FloatArray, semitones: int) -> FloatArray:
    """The same voice at another pitch, by WORLD: what transposing and measuring alone cost."""
    samples = np.ascontiguousarray(waveform_16k, np.float64)
    f0_hz, times = pyworld.harvest(samples, MATERIAL_RATE, F0_MIN_HZ, F0_MAX_HZ, FRAME_MS)
    envelope = pyworld.cheaptrick(samples, f0_hz, times, MATERIAL_RATE)
    aperiodicity = pyworld.d4c(samples, f0_hz, times, MATERIAL_RATE)
    ratio = 2 ** (semitones / SEMITONES_PER_OCTAVE)
    shifted = pyworld.synthesize(f0_hz * ratio, envelope, aperiodicity, MATERIAL_RATE, FRAME_MS)
    return within_full_scale(shifted[: len(samples)].astype(np.float32))


def within_full_scale(waveform: FloatArray) -> FloatArray:
    """Turned down where it passes 1: the judges refuse such."""
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform if peak <= 1 else waveform / np.float32(peak)


# --- scores ---------------------------------------------------------------------------------------


class Scorer:
    """Scores waveforms against the sources they come from and the target they should sound like."""

    def __init__(self, heard: Heard, semitones: dict[str, int], listener: Listener) -> None:
        self.heard = heard
        self.semitones = semitones
        self._listener = listener
        self._target = VoiceMeans({name: one.embedding for name, one in heard.own.items()})
        of_source: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for item in heard.items:
            if item.kind is not Kind.SUNG:
                of_source[item.source][item.name] = heard.sources[item.name].embedding
        self._sources = {source: VoiceMeans(embeddings) for source, embeddings in of_source.items()}

    def conversions(self, row: str, convert: Convert) -> list[Score]:
        """Convert all items and score what comes out."""
        listened = self._listener.listen(self._converted(item, convert) for item in self.heard.items)
        return [self.score(row, item, one) for item, one in zip(self.heard.items, listened, strict=True)]

    def _converted(self, item: Item, convert: Convert) -> FloatArray:
        waveform, rate = convert(item, self.semitones[item.name])
        return within_full_scale(resample(waveform, rate, MATERIAL_RATE))

    def unchanged(self) -> list[Score]:
        """The sources as they are: the lower end of each scale."""
        return [self.score(UNCHANGED, item, self.heard.sources[item.name]) for item in self.heard.items]

    def transposed(self) -> list[Score]:
        """The sources at the right pitch, still in their own voice."""
        return self.conversions(
            TRANSPOSED,
            lambda item, semitones: (transposed_by_world(item.waveform_16k, semitones), MATERIAL_RATE),
        )

    def own(self) -> list[Score]:
        """The target's own recordings: the upper end of each scale, pitch apart."""
        return [self._own_score(OWN, name, listened) for name, listened in self.heard.own.items()]

    def slower(self) -> list[Score]:
        """The target reading once more, slower: as near as one gets to recordings without being them."""
        slower = self.heard.target.slower_speech
        listened = self._listener.listen(slower.values())
        return [self._own_score(SLOWER, text, one) for text, one in zip(slower, listened, strict=True)]

    def score(self, row: str, item: Item, listened: Listened) -> Score:
        """All figures of what was made from ``item``."""
        source = self._sources.get(item.source)
        references = References(
            text=item.text,
            target_mean=self._target.without(item.text),
            source_mean=source.without(item.name) if source else None,
            source=self.heard.sources[item.name].analysis,
            target=self._saying(item.text) if item.kind is not Kind.SUNG else None,
        )
        return score(row, item.name, item.source, item.kind, self.semitones[item.name], listened, references)

    def _own_score(self, row: str, name: str, listened: Listened) -> Score:
        known = self.heard.target.texts_known
        references = References(
            text=name if known else None,
            target_mean=self._target.without(name),
            source_mean=None,
            source=None,
            target=self._saying(name),
        )
        return score(row, name, self.heard.target.name, Kind.SPOKEN, 0, listened, references)

    def _saying(self, text: str) -> Analysis | None:
        own = self.heard.own.get(text)
        return own.analysis if own else None
