"""Kokoro's voices as readers of the starter voices' material; a network that says what it was told stands in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("pyworld")
pytest.importorskip("soxr")

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
FRAME = 0.025
# fmt: off
KETTLE = [("k", 3), ("ˈ", 2), ("ɛ", 2), ("T", 1), ("ə", 2), ("l", 2), (" ", 2), ("s", 3), ("ˈ", 1), ("i", 1),  # noqa: RUF001 - as the network writes
          ("ː", 2), (",", 4), (" ", 2), ("n", 1), ("O", 3), (".", 5)]  # noqa: RUF001 - as the network writes
# fmt: on
AT_THE_BEGINNING, AT_THE_END = 10, 1


@pytest.fixture(scope="module")
def kokoro() -> Iterator[ModuleType]:
    before = sys.path[:]
    sys.path.insert(0, str(SCRIPTS))
    try:
        import kokoro_reading

        yield kokoro_reading
    finally:
        sys.path[:] = before


@pytest.fixture
def phones(kokoro: ModuleType) -> list[tuple[str, float, float]]:
    """Name, start and end in frames after the beginning."""
    lengths = [AT_THE_BEGINNING, *(length for _, length in KETTLE), AT_THE_END]
    found = kokoro.phones_of([character for character, _ in KETTLE], lengths)
    ahead = kokoro.AHEAD_SECONDS
    return [(one.name, (one.start + ahead) / FRAME - 10, (one.end + ahead) / FRAME - 10) for one in found]


def span(phones: list[tuple[str, float, float]], name: str) -> tuple[float, float]:
    return next((round(start, 6), round(end, 6)) for found, start, end in phones if found == name)


def test_a_stress_mark_belongs_to_the_vowel_after_it(phones: list[tuple[str, float, float]]) -> None:
    assert span(phones, "k") == (0, 3)
    assert span(phones, "eh") == (3, 7)


def test_a_length_mark_belongs_to_the_vowel_before_it(phones: list[tuple[str, float, float]]) -> None:
    assert span(phones, "iy") == (17, 21)


def test_a_space_within_a_phrase_is_no_pause(phones: list[tuple[str, float, float]]) -> None:
    assert span(phones, "l") == (10, 13)
    assert span(phones, "s") == (13, 17)


def test_a_mark_and_the_space_after_it_are_a_pause(phones: list[tuple[str, float, float]]) -> None:
    pauses = [(round(start), round(end)) for name, start, end in phones if name == "pau"]
    assert pauses[1:3] == [(21, 25), (25, 27)]
    assert span(phones, "n") == (27, 28)


def test_phones_follow_each_other_without_gaps(phones: list[tuple[str, float, float]]) -> None:
    for (_, _, end), (_, start, _) in pairwise(phones):
        assert end == pytest.approx(start)


def test_every_vowel_can_be_sung(kokoro: ModuleType) -> None:
    from make_demo_songs import VOWELS

    vowels = "AIWOQYæaɑɒɔəᵊɐʌɛeɜɚɪᵻiʊu"  # noqa: RUF001 - as the network writes
    assert {kokoro.PHONES[vowel] for vowel in vowels} <= VOWELS


def test_a_reading_is_made_once_and_kept(
    kokoro: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def read(tokens: list[int], voice: str, rate: float) -> tuple[np.ndarray, list[int]]:
        asked.append(tuple(tokens))
        return np.linspace(-1, 1, 2400), [1, *(2 for _ in tokens), 1]

    monkeypatch.setattr(kokoro, "_read", read)
    monkeypatch.setattr(kokoro.files, "voices", lambda: {"af_some": None})
    monkeypatch.setattr(kokoro.files, "styles", lambda voice: np.zeros(4, np.float32))
    monkeypatch.setenv(kokoro.READINGS_VARIABLE, str(tmp_path))
    first, lengths = kokoro._spoken([5, 6], "af_some", 1.0)
    again, lengths_again = kokoro._spoken([5, 6], "af_some", 1.0)
    kokoro._spoken([5, 6], "af_some", 1.1)
    kokoro._spoken([5, 7], "af_some", 1.0)
    assert asked == [(5, 6), (5, 6), (5, 7)]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, np.linspace(-1, 1, 2400), atol=1 / 32767)
    assert lengths == lengths_again == [1, 2, 2, 1]


def test_the_held_out_voices_read_nothing(kokoro: ModuleType) -> None:
    import make_other_readings
    import make_starter_material

    targets = {reader.kokoro_voice for reader in make_starter_material.READERS.values()} - {None}
    assert targets == {kokoro.WOMAN, kokoro.MAN}
    assert not targets & set(kokoro.HELD_OUT)
    others = make_other_readings.KOKORO_OTHERS
    assert not set(others) & {*targets, *kokoro.HELD_OUT}
    assert len(set(others)) == len(others) >= 40
