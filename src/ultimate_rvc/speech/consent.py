"""Consent to read in the voice of a person: the user says once, in words, that recordings may be used so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from ultimate_rvc.errors import ConsentError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import home_dir

FILE_NAME = "consent.json"
WORDS = "I read only in my own voice, or in voices of people who have agreed to it."


@runtime_checkable
class Clones(Protocol):
    """An engine that reads like the person of a recording."""

    def clones(self, speaker: str) -> bool:
        """Whether ``speaker`` is a recording, or made from one, rather than a voice of the engine's own."""


def check_consent(engine: object, speakers: Iterable[str], *, is_given: bool) -> None:
    """Let an engine read as ``speakers``, if it imitates nobody or the user has consented.

    ``is_given`` is whether the user consents now; it is kept in the data folder, so that nobody is asked twice.

    Raises
    ------
    ConsentError
        One of the speakers is a person's voice, and the user has never consented.
    """
    if isinstance(engine, Clones) and (person := next(filter(engine.clones, speakers), None)) is not None:
        require_consent(person, is_given=is_given)


def require_consent(person: str, *, is_given: bool) -> None:
    """As :func:`check_consent`, for the recording of a person."""
    if is_given:
        _keep()
    elif not has_consented():
        raise ConsentError(
            f"'{person}' is the voice of a person, who must have agreed that it is imitated. Once you set consent, "
            f'which says "{WORDS}", you are not asked again.',
            "consent",
        )


def has_consented() -> bool:
    """Whether the user has said :data:`WORDS`; asked anew when they change."""
    try:
        kept = json.loads((home_dir() / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(kept, dict) and kept.get("words") == WORDS


def _keep() -> None:
    if has_consented():
        return
    path = home_dir() / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_text(json.dumps({"words": WORDS}, indent=2) + "\n", encoding="utf-8")
