"""The engine of the system: macOS' say, espeak-ng and flite, run as programs of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.engines import SYSTEM_PROGRAMS, Speaker

FloatArray = NDArray[np.float32]

PATIENCE_SECONDS = 120  # for one passage
WORDS_A_MINUTE = 175  # the usual pace of say and espeak-ng
FLITE_LANGUAGE = "en-US"


class Engine:
    """A speaker is ``program:voice``, such as ``espeak-ng:de`` or ``say:Alex``."""

    def speakers(self) -> tuple[Speaker, ...]:
        return _speakers()

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        program, _, voice = (speaker or self.speakers()[0].name).partition(":")
        with tempfile.TemporaryDirectory(prefix="urvc-") as folder:
            # The text goes by a file: a passage that begins with a dash is no option.
            words, sound = (
                Path(folder, "text.txt"),
                Path(folder, "speech.aiff" if program == "say" else "speech.wav"),
            )
            words.write_text(text, encoding="utf-8")
            pace = str(round(WORDS_A_MINUTE * rate))
            commands = {
                "say": ["say", "-v", voice, "-r", pace, "-f", str(words), "-o", str(sound)],
                "espeak-ng": ["espeak-ng", "-v", voice, "-s", pace, "-f", str(words), "-w", str(sound)],
                "flite": [
                    "flite", "-voice", voice, "--setf", f"duration_stretch={1 / rate:.3f}", "-f", str(words),
                    "-o", str(sound),
                ],
            }  # fmt: skip
            _run(commands[program])
            if not sound.is_file() or sound.stat().st_size <= 44:  # a header alone
                return np.zeros(0, np.float32), 22_050
            sample_rate = probe(sound).sample_rate
            return decode_mono(sound, sample_rate), sample_rate


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpeechError(f"The program {command[0]} could not be run: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SpeechError(f"The program {command[0]} failed: {said[-1] if said else done.returncode}.")
    return done.stdout


@cache
def _speakers() -> tuple[Speaker, ...]:
    found: list[Speaker] = []
    readers = {"say": _say_speakers, "espeak-ng": _espeak_speakers, "flite": _flite_speakers}
    for program in SYSTEM_PROGRAMS:
        if shutil.which(program) is not None:
            found += readers[program]()
    return tuple(found)


def _say_speakers() -> list[Speaker]:
    """Lines such as ``Alex                en_US    # Most people recognize me by my voice.``"""
    lines = re.findall(r"^(.+?)\s{2,}(\w+)\s+#", _run(["say", "-v", "?"]), re.MULTILINE)
    return [Speaker(f"say:{name}", language.replace("_", "-"), name) for name, language in lines]


def _espeak_speakers() -> list[Speaker]:
    """Columns: priority, language, age and gender, name, file; English first, as no passage says its language."""
    rows = [line.split() for line in _run(["espeak-ng", "--voices"]).splitlines()[1:]]
    speakers = {
        row[1]: Speaker(f"espeak-ng:{row[1]}", row[1], row[3].replace("_", " "))
        for row in rows
        if len(row) > 3
    }
    return sorted(
        speakers.values(), key=lambda speaker: (not speaker.language.startswith("en-us"), speaker.name)
    )


def _flite_speakers() -> list[Speaker]:
    names = _run(["flite", "-lv"]).partition(":")[2].split()
    return [Speaker(f"flite:{name}", FLITE_LANGUAGE, name) for name in names]
