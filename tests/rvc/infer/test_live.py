"""Is a voice that is converted while it speaks the voice of the file, but for what context explains?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_pipeline import LevelEncoder, small_pipeline, snr_db, tone, use_simple_pitch
from starter_voice import recording
from ultimate_rvc.audio.mel_filters import mel_filters
from ultimate_rvc.choices import F0Method, Vocoder
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.infer.live import LiveConverter
from ultimate_rvc.rvc.infer.live_noise import GROUP_FRAMES, FrameDraws
from ultimate_rvc.rvc.infer.live_settings import LiveSettings, changed, live_settings
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

FloatArray = NDArray[np.float32]
RATE, VOICE_RATE = 16_000, 32_000
CERTAIN = ConversionSettings(f0_methods=(F0Method.FCPE,), noise_scale=0.0, source_noise_scale=0.0)
# Offline, words cut out of a recording and the same words within it are 2 to 4 dB apart (docs/live.md).
TOLERANCE_DB = 4.0
CLOSE_DB = 3.0  # with a second of audio behind and five before each block


@cache
def starter() -> Pipeline:
    folder = packaged_assets_dir() / "voices" / "starter"
    config = OptimizationConfig(device="cpu", fast_vocoder=True, skip_silence=True)
    return Pipeline.open(
        folder / "starter.pth", CERTAIN, index_path=folder / "starter.index", optimization=config
    )


def converter(pipeline: Pipeline, conversion: ConversionSettings = CERTAIN, **settings: Any) -> LiveConverter:
    rates = {name: settings.pop(name, RATE) for name in ("input_rate", "output_rate")}
    return LiveConverter(pipeline, LiveSettings(conversion=conversion, **settings), **rates)


def heard(
    live: LiveConverter, waveform: FloatArray, each: Callable[[int], None] = lambda _: None
) -> FloatArray:
    """All that comes out for a recording, from where its beginning comes out, as long as it."""
    behind = round((live.latency_seconds - live.block_seconds) * live.output_rate)
    blocks = -(-len(waveform) // live.block_samples) + -(-behind // live.block_samples)
    padded = np.pad(waveform, (0, blocks * live.block_samples - len(waveform)))
    results = []
    for number, block in enumerate(padded.reshape(blocks, -1)):
        each(number)
        results.append(live.convert_block(block))
    length = round(len(waveform) * live.output_rate / live.input_rate)
    return np.concatenate(results)[behind : behind + length]


def mel_db(waveform: FloatArray) -> NDArray[Any]:
    basis = mel_filters(sample_rate=VOICE_RATE, n_fft=1024, n_mels=80, f_min_hz=0, f_max_hz=16_000, htk=False)
    window = torch.hann_window(1024)
    spectrum = torch.stft(torch.from_numpy(waveform), 1024, 320, window=window, return_complex=True)
    return 10 * np.log10(basis @ spectrum.abs().square().numpy() + 1e-3)


def distance_db(one: FloatArray, other: FloatArray) -> float:
    """Of their spectrograms: it does not see phases, which depend on where a file begins."""
    return float(np.sqrt(np.square(mel_db(one) - mel_db(other)).mean()))


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)


# ------------------------------------------------------------------ against the conversion of a file


@pytest.mark.parametrize("name", ["speech", "song"])
def test_it_sounds_like_the_conversion_of_the_file(name: str) -> None:
    source = recording(name, 1.0, 1.2)
    offline = starter().convert(source, RATE, CERTAIN)[0]
    live = heard(converter(starter(), output_rate=VOICE_RATE), source)
    assert distance_db(offline, live) < TOLERANCE_DB
    patient = converter(starter(), output_rate=VOICE_RATE, block_ms=1000, context_ms=5000, ahead_ms=500)
    assert distance_db(offline, heard(patient, source)) < CLOSE_DB


@pytest.mark.parametrize("block_ms", [100, 250, 1000])
def test_where_no_network_looks_beyond_the_context_it_is_the_very_conversion(
    simple: None, block_ms: int
) -> None:
    """All the state between blocks is right: pitch, phase, features, crossfades."""
    pipeline = small_pipeline()
    for layer in pipeline.voice.synthesizer.enc_p.encoder.attn_layers:  # type: ignore[union-attr]
        layer.conv_o.weight.zero_()  # attention alone looks at everything
    source = tone(3.0)
    offline = pipeline.convert(source, RATE, CERTAIN)[0]
    rate = pipeline.voice.sample_rate
    live = heard(converter(pipeline, output_rate=rate, block_ms=block_ms, ahead_ms=500), source)
    part = slice(rate // 2, 2 * rate)
    gain = np.float32(0.99)  # offline no peak is above it
    assert snr_db(offline[part], gain * live[part]) > 70


# RefineGAN's sine glides from frame to frame, so that its phase is only nearly known.
@pytest.mark.parametrize("vocoder", [Vocoder.HIFI_GAN, Vocoder.MRF_HIFI_GAN])
def test_a_frame_that_is_rendered_twice_has_the_same_phase_and_chance(simple: None, vocoder: Vocoder) -> None:
    live = converter(small_pipeline(vocoder=vocoder), ConversionSettings(), block_ms=100)
    offsets = set()
    heard(live, tone(2.0), lambda _: offsets.add(live._joiner.offset))
    assert len(offsets) == 1


# ------------------------------------------------------------------ borders


@pytest.mark.parametrize("block_ms", [100, 250])
def test_there_is_no_click_at_the_borders_of_blocks(block_ms: int) -> None:
    live = converter(starter(), ConversionSettings(f0_methods=(F0Method.FCPE,)), block_ms=block_ms)
    result = heard(live, recording("song", 1.0, 1.2))
    bends = np.abs(np.diff(result, 2))  # a click is where a curve breaks
    behind = round((live.latency_seconds - live.block_seconds) * RATE)
    border = (np.arange(len(bends)) + behind) % live.block_samples
    near = np.minimum(border, live.block_samples - border) < RATE // 500
    assert bends[near].max() <= bends[~near].max()
    assert np.percentile(bends[near], 99) < 1.3 * np.percentile(bends[~near], 99)


def test_settings_change_between_blocks_without_a_click(simple: None) -> None:
    pipeline = small_pipeline()
    before = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0)
    octave_up = replace(before, n_semitones=12)
    live = converter(pipeline, before, output_rate=pipeline.voice.sample_rate)
    steady = np.abs(np.diff(heard(live, tone(2.0)))).max()
    higher = converter(pipeline, octave_up, output_rate=pipeline.voice.sample_rate)
    steepest = max(steady, np.abs(np.diff(heard(higher, tone(2.0)))).max())
    live.reset()
    result = heard(live, tone(2.0), lambda number: live.change(octave_up if number >= 4 else before))
    assert np.abs(np.diff(result)).max() < 1.1 * steepest
    assert live.conversion is octave_up


def test_pitch_method_and_index_can_be_switched_while_it_runs() -> None:
    live = converter(starter())
    source = recording("speech", 1.0, 1.5)
    plain = heard(live, source)
    live.reset()
    switched = replace(CERTAIN, f0_methods=(F0Method.HARVEST,), index_rate=1.0, protect_rate=0.5)
    result = heard(live, source, lambda number: live.change(switched) if number == 4 else None)
    changed_at = round((4 * live.block_seconds - (live.latency_seconds - live.block_seconds)) * RATE)
    same = changed_at - RATE // 20  # the crossfade before it
    np.testing.assert_array_equal(plain[:same], result[:same])
    assert snr_db(plain[changed_at:], result[changed_at:]) < 10


# ------------------------------------------------------------------ silence, length, time


def test_silence_is_not_computed_and_is_silent() -> None:
    encoder = LevelEncoder()
    live = converter(small_pipeline(encoder=encoder))
    silent = np.full(live.block_samples, 1e-4, np.float32)
    assert np.abs(live.convert_block(silent)).max() == 0
    assert encoder.batches == []
    live.convert_block(tone(live.block_seconds))
    assert encoder.batches == [1]
    for _ in range(4):
        last = live.convert_block(silent)
    assert np.abs(last).max() == 0
    assert len(encoder.batches) < 5


@pytest.mark.parametrize(
    ("input_rate", "output_rate"), [(16_000, 48_000), (44_100, 44_100), (48_000, 32_000)]
)
def test_blocks_are_as_long_at_any_rate_and_late_by_the_latency(
    simple: None, input_rate: int, output_rate: int
) -> None:
    """The envelope of noise that begins at a certain instant begins that much later."""
    live = converter(small_pipeline(), input_rate=input_rate, output_rate=output_rate)
    source = np.zeros(2 * input_rate, np.float32)
    source[input_rate:] = tone(1.0, input_rate)
    blocks = source[: len(source) // live.block_samples * live.block_samples].reshape(-1, live.block_samples)
    results = [live.convert_block(block) for block in blocks]
    assert {len(result) for result in results} == {round(live.block_seconds * output_rate)}
    assert live.latency_seconds == pytest.approx(0.305)
    loud = np.abs(np.concatenate(results))
    begins = np.flatnonzero(loud > 0.2 * loud.max())[0] / output_rate
    assert begins == pytest.approx(1.0 + live.latency_seconds - live.block_seconds, abs=0.05)


def test_the_same_seed_gives_the_same_bytes_and_warming_up_changes_nothing(simple: None) -> None:
    settings = ConversionSettings(seed=7)
    cold, warm = (converter(small_pipeline(), settings) for _ in range(2))
    warm.warm_up()
    one, other = heard(cold, tone(1.0)), heard(warm, tone(1.0))
    np.testing.assert_array_equal(one, other)
    different = heard(converter(small_pipeline(), replace(settings, seed=8)), tone(1.0))
    assert np.abs(different - one).max() > 1e-3


def test_a_voice_without_pitch_is_converted_too() -> None:
    result = heard(converter(small_pipeline(has_f0=False)), tone(1.0))
    assert 0.01 < np.abs(result).max() <= 1


def test_the_loudness_of_the_source_can_be_kept(simple: None) -> None:
    quiet = 0.05 * tone(2.0)
    usual, kept = (
        heard(
            converter(small_pipeline(), ConversionSettings(rms_mix_rate=rate), output_rate=VOICE_RATE), quiet
        )
        for rate in (1.0, 0.0)
    )
    wanted, level = (float(np.sqrt(np.square(sound[RATE:]).mean())) for sound in (quiet, kept))
    assert level == pytest.approx(wanted, rel=0.3)
    assert np.square(usual[RATE:]).mean() > 4 * np.square(kept[RATE:]).mean()


# ------------------------------------------------------------------ numbers of chance


def test_random_numbers_belong_to_frames() -> None:
    whole = FrameDraws(3, 0, first=5, frames=4 * GROUP_FRAMES).normal((1, 2, 4 * GROUP_FRAMES * 3), 2)
    part = FrameDraws(3, 0, first=5 + 20, frames=30).normal((1, 2, 90), 2)
    assert torch.equal(part, whole[..., 60:150])
    assert abs(float(whole.mean())) < 0.2
    assert float(whole.std()) == pytest.approx(1, abs=0.15)
    other = FrameDraws(3, 1, first=25, frames=30)
    assert not torch.equal(other.normal((1, 2, 90), 2), part)
    assert not torch.equal(other.normal((1, 2, 90), 2), other.normal((1, 2, 90), 2))


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (np.zeros(3999, np.float32), "must be 4000 samples"),
        (np.zeros((1, 4000), np.float32), "must be 4000 samples"),
        (np.full(4000, np.nan, np.float32), "not numbers"),
    ],
)
def test_a_wrong_block_is_refused(block: FloatArray, sentence: str) -> None:
    with pytest.raises(AudioError, match=sentence):
        converter(small_pipeline()).convert_block(block)


def test_wrong_settings_are_refused() -> None:
    pipeline = small_pipeline()
    with pytest.raises(SettingError, match="22050 Hz cannot be converted live"):
        converter(pipeline, input_rate=22_050)
    with pytest.raises(SettingError, match="speakers 0 to 2"):
        converter(pipeline, ConversionSettings(sid=3))
    with pytest.raises(SettingError, match="clean_voice needs a whole recording"):
        converter(pipeline).change(ConversionSettings(clean_voice=True))
    with pytest.raises(SettingError, match="multiple of 10"):
        LiveSettings(block_ms=255)
    with pytest.raises(SettingError, match="from 100 to 1000"):
        LiveSettings(block_ms=50)


def test_settings_come_from_plain_values_and_typed_words() -> None:
    settings = live_settings({"block_ms": 300}, {"n_semitones": 5, "clean_voice": True})
    assert (settings.block_ms, settings.conversion.n_semitones) == (300, 5)
    assert not settings.conversion.clean_voice
    assert changed(CERTAIN, "index_rate", "0.5").index_rate == 0.5
    assert changed(CERTAIN, "f0_methods", "fcpe, harvest").f0_methods == (F0Method.FCPE, F0Method.HARVEST)
    assert changed(CERTAIN, "autotune_voice", "on").autotune_voice
    with pytest.raises(SettingError, match="There is no setting 'indexrate'"):
        changed(CERTAIN, "indexrate", "1")
    with pytest.raises(SettingError, match="index_rate"):
        changed(CERTAIN, "index_rate", "much")
