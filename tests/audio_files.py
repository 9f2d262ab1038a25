"""Small audio and video files, written with PyAV alone, so that reading is not tested by our own writing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def tone(frequency_hz: float, seconds: float, sample_rate: int, amplitude: float = 0.5) -> FloatArray:
    """A sine of shape ``(samples,)``."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def stereo_tones(seconds: float, sample_rate: int) -> FloatArray:
    """440 Hz on the left, 660 Hz on the right."""
    return np.stack([tone(440, seconds, sample_rate), tone(660, seconds, sample_rate, 0.3)])


def write_file(
    path: Path,
    samples: NDArray[np.generic],
    sample_rate: int,
    *,
    codec: str,
    container: str,
    frame_format: str = "fltp",
    layout: str = "stereo",
    with_video: bool = False,
) -> Path:
    """Write ``samples``, shape ``(channels, samples)`` and of the dtype of ``frame_format``."""
    with av.open(str(path), "w", format=container) as output:
        if with_video:
            video = output.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = output.add_stream(codec, rate=sample_rate)
        audio.layout, audio.format = layout, frame_format
        if with_video:
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            output.mux(video.encode(picture))
            output.mux(video.encode(None))
        frame_samples = audio.frame_size or 4096
        for start in range(0, samples.shape[1], frame_samples):
            block = samples[:, start : start + frame_samples]
            if not frame_format.endswith("p"):
                block = block.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block), format=frame_format, layout=layout
            )
            frame.sample_rate, frame.pts = sample_rate, start
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def frequency_hz(samples: FloatArray, sample_rate: int) -> float:
    """The strongest frequency, by the interpolated maximum of a windowed spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * len(samples)))
    peak = int(spectrum.argmax())
    below, here, above = np.log(spectrum[peak - 1 : peak + 2])
    return float(
        (peak + (below - above) / (2 * (below - 2 * here + above))) * sample_rate / (4 * len(samples))
    )
