"""The words of the page: one catalogue per language, all with the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCALES_DIR = Path(__file__).parent / "locales"
DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Texts:
    """A language: called with a key, it gives the text."""

    language: str
    catalogue: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text, with ``{name}`` replaced; a key that the catalogue lacks raises :class:`KeyError`."""
        text = self.catalogue[key]
        return text.format(**values) if values else text

    def named(self, group: str, word: str) -> str:
        """The text ``group.word`` for a word of the engine, such as a step; without one the word itself."""
        return self.catalogue.get(f"{group}.{word.replace(' ', '_')}", word)


def languages() -> list[str]:
    """The languages that have a catalogue, the default one first."""
    found = sorted(path.stem for path in LOCALES_DIR.glob("*.json"))
    return sorted(found, key=lambda language: language != DEFAULT_LANGUAGE)


def load_texts(language: str) -> Texts:
    """The catalogue ``locales/<language>.json``."""
    path = LOCALES_DIR / f"{language}.json"
    return Texts(language, json.loads(path.read_text(encoding="utf-8")))
