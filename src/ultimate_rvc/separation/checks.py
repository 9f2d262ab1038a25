"""Finds stems that went wrong; each warning says which one and what to try."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

FloatArray = NDArray[np.float32]

FRAME_SECONDS = 0.4  # loudness is judged in frames of about a syllable or two
SILENT_DBFS = -50.0  # the loudest frame of an audible singer is far above this
SILENT_BELOW_SONG_DB = -35.0  # leakage of a separator sits about here
FULL_SCALE = 0.999
FLAT_STEP = 1e-6  # below the last bit of 16 and 20 bits: cut-off peaks, unlike round ones, do not move
FLAT_RUN_SAMPLES = 4  # a full-scale 50 Hz tone in 16 bits shows up to three equal samples
OVER_RUN_SAMPLES = 3  # lossy coding turns cut-off peaks into wandering ones above full scale
CLIPPED_RUNS = 5
WHOLE_SONG_DB = -20.0  # an instrumental this far below the song means that all went to the vocals
COPY_CORRELATION = 0.6  # masks leak, which correlates stems to about 0.3; copies reach 1
BASS_HZ = 70.0  # below every singer
BASS_SHARE_OF_SONG = 0.01
BASS_SHARE_IN_VOCALS = 0.5


def check_stems(
    mixture: FloatArray, vocals: FloatArray, instrumental: FloatArray, sample_rate: int
) -> list[str]:
    """Look for empty vocals, clipping, and vocals that contain the mixture; one sentence per problem.

    All three are ``(channels, samples)`` of the same shape.
    """
    if _loudest_frame_db(mixture, sample_rate) < SILENT_DBFS:
        return ["The song is silent or nearly silent: check that the right file was given."]
    silent = _silent_vocals(mixture, vocals, sample_rate)
    clipped = _clipping(mixture, vocals, instrumental)
    mixed = None if silent else _mixture_in_vocals(mixture, vocals, instrumental, sample_rate)
    return [warning for warning in (silent, clipped, mixed) if warning]


def _silent_vocals(mixture: FloatArray, vocals: FloatArray, sample_rate: int) -> str | None:
    level_db = _loudest_frame_db(vocals, sample_rate)
    if level_db >= SILENT_DBFS and level_db - _loudest_frame_db(mixture, sample_rate) >= SILENT_BELOW_SONG_DB:
        return None
    return (
        f"The vocals are empty or nearly silent (loudest part {max(level_db, -120):.0f} dBFS): "
        "the song may have no singer; otherwise try another separation model."
    )


def _clipping(mixture: FloatArray, vocals: FloatArray, instrumental: FloatArray) -> str | None:
    """One warning at most: the stems of a clipped song clip as well."""
    quieter = "lower the level of the song before separating, or try another model"
    for name, stem, advice in (
        ("song is", mixture, "distortion will remain in the stems; use a less loud copy of the song"),
        ("vocals are", vocals, quieter),
        ("instrumental is", instrumental, quieter),
    ):
        runs = _clipped_runs(stem)
        if runs >= CLIPPED_RUNS:
            return f"The {name} clipped in {runs} places: {advice}."
    return None


def _clipped_runs(stem: FloatArray) -> int:
    """How often the peaks are cut off: flat at full scale, or above it for several samples."""
    runs = 0
    for channel in stem:
        if channel.min() > -FULL_SCALE and channel.max() < FULL_SCALE:
            continue  # nothing to look at, as in most stems
        full = np.abs(channel) >= FULL_SCALE
        flat = full[1:] & full[:-1] & (np.abs(np.diff(channel)) <= FLAT_STEP)
        runs += _count_runs(flat, FLAT_RUN_SAMPLES - 1) + _count_runs(np.abs(channel) > 1, OVER_RUN_SAMPLES)
    return runs


def _count_runs(marked: NDArray[np.bool_], shortest: int) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= shortest))


def _mixture_in_vocals(
    mixture: FloatArray, vocals: FloatArray, instrumental: FloatArray, sample_rate: int
) -> str | None:
    advice = (
        "try another separation model, or give the stems yourself; "
        "if the song is sung without instruments, all is well"
    )
    if _power_db(instrumental) - _power_db(mixture) < WHOLE_SONG_DB:
        return f"The vocals contain the mixture (nothing is left for the instrumental): {advice}."
    if _correlation(vocals, instrumental) > COPY_CORRELATION:
        return f"The vocals contain the mixture (they sound like the instrumental): {advice}."
    bass_of_song, bass_of_vocals = (_bass_power(stem, sample_rate) for stem in (mixture, vocals))
    if (
        bass_of_song > BASS_SHARE_OF_SONG * _power(mixture)
        and bass_of_vocals > BASS_SHARE_IN_VOCALS * bass_of_song
    ):
        return f"The vocals contain the mixture (the song's bass is in them): {advice}."
    return None


def _product(first: FloatArray, second: FloatArray) -> float:
    """Sum of the products of all samples, in float64; einsum converts piece by piece, not whole stems."""
    return float(np.einsum("cs,cs->", first, second, dtype=np.float64))


def _power(stem: FloatArray) -> float:
    return _product(stem, stem) / stem.size


def _power_db(stem: FloatArray) -> float:
    return 10 * float(np.log10(_power(stem) + 1e-20))


def _bass_power(stem: FloatArray, sample_rate: int) -> float:
    low = butter(4, BASS_HZ, "low", fs=sample_rate, output="sos")
    return _power(sosfilt(low, stem.mean(axis=0, keepdims=True)))


def _correlation(first: FloatArray, second: FloatArray) -> float:
    powers = _product(first, first) * _product(second, second)
    return float(_product(first, second) / np.sqrt(powers + 1e-20))


def _loudest_frame_db(stem: FloatArray, sample_rate: int) -> float:
    """RMS of the loudest frame in dBFS."""
    frame = max(1, min(round(FRAME_SECONDS * sample_rate), stem.shape[-1]))
    whole = stem.shape[-1] // frame * frame
    frames = stem[:, :whole].reshape(stem.shape[0], -1, frame)
    power = np.einsum("cfs,cfs->f", frames, frames, dtype=np.float64) / (stem.shape[0] * frame)
    return 10 * float(np.log10(power.max(initial=0.0) + 1e-20))
