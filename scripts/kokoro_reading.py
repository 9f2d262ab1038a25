"""Kokoro's voices as readers: the sound of a sentence, and when each of its phones is said.

``urvc generate speech --engine kokoro`` reads with the same network and the same phonemes. A song needs more than
its sound: the network rounds a length for each phoneme to whole frames, and :func:`_session` lets that out as a
second result. Nothing has to be aligned.

A reading is kept below ``URVC_KOKORO_READINGS`` (a folder; nothing is kept where it is not set) under a name made
from all that it depends on, so the starter voices, which learn from the same other readers, share it.

Needs hibari-tts, onnx, the network (the extra ``kokoro``), and the voices in ``models/speech/kokoro``
(docs/speech.md says where they are).
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from make_demo_songs import Phone, Signal

from ultimate_rvc.speech.kokoro import files
from ultimate_rvc.speech.kokoro.engine import SAMPLE_RATE, phonemes_by, pieces, vocabulary

# Chosen by kokoro_choice.py.
WOMAN, MAN = "af_nova", "am_echo"
# The quality bench converts these; nothing in a training may read them.
HELD_OUT = ("af_sarah", "am_puck")

READINGS_VARIABLE = "URVC_KOKORO_READINGS"
EDITION = 1  # of kept readings; counted up whenever the same request would give other sound

LENGTHS = "/encoder/Clip_output_0"  # frames of each phoneme, before the network repeats its features so often
FRAME_SECONDS = 600 / SAMPLE_RATE
# The sound is ahead of the lengths: so much earlier, phones and WORLD's voicing agree best (six sentences by two
# voices).
AHEAD_SECONDS = 1.5 * FRAME_SECONDS
PAUSE_MARKS = frozenset(';:,.!?—…"()“”')
STRESS_MARKS = frozenset("ˈˌ")
LONG_MARK = "ː"  # noqa: RUF001 - as the network writes
PHONES = {  # as Festival and flite call them, whose vowels the songs ask for
    "A": "ey", "I": "ay", "W": "aw", "O": "ow", "Q": "ow", "Y": "oy",
    "æ": "ae", "a": "ae", "ɑ": "aa", "ɒ": "ao", "ɔ": "ao", "ə": "ax", "ᵊ": "ax", "ɐ": "ah", "ʌ": "ah",  # noqa: RUF001
    "ɛ": "eh", "e": "eh", "ɜ": "er", "ɚ": "axr", "ɪ": "ih", "ᵻ": "ih", "i": "iy", "ʊ": "uh", "u": "uw",  # noqa: RUF001
    "ɹ": "r", "j": "y", "ŋ": "ng", "θ": "th", "ð": "dh", "ʃ": "sh", "ʒ": "zh", "ʧ": "ch", "ʤ": "jh", "ɡ": "g",  # noqa: RUF001
    "ɾ": "dx", "T": "dx", "ʔ": "t",  # noqa: RUF001
}  # fmt: skip


def read(sentence: str, voice: str, rate: float = 1.0) -> tuple[Signal, int, list[Phone]]:
    """The sentence by a voice such as ``af_heart``, ``rate`` times as fast: sound, sample rate and phones."""
    tokens = tokens_of(sentence, british=voice.startswith("b"))
    speech, lengths = _spoken(tokens, voice, rate)
    return speech, SAMPLE_RATE, phones_of([_characters()[token] for token in tokens], lengths)


def tokens_of(sentence: str, *, british: bool) -> list[int]:
    """The numbers of the sentence's phonemes."""
    (tokens,) = pieces(phonemes_by(british)(sentence))
    return tokens


def phones_of(characters: list[str], lengths: list[int]) -> list[Phone]:
    """Phones with their seconds; ``lengths`` are frames, with one more at each end than there are characters.

    A stress mark belongs to the vowel that follows it, a length mark to the one before it. A space within a phrase
    is no pause: its frames go half to the phone before it and half to the one after. After a mark it is one.
    """
    ends = np.maximum(np.cumsum(lengths) * FRAME_SECONDS - AHEAD_SECONDS, 0.0)
    phones = [Phone("pau", 0.0, float(ends[0]))]
    start, pausing = float(ends[0]), True
    for character, before, end in zip(characters, ends[:-2], ends[1:-1], strict=True):
        if character in PAUSE_MARKS or (character == " " and pausing):
            phones.append(Phone("pau", start, float(end)))
            start, pausing = float(end), True
        elif character == " ":
            start = (float(before) + float(end)) / 2
            phones[-1] = Phone(phones[-1].name, phones[-1].start, start)
        elif character == LONG_MARK and not pausing:
            start = float(end)
            phones[-1] = Phone(phones[-1].name, phones[-1].start, start)
        elif character not in STRESS_MARKS:  # their frames are left to the phone that comes now
            phones.append(Phone(PHONES.get(character, character), start, float(end)))
            start, pausing = float(end), False
    phones.append(Phone("pau", start, float(ends[-1]) + AHEAD_SECONDS))
    return phones


def _spoken(tokens: list[int], voice: str, rate: float) -> tuple[Signal, list[int]]:
    """Sound at 24 kHz and frames of each phoneme, read or as they were kept."""
    folder = os.environ.get(READINGS_VARIABLE)
    if not folder:
        return _read(tokens, voice, rate)
    styles = hashlib.sha256(files.styles(files.voices()[voice]).tobytes()).hexdigest()
    asked = json.dumps([EDITION, files.NETWORK_SHA256, styles, round(rate, 4), tokens])
    path = Path(folder) / voice / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.npz"
    if not path.is_file():
        speech, lengths = _read(tokens, voice, rate)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.stem}.{os.getpid()}.part")  # two processes may read the same
        with unfinished.open("wb") as file:
            np.savez(file, speech=np.round(speech * 32767).astype(np.int16), lengths=np.array(lengths))
        unfinished.replace(path)
    with np.load(path) as kept:
        return kept["speech"] / 32767, kept["lengths"].tolist()


def _read(tokens: list[int], voice: str, rate: float) -> tuple[Signal, list[int]]:
    given = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": files.styles(files.voices()[voice])[len(tokens) - 1],
        "speed": np.array([rate], np.float32),
    }
    speech, lengths = _session().run(None, given)
    return np.clip(np.asarray(speech, np.float64).ravel(), -1, 1), lengths.ravel().astype(int).tolist()


@cache
def _session() -> Any:
    """The network with the lengths of phonemes as a second result, on one thread: readings run side by side."""
    import onnx
    import onnxruntime

    network = onnx.load_from_string(files.network_bytes())
    network.graph.output.append(onnx.helper.make_tensor_value_info(LENGTHS, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        network.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@cache
def _characters() -> dict[int, str]:
    return {number: character for character, number in vocabulary().items()}
