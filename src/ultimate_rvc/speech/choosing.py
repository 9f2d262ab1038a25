"""Which engine and which of its speakers reads, by what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.engines import ENGINES, Speaker, SpeechEngine, find_speaker, open_engine

OTHER_CODES = {"zh": "cmn", "nb": "no"}  # as espeak-ng calls them


@dataclass(frozen=True)
class Cast:
    """An engine and who reads unless the text asks for another speaker."""

    engine: SpeechEngine
    speaker: Speaker

    def speaker_named(self, name: str | None) -> Speaker:
        """Who a text names; the usual one without a name.

        Raises
        ------
        SpeechError
            The engine has no such speaker, or it is a file: texts come from anywhere, and open none.
        """
        if name is None or name == self.speaker.name:
            return self.speaker
        found = find_speaker(self.engine, name)
        if found not in self.engine.speakers():
            raise SpeechError(
                f"speaker '{name}' is a file, and a text may only name speakers that `urvc speech voices` lists."
            )
        return found


def choose(name: SpeechEngineName, speaker: str | None, language: str | None) -> Cast:
    """The engine of that name with the speaker, or the first speaker of the language.

    ``auto`` is the first engine that has them.

    Raises
    ------
    SpeechError
        The engine is not here, or nobody of it reads so.
    """
    if name is not SpeechEngineName.AUTO or (speaker is None and language is None):
        return _cast(open_engine(name), speaker, language)
    wrong: SpeechError | None = None
    for engine in _engines_here():
        try:
            return _cast(engine, speaker, language)
        except SpeechError as error:
            wrong = wrong or error
    raise wrong or SpeechError("No speech engine is here.", "engine")


def _engines_here() -> Iterator[SpeechEngine]:
    """Those that nobody but the user chooses are left out."""
    for name, info in ENGINES.items():
        if info.is_here() and not info.needs_network:
            yield open_engine(name)


def _cast(engine: SpeechEngine, speaker: str | None, language: str | None) -> Cast:
    if speaker is not None:
        chosen = find_speaker(engine, speaker)
        if language is not None and not speaks(chosen, language):
            raise SpeechError(
                f"speaker '{speaker}' reads {chosen.language}, not the language {language}; leave one of them out.",
                "speaker",
                "language",
            )
        return Cast(engine, chosen)
    if language is None:
        return Cast(engine, find_speaker(engine, None))
    known = engine.speakers()
    found = next((each for each in known if speaks(each, language)), None)
    if found is None:
        languages = sorted({each.language for each in known})
        shown = ", ".join(languages[:12]) + (" ..." if len(languages) > 12 else "")
        raise SpeechError(f"language {language!r} is read by nobody here; choose from {shown}.", "language")
    return Cast(engine, found)


def speaks(speaker: Speaker, language: str) -> bool:
    """Whether a speaker reads a language: ``en`` is every English, ``en-GB`` that of Britain only."""
    owns, wanted = speaker.language.lower().split(", "), language.lower().replace("_", "-")
    names = {wanted, OTHER_CODES.get(wanted.partition("-")[0], wanted)}
    return any(own == each or own.startswith(f"{each}-") for own in owns for each in names)
