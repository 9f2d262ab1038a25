"""The codec XCodec2: recordings to codes, 50 a second, and codes to sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.device import is_out_of_memory, out_of_memory_error
from ultimate_rvc.speech.llasa.loading import DTYPES, chosen_format, telling_of
from ultimate_rvc.speech.llasa.prompt import CodeArray
from ultimate_rvc.speech.llasa.settings import NumberFormat

FloatArray = NDArray[np.float32]


class Codec:
    """XCodec2 on one device. Its weights stay in float32; ``precision`` is what encoding computes in."""

    def __init__(
        self, folder: Path, device: torch.device, precision: NumberFormat = NumberFormat.FLOAT32
    ) -> None:
        from transformers import Xcodec2FeatureExtractor, Xcodec2Model

        self._device = device
        self._dtype = DTYPES[chosen_format(device, precision)]
        with telling_of(folder, device):
            self._features: Any = Xcodec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._network: Any = Xcodec2Model.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                device_map={"": str(device)},
            ).eval()  # fmt: skip

    @property
    def sample_rate(self) -> int:
        """Of what goes in and comes out, in Hz."""
        return int(self._network.config.sampling_rate)

    @property
    def codes_per_second(self) -> float:
        return self.sample_rate / float(self._network.config.hop_length)

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[FloatArray]) -> list[CodeArray]:
        """The codes ``(codes,)`` of each waveform ``(samples,)`` at :attr:`sample_rate`, all at once.

        A whole number of codes: what is left of the last hop is not encoded.

        Raises
        ------
        OutOfMemoryError
            The device has too little memory for so much at once.
        """
        inputs = self._features(list(waveforms), sampling_rate=self.sample_rate, return_tensors="pt")
        is_half = self._dtype != torch.float32
        try:
            with torch.autocast(self._device.type, self._dtype, enabled=is_half):
                encoded = self._network.encode(**inputs.to(self._device))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise out_of_memory_error(self._device) from error
            raise
        codes = encoded.audio_codes[:, 0].cpu().numpy().astype(np.int64)
        hop_length = self._network.config.hop_length
        return [row[: len(waveform) // hop_length] for row, waveform in zip(codes, waveforms, strict=True)]

    @torch.inference_mode()
    def decode(self, codes: CodeArray) -> FloatArray:
        """The sound ``(samples,)`` of ``codes`` (codes,), a hop of samples for each."""
        if not codes.size:
            return np.zeros(0, np.float32)
        decoded = self._network.decode(audio_codes=torch.from_numpy(codes)[None, None].to(self._device))
        sound: FloatArray = decoded.audio_values[0, 0].float().cpu().numpy()
        return sound
