"""Text in pieces that a context has room for."""

from __future__ import annotations

import re
from collections.abc import Callable

# Slow readers: what is expected too long is cut once more, what is expected too short is cut off.
CODES_A_LETTER = 5  # ten letters a second
CODES_A_SIGN = 15  # a little over three Chinese signs or Japanese syllables a second
SIGN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# Where a text is best cut in two, best first: behind a sentence, a clause, a word.
CUTS = (
    re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"),  # noqa: RUF001
    re.compile(r"(?<=[,;:—])\s+|(?<=[，、；：])"),  # noqa: RUF001
    re.compile(r"\s+"),
)
CENTRAL = 0.25  # of the text, at either end, has no cut in it


def expected_codes(text: str) -> int:
    """How many codes a slow reader takes for ``text``."""
    signs = len(SIGN.findall(text))
    return CODES_A_SIGN * signs + CODES_A_LETTER * (len(text) - signs)


def pieces(text: str, fits: Callable[[str], bool]) -> list[str]:
    """``text`` in pieces that fit, cut in two as often as needed; what cannot be cut stays whole."""
    if fits(text) or len(text) < 2:
        return [text] if text else []
    first, second = halves(text)
    return [*pieces(first, fits), *pieces(second, fits)]


def halves(text: str) -> tuple[str, str]:
    """Two parts of about the same length, both shorter than ``text``, which has two characters or more."""
    middle = len(text) / 2
    for cut in CUTS:
        found = [
            place
            for place in cut.finditer(text)
            if abs(place.start() - middle) <= (0.5 - CENTRAL) * len(text)
        ]
        if found:
            best = min(found, key=lambda place: abs(place.start() - middle))
            return text[: best.start()], text[best.end() :]
    return text[: len(text) // 2], text[len(text) // 2 :]
