"""What the vocal effects sound like: plain numbers, no heavy import."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.settings import check, setting


@dataclass(frozen=True, kw_only=True)
class EffectSettings:
    """Settings of the chain high-pass, compressor, reverb; the defaults are those of Ultimate RVC.

    All are validated at construction; a value outside its range raises ``SettingError``.
    """

    room_size: float = setting(
        0.15, "Size of the reverb's room: larger ones ring longer.", 0, 1, step=0.01,
        label="Reverb: room size",
    )  # fmt: skip
    wet_level: float = setting(
        0.2, "Level of the reverberation; 0 is none.", 0, 1, step=0.01, label="Reverb: level"
    )
    # Freeverb doubles it, so that 0.5 leaves the voice as it is.
    dry_level: float = setting(
        0.8, "Level of the voice itself beside its reverb.", 0, 1, step=0.01, label="Reverb: direct voice"
    )
    damping: float = setting(
        0.7, "How fast the reverberation loses its treble: higher is darker.", 0, 1, step=0.01,
        label="Reverb: damping",
    )  # fmt: skip
    highpass_hz: float = setting(
        50.0, "-3 dB point of the high-pass, which removes rumble; 0 switches it off.", 0, 1000, step=1.0,
        unit="Hz", label="High-pass (Hz)",
    )  # fmt: skip
    compressor_threshold_db: float = setting(
        -15.0, "The compressor makes softer what is louder than this.", -60, 0, step=0.5, unit="dB",
        label="Compressor: threshold (dB)",
    )  # fmt: skip
    compressor_ratio: float = setting(
        4.0, "Decibels in for one decibel out above the threshold; 1 switches the compressor off.", 1, 100,
        step=0.5, label="Compressor: ratio",
    )  # fmt: skip
    attack_ms: float = setting(
        1.0, "How fast the compressor follows a rising level.", 0.01, 1000, step=0.01, unit="ms",
        label="Compressor: attack (ms)",
    )  # fmt: skip
    release_ms: float = setting(
        100.0, "How fast the compressor follows a falling level.", 1, 10_000, step=1.0, unit="ms",
        label="Compressor: release (ms)",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
