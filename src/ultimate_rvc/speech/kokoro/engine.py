"""The engine Kokoro: English at 24 kHz, by hibari's phonemes, which are those that Kokoro was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import SpeechError, first_line
from ultimate_rvc.onnx_session import CPU_PROVIDER, open_session
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.kokoro import files
from ultimate_rvc.speech.kokoro.files import Voice
from ultimate_rvc.speech.silence import without_silent_ends

FloatArray = NDArray[np.float32]

SAMPLE_RATE = 24_000  # Hz
MOST_PHONEMES = 510  # the context holds 512: one 0 stands at each end
MARKS = ",;:.!?—…"
GAP_SECONDS = 0.1  # between pieces of a text with more phonemes


class Engine:
    """A speaker is a voice's name, such as ``af_heart``; the same text gives the same samples with any seed."""

    def speakers(self) -> tuple[Speaker, ...]:
        return tuple(
            Speaker(voice.name, voice.language, voice.path.name)
            for voice in files.voices().values()
            if voice.is_english
        )

    def takes(self, speaker: str) -> bool:
        """Whether there is a voice of that name.

        Raises :class:`SpeechError` where it speaks another language.
        """
        voice = files.voices().get(speaker)
        if voice is None or voice.is_english:
            return voice is not None
        raise SpeechError(
            f"speaker '{speaker}' speaks another language ({voice.language}), and the engine 'kokoro' reads English: "
            "choose one whose name begins with a or b.",
            "speaker",
        )

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        voice = self._voice(speaker)
        phonemes = phonemes_by(voice.language == files.BRITISH)(text)
        styles = files.styles(voice)
        gap = np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)
        said: list[FloatArray] = []
        for tokens in pieces(phonemes):
            waveform = without_silent_ends(_spoken(tokens, styles, rate), SAMPLE_RATE)
            said += [gap, waveform] if said else [waveform]
        return np.concatenate(said) if said else np.zeros(0, np.float32), SAMPLE_RATE

    def _voice(self, speaker: str | None) -> Voice:
        """The voice of that name, or the usual one.

        Raises
        ------
        SpeechError
            There is none, or it speaks another language.
        """
        voices = files.voices()
        name = speaker or next((name for name, voice in voices.items() if voice.is_english), None)
        if name is None:
            raise SpeechError(f"There is no English voice of Kokoro: {files.WAY_OUT}.")
        if not self.takes(name):
            raise SpeechError(f"speaker '{name}' is not in {files.kokoro_dir()}.", "speaker")
        return voices[name]


def pieces(phonemes: str) -> Iterator[list[int]]:
    """The tokens of a text, at most 510 at once: cut after the last mark within, else at a space, else anywhere."""
    known = vocabulary()
    left = "".join(character for character in phonemes if character in known).strip()
    while len(left) > MOST_PHONEMES:
        within = left[:MOST_PHONEMES]
        end = max(within.rfind(mark) for mark in MARKS) + 1 or within.rfind(" ") + 1 or MOST_PHONEMES
        yield [known[character] for character in left[:end].strip()]
        left = left[end:].strip()
    if left:
        yield [known[character] for character in left]


def _spoken(tokens: list[int], styles: FloatArray, rate: float) -> FloatArray:
    # As Kokoro's own pipeline takes the style: the first row is that of one phoneme.
    given = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": styles[len(tokens) - 1],
        "speed": np.array([rate], np.float32),
    }
    return np.asarray(_session(files.NETWORK_SHA256).run(None, given)[0], np.float32).ravel()


@lru_cache(maxsize=1)
def _session(sha256: str) -> Any:
    """The network of that content; loading it takes a second or two."""
    content = files.network_bytes()
    try:
        return open_session(content, [CPU_PROVIDER])
    except Exception as error:  # onnxruntime's own have no common class
        raise SpeechError(f"onnxruntime cannot load the network of Kokoro: {first_line(error)}") from error


@cache
def phonemes_by(british: bool) -> Any:
    """What turns English, British or American, into phonemes."""
    from hibari.g2p import G2P

    return G2P(british=british)


@cache
def vocabulary() -> dict[str, int]:
    """A number for each phoneme: hibari, which was distilled from Kokoro, has Kokoro's."""
    from hibari.tts import ASSETS

    known: dict[str, int] = json.loads(Path(ASSETS, "vocab.json").read_text("utf-8"))
    return known
