"""The engine's sentences in the page's languages: all are translated, and none reaches another page in English."""

from __future__ import annotations

import importlib.util
import re
import string
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import noise, write
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.covers.stem_folder import find_stems
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.outputs import Outputs
from ultimate_rvc.plain import from_plain
from ultimate_rvc.rvc.infer.index_file import check_index_file
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.train.checks import check_recordings, measure
from ultimate_rvc.rvc.train.data_settings import PreprocessSettings
from ultimate_rvc.rvc.voice_file.read import read_voice_file
from ultimate_rvc.separation.choose import check_name
from ultimate_rvc.separation.models import SeparationTask
from ultimate_rvc.speech.documents import chapters_of_file
from ultimate_rvc.speech.ssml import chapter_of_ssml
from ultimate_rvc.speech.subtitles import chapter_of_subtitles
from ultimate_rvc.voices import library
from ultimate_rvc.web.sentences import GRAMMAR, MOST_LOOKS, Sentences
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, languages, load_texts
from voice_factory import write_discriminator, write_executing_voice, write_voice

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "list_sentences.py"
OTHERS = [each for each in languages() if each != DEFAULT_LANGUAGE]


@cache
def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT.stem] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def _templates() -> tuple[str, ...]:
    return tuple(_script().templates())


def _places(template: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_of_the_engine_is_translated_and_nothing_else(language: str) -> None:
    given, known = load_texts(language).sentences, set(_templates())
    missing, unused = sorted(known - given.keys()), sorted(given.keys() - known)
    assert not missing, (
        f'Add these to "sentences" in web/locales/{language}.json (scripts/list_sentences.py lists them): {missing}'
    )
    assert not unused, f'Remove these from "sentences" in web/locales/{language}.json: {unused}'


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_of_its_sentence(language: str) -> None:
    given = load_texts(language).sentences
    assert [key for key, text in given.items() if _places(key) != _places(text)] == []
    assert [key for key, text in given.items() if text != text.strip() or not text] == []


def test_english_needs_no_sentences() -> None:
    english = load_texts(DEFAULT_LANGUAGE)
    assert english.sentences == {}
    assert english.sentence("There is no file a.wav.") == "There is no file a.wav."


# Digits and capitals are in no sentence as a word of its own, so that it is known what the places hold.
VALUES = st.lists(st.text("QXZ0123456789_/.", min_size=1, max_size=12), min_size=9, max_size=9)


@pytest.mark.parametrize("language", OTHERS)
@given(data=st.data())
def test_a_filled_template_becomes_the_filled_translation(language: str, data: st.DataObject) -> None:
    known = load_texts(language)
    template = data.draw(st.sampled_from([each for each in _templates() if not _is_ambiguous(each)]))
    values = data.draw(VALUES)
    wanted = known.sentences[template].format(*values)
    assert known.sentence(template.format(*values)) == wanted


def _is_ambiguous(template: str) -> bool:
    """Whether two of its places stand side by side, or it is too short to be known by itself."""
    words = set(re.findall(r"[a-z]+", re.sub(r"\{\d+\}", "", template).lower()))
    return template in GRAMMAR or "} {" in template or words <= {"is", "are", "and", "it"}


def test_sentences_in_a_row_and_within_another_are_translated_too() -> None:
    chinese = load_texts("zh-TW")
    assert chinese.sentence("None of the recordings can be read. Left out: There is no file a.wav.") == (
        "沒有任何錄音可以讀取。已略過：沒有檔案 a.wav。"  # noqa: RUF001
    )
    warned = chinese.sentence('"a.wav" and 3 more are silent and left out.')
    assert warned == '"a.wav" 與另外 3 個無聲，已略過。'  # noqa: RUF001
    assert chinese.sentence("loading the voice (2/3)") == "正在載入聲音 (2/3)"


def test_the_template_that_knows_most_of_a_sentence_is_taken() -> None:
    chinese = load_texts("zh-TW")
    assert chinese.sentence("The list of jobs a.sqlite3 is in use by another program; try again.") == (
        "工作清單 a.sqlite3 正由其他程式使用；請再試一次。"  # noqa: RUF001
    )


def test_an_unknown_sentence_stays_as_it_is_beside_a_known_one() -> None:
    chinese = load_texts("zh-TW")
    assert chinese.sentence("Connection is refused.") == "Connection is refused."
    assert chinese.sentence("Something odd. The job was cancelled.") == "Something odd. 工作已取消。"


def test_values_are_not_read_as_templates() -> None:
    sentences = Sentences({"{0} is empty.": "{0} 是空的。"})
    assert sentences("{0} {name} is empty.") == "{0} {name} 是空的。"


# --- what the engine really raises ----------------------------------------------------------------

# Names of settings, formats and methods are the same in every language.
TECHNICAL_WORDS = """
    n_octaves f0_methods index_rate embedder_model output_format output_name output_sr bitrate_kbps output
    rmvpe crepe fcpe pm harvest dio swift mangio tiny hybrid starter
    flac wav mp3 ogg opus m4a aac md srt vtt epub ssml txt pth safetensors onnx zip index json
    mps cuda cpu auto torch pickle pymss dsp urvc voices list import system posix nt os
    FAISS UTF SSML RVC RMVPE ONNX HuBERT NaN Hz kHz MB JSON YAML FILE Tab D_ G_
    speak prosody rate pitch volume break sub voice
    vocals instrumental drums bass other lead
"""
TECHNICAL = set(TECHNICAL_WORDS.split())


def _song(folder: Path) -> Path:
    return write(folder / "song.wav", noise(1.0))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _zip_without_voice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    return path


CASES: dict[str, Callable[[Path], Any]] = {
    "out of range": lambda folder: ConversionSettings(n_octaves=99),
    "no such choice": lambda folder: ConversionSettings(f0_methods=("none",)),
    "unknown setting": lambda folder: from_plain(CoverSettings, {"output_srr": 1}),
    "wrong type": lambda folder: from_plain(ConversionSettings, {"index_rate": "much"}),
    "no such voice": lambda folder: library.find_voice("Nobody"),
    "no such voice file": lambda folder: read_voice_file(folder / "Gone.pth"),
    "empty voice": lambda folder: read_voice_file(_written(folder / "Bare.pth", b"")),
    "text as voice": lambda folder: read_voice_file(
        _written(folder / "Notes.pth", b"some words of a text " * 9)
    ),
    "web page as voice": lambda folder: library.import_voice(
        _written(folder / "Page.pth", b"<!DOCTYPE html><p>")
    ),
    "damaged voice": lambda folder: read_voice_file(
        _written(folder / "Cut.pth", write_voice(folder / "Whole.pth").read_bytes()[:-4000])
    ),
    "discriminator": lambda folder: read_voice_file(write_discriminator(folder / "Judge.pth")),
    "running voice": lambda folder: read_voice_file(
        write_executing_voice(folder / "Evil.pth", folder / "Mark")
    ),
    "bad name": lambda folder: library.import_voice(write_voice(folder / "Ann.pth"), "a/b"),
    "archive without voice": lambda folder: library.import_voice(_zip_without_voice(folder / "Odd.zip")),
    "no such index": lambda folder: library.import_voice(
        write_voice(folder / "Ann.pth"), index=folder / "Gone.index"
    ),
    "damaged index": lambda folder: check_index_file(_written(folder / "Torn.index", b"IxFl" + bytes(9))),
    "no such trash": lambda folder: library.restore_voice("Nobody"),
    "missing audio": lambda folder: decode(folder / "Gone.wav"),
    "empty audio": lambda folder: decode(_written(folder / "Bare.wav", b"")),
    "no audio": lambda folder: decode(_written(folder / "Notes.wav", b"some words of a text")),
    "no stems": lambda folder: find_stems(_song(folder).parent),
    "unknown device": lambda folder: resolve_device("tpu"),
    "output is a folder": lambda folder: Outputs(()).named_file(folder),
    "unknown model": lambda folder: check_name("Nix", SeparationTask.VOCALS, "vocals_model"),
    "silent recordings": lambda folder: check_recordings(
        [measure("Still.wav", np.zeros((1, 48000), np.float32), 48000)], PreprocessSettings()
    ),
    "document of no kind": lambda folder: chapters_of_file(_written(folder / "Book.xyz", b"text")),
    "document of bytes": lambda folder: chapters_of_file(_written(folder / "Book.txt", bytes(range(256)))),
    "wrong SSML": lambda folder: chapter_of_ssml("<speak><loud>Hi</loud></speak>"),
    "wrong subtitles": lambda folder: chapter_of_subtitles("Nothing of the kind"),
}


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("name", CASES)
def test_an_error_of_the_engine_has_no_english_words_on_another_page(
    name: str, language: str, tmp_path: Path
) -> None:
    with pytest.raises(UltimateRVCError) as caught:
        CASES[name](tmp_path)
    told = load_texts(language).sentence(str(caught.value))
    assert told != str(caught.value)
    shown = re.sub(r"\S*/\S*", " ", told.replace(str(tmp_path), " "))  # paths
    shown = re.sub(r"[A-Z][a-z]+(\.\w+)?", " ", shown)  # what the cases call their files
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]+", shown)) - TECHNICAL
    assert words <= set(_own_words(name)), f"{told!r} of {caught.value}"


def _own_words(name: str) -> list[str]:
    """Values that a case gives, which no language changes."""
    return {
        "no such choice": ["none"],
        "unknown setting": ["output_srr"],
        "wrong type": ["much"],
        "unknown device": ["tpu"],
        "wrong SSML": ["loud"],
        "unknown model": ["vocals_model", "aggressive", "mdx23c", "demucs", "mdx", "kim", "light", "vr"],
        "document of no kind": ["text", "markdown"],
        "no stems": ["song"],
    }.get(name, [])


@pytest.mark.parametrize(
    "piece", ["a is. B ", "a; b, c. ", "The file a (b) is 3, but must be ", "x and y or z. "]
)
def test_a_name_that_looks_like_hundreds_of_sentences_is_no_work(piece: str) -> None:
    """Anybody may upload a file of such a name; the looks are bounded, not the time."""
    counted = Counter[str]()

    class Watched(Sentences):
        def _looked_for(self, text: str, depth: int, work: Any) -> Any:
            counted[piece] += 1
            return super()._looked_for(text, depth, work)

    known = Watched(load_texts("zh-TW").sentences)
    assert isinstance(known(piece * 40), str)
    assert counted[piece] <= MOST_LOOKS
    assert known("x" * 10_000) == "x" * 10_000
