"""Text in passages: what is read, where it is cut, how long the pauses are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.speech.passages import LONGEST_PASSAGE, PARAGRAPH_PAUSE, SENTENCE_PAUSE, passages


def texts(text: str) -> list[str]:
    return [passage.text for passage in passages(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met J. K. Rowling. They talked.", ["Dr. Smith met J. K. Rowling.", "They talked."]),
        (
            "今天天氣很好。我們去唱歌！好嗎？",  # noqa: RUF001
            ["今天天氣很好。", "我們去唱歌！", "好嗎？"],  # noqa: RUF001
        ),
        ("He said: \u201cStop.\u201d Then he left.", ["He said: \u201cStop.", "Then he left."]),
        ("Version 2.5 costs 9.99 now.", ["Version 2.5 costs 9.99 now."]),
        ("See https://www.example.org/a?b=c#d for more.", ["See example.org for more."]),
        ("Good \U0001f600 morning\u200b!", ["Good morning!"]),
        ("", []),
        ("... !!! \n\n ---", []),
    ],
)
def test_text_is_cut_where_a_reader_breathes(text: str, parts: list[str]) -> None:
    assert texts(text) == parts


def test_paragraphs_have_the_longer_pause() -> None:
    first, second, third = passages("One. Two.\n\nThree.")
    assert (first.pause_seconds, second.pause_seconds) == (SENTENCE_PAUSE, PARAGRAPH_PAUSE)
    assert third.pause_seconds == PARAGRAPH_PAUSE


@given(st.text(max_size=2000))
def test_any_text_gives_short_passages_that_can_be_read(text: str) -> None:
    for passage in passages(text):
        assert 0 < len(passage.text) <= LONGEST_PASSAGE + 1
        assert passage.pause_seconds > 0


@given(st.lists(st.sampled_from(["word", "two words,", "longish clause;", "end."]), min_size=1, max_size=400))
def test_no_word_is_lost(words: list[str]) -> None:
    text = " ".join(words)
    assert re.findall(r"\w+", " ".join(texts(text))) == re.findall(r"\w+", text)
