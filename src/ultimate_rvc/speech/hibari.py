"""The engine hibari: a small network distilled from Kokoro-82M, in the package hibari-tts (Apache-2.0)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import SpeechError, first_line
from ultimate_rvc.speech.engines import Speaker

FloatArray = NDArray[np.float32]


class Engine:
    """English, 24 kHz. The voice ``heart`` comes with the package; it fetches the others when they are first used."""

    def speakers(self) -> tuple[Speaker, ...]:
        from hibari.voices import DEFAULT, VOICES

        names = [DEFAULT, *(name for name in VOICES if name != DEFAULT)]
        return tuple(
            Speaker(
                name,
                "en-GB" if VOICES[name]["british"] else "en-US",
                "in the package" if name == DEFAULT else "a download of 8 MB",
            )
            for name in names
        )

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        voice = _voice(speaker or self.speakers()[0].name)
        return np.asarray(voice(text, speed=rate, seed=seed), np.float32), int(voice.sample_rate)


@cache
def _voice(name: str) -> Any:
    from hibari import Hibari

    from ultimate_rvc.assets.registry import OFFLINE_VARIABLE, is_offline

    if is_offline() and name != Engine().speakers()[0].name:
        raise SpeechError(
            f"The speaker '{name}' may have to be downloaded, and {OFFLINE_VARIABLE} forbids that: unset it, or "
            "use the usual speaker."
        )
    try:
        return Hibari(voice=name)
    except (OSError, RuntimeError) as error:  # the disk's, and hibari's own of a download
        raise SpeechError(f"The speaker '{name}' could not be fetched: {first_line(error)}") from error
