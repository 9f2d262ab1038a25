"""What the vocal effects sound like: plain numbers, no heavy import."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.errors import check_setting


@dataclass(frozen=True, kw_only=True)
class EffectSettings:
    """Settings of the chain high-pass, compressor, reverb; the defaults are those of Ultimate RVC.

    All are validated at construction; a value outside its range raises ``SettingError``.
    """

    room_size: float = 0.15
    """Size of the reverb's room, 0 to 1: how long the tail is."""
    wet_level: float = 0.2
    """Level of the reverberation, 0 to 1; 0 switches the reverb's sound off."""
    dry_level: float = 0.8
    """Level of the direct voice, 0 to 1; Freeverb doubles it, so that 0.5 leaves it as it is."""
    damping: float = 0.7
    """How fast the reverberation loses its treble, 0 to 1."""
    highpass_hz: float = 50.0
    """-3 dB point of the high-pass, 0 to 1000 Hz; 0 switches it off."""
    compressor_threshold_db: float = -15.0
    """Level above which the compressor works, -60 to 0 dBFS."""
    compressor_ratio: float = 4.0
    """Decibels in for one decibel out above the threshold, 1 to 100; 1 switches the compressor off."""
    attack_ms: float = 1.0
    """Time constant with which the compressor follows a rising level, 0.01 to 1000 ms."""
    release_ms: float = 100.0
    """Time constant with which the compressor follows a falling level, 1 to 10000 ms."""

    def __post_init__(self) -> None:
        check_setting("room_size", self.room_size, 0, 1)
        check_setting("wet_level", self.wet_level, 0, 1)
        check_setting("dry_level", self.dry_level, 0, 1)
        check_setting("damping", self.damping, 0, 1)
        check_setting("highpass_hz", self.highpass_hz, 0, 1000)
        check_setting("compressor_threshold_db", self.compressor_threshold_db, -60, 0)
        check_setting("compressor_ratio", self.compressor_ratio, 1, 100)
        check_setting("attack_ms", self.attack_ms, 0.01, 1000)
        check_setting("release_ms", self.release_ms, 1, 10_000)
