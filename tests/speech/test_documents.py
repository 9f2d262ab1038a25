"""Documents taken apart: what is said of Markdown, subtitles, SSML and books, and what is told of broken ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.choices import SubtitleFormat, TextFormat
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.documents import SUFFIXES, chapters_of, chapters_of_file
from ultimate_rvc.speech.passages import PARAGRAPH_PAUSE, SENTENCE_PAUSE
from ultimate_rvc.speech.script import Chapter, Stretch
from ultimate_rvc.speech.subtitles import Cue, written


def said(chapters: tuple[Chapter, ...]) -> list[str]:
    return [stretch.text for chapter in chapters for stretch in chapter.stretches]


def only(text: str, text_format: TextFormat = TextFormat.AUTO) -> tuple[Stretch, ...]:
    (chapter,) = chapters_of(text, text_format)
    return chapter.stretches


# ------------------------------------------------------------------ Markdown


def test_marks_of_markdown_are_not_said() -> None:
    text = (
        "---\ntitle: settings\n---\n"
        "Some **bold**, *slanted* and `code` with a [link](https://example.org).\n"
        "Next line.\n\n"
        "- first\n- second\n\n"
        "> quoted\n\n"
        "![a picture](x.png)\n\n"
        "```python\nprint('not said')\n```\n\n"
        "<div>not said</div>\n\n"
        "| a | b |\n|---|---|\n| one | two |\n"
    )
    (words,) = said(chapters_of(text, TextFormat.MARKDOWN))
    assert words.split("\n\n") == [
        "Some bold, slanted and code with a link.\nNext line.",
        *("first.", "second.", "quoted.", "a.", "b.", "one.", "two."),
    ]


def test_headings_of_the_first_level_begin_chapters() -> None:
    chapters = chapters_of(
        "Before.\n\n# One *day*\n\nText.\n\n## Part\n\nMore.\n\n# Two\n", TextFormat.MARKDOWN
    )
    assert [chapter.title for chapter in chapters] == [None, "One day", "Two"]
    assert said(chapters) == ["Before.", "One day.\n\nText.\n\nPart.\n\nMore.", "Two."]


@given(st.text(max_size=500))
def test_any_text_is_markdown(text: str) -> None:
    for words in said(chapters_of(text, TextFormat.MARKDOWN)):
        assert words.strip()


# ------------------------------------------------------------------ subtitles

SRT = """1
00:00:01,500 --> 00:00:02,000 X1:40
<i>Good</i> {\\an8}morning,
singers!
2
00:01:03.25 --> 01:00:00,000
Fish &amp; chips
"""
VTT = """WEBVTT - a title

NOTE not said
at all

STYLE
::cue { color: red }

intro
00:01.500 --> 00:02.000 align:start
<v Ann>Good morning</v>

01:02:03.004 --> 01:02:04.000
Bye.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SRT, [("Good morning, singers!", 1.5), ("Fish & chips", 63.25)]),
        (VTT, [("Good morning", 1.5), ("Bye.", 3723.004)]),
        (SRT.replace("\n", "\r\n"), [("Good morning, singers!", 1.5), ("Fish & chips", 63.25)]),
    ],
)
def test_subtitles_are_known_by_how_they_begin(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(each.text, each.begin_seconds) for each in only(text)] == expected


def test_subtitles_out_of_order_are_put_in_order() -> None:
    blocks = [f"{number}\n00:00:0{number},000 --> 00:00:0{number},500\n{number}\n" for number in (3, 1, 2)]
    assert [stretch.text for stretch in only("\n".join(blocks))] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("just words", "There is no subtitle in it"),
        ("1\n00:00:01,000 --> soon\nwords", "Line 2 of the subtitles is no time"),
        ("1\n\n00:00:05,000 --> 00:00:01,000\nwords", "Line 3 of the subtitles ends before it begins"),
        ("", "There is no subtitle in it"),
    ],
)
def test_broken_subtitles_are_told_with_their_line(text: str, told: str) -> None:
    with pytest.raises(SpeechError, match=told):
        chapters_of(text, TextFormat.SUBTITLES)


@pytest.mark.parametrize("subtitle_format", SubtitleFormat)
@given(
    cues=st.lists(
        st.tuples(
            st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=150),
            st.integers(0, 2000),
            st.integers(200, 5000),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_written_subtitles_are_read_back(
    subtitle_format: SubtitleFormat, cues: list[tuple[str, int, int]]
) -> None:
    at, given_cues = 0.0, []
    for text, wait, length in cues:
        given_cues.append(Cue(text, at + wait / 1000, at + (wait + length) / 1000))
        at = given_cues[-1].end
    again = only(written(given_cues, subtitle_format), TextFormat.SUBTITLES)
    assert "".join(each.text for each in again).replace(" ", "") == "".join(text for text, _, _ in cues)
    starts = [each.begin_seconds for each in again]
    for cue in given_cues:
        assert any(abs((start or 0.0) - cue.begin) < 0.0011 for start in starts)


def test_long_subtitles_are_cut_to_two_lines_with_their_share_of_the_time() -> None:
    text = written([Cue("word " * 40, 10.0, 20.0)], SubtitleFormat.SRT)
    again = only(text, TextFormat.SUBTITLES)
    assert len(again) == 3
    assert max(map(len, text.splitlines())) <= 42
    begins = [each.begin_seconds for each in again]
    assert begins[0] == 10
    assert begins == sorted(begins)  # type: ignore[type-var]
    assert max(begins) < 20  # type: ignore[type-var]


# ------------------------------------------------------------------ SSML


def test_ssml_gives_pauses_manner_and_what_is_said_instead() -> None:
    first, slow, rest, alias, other = only(
        '<speak version="1.1">One.<break time="1s"/><break time="500ms"/>'
        '<prosody rate="80%" pitch="+2st" volume="-6dB"><prosody rate="slow">two</prosody></prosody> three'
        '<sub alias="World Wide Web Consortium">W3C</sub>.<voice name="other">four.</voice></speak>'
    )[:5]
    assert (first.text, first.pause_seconds) == ("One.", 1.5)
    assert slow.text == "two"
    assert slow.manner.rate == pytest.approx(0.6)
    assert (slow.manner.semitones, slow.manner.gain_db) == (2, -6)
    assert (rest.text.strip(), rest.manner.rate, rest.pause_seconds) == ("three", 1, 0)
    assert (alias.text, alias.spoken) == ("W3C", "World Wide Web Consortium")
    assert other.text == "."
    assert only('<speak><voice name="other">four.</voice></speak>')[0].manner.speaker == "other"


def test_sentences_and_paragraphs_of_ssml_have_their_pauses() -> None:
    sentence, paragraph = only("<speak><s>one</s><p>two</p></speak>")
    assert (sentence.pause_seconds, paragraph.pause_seconds) == (SENTENCE_PAUSE, PARAGRAPH_PAUSE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "<speak>\n<audio src='x'/></speak>",
            "Line 2 of the SSML: <audio> is not understood; there are speak",
        ),
        ("<speak>a & b</speak>", "Line 1 of the SSML: not well-formed"),
        ("<speak>\n\n<p>open</speak>", "Line 3 of the SSML: mismatched tag"),
        ('<speak><prosody rate="300%">a</prosody></speak>', "rate is '300%', but must be 50% to 200%"),
        ('<speak><prosody pitch="+20Hz">a</prosody></speak>', r"pitch is '\+20Hz', but must be -12st"),
        ('<speak><prosody volume="6">a</prosody></speak>', "volume is '6', but must be"),
        ('<speak><break time="90s"/></speak>', "time is '90s', but must be a time up to 60s"),
        ("<speak><sub>a</sub></speak>", '<sub> needs alias="..."'),
        ('<speak><sub alias="b">a<break/></sub></speak>', "<sub> holds text only"),
        ('<speak><break size="1"/></speak>', "<break> has no attribute size; it takes time, strength"),
        ("<speak><speak>a</speak></speak>", "<speak> must be the outermost"),
        ('<!DOCTYPE speak [<!ENTITY a "b">]><speak>&a;</speak>', "the entity a is declared"),
        ("<p>a</p>", "<speak> must be the outermost"),
    ],
)
def test_wrong_ssml_is_one_sentence_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SpeechError, match=told) as caught:
        chapters_of(text, TextFormat.SSML)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ books

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
)


def write_book(path: Path, parts: dict[str, str]) -> Path:
    items = "".join(f'<item id="p{number}" href="{name}"/>' for number, name in enumerate(parts))
    spine = "".join(f'<itemref idref="p{number}"/>' for number in range(len(parts)))
    package = f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>'
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("OEBPS/book.opf", package)
        for name, html in parts.items():
            book.writestr(f"OEBPS/{name.replace('%20', ' ')}", html)
    return path


def test_a_book_is_read_in_its_order_with_headings_as_titles(tmp_path: Path) -> None:
    path = write_book(
        tmp_path / "book.epub",
        {
            "cover.xhtml": "<html><body><p>By Somebody</p></body></html>",
            "one%20part.xhtml": "<html><head><title>no</title><style>p{}</style></head><body><h1>The <i>Gate</i></h1>"
            "<p>It was &amp; is<br/>old.</p><script>no()</script><p>Second.</p></body></html>",
            "two.xhtml": "<body><h2>The End</h2><div>Last<rt>no</rt> words</div></body>",
        },
    )
    chapters = chapters_of_file(path)
    assert [chapter.title for chapter in chapters] == ["The Gate", "The End"]
    assert said(chapters) == [
        "By Somebody\n\nThe Gate.\n\nIt was & is old.\n\nSecond.",
        "The End.\n\nLast words",
    ]


@pytest.mark.parametrize("damage", ["bytes", "half", "no package", "no container", "empty"])
def test_a_broken_book_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = write_book(tmp_path / "book.epub", {"a.xhtml": "<p>Words</p>"})
    whole = path.read_bytes()
    if damage in ("bytes", "half", "empty"):
        path.write_bytes(
            {"bytes": bytes(range(256)) * 9, "half": whole[: len(whole) // 2], "empty": b""}[damage]
        )
    else:
        with zipfile.ZipFile(path, "w") as book:
            book.writestr("mimetype", "application/epub+zip")
            if damage == "no package":
                book.writestr("META-INF/container.xml", CONTAINER)
    with pytest.raises(
        SpeechError, match=r"book\.epub is no EPUB, or is damaged \(.*\): export it again\."
    ) as caught:
        chapters_of_file(path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", bytes(range(256)), "is not text in UTF-8"),
        ("a.txt", b"PK\x03\x04\x00\x00words", "holds bytes that no text has"),
        ("a.docx", b"words", r"should end in one of \.txt"),
        ("a.srt", b"\x89PNG", "is not text in UTF-8"),
        ("a.srt", b"no times", r"a\.srt: There is no subtitle in it"),
        ("a.ssml", b"<speak>", r"a\.ssml: Line 1 of the SSML: "),
        ("missing/a.txt", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_aloud_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpeechError, match=told):
        chapters_of_file(path)


def test_a_file_that_is_too_large_is_told_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(10_000_001)
    with pytest.raises(SpeechError, match="larger than 10 MB: cut it into parts"):
        chapters_of_file(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_other_editors_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.TXT"
    path.write_text("Größe: 你好", encoding=encoding)
    assert said(chapters_of_file(path)) == ["Größe: 你好"]


def test_every_format_has_a_suffix() -> None:
    assert set(SUFFIXES.values()) == set(TextFormat) - {TextFormat.AUTO}
