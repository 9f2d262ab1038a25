"""Kokoro's voices on the quality bench: as the target of a voice that learnt from one, and as held-out sources.

They read and sing as they do for the starter voices' material, by the scripts that make it. What they need is said
in ``scripts/kokoro_reading.py``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from ultimate_rvc.errors import AssetMissingError, SettingError
from ultimate_rvc.speech.kokoro import files

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
LOUDEST = 0.7
# Whose pitch is searched as the singer's is, and where songs lie (MIDI), for a man and for a woman.
MAN, WOMAN = ("peter", 50), ("anna", 62)
STYLES = ("melody", "glide", "melody", "held")
NOTES = 9  # within which songs begin


def held_out() -> tuple[str, ...]:
    """The voices that nothing in a training hears."""
    return tuple(_script("kokoro_reading").HELD_OUT)


def version() -> str:
    """What a reading depends on, besides voice and text."""
    return f"{files.NETWORK_SHA256[:16]} {_script('kokoro_reading').EDITION}"


def speak(text: str, voice: str, slowness: float, target: Path) -> None:
    """Write ``text``, spoken ``slowness`` times as long as usual, to the wav file ``target``."""
    _check(voice)
    speech, rate, _ = _script("kokoro_reading").read(text, voice, 1 / slowness)
    soundfile.write(target, speech, rate, subtype="FLOAT")


def sing(text: str, voice: str, number: int, target: Path) -> None:
    """Write ``text``, sung on melody ``number``, to the wav file ``target``."""
    _check(voice)
    material = _script("make_starter_material")
    speech, rate, phones = _script("kokoro_reading").read(text, voice)
    alike, centre = MAN if voice[1] == "m" else WOMAN
    recipe = material.Recipe(
        "sung.wav",
        "sung",
        text,
        style=STYLES[number % len(STYLES)],
        centre_note=centre + 5 * number % NOTES,
        seed=(9, 9, number),
    )
    sung = material.sing_recipe(recipe, speech, rate, phones, material.READERS[alike])
    soundfile.write(target, LOUDEST / np.abs(sung).max() * sung, rate, subtype="FLOAT")


def _check(voice: str) -> None:
    if not files.is_here():
        raise AssetMissingError(f"The quality bench needs Kokoro for the voice {voice}: {files.WAY_OUT}.")
    if voice not in files.voices():
        raise SettingError(f"Kokoro has no voice {voice} here; choose from {', '.join(files.voices())}.")


def _script(name: str) -> ModuleType:
    if str(SCRIPTS) not in sys.path:  # scripts import each other
        sys.path.append(str(SCRIPTS))
    return importlib.import_module(name)
