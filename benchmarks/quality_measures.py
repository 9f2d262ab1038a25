"""The measures of the quality bench that need no trained model: words, pitch, mel cepstra.

Pitch is found by WORLD's Harvest, voiced where D4C LoveTrain says so: not by the conversion's own methods.
Where the pitch of a source is doubtful, DIO and CREPE are asked as well.
Every waveform here is mono at 16 kHz.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyworld
import torch
from librosa.sequence import dtw
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ultimate_rvc.rvc.pitch.crepe import Crepe

Signal = NDArray[np.float64]

RATE = 16_000
FRAME_MS = 5.0
HOP = round(RATE * FRAME_MS / 1000)
F0_MIN_HZ, F0_MAX_HZ = 50.0, 1100.0  # the range of RVC
LEVEL_WINDOW = RATE // 40
SILENT_BELOW_DB = 40.0  # below the loudest frame: neither voiced nor compared
EDGE_FRAMES = 2  # where voicing sets in or ends, no method measures f0: 10 ms are left out of its errors
SAME_PITCH = 0.06  # methods agree within a semitone
GROSS_ERROR = 0.2  # the usual border: more than a fifth off is another note, not an inaccuracy
SEMITONES_PER_OCTAVE = 12
CENTS_PER_OCTAVE = 1200
MEL_WARP = 0.42  # all-pass constant that comes nearest to the mel scale at 16 kHz
MEL_CEPSTRA = 24
SHORTEST_SECONDS = 0.1

# --- words ----------------------------------------------------------------------------------------

# fmt: off
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
    "seventeen", "eighteen", "nineteen",
)
# fmt: on
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
ORDINALS |= {"nine": "ninth", "twelve": "twelfth"}
ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "ok": "okay"}
SYMBOLS = {"%": " percent ", "&": " and ", "+": " plus ", "$": " dollar ", "°": " degree "}
BRITISH = {"grey": "gray", "neighbour": "neighbor", "harbour": "harbor", "colour": "color"}
MOST_DIGITS = 12


def number_words(number: int) -> str:
    """``number``, from 0 to 10^12 - 1, as it is read aloud in American English."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return TENS[tens] + (f" {UNITS[units]}" if units else "")
    size, name = next(scale for scale in SCALES if number >= scale[0])
    count, rest = divmod(number, size)
    return f"{number_words(count)} {name}" + (f" {number_words(rest)}" if rest else "")


def ordinal_words(number: int) -> str:
    """``number`` as an ordinal: 21 is ``twenty first``."""
    *before, last = number_words(number).split()
    ordinal = f"{last[:-1]}ieth" if last.endswith("y") else ORDINALS.get(last, f"{last}th")
    return " ".join([*before, ordinal])


def _read_number(match: re.Match[str]) -> str:
    whole, fraction, suffix = match["whole"].replace(",", ""), match["fraction"], match["suffix"]
    if len(whole) > MOST_DIGITS or (whole[0] == "0" and len(whole) > 1):
        spoken = " ".join(UNITS[int(digit)] for digit in whole)  # a telephone number, not a quantity
    elif suffix and not fraction:
        spoken = ordinal_words(int(whole))
    else:
        spoken = number_words(int(whole))
    if fraction:
        spoken += " point " + " ".join(UNITS[int(digit)] for digit in fraction)
    return f" {spoken} "


NUMBER = re.compile(r"(?P<whole>\d+(?:,\d{3})*)(?:\.(?P<fraction>\d+))?(?P<suffix>st|nd|rd|th)?(?![a-z\d])")


def normalised_words(text: str) -> list[str]:
    """The words of a transcript, so that only what is heard differently differs.

    Case, punctuation, hyphens and apostrophes go; numerals, common symbols and titles are written out; the
    British spellings that recognisers choose at times become American.
    """
    text = text.lower().replace("\u2019", "'")
    text = NUMBER.sub(_read_number, re.sub(r"\[[^]]*\]|\([^)]*\)", " ", text))
    for symbol, word in SYMBOLS.items():
        text = text.replace(symbol, word)
    words = re.sub(r"[^a-z ]+", " ", text.replace("'", "")).split()
    return [BRITISH.get(word, ABBREVIATIONS.get(word, word)) for word in words]


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """Words to replace, remove and insert to get from ``spoken`` to ``heard``, as few as possible."""
    distances = list(range(len(heard) + 1))
    for row, word in enumerate(spoken, 1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(heard, 1):
            best = min(distances[column] + 1, distances[column - 1] + 1, diagonal + (word != other))
            diagonal, distances[column] = distances[column], best
    return distances[-1]


# --- pitch ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PitchErrors:
    """Sums over frames of 5 ms; add them to pool recordings."""

    frames: int = 0
    voicing: int = 0
    """Frames that are voiced in one of the two and not in the other."""
    compared: int = 0
    """Frames voiced in both, 10 ms and more from where either begins or ends to be."""
    gross: int = 0
    """Those of them that are more than 20 % off."""
    squared_cents: float = 0.0
    """Sum over the others."""

    def __add__(self, other: PitchErrors) -> PitchErrors:
        sums = (getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        return PitchErrors(*sums)

    @property
    def gross_rate(self) -> float:
        """Share of the compared frames that are grossly off."""
        return self.gross / self.compared if self.compared else math.nan

    @property
    def rmse_cents(self) -> float:
        """Root mean square error of the compared frames that are not grossly off."""
        fine = self.compared - self.gross
        return math.sqrt(self.squared_cents / fine) if fine else math.nan

    @property
    def voicing_rate(self) -> float:
        """Share of all frames whose voicing differs."""
        return self.voicing / self.frames if self.frames else math.nan


def pitch_errors(wanted_hz: Signal, found_hz: Signal, edge_frames: int = EDGE_FRAMES) -> PitchErrors:
    """Compare two f0 curves, frame by frame up to the end of the shorter one; 0 is unvoiced.

    ``edge_frames`` at either end of each stretch that is voiced in both are not compared.
    """
    frames = min(len(wanted_hz), len(found_hz))
    wanted_hz, found_hz = wanted_hz[:frames], found_hz[:frames]
    both = binary_erosion((wanted_hz > 0) & (found_hz > 0), np.ones(2 * edge_frames + 1))
    ratio = found_hz[both] / wanted_hz[both]
    gross = np.abs(ratio - 1) > GROSS_ERROR
    cents = CENTS_PER_OCTAVE * np.log2(ratio[~gross])
    return PitchErrors(
        frames=frames,
        voicing=int(((wanted_hz > 0) != (found_hz > 0)).sum()),
        compared=int(both.sum()),
        gross=int(gross.sum()),
        squared_cents=float(np.square(cents).sum()),
    )


# --- WORLD ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Analysis:
    """What WORLD finds in a waveform; one row for each frame of 5 ms."""

    f0_hz: Signal
    """Shape (frames,), by Harvest; 0 where unvoiced or silent."""
    voted_f0_hz: Signal
    """The same frames, by the vote of Harvest, DIO and CREPE."""
    agreed_f0_hz: Signal
    """The vote where at least two of the three gave it; 0 elsewhere."""
    mel_cepstra: Signal
    """Shape (frames, 24): without the zeroth, which is the level."""
    sounding: NDArray[np.bool_]
    """Shape (frames,): not more than 40 dB below the loudest frame."""

    @property
    def median_hz(self) -> float:
        """NaN where nothing is voiced."""
        voiced = self.f0_hz[self.f0_hz > 0]
        return float(np.median(voiced)) if len(voiced) else math.nan


def analyse(waveform_16k: NDArray[np.floating]) -> Analysis:
    """Pitch and mel cepstra of a waveform in [-1, 1], shape (samples,)."""
    samples = np.ascontiguousarray(waveform_16k, np.float64)
    samples = np.pad(samples, (0, max(0, round(SHORTEST_SECONDS * RATE) - len(samples))))
    curve, times = pyworld.harvest(samples, RATE, F0_MIN_HZ, F0_MAX_HZ, FRAME_MS)
    envelope = pyworld.cheaptrick(samples, curve, times, RATE)
    # D4C writes 1 into the whole row of a frame that its LoveTrain takes for unvoiced.
    unvoiced = pyworld.d4c(samples, curve, times, RATE)[:, 0] > 0.999
    sounding = is_sounding(samples, len(curve))
    f0_hz = np.where(sounding & ~unvoiced & (curve > 0), curve, 0.0)
    dio_hz = pyworld.dio(samples, RATE, F0_MIN_HZ, F0_MAX_HZ, frame_period=FRAME_MS)[0]
    others = [pyworld.stonemask(samples, one, times, RATE) for one in (dio_hz, crepe_f0_hz(samples, times))]
    voted, agreed = vote(f0_hz, others)
    return Analysis(f0_hz, voted, agreed, mel_cepstra(np.log(envelope) / 2), sounding)


def crepe_f0_hz(samples: Signal, times: Signal) -> Signal:
    """CREPE tiny's f0 at ``times``, which are multiples of 5 ms: each of its frames of 10 ms twice."""
    found = _crepe().f0_hz(torch.from_numpy(samples.astype(np.float32))).double().numpy()
    doubled = np.repeat(found, 2)[: len(times)]
    return np.pad(doubled, (0, len(times) - len(doubled)))


@functools.cache
def _crepe() -> Crepe:
    return Crepe("tiny")


def vote(harvest_hz: Signal, others_hz: Sequence[Signal]) -> tuple[Signal, Signal]:
    """What the middle one of three methods says, and the same with 0 where no second one agrees.

    Each curve has shape (frames,), 0 where unvoiced. Harvest decides what is voiced, and of what it alone or
    one other has an f0 for.
    """
    curves = np.stack([harvest_hz, *others_hz])
    voted = np.where((curves > 0).all(axis=0), np.median(curves, axis=0), harvest_hz)
    agrees = np.abs(curves - voted) <= SAME_PITCH * voted
    is_agreed = (voted > 0) & (agrees.sum(axis=0) >= 2)
    return voted, np.where(is_agreed, voted, 0.0)


def is_sounding(waveform_16k: Signal, frames: int) -> NDArray[np.bool_]:
    """Which frames are no more than 40 dB below the loudest; none of a silent waveform."""
    padded = np.pad(waveform_16k, (LEVEL_WINDOW // 2, LEVEL_WINDOW + HOP))
    windows = np.lib.stride_tricks.sliding_window_view(padded, LEVEL_WINDOW)[::HOP][:frames]
    power = np.square(windows).mean(axis=1)
    return np.asarray(power > max(power.max(initial=0.0) * 10 ** (-SILENT_BELOW_DB / 10), 1e-12))


# --- mel cepstra ----------------------------------------------------------------------------------


def mel_cepstra(log_magnitude: Signal, order: int = MEL_CEPSTRA, warp: float = MEL_WARP) -> Signal:
    """Mel cepstra 1 to ``order`` of natural log magnitudes, shape (frames, bins) from 0 to half the rate.

    The spectrum is read at frequencies spaced evenly on the warped axis (an all-pass, as in SPTK's mel
    cepstra), then decomposed: log |H(w)| = sum of c_m cos(m w'), with w' the warped frequency.
    """
    bins = log_magnitude.shape[1]
    warped = np.linspace(0, np.pi, bins)
    # The inverse of an all-pass with constant a is the one with -a.
    linear = warped - 2 * np.arctan(warp * np.sin(warped) / (1 + warp * np.cos(warped)))
    position = linear / np.pi * (bins - 1)
    left = np.minimum(position.astype(int), bins - 2)
    share = position - left
    read = (1 - share) * log_magnitude[:, left] + share * log_magnitude[:, left + 1]
    weights = np.ones(bins)
    weights[[0, -1]] = 0.5  # trapezoids
    cosines = np.cos(np.outer(warped, np.arange(1, order + 1)))
    return np.asarray(read @ (weights[:, None] * cosines) * (2 / (bins - 1)))


DB_PER_NEPER = 20 / math.log(10)


def mel_cepstral_distortion(one: Analysis, other: Analysis) -> float:
    """Mean distance in dB of two utterances of the same text, over the frames that time warping pairs.

    For each pair (20 / ln 10) * sqrt(sum of (c_m - c'_m)^2 / 2), m = 1 to 24; silent frames are left out
    before. NaN if one of them has no frame left.
    """
    first, second = one.mel_cepstra[one.sounding], other.mel_cepstra[other.sounding]
    if not len(first) or not len(second):
        return math.nan
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1) - 2 * first @ second.T
    distances = DB_PER_NEPER * np.sqrt(np.maximum(squares, 0) / 2)
    _, path = dtw(C=distances)
    return float(distances[path[:, 0], path[:, 1]].mean())
