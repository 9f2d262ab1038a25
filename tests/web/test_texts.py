"""The catalogues of the page: every language says everything, with the same places for values."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.rvc.infer.live_settings import LiveSettings
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.settings import REQUIRED, Setting, settings_of, walk
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.web.texts import (
    DEFAULT_LANGUAGE,
    LOCALES_DIR,
    language_links,
    languages,
    line_of,
    load_texts,
)
from ultimate_rvc.work.kinds import KINDS

WEB = LOCALES_DIR.parent
KEY = re.compile(r'texts\(\s*f?"([^"]+)"')
LABELLED = re.compile(r'texts\.labelled\(\s*f?"([^"]+)"')


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_english_chinese_and_japanese_are_there() -> None:
    assert languages()[0] == DEFAULT_LANGUAGE
    assert {"en", "zh-TW", "zh-CN", "ja"} <= set(languages())


def test_links_to_the_languages_lead_on_below_a_path() -> None:
    links = language_links(load_texts("ja"))
    assert 'href="./" data-language="en"' in links
    assert 'href="./ja" data-language="ja" lang="ja" aria-current=page' in links
    assert 'href="/' not in links


@pytest.mark.parametrize("language", languages())
def test_a_language_has_the_keys_and_places_of_the_default_one(language: str) -> None:
    wanted, given = load_texts(DEFAULT_LANGUAGE).catalogue, load_texts(language).catalogue
    assert given.keys() == wanted.keys()
    assert {key: _places(text) for key, text in given.items()} == {
        key: _places(text) for key, text in wanted.items()
    }
    assert not [key for key, text in given.items() if not text.strip()]


def _shown_settings() -> list[Setting]:
    """All that the page may show, but what a job cannot do without."""
    kinds = [*(kind.settings for kind in KINDS.values()), LiveSettings, OptimizationConfig]
    found = {entry.words_key: entry for kind in kinds for _, entry in walk(kind)}
    own = (
        "importvoicerequest",
        "downloadrequest",
        "trainrequest",
    )  # laid out by hand, with words of their own
    return [entry for entry in found.values() if entry.default is not REQUIRED and entry.group not in own]


@pytest.mark.parametrize("language", [each for each in languages() if each != DEFAULT_LANGUAGE])
def test_a_language_has_a_line_for_every_setting_and_for_nothing_else(language: str) -> None:
    lines = load_texts(language).settings
    needed = {line_of(entry, lines) for entry in _shown_settings()}
    assert lines.keys() == needed
    assert all(label.strip() and info.strip() for label, info in lines.values())


def test_english_words_are_those_of_the_settings() -> None:
    assert load_texts(DEFAULT_LANGUAGE).settings == {}
    entry = settings_of(ConversionSettings)["sid"]
    assert load_texts(DEFAULT_LANGUAGE).setting(entry) == ("Speaker number", entry.help)
    longest = settings_of(SourceSettings)["max_minutes"]
    assert load_texts(DEFAULT_LANGUAGE).setting(longest)[1].endswith("hours. 0.1 to 600 minutes.")


def _modules() -> list[Path]:
    return sorted(WEB.rglob("*.py"))


def test_every_key_that_the_page_asks_for_is_in_the_catalogue() -> None:
    known = load_texts(DEFAULT_LANGUAGE).catalogue
    for module in _modules():
        code = module.read_text(encoding="utf-8")
        labelled = [f"{key}.{part}" for key in LABELLED.findall(code) for part in ("label", "info")]
        for asked in [*KEY.findall(code), *labelled]:
            pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(asked)))
            assert any(pattern.fullmatch(key) for key in known), f"{module.name} asks for {asked}"


def test_no_module_of_the_page_is_long() -> None:
    long = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in _modules()}
    assert {name: count for name, count in long.items() if count > 250} == {}


def test_an_unknown_word_of_the_engine_is_shown_as_it_is() -> None:
    texts = load_texts("zh-TW")
    assert texts.named("step", "split backing") == texts("step.split_backing")
    assert texts.named("step", "something new") == "something new"
