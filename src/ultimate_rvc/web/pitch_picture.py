"""The melody of a song's vocal and of its conversion, drawn over the spectrogram of the result."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.jobs.model import Job

SAMPLE_RATE = 16_000
HOP_SECONDS = 0.01
F0_MIN_HZ, F0_MAX_HZ = 50.0, 1100.0
MOST_SECONDS = 600  # beyond it a picture shows nothing any more
HIGHEST_HZ = 2000.0  # where melodies and their first partials are
WINDOW, HOP = 1024, 256
DARKEST_DB = -75.0
# The latest step that made the vocal that is converted.
SOURCE_STEPS = ("remove reverb", "split backing", "separate", "retrieve")
SOURCE_STEMS = ("dry", "lead", "vocals")

Floats = NDArray[np.float64]


def source_and_result(job: Job | None) -> tuple[Path, Path] | None:
    """The vocal before and after the conversion, if both are still there."""
    steps = {step.name: step for step in (job.result.steps if job is not None and job.result else ())}
    if "convert" not in steps:
        return None
    converted = next((path for path in steps["convert"].files if path.is_file()), None)
    found = (
        path
        for name in SOURCE_STEPS
        if name in steps
        for stem in SOURCE_STEMS
        for path in steps[name].files
        if path.stem == stem and path.is_file()
    )
    source = next(found, None)
    return None if source is None or converted is None else (source, converted)


@lru_cache(maxsize=8)
def draw(source: Path, result: Path, labels: tuple[str, str, str, str]) -> Any:
    """A figure; ``labels`` name the source, the result, seconds and pitch. No network is loaded for it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    waveform = _waveform(result)
    decibels, seconds = _spectrogram(waveform)
    axes.imshow(
        decibels, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, HIGHEST_HZ),
        vmin=DARKEST_DB, vmax=0,
    )  # fmt: skip
    for samples, label, colour in (
        (_waveform(source), labels[0], "#d97706"),
        (waveform, labels[1], "#0f766e"),
    ):
        times, f0_hz = _pitch(samples)
        axes.plot(times, f0_hz, color=colour, linewidth=1.6, label=label)
    axes.set(xlabel=labels[2], ylabel=labels[3], ylim=(0, F0_MAX_HZ), xlim=(0, seconds))
    axes.legend(loc="upper right")
    return figure


def _waveform(path: Path) -> Floats:
    from ultimate_rvc.audio.decode import decode_mono

    return decode_mono(path, SAMPLE_RATE)[: MOST_SECONDS * SAMPLE_RATE].astype(np.float64)


def _pitch(waveform: Floats) -> tuple[Floats, Floats]:
    """Times in seconds and f0 in Hz, NaN where nothing is sung; DIO needs no model and is fast."""
    import pyworld

    coarse_hz, times = pyworld.dio(
        waveform, SAMPLE_RATE, F0_MIN_HZ, F0_MAX_HZ, frame_period=1000 * HOP_SECONDS
    )
    f0_hz = pyworld.stonemask(waveform, coarse_hz, times, SAMPLE_RATE)
    return times, np.where(f0_hz > 0, f0_hz, np.nan)


def _spectrogram(waveform: Floats) -> tuple[Floats, float]:
    """Decibels below the loudest, of shape (frequencies to ``HIGHEST_HZ``, frames), and the seconds."""
    from scipy.signal import stft

    _, _, bins = stft(waveform, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    magnitude = np.abs(bins[: int(HIGHEST_HZ / SAMPLE_RATE * WINDOW)])
    loudest = max(float(magnitude.max(initial=0.0)), 1e-12)
    decibels: Floats = 20 * np.log10(np.maximum(magnitude / loudest, 1e-6))
    return decibels, len(waveform) / SAMPLE_RATE
