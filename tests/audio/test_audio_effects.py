"""The vocal chain, each part against a formula or another implementation of the same filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from audio_files import tone
from ultimate_rvc.audio.downmix import downmix_stereo
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.audio.effects import apply_effects, longest_tail
from ultimate_rvc.errors import AudioError, SettingError

RATE = 44_100
DRY = EffectSettings(wet_level=0, dry_level=0.5, highpass_hz=0, compressor_ratio=1)  # nothing at all
ROOM = replace(DRY, wet_level=0.2)


def test_with_everything_off_the_voice_is_unchanged() -> None:
    voice = tone(300, 0.5, RATE)
    np.testing.assert_allclose(apply_effects(voice, RATE, DRY), np.stack([voice, voice]), rtol=1e-6)


# ------------------------------------------------------------------ high-pass


@pytest.mark.parametrize("sample_rate", [32_000, 48_000, 96_000])
@pytest.mark.parametrize("frequency_hz", [10, 50, 200, 1_000])
def test_highpass_has_the_response_of_a_first_order_butterworth(sample_rate: int, frequency_hz: int) -> None:
    settings = replace(DRY, highpass_hz=50)
    filtered = apply_effects(tone(frequency_hz, 2, sample_rate, 0.5), sample_rate, settings)[0]
    level = np.abs(filtered[sample_rate:]).max() / 0.5
    assert level == pytest.approx(1 / np.sqrt(1 + (50 / frequency_hz) ** 2), rel=0.01)


# ------------------------------------------------------------------ compressor


def test_compressor_follows_its_step_response() -> None:
    """On a step to A the followed level is A(1 - exp(-t/attack)); on the way back it falls likewise."""
    attack_ms, release_ms, ratio, loud, quiet = 20.0, 80.0, 4.0, 0.9, 0.3
    threshold = 10 ** (-15 / 20)
    settings = replace(
        DRY, compressor_ratio=ratio, compressor_threshold_db=-15, attack_ms=attack_ms, release_ms=release_ms
    )
    step = np.concatenate([np.full(RATE, loud), np.full(RATE, quiet)]).astype(np.float32)
    time = np.arange(1, RATE + 1) / RATE
    rising = loud * (1 - np.exp(-time / (attack_ms / 1000)))
    falling = quiet + (rising[-1] - quiet) * np.exp(-time / (release_ms / 1000))
    level = np.concatenate([rising, falling])
    gain = np.where(level > threshold, (np.maximum(level, threshold) / threshold) ** (1 / ratio - 1), 1)

    compressed = apply_effects(step, RATE, settings)[0]

    np.testing.assert_allclose(compressed, step * gain, rtol=1e-4)


def test_compressor_turns_a_steady_tone_down_by_its_ratio() -> None:
    settings = replace(DRY, compressor_ratio=4, compressor_threshold_db=-20, attack_ms=0.1, release_ms=500)
    compressed = apply_effects(tone(200, 2, RATE, 0.5), RATE, settings)[0]
    level_db = 20 * np.log10(np.abs(compressed[RATE:]).max())
    assert level_db == pytest.approx(-20 + (20 * np.log10(0.5) + 20) / 4, abs=0.3)


def test_compressor_leaves_what_is_below_the_threshold() -> None:
    voice = tone(200, 1, RATE, 0.1)
    settings = replace(DRY, compressor_ratio=20, compressor_threshold_db=-15)
    np.testing.assert_allclose(apply_effects(voice, RATE, settings)[0], voice, rtol=1e-6)


def test_compressor_keeps_the_balance_of_the_sides() -> None:
    voice = np.stack([tone(200, 1, RATE, 0.9), tone(200, 1, RATE, 0.1)])
    compressed = apply_effects(voice, RATE, replace(DRY, compressor_ratio=4))
    np.testing.assert_allclose(compressed[1], compressed[0] / 9, atol=1e-6)
    assert np.abs(compressed[0, 4_000:]).max() < 0.6


# ------------------------------------------------------------------ reverb


def freeverb(mono: np.ndarray, side: int, room: float, damping: float, wet: float) -> np.ndarray:
    """Freeverb's published constants as transfer functions, at 44.1 kHz.

    Comb: z^-D (1 - d z^-1) / (1 - d z^-1 - f (1 - d) z^-D); all-pass: (-1 + 1.5 z^-D) / (1 - 0.5 z^-D).
    """
    damp, feedback = damping * 0.4, room * 0.28 + 0.7
    total = np.zeros(len(mono))
    for comb in (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617):
        delay = comb + 23 * side
        numerator, denominator = np.zeros(delay + 2), np.zeros(delay + 1)
        numerator[delay], numerator[delay + 1] = 1, -damp
        denominator[0], denominator[1] = 1, -damp
        denominator[delay] -= feedback * (1 - damp)
        total += lfilter(numerator, denominator, mono * 0.015 * 2)
    for allpass in (556, 441, 341, 225):
        delay = allpass + 23 * side
        numerator, denominator = np.zeros(delay + 1), np.zeros(delay + 1)
        numerator[0], numerator[delay] = -1, 1.5
        denominator[0], denominator[delay] = 1, -0.5
        total = lfilter(numerator, denominator, total)
    return total * wet * 3


@pytest.mark.parametrize(("room", "damping"), [(0.15, 0.7), (0.5, 0.0), (0.0, 1.0)])
def test_reverb_equals_freeverb_as_transfer_functions(room: float, damping: float) -> None:
    voice = np.random.default_rng(0).normal(0, 0.1, 3_000).astype(np.float32)
    settings = replace(DRY, room_size=room, damping=damping, wet_level=0.3, dry_level=0.4)
    reverberated = apply_effects(voice, RATE, settings)
    padded = np.pad(voice.astype(np.float64), (0, reverberated.shape[1] - len(voice)))
    audible = reverberated.shape[1] - RATE // 100  # the tail's last 10 ms are faded out
    for side in range(2):
        expected = padded * 0.4 * 2 + freeverb(padded, side, room, damping, 0.3)
        np.testing.assert_allclose(reverberated[side, :audible], expected[:audible], atol=2e-6)


def test_the_whole_tail_is_kept() -> None:
    """Run on with silence, the reverb has nothing above -60 dB left beyond the tail that was kept."""
    voice = np.random.default_rng(1).normal(0, 0.2, RATE // 2).astype(np.float32)
    for room in (0.0, 0.15, 0.6):
        settings = replace(ROOM, room_size=room)
        kept = apply_effects(voice, RATE, settings)
        longer = apply_effects(np.pad(voice, (0, 4 * RATE)), RATE, settings)
        beyond = longer[:, kept.shape[1] :]
        assert kept.shape[1] > len(voice) + RATE // 10
        assert np.abs(beyond).max() <= np.abs(kept).max() * 1e-3
        before_fade = kept.shape[1] - RATE // 100
        np.testing.assert_allclose(kept[:, :before_fade], longer[:, :before_fade], atol=1e-7)


def test_a_voice_that_ends_in_silence_gets_no_tail() -> None:
    voice = np.pad(tone(300, 0.5, RATE), (0, 3 * RATE))
    assert apply_effects(voice, RATE, ROOM).shape == (2, len(voice))
    assert apply_effects(voice, RATE, replace(ROOM, wet_level=0)).shape == (2, len(voice))


def test_larger_rooms_ring_longer() -> None:
    click = np.zeros(100, np.float32)
    click[0] = 1
    lengths = [
        apply_effects(click, RATE, replace(ROOM, wet_level=1, dry_level=0, room_size=room)).shape[1]
        for room in (0.0, 0.3, 0.6, 0.9)
    ]
    assert lengths == sorted(set(lengths))
    assert lengths[-1] < longest_tail(RATE, replace(ROOM, room_size=0.9)) + 100


@pytest.mark.parametrize("sample_rate", [16_000, 96_000])
def test_a_room_rings_as_long_at_any_rate(sample_rate: int) -> None:
    settings = replace(ROOM, wet_level=1, dry_level=0, room_size=0.5, damping=0)

    def ringing_seconds(rate: int) -> float:
        click = np.zeros(rate // 10, np.float32)
        click[0] = 1
        return apply_effects(click, rate, settings).shape[1] / rate

    assert ringing_seconds(sample_rate) == pytest.approx(ringing_seconds(RATE), rel=0.1)


def test_the_sides_of_the_room_differ() -> None:
    voice = np.random.default_rng(2).normal(0, 0.1, RATE).astype(np.float32)
    left, right = apply_effects(voice, RATE, replace(ROOM, dry_level=0))
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.2


# ------------------------------------------------------------------ all of it


@given(
    samples=st.integers(1, 3_000),
    channels=st.sampled_from([1, 2]),
    sample_rate=st.sampled_from([8_000, 44_100, 192_000]),
    room=st.floats(0, 1),
    damping=st.floats(0, 1),
)
@hypothesis_settings(max_examples=25)
def test_any_voice_comes_back_whole_finite_and_the_same_twice(
    samples: int, channels: int, sample_rate: int, room: float, damping: float
) -> None:
    voice = np.random.default_rng(samples).uniform(-1, 1, (channels, samples)).astype(np.float32)
    settings = EffectSettings(room_size=room, damping=damping)
    effected = apply_effects(voice, sample_rate, settings)
    assert effected.dtype == np.float32
    assert samples <= effected.shape[1] <= samples + longest_tail(sample_rate, settings)
    assert np.isfinite(effected).all()
    np.testing.assert_array_equal(effected, apply_effects(voice.copy(), sample_rate, settings))


def test_surround_sounds_as_its_fold_to_stereo() -> None:
    surround = np.stack([tone(100 * channel, 0.2, RATE, 0.1) for channel in range(1, 7)])
    wet = apply_effects(surround, RATE, EffectSettings())
    np.testing.assert_array_equal(wet, apply_effects(downmix_stereo(surround), RATE, EffectSettings()))
    assert np.abs(wet).max() > 0.1


def test_a_side_turned_upside_down_still_rings() -> None:
    voice = tone(300, 0.2, RATE)
    wet_only = EffectSettings(dry_level=0, highpass_hz=0, compressor_ratio=1)
    wet = apply_effects(np.stack([voice, -voice]), RATE, wet_only)
    np.testing.assert_array_equal(wet, apply_effects(voice, RATE, wet_only))
    assert np.abs(wet).max() > 0.01


def test_silence_stays_silent() -> None:
    np.testing.assert_array_equal(apply_effects(np.zeros((2, 500), np.float32), RATE, EffectSettings()), 0)


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros((2, 0), np.float32), "no samples"),
        (np.array([0, np.nan], np.float32), "NaN"),
    ],
)
def test_audio_the_chain_cannot_take_is_refused(waveform: np.ndarray, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        apply_effects(waveform, RATE, EffectSettings())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("room_size", 1.1), ("room_size", float("nan")), ("wet_level", -0.1), ("dry_level", 2),
        ("damping", 1.5), ("highpass_hz", -1), ("compressor_threshold_db", 3), ("compressor_ratio", 0.5),
        ("attack_ms", 0), ("release_ms", 0),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(option: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{option} is {value}"):
        EffectSettings(**{option: value})
