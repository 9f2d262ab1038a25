"""A MockingBird model ready to read: synthesizer, vocoder and how they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, VocoderLayers
from ultimate_rvc.speech.mockingbird.front_end import symbols_of
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.optimization.onnx_vocoder import OnnxVocoder
from ultimate_rvc.speech.mockingbird.optimization.settings import Precision
from ultimate_rvc.speech.mockingbird.synthesizer import Synthesizer
from ultimate_rvc.speech.mockingbird.wavernn import WaveRNN

FloatArray = NDArray[np.float32]
AnyVocoder = PlainHiFiGAN | WaveRNN | OnnxVocoder

MOST_AT_ONCE = 8  # texts in one batch: more gain little on a CPU and wait for the longest


@dataclass
class MockingBirdModel:
    """Reads texts aloud in the voice of an embedding."""

    synthesizer: Synthesizer
    vocoder: AnyVocoder
    precision: Precision = Precision.FLOAT32
    layers: VocoderLayers = PLAIN_LAYERS

    @property
    def sample_rate(self) -> int:
        """Of the speech, in Hz."""
        return self.vocoder.sizes.sample_rate

    def read(self, texts: Sequence[str], embedding: FloatArray, rate: float, seed: int) -> list[FloatArray]:
        """``texts`` read aloud, each (samples,), the same as if it were read alone; empty where no symbol is known.

        ``embedding`` (width,) tells whose voice it is; ``rate`` 2 is twice as fast.
        """
        speaker = torch.from_numpy(np.asarray(embedding, np.float32))
        if len(speaker) != self.synthesizer.sizes.speaker:
            raise SpeechError(
                f"The speaker's embedding has {len(speaker)} numbers, and the MockingBird synthesizer wants "
                f"{self.synthesizer.sizes.speaker}."
            )
        symbols = [symbols_of(text, self.synthesizer.sizes.symbols) for text in texts]
        waveforms = [np.zeros(0, np.float32)] * len(symbols)
        readable = [number for number, text in enumerate(symbols) if len(text) > 1]
        for start in range(0, len(readable), MOST_AT_ONCE):
            batch = readable[start : start + MOST_AT_ONCE]
            mels = self.mels([symbols[number] for number in batch], speaker, seed)
            rendered = self.render([_at_rate(mel, rate) for mel in mels], seed)
            for number, waveform in zip(batch, rendered, strict=True):
                waveforms[number] = waveform
        return waveforms

    def mels(
        self, symbols: Sequence[Sequence[int]], speaker: Tensor, seed: int, *, frames: int | None = None
    ) -> list[Tensor]:
        """Mels (mels, frames) in the model's precision; as :meth:`Synthesizer.read`."""
        with self._autocast():
            return self.synthesizer.read(symbols, speaker, seed, frames=frames)

    @torch.inference_mode()
    def render(self, mels: Sequence[Tensor], seed: int) -> list[FloatArray]:
        """The waveform (samples,) of each mel (mels, frames)."""
        if isinstance(self.vocoder, WaveRNN):
            return [_on_host(self.vocoder.render(mel, seed)) for mel in mels]
        if isinstance(self.vocoder, OnnxVocoder):
            return [_on_host(self.vocoder(mel[None])[0, 0]) for mel in mels]
        lengths = tuple(mel.shape[1] for mel in mels)
        batch = pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2).contiguous()
        with self._autocast():
            made = self.vocoder(batch, lengths, self.layers)[:, 0]
        hop = self.vocoder.sizes.hop_length
        return [_on_host(waveform[: length * hop]) for waveform, length in zip(made, lengths, strict=True)]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision not in (Precision.BFLOAT16, Precision.FLOAT16):
            return nullcontext()
        dtype = torch.bfloat16 if self.precision is Precision.BFLOAT16 else torch.float16
        return torch.autocast(self.synthesizer.device.type, dtype)


def _at_rate(mel: Tensor, rate: float) -> Tensor:
    """``mel`` (mels, frames) with its frames closer together: the pitch stays."""
    if rate == 1:
        return mel
    frames = max(1, round(mel.shape[1] / rate))
    return F.interpolate(mel[None], frames, mode="linear", align_corners=False)[0]


def _on_host(waveform: Tensor) -> FloatArray:
    array: FloatArray = waveform.float().cpu().numpy()
    return array
