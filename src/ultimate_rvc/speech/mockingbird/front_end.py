"""Text to the symbols that a MockingBird synthesizer learnt: pinyin with the tone as a digit, in small letters."""

from __future__ import annotations

import re

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.mockingbird.numbers import spoken_numbers

PAD, END = "_", "~"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MARKS = "!'(),-.:;? "
# By the number of rows of the synthesizer's embedding: all digits, or the first models' digits of tones alone.
SYMBOLS = {
    len(characters) + 2: (PAD, END, *characters)
    for characters in (f"{_LETTERS}1234567890{_MARKS}", f"{_LETTERS}12340{_MARKS}")
}
# MockingBird cuts sentences at these and makes each piece alone: it learnt with texts that have none of them.
PIECE_END = re.compile(r"[，。、；：！？,.;:!?…—\n]+")  # noqa: RUF001


def pieces(text: str) -> list[str]:
    """``text``, its numbers in words, in pieces for one breath each; empty where there is nothing to read."""
    parts = PIECE_END.split(spoken_numbers(text))
    return [piece for part in parts if any(map(str.isalnum, piece := part.strip()))]


def pinyin(text: str) -> str:
    """Chinese characters as syllables such as ``ni3 hao3``; what else there is stays, in small letters."""
    from pypinyin import Style, lazy_pinyin

    syllables = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)
    return " ".join(" ".join(syllables).lower().split())


def symbols_of(text: str, rows: int) -> list[int]:
    """The symbols of a text of :func:`pieces` for an embedding of so many ``rows``, the end among them.

    A text without a single symbol gives the end alone.

    Raises
    ------
    SpeechError
        No list of symbols has so many rows.
    """
    if rows not in SYMBOLS:
        known = " or ".join(map(str, sorted(SYMBOLS, reverse=True)))
        raise SpeechError(
            f"The MockingBird synthesizer knows {rows} symbols, and lists of {known} are known."
        )
    numbers = {symbol: number for number, symbol in enumerate(SYMBOLS[rows]) if number > 1}
    known_symbols = [numbers[symbol] for symbol in pinyin(text) if symbol in numbers]
    return [*known_symbols, 1]
