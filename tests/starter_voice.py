"""The voice and the encoder that ship with the package, on recorded speech and singing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import F0Method
from ultimate_rvc.paths import packaged_voice
from ultimate_rvc.rvc.content import load_content_encoder
from ultimate_rvc.rvc.infer.chunks import sounding_frames
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

FloatArray = NDArray[np.float32]
Samples = NDArray[np.bool_]
DATA = Path(__file__).parent / "data"
RECORDINGS = {"song": DATA / "songs" / "water_vocals.ogg", "speech": DATA / "content" / "speech.wav"}
INDEX_SOURCE = DATA / "songs" / "thunder_vocals.ogg"
SAMPLE_RATE = 16_000

# Without random numbers, so that two ways of computing differ only by rounding.
SETTINGS = ConversionSettings(
    f0_methods=(F0Method.FCPE,), index_rate=0.75, noise_scale=0.0, source_noise_scale=0.0
)


@cache
def recording(name: str, start_seconds: float = 0.0, seconds: float = 6.0) -> FloatArray:
    """An excerpt of a dry voice, mono at 16 kHz."""
    first = round(start_seconds * SAMPLE_RATE)
    return decode_mono(RECORDINGS[name], SAMPLE_RATE)[first : first + round(seconds * SAMPLE_RATE)]


def heard_and_gaps(waveform_16k: FloatArray, sample_rate: int) -> tuple[Samples, Samples]:
    """Which samples of a conversion belong to what is heard, and which to gaps; between them it fades."""
    filtered = ScipyHighpass().apply(torch.from_numpy(waveform_16k)).numpy()
    sounding = sounding_frames(filtered)
    length = len(waveform_16k) * sample_rate // SAMPLE_RATE
    heard, gaps = (
        frames.repeat(sample_rate // 100)[:length]
        for frames in (ndimage.binary_erosion(sounding, border_value=1), ~sounding)
    )
    return heard, gaps


def write_flat_index(path: Path) -> Path:
    """An index of what the encoder makes of another song: exact for faiss as well."""
    waveform = torch.from_numpy(decode_mono(INDEX_SOURCE, SAMPLE_RATE))
    with torch.inference_mode():
        features = load_content_encoder("starter", "cpu").encode(waveform[None], "v2")[0]
    index = faiss.IndexFlatL2(features.shape[1])
    index.add(features.numpy())
    faiss.write_index(index, str(path))
    return path


def open_starter(optimization: OptimizationConfig, index_path: Path | None = None) -> Pipeline:
    voice = packaged_voice("starter")
    return Pipeline.open(voice, SETTINGS, index_path=index_path, optimization=optimization)
