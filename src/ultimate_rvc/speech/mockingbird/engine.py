"""The engine mockingbird: a user's own MockingBird checkpoints read Chinese in the voice of a recording."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.mockingbird.embeddings import embedding_of, open_embedding_cache
from ultimate_rvc.speech.mockingbird.folder import (
    EMBEDDING_SUFFIX,
    Who,
    find_speaker,
    model_folders,
    stored_speakers,
)
from ultimate_rvc.speech.mockingbird.front_end import pieces
from ultimate_rvc.speech.mockingbird.loading import encoder_file, load_model
from ultimate_rvc.speech.mockingbird.model import MockingBirdModel
from ultimate_rvc.speech.recall import Stamp, stamp

FloatArray = NDArray[np.float32]

PIECE_PAUSE_SECONDS = 0.15  # between the pieces of a passage, as MockingBird has it
LANGUAGE = "zh-CN"


class Engine:
    """Chinese, in the sample rate of the vocoder (16 kHz usually).

    A speaker is ``model:name`` of a stored one, or the path of a recording; the pieces of a passage are read in one
    batch.
    """

    def speakers(self) -> tuple[Speaker, ...]:
        """Those stored with the models; a model that has none stands for itself, and wants a recording."""
        return tuple(
            speaker for model, folder in model_folders().items() for speaker in _speakers_of(model, folder)
        )

    def takes(self, speaker: str) -> bool:
        """Whether it can read as ``speaker``, who need not be among the :meth:`speakers`.

        Raises :class:`SpeechError` where it cannot: the sentence says why.
        """
        find_speaker(speaker)
        return True

    def clones(self, speaker: str) -> bool:
        """Always: as :meth:`Clones.clones`."""
        return True

    def identity(self, speaker: str) -> dict[str, object]:
        """As :meth:`Recallable.identity`."""
        who = find_speaker(speaker)
        return {"engine": "mockingbird", "files": stamp([who.model, who.voice])}

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        """As :meth:`SpeechEngine.synthesize`."""
        who = find_speaker(speaker or self.speakers()[0].name)
        model = _model(who.model, stamp([who.model]))
        embedding = _embedding(who, stamp([who.model, who.voice]))
        pause = np.zeros(round(PIECE_PAUSE_SECONDS * model.sample_rate), np.float32)
        waveforms = model.read(pieces(text), embedding, rate, seed)
        joined = [part for waveform in waveforms if waveform.size for part in (waveform, pause)]
        return np.concatenate(joined[:-1]) if joined else pause[:0], model.sample_rate


def _speakers_of(model: str, folder: Path) -> list[Speaker]:
    stored = stored_speakers(folder)
    if not stored:
        return [Speaker(model, LANGUAGE, "wants a recording: give its path as the speaker")]
    return [
        Speaker(f"{model}:{name}", LANGUAGE, "embedding" if path.suffix == EMBEDDING_SUFFIX else "recording")
        for name, path in stored.items()
    ]


@lru_cache(maxsize=1)  # a model takes 200 MB
def _model(folder: Path, _stamp: Stamp) -> MockingBirdModel:
    import torch

    # Apple's GPU runs small recurrent steps more slowly than its processor.
    return load_model(folder, "cuda" if torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=64)  # a text has many passages
def _embedding(who: Who, _stamp: Stamp) -> FloatArray:
    return embedding_of(who.voice, lambda: encoder_file(who.model), open_embedding_cache())
