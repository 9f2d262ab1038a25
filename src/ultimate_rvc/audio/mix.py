"""Mixing stems into one stereo track that does not clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.level import db_to_gain, gain_to_db, limit_true_peak, to_stereo, true_peak
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.settings import check_range

FloatArray = NDArray[np.float32]

# Headroom for lossy coding, whose decoded peaks are higher. Measured on four limited rock songs: mp3 at 128
# to 320 kbit/s ends at -0.2 dBTP or less, Opus at 0.0 or less, aac at 192 kbit/s at up to +0.7.
CEILING_DBTP = -1.0
MAX_LIMITING_DB = 3.0  # more than that would be heard as pumping: the whole mix is turned down instead
MIN_GAIN_DB, MAX_GAIN_DB = -120.0, 60.0


@dataclass(frozen=True)
class Track:
    """One stem of a mix."""

    waveform: FloatArray
    """float32, shape (channels, samples) with 1 to 8 channels, or (samples,); may exceed full scale."""
    sample_rate: int
    """In Hz."""
    gain_db: float = 0.0
    """-120 to 60 dB."""

    def __post_init__(self) -> None:
        check_range("gain_db", self.gain_db, MIN_GAIN_DB, MAX_GAIN_DB)
        if not np.isfinite(self.waveform).all():
            raise AudioError(
                "A track to mix holds samples that are not numbers (NaN or infinite); export it again."
            )


def mix(tracks: Sequence[Track], sample_rate: int, *, ceiling_dbtp: float = CEILING_DBTP) -> FloatArray:
    """Add tracks of any rate, length and number of channels, and keep the sum below a true-peak ceiling.

    Each track is folded to stereo, resampled and scaled; shorter ones end in silence. A sum that
    exceeds the ceiling goes through :func:`~ultimate_rvc.audio.level.limit_true_peak`; where that
    would take more than 3 dB off, the whole mix is first turned down by the rest.

    Parameters
    ----------
    tracks : sequence of Track
    sample_rate : int
        Of the mix, in Hz.
    ceiling_dbtp : float
        Largest true peak of the mix, at most 0 dBTP. The default leaves room for lossy coding.

    Returns
    -------
    float32, shape (2, samples)
        As long as the longest track at ``sample_rate``.

    Raises
    ------
    AudioError
        If no track has any samples.
    SettingError
        If the ceiling is above 0 dBTP.
    """
    if ceiling_dbtp > 0:
        raise SettingError(f"The ceiling of a mix is {ceiling_dbtp} dBTP, but must be 0 or less.")
    mixed = added(tracks, sample_rate)
    if gain_db := turned_down_db(true_peak(mixed, sample_rate), ceiling_dbtp):
        mixed *= np.float32(db_to_gain(gain_db))
    return limit_true_peak(mixed, sample_rate, ceiling_dbtp)


def added(tracks: Sequence[Track], sample_rate: int) -> FloatArray:
    """The sum of tracks ``(2, samples)``, as :func:`mix` makes it before it looks at its level.

    Raises
    ------
    AudioError
        If no track has any samples.
    """
    length = max((_resampled_length(track, sample_rate) for track in tracks), default=0)
    if length == 0:
        raise AudioError("There is nothing to mix: no track has any samples.")
    mixed = np.zeros((2, length), np.float32)
    for track in tracks:
        if track.waveform.size == 0:
            continue
        # Mono is resampled once, not for each side.
        sides = to_stereo(channels) if len(channels := np.atleast_2d(track.waveform)) > 2 else channels
        sides = resample(sides, track.sample_rate, sample_rate)
        mixed[:, : sides.shape[1]] += sides * np.float32(db_to_gain(track.gain_db))
    return mixed


def turned_down_db(peak: float, ceiling_dbtp: float = CEILING_DBTP) -> float:
    """By how many decibels (0 or less) a sum of this true peak is turned down before it is limited."""
    over_db = gain_to_db(peak) - ceiling_dbtp
    return MAX_LIMITING_DB - over_db if over_db > MAX_LIMITING_DB else 0.0


def _resampled_length(track: Track, sample_rate: int) -> int:
    samples: int = track.waveform.shape[-1]
    return round(samples * sample_rate / track.sample_rate)
