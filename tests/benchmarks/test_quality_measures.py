"""The measures of the quality bench, on signals and texts whose figures are known."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RATE = 16_000
DB_PER_NEPER = 20 / math.log(10)


@pytest.fixture(scope="module")
def measures() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        import quality_measures

        yield quality_measures


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("The old gate, was painted GREEN!", "the old gate was painted green"),
        ("It's eight o\u2019clock -- Mr. Brown's train", "its eight oclock mister browns train"),
        ("10 apples & 1,250 pears", "ten apples and one thousand two hundred fifty pears"),
        (
            "the 1st, 2nd, 3rd, 12th, 20th and 21st",
            "the first second third twelfth twentieth and twenty first",
        ),
        ("3.14 or 25%", "three point one four or twenty five percent"),
        ("call 007 now", "call zero zero seven now"),
        ("a well-known neighbour of the grey harbour", "a well known neighbor of the gray harbor"),
        ("[music] (laughs) hello", "hello"),
        ("", ""),
    ],
)
def test_only_what_is_heard_differently_differs(measures: ModuleType, written: str, read: str) -> None:
    assert measures.normalised_words(written) == read.split()


SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def value_of(words: list[str]) -> int:
    """The number that these words say: the way back, found another way."""
    small = SMALL.split()
    tens = TENS.split()
    total = group = 0
    for word in words:
        if word in small:
            group += small.index(word)
        elif word in tens:
            group += 10 * (tens.index(word) + 2)
        elif word == "hundred":
            group *= 100
        else:
            total += group * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word]
            group = 0
    return total + group


@given(number=st.integers(0, 10**12 - 1))
def test_numerals_are_read_as_their_value(measures: ModuleType, number: int) -> None:
    assert value_of(measures.normalised_words(str(number))) == number
    assert value_of(measures.normalised_words(f"{number:,}")) == number


def edits(spoken: tuple[str, ...], heard: tuple[str, ...]) -> int:
    """Levenshtein's distance by its definition."""

    @functools.cache
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = between(i - 1, j - 1) + (spoken[i - 1] != heard[j - 1])
        return min(replaced, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(spoken), len(heard))


SHORT_TEXTS = st.lists(st.sampled_from("abc"), max_size=7).map(tuple)


@given(spoken=SHORT_TEXTS, heard=SHORT_TEXTS)
def test_word_errors_are_the_fewest_edits(
    measures: ModuleType, spoken: tuple[str], heard: tuple[str]
) -> None:
    assert measures.word_errors(spoken, heard) == edits(spoken, heard)


# --- pitch ----------------------------------------------------------------------------------------


def curve(*stretches: tuple[float, int]) -> np.ndarray:
    """An f0 curve of (Hz, frames)."""
    return np.concatenate([np.full(frames, hz) for hz, frames in stretches])


@given(cents=st.floats(-300, 300), hz=st.floats(60, 800))
def test_a_constant_offset_is_the_error_in_cents(measures: ModuleType, cents: float, hz: float) -> None:
    wanted = curve((0, 10), (hz, 50), (0, 10))
    errors = measures.pitch_errors(wanted, wanted * 2 ** (cents / 1200))
    assert errors.rmse_cents == pytest.approx(abs(cents), abs=1e-6)
    assert (errors.gross_rate, errors.voicing_rate) == (0, 0)


def test_an_octave_is_a_gross_error_and_leaves_the_others_alone(measures: ModuleType) -> None:
    wanted = curve((0, 10), (200, 44), (0, 10))
    found = curve((0, 10), (200, 34), (400, 10), (0, 10))
    errors = measures.pitch_errors(wanted, found)
    assert errors.gross_rate == pytest.approx(8 / 40)  # two frames at either end are not compared
    assert errors.rmse_cents == 0


def test_frames_voiced_in_one_only_are_voicing_errors(measures: ModuleType) -> None:
    wanted, found = curve((0, 20), (200, 60), (0, 20)), curve((0, 30), (200, 70))
    errors = measures.pitch_errors(wanted, found)
    assert errors.voicing_rate == pytest.approx(0.3)
    assert (errors.compared, errors.rmse_cents) == (46, 0)


def test_wild_values_where_voicing_begins_and_ends_are_not_compared(measures: ModuleType) -> None:
    wanted = curve((0, 5), (200, 30), (0, 5))
    found = curve((0, 5), (90, 2), (200, 26), (700, 2), (0, 5))
    assert measures.pitch_errors(wanted, found).gross == 0
    assert measures.pitch_errors(wanted, found, edge_frames=0).gross == 4


def test_without_frames_voiced_in_both_pitch_is_unknown(measures: ModuleType) -> None:
    errors = measures.pitch_errors(curve((0, 50)), curve((200, 50)))
    assert math.isnan(errors.rmse_cents)
    assert math.isnan(errors.gross_rate)
    assert errors.voicing_rate == 1
    assert math.isnan(measures.PitchErrors().voicing_rate)


def test_pooled_errors_weigh_frames_not_recordings(measures: ModuleType) -> None:
    wanted = curve((200, 104)), curve((200, 304))
    off = measures.pitch_errors(wanted[0], wanted[0] * 2 ** (40 / 1200))
    exact = measures.pitch_errors(wanted[1], wanted[1])
    assert (off + exact).compared == 400
    assert (off + exact).rmse_cents == pytest.approx(40 * math.sqrt(100 / 400))


def test_the_middle_of_three_methods_is_believed_and_no_one_alone_is_agreed_on(measures: ModuleType) -> None:
    harvest = curve((100, 1), (100, 1), (100, 1), (100, 1), (100, 1), (0, 1))
    dio = curve((201, 1), (103, 1), (0, 1), (0, 1), (202, 1), (150, 1))
    crepe = curve((200, 1), (130, 1), (0, 1), (102, 1), (140, 1), (150, 1))
    voted, agreed = measures.vote(harvest, [dio, crepe])
    np.testing.assert_array_equal(voted, [200, 103, 100, 100, 140, 0])
    np.testing.assert_array_equal(agreed, [200, 103, 0, 100, 0, 0])


# --- WORLD ----------------------------------------------------------------------------------------


def voice(f0_hz: float, seconds: float = 0.6, formants: tuple[float, ...] = (700, 1200, 2500)) -> np.ndarray:
    """Harmonics with some formants."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros_like(times)
    for number in range(1, int(7000 / f0_hz)):
        hz = number * f0_hz
        gain = sum(1 / (1 + ((hz - formant) / 150) ** 2) for formant in formants) + 0.01
        sound += gain * np.cos(2 * np.pi * hz * times + number**2)
    return 0.5 * sound / np.abs(sound).max()


@pytest.mark.parametrize("f0_hz", [90.0, 180.0, 440.0])
def test_the_pitch_of_a_steady_voice_is_found(measures: ModuleType, f0_hz: float) -> None:
    analysis = measures.analyse(voice(f0_hz))
    assert analysis.median_hz == pytest.approx(f0_hz, rel=0.003)
    assert (analysis.f0_hz > 0).mean() > 0.8
    both = (analysis.agreed_f0_hz > 0) & (analysis.f0_hz > 0)
    assert both.sum() > 0.9 * (analysis.f0_hz > 0).sum()
    np.testing.assert_allclose(analysis.agreed_f0_hz[both][2:-2], f0_hz, rtol=0.01)
    np.testing.assert_array_equal(analysis.voted_f0_hz > 0, analysis.f0_hz > 0)
    assert analysis.mel_cepstra.shape == (len(analysis.f0_hz), 24)


def test_noise_and_silence_have_no_pitch(measures: ModuleType) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE // 2)
    assert (measures.analyse(noise).f0_hz > 0).mean() < 0.2
    silent = measures.analyse(np.zeros(RATE // 2, np.float32))
    assert not silent.f0_hz.any()
    assert not silent.sounding.any()
    assert math.isnan(silent.median_hz)
    assert math.isnan(measures.mel_cepstral_distortion(silent, silent))


def test_what_is_40_db_below_the_rest_is_not_compared(measures: ModuleType) -> None:
    loud, quiet = voice(150, 0.3), 0.005 * voice(150, 0.3)
    analysis = measures.analyse(np.concatenate([loud, quiet]))
    middle = len(analysis.sounding) // 2
    assert analysis.sounding[5 : middle - 5].all()
    assert not analysis.sounding[middle + 5 :].any()
    assert not analysis.f0_hz[middle + 5 :].any()


# --- mel cepstra ----------------------------------------------------------------------------------


def spectrum(cepstra: np.ndarray, warp: float, bins: int = 513) -> np.ndarray:
    """Log magnitudes with these warped cepstra, from 0 on, by the all-pass itself."""
    linear = np.linspace(0, np.pi, bins)
    warped = linear + 2 * np.arctan(warp * np.sin(linear) / (1 - warp * np.cos(linear)))
    return cepstra @ np.cos(np.outer(np.arange(len(cepstra)), warped))


@settings(deadline=None)
@given(cepstra=st.lists(st.floats(-1, 1), min_size=25, max_size=25))
def test_mel_cepstra_of_a_known_spectrum_are_found(measures: ModuleType, cepstra: list[float]) -> None:
    known = np.array(cepstra) / (1 + np.arange(25))
    found = measures.mel_cepstra(spectrum(known, measures.MEL_WARP)[None])[0]
    np.testing.assert_allclose(found, known[1:], atol=0.01)


def of(measures: ModuleType, cepstra: np.ndarray, sounding: np.ndarray | None = None) -> object:
    frames = len(cepstra)
    sounds = np.ones(frames, bool) if sounding is None else sounding
    return measures.Analysis(*3 * [np.zeros(frames)], cepstra, sounds)


def test_distortion_is_the_rms_difference_of_warped_log_spectra(measures: ModuleType) -> None:
    one = np.random.default_rng(0).standard_normal((1, 24))
    other = np.random.default_rng(1).standard_normal((1, 24))
    axis = np.linspace(0, np.pi, 20_001)
    cosines = np.cos(np.outer(np.arange(1, 25), axis))
    difference_db = DB_PER_NEPER * ((one - other) @ cosines)
    wanted = math.sqrt(np.square(difference_db).mean())
    assert measures.mel_cepstral_distortion(of(measures, one), of(measures, other)) == pytest.approx(
        wanted, rel=1e-3
    )


def test_distortion_forgives_another_pace_and_pauses(measures: ModuleType) -> None:
    cepstra = np.random.default_rng(2).standard_normal((40, 24))
    slower = np.repeat(cepstra, 2, axis=0)
    with_pause = np.concatenate([slower[:30], np.full((20, 24), 9.0), slower[30:]])
    sounding = np.ones(len(with_pause), bool)
    sounding[30:50] = False
    distortion = measures.mel_cepstral_distortion(of(measures, cepstra), of(measures, with_pause, sounding))
    assert distortion == pytest.approx(0, abs=1e-5)


def test_another_vowel_is_more_distorted_than_another_pitch(measures: ModuleType) -> None:
    reference = measures.analyse(voice(150))
    pitch = measures.mel_cepstral_distortion(reference, measures.analyse(voice(170)))
    vowel = measures.mel_cepstral_distortion(
        reference, measures.analyse(voice(150, formants=(300, 2200, 3000)))
    )
    assert pitch < 3 < vowel
