"""Speech said faster or slower at the same pitch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import AudioError

FloatArray = NDArray[np.float32]

BLOCK_SECONDS, INTERVAL_SECONDS = 0.12, 0.03  # the preset of Signalsmith Stretch, made for speech too
SEED = 0  # of the phases that the library draws at random


def change_pace(waveform: FloatArray, sample_rate: int, rate: float) -> FloatArray:
    """Mono ``waveform`` (samples,) in ``1 / rate`` of its time, with Signalsmith Stretch.

    A rate of 2 is twice as fast; 1 returns the input itself. The same input gives the same bytes.

    Raises
    ------
    AudioError
        The library is not here: it has no wheel for Linux on ARM.
    """
    if rate == 1 or waveform.size == 0:
        return waveform
    try:
        from python_stretch import Signalsmith
    except ImportError as error:
        raise AudioError(
            "Another pace needs the package python-stretch: install it, or leave the rate at 1."
        ) from error
    stretch = Signalsmith.Stretch(SEED)
    stretch.configure(1, round(BLOCK_SECONDS * sample_rate), round(INTERVAL_SECONDS * sample_rate))
    stretch.setTimeFactor(rate)
    changed: FloatArray = np.asarray(
        stretch.process(np.ascontiguousarray(waveform[None], np.float32)), np.float32
    )[0]
    return changed
