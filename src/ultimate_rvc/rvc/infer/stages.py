"""The stages of a conversion as one bar of progress."""

from __future__ import annotations

PITCH_SHARE = 0.2  # of a conversion's time, for the bar only


def conversion_share(stage: str, fraction: float) -> float:
    """How far a conversion is, 0 to 1, when its stage ``pitch`` or ``convert`` is that far."""
    return PITCH_SHARE * fraction if stage == "pitch" else PITCH_SHARE + (1 - PITCH_SHARE) * fraction
