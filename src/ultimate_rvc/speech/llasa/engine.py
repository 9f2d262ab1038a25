"""The engine LLASA: reads in a voice of its own, in an adapter's, or like the person of a recording."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.audio.pace import change_pace
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.llasa.codec import Codec
from ultimate_rvc.speech.llasa.cutting import expected_codes, halves, pieces
from ultimate_rvc.speech.llasa.folders import (
    FolderKind,
    Reader,
    find_codec,
    find_reader,
    named_folders,
    named_recordings,
    transcript_path,
)
from ultimate_rvc.speech.llasa.generation import Generator
from ultimate_rvc.speech.llasa.loading import LanguageModel, load_language_model
from ultimate_rvc.speech.llasa.prompt import CodeArray, Reference, prompt_tokens
from ultimate_rvc.speech.llasa.settings import LlasaSettings
from ultimate_rvc.speech.recall import stamp

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

LANGUAGES = "en, zh"
DESCRIPTIONS = {FolderKind.MODEL: "model; the seed decides the voice", FolderKind.ADAPTER: "adapter"}
LONGEST_REFERENCE_SECONDS = 20  # half of the context; published examples use 15 at most
LONGEST_TRANSCRIPT = 2000  # characters
SHORTEST_CUT = 40  # characters: what did not come to an end and is shorter was not too long, but rambled
GAP_SECONDS, EDGE_SECONDS = 0.1, 0.005  # between pieces, and faded at their ends
# A model alone speaks as somebody else each time. So it says this first, and the rest in that voice.
INTRODUCTION = "The sun rose slowly over the quiet hills, and the birds began to sing."
MOST_INTRODUCTION_CODES = 500


class Engine:
    """A speaker is a model's or adapter's name, a recording's name, or the path of one of these."""

    def __init__(self, settings: LlasaSettings | None = None) -> None:
        self._settings = LlasaSettings.from_env() if settings is None else settings

    def speakers(self) -> tuple[Speaker, ...]:
        named = [(path.name, about) for kind, about in DESCRIPTIONS.items() for path in named_folders(kind)]
        named += [(path.name, "recording") for path in named_recordings()]
        if (usual := self._settings.model) is not None:
            named = [(usual, "asked for"), *(each for each in named if each[0] != usual)]
        return tuple(Speaker(name, LANGUAGES, about) for name, about in named)

    def takes(self, speaker: str) -> bool:
        """Whether ``speaker`` is a path of something that is there."""
        return Path(speaker).expanduser().exists()

    def clones(self, speaker: str) -> bool:
        """As :meth:`Clones.clones`."""
        return _recording(speaker) is not None

    def identity(self, speaker: str) -> dict[str, object]:
        """As :meth:`Recallable.identity`."""
        reader, recording = self._reader_and_recording(speaker)
        read = [reader.model, reader.adapter, find_codec(self._settings.codec)]
        read += [recording, transcript_path(recording)] if recording is not None else []
        return {
            "engine": "llasa",
            "files": stamp(path for path in read if path is not None),
            "settings": {name: str(value) for name, value in asdict(self._settings).items()},
            "device": str(resolve_device(self._settings.device)),
        }

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        reader, recording = self._reader_and_recording(speaker)
        voice = _loaded(reader, find_codec(self._settings.codec), self._settings)
        waveform = voice.read(text, recording, seed)
        return change_pace(waveform, voice.sample_rate, rate), voice.sample_rate

    def _reader_and_recording(self, speaker: str | None) -> tuple[Reader, Path | None]:
        recording = _recording(speaker)
        named = self._settings.model if recording is not None else speaker or self._settings.model
        return find_reader(named), recording


class Voice:
    """Model and codec in memory, and the references that they were given."""

    def __init__(self, reader: Reader, codec: Path, settings: LlasaSettings) -> None:
        device = resolve_device(settings.device)
        self._is_adapted = reader.adapter is not None
        self._model: LanguageModel = load_language_model(
            reader, device, settings.precision, spread=settings.spread
        )
        self._codec = Codec(codec, device)
        self._generator = Generator(self._model, settings)
        self._references: dict[tuple[object, ...], Reference | None] = {}

    @property
    def sample_rate(self) -> int:
        """Of the speech, in Hz."""
        return self._codec.sample_rate

    def read(self, text: str, recording: Path | None, seed: int) -> FloatArray:
        """``text`` as speech ``(samples,)``, like the person of ``recording`` where there is one.

        Raises
        ------
        SpeechError
            The recording is too long or has no words beside it, or text and recording leave no room.
        """
        reference = self._reference(recording, seed)

        def fits(part: str) -> bool:
            prompt = prompt_tokens(self._model.tokenizer, self._model.vocabulary, part, reference)
            return len(prompt) + expected_codes(part) <= self._generator.context

        parts = [codes for part in pieces(text.strip(), fits) for codes in self._codes(part, reference, seed)]
        return _joined([self._codec.decode(codes) for codes in parts if codes.size], self.sample_rate)

    def _codes(self, text: str, reference: Reference | None, seed: int) -> list[CodeArray]:
        """The codes of a text; those of its halves where it did not come to its end."""
        prompt = prompt_tokens(self._model.tokenizer, self._model.vocabulary, text, reference)
        spoken = self._generator.speak(prompt, seed)
        if spoken.is_complete:
            return [spoken.codes]
        if len(text) < SHORTEST_CUT:
            log.warning(
                "LLASA did not come to an end with %r, which may be cut off; another seed may help.", text
            )
            return [spoken.codes]
        return [codes for half in halves(text) for codes in self._codes(half, reference, seed)]

    def _reference(self, recording: Path | None, seed: int) -> Reference | None:
        """What the voice is heard in: the recording, or what the model says first; an adapter has its own voice."""
        if recording is None and self._is_adapted:
            return None
        key = ("seed", seed) if recording is None else ("file", recording, recording.stat().st_mtime_ns)
        if key not in self._references:
            self._references[key] = self._introduction(seed) if recording is None else self._heard(recording)
        return self._references[key]

    def _introduction(self, seed: int) -> Reference | None:
        prompt = prompt_tokens(self._model.tokenizer, self._model.vocabulary, INTRODUCTION, None)
        spoken = self._generator.speak(prompt, seed, MOST_INTRODUCTION_CODES)
        if spoken.is_complete and spoken.codes.size:
            return Reference(INTRODUCTION, spoken.codes)
        log.warning(
            "LLASA found no voice with seed %d, so each passage has its own; another seed may help.", seed
        )
        return None

    def _heard(self, recording: Path) -> Reference:
        words = transcript_path(recording)
        try:
            text = words.read_text("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SpeechError(
                f"The words of the recording {recording} are needed beside it, as text in UTF-8: {words.name}."
            ) from error
        if not 0 < len(text) <= LONGEST_TRANSCRIPT:
            raise SpeechError(
                f"{words} has {len(text)} characters, but the words of a few sentences are needed."
            )
        seconds = probe(recording).duration_seconds
        if seconds > LONGEST_REFERENCE_SECONDS:
            raise SpeechError(
                f"The recording {recording} has {seconds:.0f} s, and at most {LONGEST_REFERENCE_SECONDS} s leave "
                f"room for speech: cut it, and its words in {words.name}."
            )
        (codes,) = self._codec.encode([decode_mono(recording, self.sample_rate)])
        return Reference(text, codes)


@lru_cache(maxsize=1)  # one model fills a device; passages of one text need it again
def _loaded(reader: Reader, codec: Path, settings: LlasaSettings) -> Voice:
    return Voice(reader, codec, settings)


def _recording(speaker: str | None) -> Path | None:
    """The recording that a speaker is, by its name or path; None where it is a folder."""
    if speaker is None:
        return None
    named = next((path for path in named_recordings() if path.name == speaker), None)
    path = Path(speaker).expanduser()
    return named or (path.absolute() if path.is_file() else None)


def _joined(waveforms: list[FloatArray], sample_rate: int) -> FloatArray:
    """Pieces one after the other, a short silence between them, without clicks."""
    gap = np.zeros(round(GAP_SECONDS * sample_rate), np.float32)
    joined: list[FloatArray] = []
    for waveform in waveforms:
        edge = min(round(EDGE_SECONDS * sample_rate), len(waveform) // 2)
        ramp = np.linspace(0, 1, edge, dtype=np.float32)
        faded = waveform.copy()
        faded[:edge] *= ramp
        faded[len(faded) - edge :] *= ramp[::-1]
        joined += [gap, faded] if joined else [faded]
    return np.concatenate(joined) if joined else np.zeros(0, np.float32)
