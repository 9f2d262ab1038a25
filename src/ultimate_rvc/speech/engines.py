"""The engines that read text aloud: what each can do, and how one is opened.

An engine is a module of this room with a class that fulfils :class:`SpeechEngine`. Nothing is imported before an
engine is asked for, so the list costs nothing.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.kokoro import files as kokoro_files
from ultimate_rvc.speech.llasa import folders
from ultimate_rvc.speech.mockingbird.folder import model_folders

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Speaker:
    """Somebody who can read: the name to choose it by, the language that it reads."""

    name: str
    language: str
    description: str


class SpeechEngine(Protocol):
    """What every engine offers."""

    def speakers(self) -> tuple[Speaker, ...]:
        """Who can read, the usual one first."""

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        """One passage read aloud: ``(samples,)`` and their rate in Hz; ``rate`` 2 is twice as fast.

        ``speaker`` left out is the usual one. The same seed gives the same samples. Text without anything that can be
        read gives no samples.
        """


@runtime_checkable
class TakesOthers(Protocol):
    """An engine whose speakers are not all listed: recordings, or voices that it has but cannot use."""

    def takes(self, speaker: str) -> bool:
        """Whether it reads as ``speaker``, such as the path of a recording; a SpeechError says why it cannot."""


@dataclass(frozen=True)
class EngineInfo:
    """What is known of an engine before it is opened."""

    name: SpeechEngineName
    engine: str
    """``module:class``, imported when it is opened."""
    description: str
    licence: str
    is_here: Callable[[], bool]
    way_out: str
    """How to get it where it is not here."""
    needs_network: bool = False
    """Whether the text leaves this machine: then nothing chooses it but the user."""


SYSTEM_PROGRAMS = ("say", "espeak-ng", "flite")

ENGINES: Mapping[SpeechEngineName, EngineInfo] = {
    info.name: info
    for info in (
        EngineInfo(
            SpeechEngineName.HIBARI, "ultimate_rvc.speech.hibari:Engine",
            "English, natural, offline, no download",
            "Apache-2.0",
            lambda: importlib.util.find_spec("hibari") is not None,
            "install the package hibari-tts",
        ),
        EngineInfo(
            SpeechEngineName.SYSTEM, "ultimate_rvc.speech.system:Engine",
            "the system's own voices: say on macOS, espeak-ng or flite where installed; many languages",
            "that of the program",
            lambda: any(shutil.which(program) for program in SYSTEM_PROGRAMS),
            "install espeak-ng or flite by the system's package manager",
        ),
        EngineInfo(
            SpeechEngineName.LLASA, "ultimate_rvc.speech.llasa.engine:Engine",
            "a language model that speaks, and reads like the person of a recording; English, Chinese",
            folders.LICENCE,
            folders.is_here,
            folders.WAY_OUT,
        ),
        EngineInfo(
            SpeechEngineName.MOCKINGBIRD, "ultimate_rvc.speech.mockingbird.engine:Engine",
            "Chinese in the voice of a recording, offline, by your own MockingBird checkpoints",
            "that of the checkpoints",
            lambda: importlib.util.find_spec("pypinyin") is not None and bool(model_folders()),
            "install the extra mockingbird (the package pypinyin), and put the checkpoints of a model into a folder "
            "in models/speech/mockingbird",
        ),
        EngineInfo(
            SpeechEngineName.KOKORO, "ultimate_rvc.speech.kokoro.engine:Engine",
            "English, 28 voices of women and men, American and British, offline",
            "Apache-2.0",
            kokoro_files.is_here,
            kokoro_files.WAY_OUT,
        ),
        EngineInfo(
            SpeechEngineName.EDGE, "ultimate_rvc.speech.edge:Engine",
            "hundreds of voices in 70 languages and more, over the network: the text goes to Microsoft",
            "LGPL-3.0 (edge-tts); the service has Microsoft's terms",
            lambda: importlib.util.find_spec("edge_tts") is not None,
            "install the package edge-tts, which the extra 'edge' names",
            needs_network=True,
        ),
    )
}  # fmt: skip


def checked_engine(name: SpeechEngineName) -> EngineInfo:
    """What is known of an engine that is here; ``auto`` is the first of :data:`ENGINES` that is, and that
    needs no network.

    Raises
    ------
    SpeechError
        It is not here; the sentence says how to get it.
    """
    if name is SpeechEngineName.AUTO:
        offline = (info for info in ENGINES.values() if not info.needs_network)
        name = next((info.name for info in offline if info.is_here()), SpeechEngineName.HIBARI)
    info = ENGINES[name]
    if not info.is_here():
        raise SpeechError(f"The speech engine '{info.name}' is not here: {info.way_out}.")
    return info


def open_engine(name: SpeechEngineName) -> SpeechEngine:
    """Open an engine, as :func:`checked_engine` finds it."""
    module, _, kind = checked_engine(name).engine.partition(":")
    engine: SpeechEngine = getattr(import_module(module), kind)()
    return engine


def find_speaker(engine: SpeechEngine, name: str | None) -> Speaker:
    """The speaker of that name, or the usual one; some engines also read like a recording.

    Raises
    ------
    SpeechError
        The engine has no such speaker; the sentence names some that it has, or says why this one cannot read.
    """
    known = engine.speakers()
    if name is None:
        return known[0]
    if (found := next((each for each in known if each.name == name), None)) is not None:
        return found
    if isinstance(engine, TakesOthers) and engine.takes(name):
        return Speaker(name, known[0].language if known else "", "a file of yours")
    names = [each.name for each in known]
    shown = ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
    raise SpeechError(f"speaker '{name}' is unknown; choose from {shown}.", "speaker")
