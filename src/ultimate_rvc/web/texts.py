"""The words of the page: one catalogue per language, all with the same keys.

Settings bring their English words along; another language has one line for each, its label and its sentence. So do
the engine's sentences: another language has each under ``sentences``, by the English one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

from ultimate_rvc.settings import Setting
from ultimate_rvc.web.sentences import Sentences

LOCALES_DIR = Path(__file__).parent / "locales"
DEFAULT_LANGUAGE = "en"
LARGEST_SHOWN = 100_000  # a range beyond this says nothing to anybody
ANY = "any"  # the group of words that settings of several kinds of work share


@dataclass(frozen=True)
class Texts:
    """A language: called with a key, it gives the text."""

    language: str
    catalogue: Mapping[str, str]
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Label and sentence by ``Setting.words_key``; empty in English."""
    sentences: Mapping[str, str] = field(default_factory=dict)
    """What errors, warnings and progress say, by the English template; empty in English."""

    def __call__(self, key: str, **values: object) -> str:
        """The text, with ``{name}`` replaced; a key that the catalogue lacks raises :class:`KeyError`."""
        text = self.catalogue[key]
        return text.format(**values) if values else text

    def sentence(self, english: str) -> str:
        """A sentence of the engine in this language; one that no template fits stays English."""
        return self._sentences(english)

    @cached_property
    def _sentences(self) -> Sentences:
        return Sentences(self.sentences)

    def setting(self, entry: Setting) -> tuple[str, str]:
        """Label and sentence of a setting, with its range where no slider shows it; in English without a line."""
        label, info = self.settings.get(line_of(entry, self.settings), (entry.label, entry.help))
        low, high = entry.facts.low, entry.facts.high
        has_slider = entry.facts.step is not None and not entry.is_optional
        if low is not None and high is not None and high <= LARGEST_SHOWN and not has_slider:
            unit = f" {self.named('unit', entry.facts.unit)}" if entry.facts.unit else ""
            info += self("setting.range", low=f"{low:g}", high=f"{high:g}", unit=unit)
        return label, info

    def labelled(self, key: str) -> dict[str, str]:
        """Label and sentence of a component, as its arguments."""
        return {"label": self(f"{key}.label"), "info": self(f"{key}.info")}

    def named(self, group: str, word: str) -> str:
        """The text ``group.word`` for a word of the engine, such as a step; without one the word itself."""
        return self.catalogue.get(f"{group}.{word.replace(' ', '_')}", word)


def line_of(entry: Setting, lines: Collection[str]) -> str:
    """The key of a setting's words: its own, or that of all settings of its name."""
    return entry.words_key if entry.words_key in lines else f"{ANY}.{entry.name}"


def languages() -> list[str]:
    """The languages that have a catalogue, the default one first."""
    found = sorted(path.stem for path in LOCALES_DIR.glob("*.json"))
    return sorted(found, key=lambda language: language != DEFAULT_LANGUAGE)


def load_texts(language: str) -> Texts:
    """The catalogue ``locales/<language>.json``."""
    path = LOCALES_DIR / f"{language}.json"
    lines = json.loads(path.read_text(encoding="utf-8"))
    return Texts(
        language,
        {key: text for key, text in lines.items() if isinstance(text, str)},
        {key: (text[0], text[1]) for key, text in lines.items() if isinstance(text, list)},
        lines.get("sentences", {}),
    )


def language_links(texts: Texts) -> str:
    """Links to the page in every language, as HTML; they lead on below the path of a proxy too."""
    links = []
    for language in languages():
        name = escape(load_texts(language)("language.name"))
        current = " aria-current=page" if language == texts.language else ""
        # Every page is beside the default one, so that no link needs to know what stands before both.
        place = "./" if language == DEFAULT_LANGUAGE else f"./{language}"
        links.append(f'<a href="{place}" data-language="{language}" lang="{language}"{current}>{name}</a>')
    return " ".join(links)
