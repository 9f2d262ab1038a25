"""The conversion path, with a small random voice and an encoder and pitch simple enough to predict."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_pipeline import LevelEncoder, tone, use_short_chunks, use_simple_pitch
from small_pipeline import small_pipeline as pipeline_of
from small_synthesizer import PHONE_DIM, few_layers, small_synthesizer
from ultimate_rvc.device import out_of_memory_error
from ultimate_rvc.errors import AudioError, OutOfMemoryError, SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings

QUIET = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0)
FloatArray = NDArray[np.float32]


def small_pipeline(*, has_f0: bool = True, synthesizer: Any = None, **parts: Any) -> Pipeline:
    synthesizer = synthesizer or small_synthesizer(has_f0=has_f0, config=few_layers())
    return pipeline_of(has_f0=has_f0, synthesizer=synthesizer, **parts)


@dataclass
class RecordingRetriever:
    """Moves every feature to 5 at full rate and keeps what it was asked."""

    rates: list[float] = field(default_factory=list)
    dim: int = PHONE_DIM
    size: int = 1
    needs_exact: torch.Tensor | None = None

    def forget_doubts(self) -> None:
        self.needs_exact = None

    def blend(self, features: torch.Tensor, index_rate: float, *, exact: bool = False) -> torch.Tensor:
        self.rates.append(index_rate)
        return features * (1 - index_rate) + 5 * index_rate


@pytest.fixture(autouse=True)
def simple_pitch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return use_simple_pitch(monkeypatch)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 192_000])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.234567])
def test_output_is_as_long_as_the_input(sample_rate: int, seconds: float) -> None:
    pipeline = small_pipeline()
    waveform = tone(seconds, sample_rate)
    converted, rate = pipeline.convert(waveform, sample_rate, QUIET)
    assert rate == 32_000
    assert converted.dtype == np.float32
    assert abs(len(converted) - len(waveform) * rate / sample_rate) <= 1


def test_a_long_input_is_cut_and_keeps_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    use_short_chunks(monkeypatch)
    encoder = LevelEncoder()
    converted, rate = small_pipeline(encoder=encoder).convert(tone(7), 16_000, QUIET)
    assert len(converted) == 7 * rate
    assert encoder.batches == [1, 1, 1, 1]


@pytest.mark.parametrize("has_f0", [True, False])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(has_f0: bool) -> None:
    settings = ConversionSettings(seed=3)
    first, _ = small_pipeline(has_f0=has_f0).convert(tone(1), 16_000, settings)
    torch.rand(5)  # whatever else draws random numbers meanwhile
    again, _ = small_pipeline(has_f0=has_f0).convert(tone(1), 16_000, settings)
    other, _ = small_pipeline(has_f0=has_f0).convert(tone(1), 16_000, replace(settings, seed=4))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 1e-3


def test_channels_are_averaged() -> None:
    left = tone(1)
    stereo = np.stack([left, np.zeros_like(left)])
    from_stereo, _ = small_pipeline().convert(stereo, 16_000, QUIET)
    from_mono, _ = small_pipeline().convert(left / 2, 16_000, QUIET)
    np.testing.assert_allclose(from_stereo, from_mono, atol=1e-6)


class FeatureRecorder:
    """Stands in for a synthesizer and keeps what reaches it."""

    def __init__(self) -> None:
        self.config = few_layers()
        self.calls: list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]] = []

    def infer(self, features, pitch, f0_hz, speaker_id, **options):  # type: ignore[no-untyped-def]
        self.calls.append((features, pitch, f0_hz))
        return torch.zeros(1, features.shape[1] * self.config.hop_length)


def test_protect_keeps_unvoiced_frames_of_the_source() -> None:
    waveform = np.concatenate([tone(1), np.zeros(16_000, np.float32), tone(1)])
    recorder, retriever = FeatureRecorder(), RecordingRetriever()
    pipeline = small_pipeline(retriever=retriever, synthesizer=recorder)
    pipeline.convert(waveform, 16_000, replace(QUIET, index_rate=1.0, protect_rate=0.25))
    ((features, _, f0_hz),) = recorder.calls
    assert f0_hz is not None
    voiced, unvoiced = features[f0_hz > 0], features[f0_hz == 0]
    assert voiced.min() == 5
    source_level = 0.01  # what the encoder gives for silence and its borders
    assert (unvoiced - 5 * 0.25).abs().median() < source_level
    assert retriever.rates == [1.0]


@pytest.mark.parametrize("change", [{"protect_rate": 0.5}, {"protect_rate": 0.0, "index_rate": 0.0}])
def test_protect_half_and_index_rate_zero_leave_voicing_out(change: dict[str, float]) -> None:
    recorder = FeatureRecorder()
    pipeline = small_pipeline(retriever=RecordingRetriever(), synthesizer=recorder)
    waveform = np.concatenate([tone(1), np.zeros(16_000, np.float32)])
    pipeline.convert(waveform, 16_000, replace(QUIET, **{"index_rate": 1.0, **change}))
    ((features, _, _),) = recorder.calls
    if change.get("index_rate") == 0:
        assert features.max() < 1
    else:
        assert features.min() == features.max() == 5


def test_shift_autotune_and_coarse_pitch_reach_the_synthesizer_together() -> None:
    recorder = FeatureRecorder()
    pipeline = small_pipeline(synthesizer=recorder)
    pipeline.convert(tone(1), 16_000, replace(QUIET, n_octaves=1, n_semitones=-2, autotune_voice=True))
    ((_, pitch, f0_hz),) = recorder.calls
    assert pitch is not None
    assert f0_hz is not None
    # 200 Hz up ten semitones is 356.4 Hz; the nearest note is F4, 349.23 Hz.
    assert f0_hz.max().item() == pytest.approx(349.228, abs=0.01)
    assert pitch[f0_hz > 0].unique().tolist() == [
        round((1127 * np.log(1 + 349.228 / 700) - 77.75497) * 254 / (1064.40823 - 77.75497) + 1)
    ]
    assert pitch[f0_hz == 0].unique().tolist() in ([], [1])


def test_voices_without_f0_are_given_none() -> None:
    recorder = FeatureRecorder()
    small_pipeline(has_f0=False, synthesizer=recorder).convert(tone(1), 16_000, QUIET)
    ((_, pitch, f0_hz),) = recorder.calls
    assert pitch is None
    assert f0_hz is None


PITCH_IGNORED = "This voice follows no pitch, so n_octaves, n_semitones, autotune_voice and"


@pytest.mark.parametrize(
    "change",
    [{"n_semitones": 5}, {"n_octaves": -1}, {"autotune_voice": True}, {"proposed_pitch": True}],
)
def test_a_voice_without_f0_says_once_that_it_follows_no_pitch(
    caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    pipeline = small_pipeline(has_f0=False)
    plain, _ = pipeline.convert(tone(1), 16_000, QUIET)
    assert caplog.messages == []
    recordings = [(tone(1), 16_000), (tone(0.5), 16_000)]
    shifted, _ = pipeline.convert_all(recordings, replace(QUIET, **change))
    (message,) = caplog.messages
    assert message.startswith(PITCH_IGNORED)
    assert pipeline.shifts_semitones == (0, 0)
    np.testing.assert_array_equal(shifted, plain)


def test_a_voice_with_f0_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    small_pipeline().convert(tone(1), 16_000, replace(QUIET, n_semitones=5, autotune_voice=True))
    assert caplog.messages == []


def test_split_leaves_pauses_silent() -> None:
    waveform = np.concatenate([tone(2), np.zeros(3 * 16_000, np.float32), tone(2)])
    converted, rate = small_pipeline().convert(waveform, 16_000, replace(QUIET, split_voice=True))
    assert np.abs(converted[int(2.6 * rate) : int(4.4 * rate)]).max() == 0
    assert np.abs(converted[:rate]).max() > 0


class SmallMemory:
    """A synthesizer on a device with room for ``frames`` frames."""

    def __init__(self, frames: int) -> None:
        self._inner = small_synthesizer(config=few_layers())
        self.config = few_layers()
        self.frames = frames

    def infer(self, features, *arguments, **options):  # type: ignore[no-untyped-def]
        if features.shape[1] > self.frames:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._inner.infer(features, *arguments, **options)


def test_out_of_memory_halves_the_chunk_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    waveform = tone(8)
    whole, _ = small_pipeline().convert(waveform, 16_000, QUIET)
    with caplog.at_level(logging.WARNING):
        halved, _ = small_pipeline(synthesizer=SmallMemory(700)).convert(waveform, 16_000, QUIET)
    assert "halving" in caplog.text
    assert len(halved) == len(whole)
    assert np.abs(halved).max() > 0


def test_no_memory_at_all_is_one_sentence() -> None:
    with pytest.raises(OutOfMemoryError, match=r"^cpu has too little .*; close other programs\.$"):
        small_pipeline(synthesizer=SmallMemory(100)).convert(tone(8), 16_000, QUIET)


def test_a_gpu_without_memory_names_the_other_way_out() -> None:
    assert str(out_of_memory_error(torch.device("cuda:0"))).endswith("or set device to cpu.")


def test_other_errors_of_the_device_are_not_taken_for_memory() -> None:
    class Broken(SmallMemory):
        def infer(self, features, *arguments, **options):  # type: ignore[no-untyped-def]
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        small_pipeline(synthesizer=Broken(0)).convert(tone(3), 16_000, QUIET)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.1, np.nan, 0.1], np.float32), "not numbers"),
        (np.array([0.1, np.inf] * 500, np.float32), "not numbers"),
    ],
)
def test_unusable_audio_is_refused(waveform: FloatArray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        small_pipeline().convert(waveform, 16_000, QUIET)


def test_silence_is_converted_without_trouble() -> None:
    converted, _ = small_pipeline().convert(np.zeros(16_000, np.float32), 16_000, QUIET)
    assert np.isfinite(converted).all()


def test_a_speaker_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingError, match=r"^sid is 3, but this voice has speakers 0 to 2"):
        small_pipeline().convert(tone(1), 16_000, replace(QUIET, sid=3))


def test_loud_output_is_turned_down_and_rms_mix_follows_the_source() -> None:
    fading = tone(6) * np.linspace(1, 0.05, 6 * 16_000, dtype=np.float32)
    plain, rate = small_pipeline().convert(fading, 16_000, QUIET)
    followed, _ = small_pipeline().convert(fading, 16_000, replace(QUIET, rms_mix_rate=0.0))
    assert max(np.abs(plain).max(), np.abs(followed).max()) <= 0.99 + 1e-6

    def fall(waveform: FloatArray) -> float:
        return float(np.sqrt((waveform[rate : 2 * rate] ** 2).mean() / (waveform[-rate:] ** 2).mean()))

    assert fall(followed) > 1.5 * fall(plain)


def test_progress_moves_and_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    use_short_chunks(monkeypatch)
    seen: list[tuple[str, float]] = []
    progress = Progress(lambda step, fraction, text: seen.append((step, fraction)))
    small_pipeline().convert(tone(6), 16_000, QUIET, progress)
    fractions = [fraction for step, fraction in seen if step == "convert"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    progress.cancel()
    with pytest.raises(Exception, match="cancelled"):
        small_pipeline().convert(tone(1), 16_000, QUIET, progress)
