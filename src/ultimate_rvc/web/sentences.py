"""English sentences of the engine in a page's language: errors, warnings, and what work says of itself.

As in gettext the English sentence is the key, so that what raises an error stays plain English. A key is a template:
``{0} is empty.`` stands for every file. ``scripts/list_sentences.py`` lists all templates there are.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

WORDS = re.compile(r"[^\W\d_]+")
BREAK = re.compile(r"(?<=[.!?]) (?=[^\W\d_]|[\"'`\d/<(])")  # where a sentence ends and another may begin
COUNT = re.compile(r"(.+)( \(\d+/\d+\))", re.DOTALL)  # as progress of one of several pieces ends
BETWEEN = "{0} {1}"  # in a catalogue: how sentences follow each other
STOP = "{0}."  # in a catalogue: how a sentence ends
GRAMMAR = (BETWEEN, STOP)
# Templates with no other words match nearly everything: one of their values must be known as well.
WEAK = frozenset({"is", "are", "and", "it"})
NO_SUBJECT = "\0"  # in place of what a part says something of
REMARK = re.compile(r"(.+) \((.+)\)", re.DOTALL)
LISTS = ("; ", ", ")  # what stands between the values of a list
REMEMBERED = 2000
DEEPEST = 4  # an error within an error within an error, and its parts
# Texts that are looked at for one sentence. A real one needs some dozens; a file's name may be made of hundreds of
# things that look like sentences, and then the whole stays English instead of taking hours.
MOST_LOOKS = 2000
LONGEST = 4000  # letters; more is no sentence


@dataclass(frozen=True)
class _Entry:
    """A template, ready to be looked for."""

    template: str
    translation: str
    anchor: str
    """Its longest piece of text: a sentence without it cannot match."""
    weight: int
    """How much of it is text."""
    is_weak: bool

    @functools.cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """Two where only a blank is between two places: which of its blanks it was is not known."""
        short = self._pattern("(.*?)")
        return (short, self._pattern("(.*)")) if "} {" in self.template else (short,)

    def _pattern(self, place: str) -> re.Pattern[str]:
        parts = [
            re.escape(text) + ("" if name is None else place)
            for text, name, _, _ in string.Formatter().parse(self.template)
        ]
        # A part of a sentence is sometimes all of it.
        stop = r"(?P<stop>\.?)" if self.template[-1] not in ".!?}" else "(?P<stop>)"
        return re.compile("".join(parts) + stop, re.DOTALL)


@dataclass(frozen=True)
class _Found:
    """A translation."""

    text: str
    covered: int
    """Letters of the English that templates know: of two that match, the one that knows more is right."""


@dataclass
class _Work:
    """What is known already of a sentence's parts, while it is translated."""

    known: dict[tuple[str, int], _Found | None] = field(default_factory=dict)

    @property
    def is_too_much(self) -> bool:
        return len(self.known) >= MOST_LOOKS


def _entry(template: str, translation: str) -> _Entry:
    texts = [text for text, _, _, _ in string.Formatter().parse(template)]
    words = {word.lower() for text in texts for word in WORDS.findall(text)}
    return _Entry(template, translation, max(texts, key=len), sum(map(len, texts)), words <= WEAK)


class Sentences:
    """Translates by a language's ``templates``; what none of them fits stays English.

    Called with a sentence it returns the language's. Several sentences in a row are translated one by one, and so
    is a value that is a sentence or a part of one itself, such as the reason at the end of an error.
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        grammar = {key: templates.get(key, key) for key in GRAMMAR}
        self._between, self._stop = grammar[BETWEEN], grammar[STOP]
        self._entries = [_entry(key, text) for key, text in templates.items() if key not in GRAMMAR]
        # A server works for many pages and days, and the sentences of a running job come again and again.
        self._translated = functools.lru_cache(REMEMBERED)(self._whole)

    def __call__(self, english: str) -> str:
        """The sentence, or sentences, in the language."""
        if not self._entries or not english or len(english) > LONGEST:
            return english
        return self._translated(english)

    def _whole(self, english: str) -> str:
        if counted := COUNT.fullmatch(english):
            return self._whole(counted[1]) + counted[2]
        work = _Work()
        if (found := self._known(english, 0, work)) is not None:
            return found.text
        # At least those of several sentences that are known.
        pieces = [self._known(piece, 0, work) or piece for piece in BREAK.split(english)]
        return " ".join(piece if isinstance(piece, str) else piece.text for piece in pieces)

    def _known(self, text: str, depth: int, work: _Work) -> _Found | None:
        """The translation, or None where no template fits."""
        text = text.strip() if depth else text
        if depth > DEEPEST or work.is_too_much:
            return None
        if (text, depth) not in work.known:
            work.known[text, depth] = None  # counted before its parts are
            work.known[text, depth] = self._looked_for(text, depth, work)
        return work.known[text, depth]

    def _looked_for(self, text: str, depth: int, work: _Work) -> _Found | None:
        sure, loose = [*self._listed(text, depth, work), *self._remarked(text, depth, work)], list[_Found]()
        for entry, match in self._matches(text):
            values = [self._known(value, depth + 1, work) for value in match.groups()[:-1]]
            if entry.is_weak and not any(values[1:]):
                continue
            # A template reaches over several sentences only if they are not known one by one.
            is_loose = any(
                known is None and BREAK.search(value)
                for known, value in zip(values, match.groups(), strict=False)
            )
            (loose if is_loose else sure).append(self._filled(entry, match, values))
        found = sure or self._one_by_one(text, depth, work) or loose or self._part(text, depth, work)
        return max(found, key=lambda one: one.covered, default=None)

    def _listed(self, text: str, depth: int, work: _Work) -> list[_Found]:
        """A value that lists several parts, such as what is wrong with each weight."""
        between = next((each for each in LISTS if depth and each in text), None)
        parts = (
            [] if between is None else [self._known(part, depth + 1, work) for part in text.split(between)]
        )
        known = [part for part in parts if part is not None]
        if between is None or len(known) < len(parts):
            return []
        return [_Found(between.join(part.text for part in known), sum(part.covered for part in known))]

    def _remarked(self, text: str, depth: int, work: _Work) -> list[_Found]:
        """A value with a remark, such as ``song.wav (not recognised)``."""
        if not depth or not (remarked := REMARK.fullmatch(text)):
            return []
        found = self._known(remarked[2], depth + 1, work)
        return [] if found is None else [_Found(f"{remarked[1]} ({found.text})", found.covered)]

    def _matches(self, text: str) -> Iterator[tuple[_Entry, re.Match[str]]]:
        for entry in self._entries:
            if entry.anchor in text:
                for pattern in entry.patterns:
                    if match := pattern.fullmatch(text):
                        yield entry, match

    def _filled(self, entry: _Entry, match: re.Match[str], known: Sequence[_Found | None]) -> _Found:
        values = [
            value if one is None else one.text for one, value in zip(known, match.groups(), strict=False)
        ]
        text = entry.translation.format(*values)
        covered = entry.weight + sum(one.covered for one in known if one is not None)
        return _Found(self._stop.format(text) if match["stop"] else text, covered)

    def _one_by_one(self, text: str, depth: int, work: _Work) -> list[_Found]:
        for gap in BREAK.finditer(text):
            first = self._known(text[: gap.start()], depth + 1, work)
            if first is not None and (rest := self._known(text[gap.end() :], depth + 1, work)) is not None:
                return [_Found(self._between.format(first.text, rest.text), first.covered + rest.covered)]
        return []

    def _part(self, text: str, depth: int, work: _Work) -> list[_Found]:
        """A part such as ``is damaged``, which has a subject in its template."""
        if depth == 0 or not text[:1].islower() or text.startswith(NO_SUBJECT):
            return []
        found = self._known(f"{NO_SUBJECT} {text}", DEEPEST, work)
        return [] if found is None else [_Found(found.text.replace(NO_SUBJECT, "").strip(), found.covered)]
