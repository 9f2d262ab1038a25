"""Chinese text becomes the symbols that the synthesizer learnt."""

from __future__ import annotations

import pytest

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.mockingbird.front_end import SYMBOLS, pieces, pinyin, symbols_of
from ultimate_rvc.speech.mockingbird.numbers import spoken_numbers

pytest.importorskip("pypinyin")


def test_characters_become_syllables_with_tones() -> None:
    assert pinyin("你好吗") == "ni3 hao3 ma5"
    assert pinyin("我爱 OK") == "wo3 ai4 ok"


def test_symbols_are_numbered_as_in_mockingbird() -> None:
    # "_" and "~" are 0 and 1, then come A to Z, a to z, 1234567890 and !'(),-.:;? and the space.
    assert symbols_of("你", 75) == [41, 36, 56, 1]
    assert SYMBOLS[75][74] == " "
    # The first models had no digits but those of tones.
    assert [SYMBOLS[70][number] for number in symbols_of("四吗", 70)[:-1]] == list("si4 ma")
    assert symbols_of("\N{SNOWMAN}", 75) == [1]
    with pytest.raises(SpeechError, match="knows 12 symbols, and lists of 75 or 70 are known"):
        symbols_of("你", 12)


def test_a_passage_is_cut_at_its_marks() -> None:
    assert pieces("你好，世界。今天!?\n明天……") == ["你好", "世界", "今天", "明天"]  # noqa: RUF001
    assert pieces("圆周率是3.14。") == ["圆周率是三点一四"]
    assert pieces("，。!? ") == []  # noqa: RUF001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "零"), ("10", "十"), ("15", "十五"), ("20", "二十"), ("105", "一百零五"), ("110", "一百一十"),
        ("1005", "一千零五"), ("1050", "一千零五十"), ("10500", "一万零五百"), ("100000", "十万"),
        ("10005000", "一千万五千"), ("120000000", "一亿二千万"), ("100000001", "一亿零一"),
        ("3.14", "三点一四"), ("-2", "负二"), ("20%", "百分之二十"), ("2024年", "二零二四年"),
        ("007", "零零七"), ("有3个", "有三个"), ("12345678901234567", "一二三四五六七八九零一二三四五六七"),
    ],
)  # fmt: skip
def test_numbers_are_spoken(text: str, words: str) -> None:
    assert spoken_numbers(text) == words
