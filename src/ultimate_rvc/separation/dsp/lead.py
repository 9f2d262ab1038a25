"""Lead vocals out of stereo vocals: the lead is usually in the middle, backing voices around it."""

from __future__ import annotations

import numpy as np

from ultimate_rvc.separation.dsp.spectrum import FloatArray, centre, istft


def extract_lead(block: FloatArray) -> FloatArray:
    """The centre of stereo vocals at 44.1 kHz, ``(2, samples)`` in and out, the same in both channels."""
    mid, gain = centre(block)
    return np.broadcast_to(istft(mid * gain, block.shape[-1]), block.shape).copy()
