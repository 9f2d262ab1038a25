"""What is said for what is written: respellings, and what English readers of numbers leave undone.

The engines read numbers, dates and most signs themselves (hibari: years, ordinals, fractions, times, units, Roman
numerals after names). Written out here is only what hibari 0.2.1 was heard to lose: the currency of a later amount,
a sign after its amount, the dots of addresses and versions, ``No. 5`` and ``~5``. An engine that reads these itself
loses nothing, since the words are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ultimate_rvc.errors import SpeechError

MOST_WORDS = 20_000  # of a lexicon
MOST_BYTES = 2_000_000  # of its file
CURRENCIES = {  # one, several, one and several of the hundredth part
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?(?!\d)"
SCALE = r"(?:\s(?:thousand|million|billion|trillion)\b|(?:bn|[kKmMbB])\b)?"
AMOUNT = re.compile(
    rf"(?<!\w)(?P<before>[$£€])\s?(?P<number>{NUMBER})(?P<scale>{SCALE})"
    rf"|(?<![\w.,])(?P<first>{NUMBER})\s?(?P<after>[$£€])(?!\s?\d)"
)
HOST = re.compile(
    r"\b(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|io|dev|info|uk|de|fr|tw|jp|cn|eu|app|ai)\b", re.IGNORECASE
)
VERSION = re.compile(r"(?<![\d.,])\d+(?:\.\d+){2,}(?!\d|,\d)")
NUMERO = re.compile(r"\bNo\.\s?(?=\d)")
ABOUT = re.compile(r"(?<![\w~])~\s?(?=\d)")
# Letters that a reader of English has a sound for; Greek ones and the rest stand in formulas.
LATIN_NAMES = ("LATIN", "GREEK", "MICRO", "OHM", "KELVIN", "ANGSTROM", "FEMININE", "MASCULINE", "MODIFIER")

Lexicon = Mapping[str, str]


def spoken(text: str, language: str, lexicon: Lexicon) -> str:
    """``text`` as an engine should get it.

    Parameters
    ----------
    language : str
        The speaker's, such as ``en-US``.
    lexicon : mapping
        From words in lower case to what is said for them.
    """
    if lexicon:
        text = _pattern(tuple(lexicon)).sub(lambda found: lexicon[found[0].casefold()], text)
    if not is_english(language):
        return text
    text = AMOUNT.sub(_amount, without_unreadable(text))
    text = HOST.sub(lambda found: found[0].replace(".", " dot "), text)
    text = VERSION.sub(lambda found: found[0].replace(".", " point "), text)
    return ABOUT.sub("about ", NUMERO.sub("number ", text))


def is_english(language: str) -> bool:
    return language.lower().partition("-")[0] == "en"


def unreadable_letters(text: str, language: str) -> int:
    """How many letters of ``text`` a speaker of this language has no sound for; known of English only."""
    if text.isascii() or not is_english(language):
        return 0
    return sum(not _is_readable(character) for character in text)


def without_unreadable(text: str) -> str:
    """``text`` without the letters that a reader of English has no sound for: hibari would spell some as others."""
    if text.isascii():
        return text
    return " ".join("".join(each if _is_readable(each) else " " for each in text).split())


@cache
def _is_readable(character: str) -> bool:
    is_plain = character.isascii() or not character.isalpha()
    return is_plain or unicodedata.name(character, "").startswith(LATIN_NAMES)


def _amount(found: re.Match[str]) -> str:
    """``$5.20`` as ``5 dollars and 20 cents``, ``€1.5 million`` as ``1.5 million euros``."""
    one, several, one_part, several_parts = CURRENCIES[found["before"] or found["after"]]
    number, scale = found["number"] or found["first"], (found["scale"] or "").strip().lower()
    whole, _, parts = number.partition(".")
    if scale:
        return f"{number} {SCALES.get(scale, scale)} {several}"
    if len(parts) != 2:
        return f"{number} {one if number == '1' else several}"
    units = f"{whole} {one if whole == '1' else several}"
    hundredths = f"{int(parts)} {one_part if parts == '01' else several_parts}"
    if int(parts) == 0:
        return units
    return hundredths if whole == "0" else f"{units} and {hundredths}"


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def read_lexicon(path: Path) -> dict[str, str]:
    """A file of lines ``word<TAB>respelling``, the words in lower case; empty lines and those with # are passed over.

    Raises
    ------
    SpeechError
        It cannot be read, or a line is not of that form.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpeechError(f"The lexicon {path} is larger than {MOST_BYTES // 1_000_000} MB.", "lexicon")
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SpeechError(f"The lexicon {path} is not text in UTF-8: save it as that.", "lexicon") from error
    except OSError as error:
        raise SpeechError(f"The lexicon {path} cannot be read: {error.strerror}.", "lexicon") from error
    words: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, respelling = (part.strip() for part in line.partition("\t"))
        if not word or not respelling:
            raise SpeechError(
                f"Line {number} of the lexicon {path} is no word, tab and respelling: {line.strip()[:40]!r}.",
                "lexicon",
            )
        words[word.casefold()] = respelling
    if len(words) > MOST_WORDS:
        raise SpeechError(
            f"The lexicon {path} has {len(words):,} words, and at most {MOST_WORDS:,} are used.", "lexicon"
        )
    return words
