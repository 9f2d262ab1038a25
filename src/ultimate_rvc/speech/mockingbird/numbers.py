"""Numbers in Chinese words: digits in a text would be taken for tones."""

from __future__ import annotations

import re

DIGITS = "零一二三四五六七八九"
UNITS = ("", "十", "百", "千")
GROUPS = ("", "万", "亿", "万亿")
LONGEST = 4 * len(GROUPS)
NUMBER = re.compile(
    r"(?P<minus>(?<![\w.])-)?(?P<whole>\d+)(?:\.(?P<part>\d+))?(?P<percent>%)?(?P<year>年)?", re.ASCII
)


def spoken_numbers(text: str) -> str:
    """``text`` with its numbers in words: 105 is 一百零五, 3.14 三点一四, 20% 百分之二十, 2024年 二零二四年."""
    return NUMBER.sub(_words, text)


def _words(found: re.Match[str]) -> str:
    whole, part = found["whole"], found["part"]
    is_a_year = found["year"] and len(whole) == 4 and not part
    # Digit by digit: years, numbers with zeros before them (they name things), and those beyond all words.
    one_by_one = is_a_year or (len(whole) > 1 and whole.startswith("0")) or len(whole) > LONGEST
    words = _digits(whole) if one_by_one else _number(int(whole))
    words += f"点{_digits(part)}" if part else ""
    return (
        ("负" if found["minus"] else "")
        + ("百分之" if found["percent"] else "")
        + words
        + (found["year"] or "")
    )


def _digits(text: str) -> str:
    return "".join(DIGITS[int(digit)] for digit in text)


def _number(value: int) -> str:
    if value == 0:
        return DIGITS[0]
    words, gap = "", False
    for group in range(len(GROUPS) - 1, -1, -1):
        count = value // 10_000**group % 10_000
        # One zero stands for any run of them between two digits that are not.
        if count == 0:
            gap = bool(words)
            continue
        if words and (gap or count < 1000):
            words += DIGITS[0]
        words += _below_ten_thousand(count) + GROUPS[group]
        gap = False
    return words.removeprefix("一") if words.startswith("一十") else words


def _below_ten_thousand(count: int) -> str:
    words, gap = "", False
    for place in range(3, -1, -1):
        digit = count // 10**place % 10
        if digit == 0:
            gap = bool(words)
            continue
        words += (DIGITS[0] if gap else "") + DIGITS[digit] + UNITS[place]
        gap = False
    return words
