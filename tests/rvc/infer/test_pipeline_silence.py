"""Silence is not computed: gaps of a sung vocal cost the vocoder nothing and come out clean."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_pipeline import LevelEncoder, small_pipeline, snr_db, tone, use_short_chunks, use_simple_pitch
from small_synthesizer import small_config, small_synthesizer
from starter_voice import SAMPLE_RATE, SETTINGS, heard_and_gaps, open_starter, recording
from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.hifigan import HiFiGAN
from ultimate_rvc.switches import OptimizationConfig

FloatArray = NDArray[np.float32]
SHARES = [0.4, 0.7]
SINGING_FROM, SINGING_SECONDS = 2.2, 6.0  # of the recording: without a gap of its own that is long enough
GAPS = 2
SKIPPING = {"skip_silence": True}
VOICE_RATE = 32_000
QUIET = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0)
NOISY = ConversionSettings(seed=5)


@cache
def vocal(silent_share: float) -> FloatArray:
    """A sung vocal in which so much, in equal gaps between equal phrases, was set to silence."""
    waveform = recording("song", SINGING_FROM, SINGING_SECONDS).copy()
    part = len(waveform) // GAPS
    for start in range(0, len(waveform), part):
        middle, half = start + part // 2, round(part * silent_share / 2)
        waveform[middle - half : middle + half] = 0
    return waveform


def filtered(waveform: FloatArray) -> FloatArray:
    """What the pipeline looks at to find gaps."""
    return ScipyHighpass().apply(torch.from_numpy(waveform)).numpy()


@cache
def converted(silent_share: float, **switches: bool) -> tuple[FloatArray, int]:
    """The starter voice's rendering, and how many frames its vocoder was given."""
    frames: list[int] = []
    forward = HiFiGAN.forward

    def counted(self: Any, latent: torch.Tensor, *others: Any) -> torch.Tensor:
        frames.append(latent.shape[-1])
        return forward(self, latent, *others)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(HiFiGAN, "forward", counted)
        pipeline = open_starter(OptimizationConfig(device="cpu", **switches))
        return pipeline.convert(vocal(silent_share), SAMPLE_RATE, SETTINGS)[0], sum(frames)


@pytest.mark.parametrize("share", SHARES)
def test_the_vocoder_gets_fewer_frames_by_the_share_of_silence(share: float) -> None:
    (_, everything), (_, skipped) = converted(share), converted(share, **SKIPPING)
    frames = round(SINGING_SECONDS * 100)
    window = 2 * chunking.REFLECTED_PAD_SAMPLES // chunking.F0_HOP  # context of the chunk, never heard
    assert everything == pytest.approx(frames + window, abs=2)
    # Each end of a gap keeps a margin, from where the high-pass has rung out, and the vocoder's context.
    context = open_starter(OptimizationConfig(device="cpu")).voice.synthesizer.vocoder.context_frames
    kept_at_ends = 2 * GAPS * (chunking.SILENCE_MARGIN_FRAMES + context)
    assert skipped == pytest.approx((1 - share) * frames + kept_at_ends + 2 * context, abs=25)


def test_more_silence_is_less_work() -> None:
    work = [converted(share, **SKIPPING)[1] for share in SHARES]
    for (less, more), (share, larger) in zip(pairwise(work), pairwise(SHARES), strict=True):
        saved = (larger - share) * SINGING_SECONDS * 100
        assert less - more == pytest.approx(saved, abs=20)


@pytest.mark.parametrize("also", [{}, {"fast_vocoder": True}], ids=["alone", "with tiles"])
@pytest.mark.parametrize("share", SHARES)
def test_outside_the_gaps_nothing_changes(share: float, also: dict[str, bool]) -> None:
    (plain, _), (skipped, _) = converted(share), converted(share, **SKIPPING, **also)
    heard, _ = heard_and_gaps(vocal(share), VOICE_RATE)
    assert snr_db(plain[heard], skipped[heard]) >= 60


@pytest.mark.parametrize("share", SHARES)
def test_gaps_are_exactly_silent_and_their_borders_do_not_click(share: float) -> None:
    (plain, _), (skipped, _) = converted(share), converted(share, **SKIPPING)
    _, gaps = heard_and_gaps(vocal(share), VOICE_RATE)
    assert gaps.mean() == pytest.approx(share - 2 * GAPS * 0.26 / SINGING_SECONDS, abs=0.04)
    assert np.abs(skipped[gaps]).max() == 0
    borders = np.flatnonzero(np.diff(gaps.astype(np.int8)))
    assert len(borders) == 2 * GAPS
    for border in borders:
        around = skipped[border - 16 : border + 16]  # the first of the ramp, whatever the voice makes there
        assert np.abs(np.diff(around)).max() < 1e-4
        # Further off the voice may hum by itself; leaving frames out adds nothing to that.
        near = slice(border - 320, border + 320)
        assert np.abs(np.diff(skipped[near])).max() < np.abs(np.diff(plain[near])).max() + 1e-4


@pytest.mark.parametrize("share", SHARES)
def test_what_is_left_out_of_this_voice_is_faint(share: float) -> None:
    """At most -60 dB; another voice, trained on noisy recordings, may hiss there, and then loses its hiss."""
    plain, _ = converted(share)
    _, gaps = heard_and_gaps(vocal(share), VOICE_RATE)
    offset = np.median(plain[gaps])  # as inaudible as it is useless
    left_out = np.where(gaps, plain - offset, 0)
    frames = left_out[: len(left_out) // 320 * 320].reshape(-1, 320)
    loudest = np.sqrt(np.square(frames).mean(axis=1)).max()
    assert 0 < loudest < 10 ** (-60 / 20)


# With a voice and an encoder that are simple enough to predict.


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pipeline]:
    """Opens pipelines that cut every second."""
    use_short_chunks(monkeypatch, 1.0)
    use_simple_pitch(monkeypatch)

    def open_pipeline(
        encoder: LevelEncoder | None = None, synthesizer: Any = None, **switches: Any
    ) -> Pipeline:
        optimization = OptimizationConfig(device="cpu", **switches)
        return small_pipeline(encoder=encoder, synthesizer=synthesizer or voice(), optimization=optimization)

    return open_pipeline


def voice() -> Any:
    return small_synthesizer(config=small_config((10, 4, 2), initial_channels=16))


def silence(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.mark.parametrize(("switches", "encoded"), [(SKIPPING, 2), ({}, 5)])
def test_a_chunk_without_any_sound_is_not_encoded(
    opened: Callable[..., Pipeline], switches: dict[str, bool], encoded: int
) -> None:
    encoder = LevelEncoder()
    waveform = np.concatenate([tone(0.5), silence(3.6), tone(0.5)])
    converted, rate = opened(encoder, **switches).convert(waveform, SAMPLE_RATE, QUIET)
    assert sum(encoder.batches) == encoded
    assert np.abs(converted[: rate // 2]).max() > 1e-2
    assert np.abs(converted[-rate // 2 :]).max() > 1e-2
    assert (np.abs(converted[2 * rate : 3 * rate]).max() == 0) == bool(switches)


@pytest.mark.parametrize("samples", [1, 160, SAMPLE_RATE, 3 * SAMPLE_RATE])
def test_silence_alone_becomes_silence_without_any_work(
    opened: Callable[..., Pipeline], samples: int
) -> None:
    encoder = LevelEncoder()
    waveform = np.zeros(samples, np.float32)
    converted, rate = opened(encoder, **SKIPPING).convert(waveform, SAMPLE_RATE, QUIET)
    assert abs(len(converted) - samples * rate / SAMPLE_RATE) <= 1
    assert not converted.any()
    assert encoder.batches == []


@pytest.mark.parametrize("gap_seconds", [0.3, 0.6, 0.9])
def test_a_gap_too_short_to_pay_is_rendered(opened: Callable[..., Pipeline], gap_seconds: float) -> None:
    waveform = np.concatenate([tone(0.2), silence(gap_seconds), tone(0.1)])  # one chunk
    (plain, _), (skipped, _) = (
        opened(**switches).convert(waveform, SAMPLE_RATE, QUIET) for switches in ({}, SKIPPING)
    )
    assert snr_db(plain, skipped) > 80


def test_noise_is_the_same_with_and_without_gaps(opened: Callable[..., Pipeline]) -> None:
    waveform = np.concatenate([tone(0.8), silence(1.2), tone(0.8)])
    (plain, rate), (skipped, _) = (
        opened(**switches).convert(waveform, SAMPLE_RATE, NOISY) for switches in ({}, SKIPPING)
    )
    for part in (slice(0, rate), slice(-rate, None)):
        assert snr_db(plain[part], skipped[part]) > 60


def test_a_voice_that_hums_in_silence_fades_at_the_gap(opened: Callable[..., Pipeline]) -> None:
    waveform = np.concatenate([tone(0.3), silence(0.9)])  # one chunk
    (plain, rate), (skipped, _) = (
        opened(**switches).convert(waveform, SAMPLE_RATE, NOISY) for switches in ({}, SKIPPING)
    )
    last = int(np.flatnonzero(skipped)[-1])
    hum = np.abs(plain[last - rate // 50 : last + rate // 50]).max()
    assert hum > 1e-3
    assert np.abs(skipped[last - 3 :]).max() < 0.02 * hum


def test_memory_may_run_out_beside_a_gap(
    opened: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_short_chunks(monkeypatch, 4.0)
    synthesizer = voice()
    infer = synthesizer.infer

    def limited(features: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if features.shape[1] > 450:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        rendered: torch.Tensor = infer(features, *arguments, **options)
        return rendered

    synthesizer.infer = limited
    waveform = np.concatenate([tone(1), silence(2), tone(1)])
    converted, rate = opened(synthesizer=synthesizer, **SKIPPING).convert(waveform, SAMPLE_RATE, QUIET)
    assert len(converted) == 4 * rate
    assert np.abs(converted[: rate // 2]).max() > 1e-2
    assert np.abs(converted[-rate // 2 :]).max() > 1e-2
    assert not converted[round(1.4 * rate) : round(2.6 * rate)].any()
