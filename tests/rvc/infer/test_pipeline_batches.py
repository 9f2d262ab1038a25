"""Several recordings at once, short memory, overflow, near-duplicates: what is heard is that of one alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from small_pipeline import (
    EVERY_HALF,
    LevelEncoder,
    cpu_with,
    small_pipeline,
    snr_db,
    tone,
    use_short_chunks,
    use_simple_pitch,
)
from small_synthesizer import PHONE_DIM, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

NOISY = ConversionSettings(seed=3, index_rate=0.75)
RECORDINGS = [(tone(1.1), 16_000), (tone(3.2, 22_050), 22_050), (tone(0.4), 16_000)]
Infer = Callable[..., torch.Tensor]


@pytest.fixture(autouse=True)
def _short_chunks_and_simple_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    use_short_chunks(monkeypatch, 1.5)
    use_simple_pitch(monkeypatch)


def voice(vocoder: Vocoder = Vocoder.HIFI_GAN, *, has_f0: bool = True) -> Any:
    return small_synthesizer(vocoder, has_f0=has_f0, config=small_config((10, 4, 2), initial_channels=16))


def config(**switches: Any) -> OptimizationConfig:
    return OptimizationConfig(device="cpu", **switches)


@pytest.mark.parametrize("batch_size", [2, 4, "auto"])
@pytest.mark.parametrize(
    ("vocoder", "has_f0"),
    [
        (Vocoder.HIFI_GAN, True),
        (Vocoder.HIFI_GAN, False),
        (Vocoder.MRF_HIFI_GAN, True),
        (Vocoder.REFINE_GAN, True),
    ],
)
def test_recordings_at_once_sound_as_each_alone_noise_included(
    vocoder: Vocoder, has_f0: bool, batch_size: int | str
) -> None:
    encoder = LevelEncoder()
    together = small_pipeline(
        synthesizer=voice(vocoder, has_f0=has_f0),
        vocoder=vocoder,
        has_f0=has_f0,
        encoder=encoder,
        optimization=config(batch_size=batch_size),
    ).convert_all(RECORDINGS, NOISY)
    assert max(encoder.batches) > 1
    alone = small_pipeline(synthesizer=voice(vocoder, has_f0=has_f0), vocoder=vocoder, has_f0=has_f0)
    for recording, converted in zip(RECORDINGS, together, strict=True):
        expected, _ = alone.convert(*recording, NOISY)
        assert snr_db(expected, converted) > 80


@pytest.mark.parametrize("switches", [{"skip_silence": True}, {"fast_vocoder": True}])
def test_batches_go_with_gaps_and_tiles(switches: dict[str, Any]) -> None:
    gap = np.zeros(16_000, np.float32)
    recordings = [(np.concatenate([tone(1.0), gap, tone(0.5)]), 16_000), (tone(1.0), 16_000)]
    together = small_pipeline(synthesizer=voice(), optimization=config(batch_size=4, **switches))
    alone = small_pipeline(synthesizer=voice(), optimization=config(**switches))
    for recording, converted in zip(recordings, together.convert_all(recordings, NOISY), strict=True):
        assert snr_db(alone.convert(*recording, NOISY)[0], converted) > 80


def replace_infer(synthesizer: Any, replaced: Callable[[Infer], Infer]) -> Any:
    """The synthesizer with another way to render: what ``replaced`` makes of its own."""
    synthesizer.infer = replaced(synthesizer.infer)
    return synthesizer


def test_batches_shrink_when_memory_is_short_and_nothing_is_heard_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sizes: list[int] = []

    def with_room_for_two(infer: Infer) -> Infer:
        def limited(features: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
            sizes.append(len(features))
            if len(features) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return infer(features, *arguments, **options)

        return limited

    recordings = [(tone(1.0 + 0.1 * number), 16_000) for number in range(4)]
    limited = replace_infer(voice(), with_room_for_two)
    with caplog.at_level(logging.WARNING):
        converted = small_pipeline(synthesizer=limited, optimization=config(batch_size=4)).convert_all(
            recordings, NOISY
        )
    assert sizes == [4, 2, 2]
    assert "batch of 4; trying 2" in caplog.text
    alone = small_pipeline(synthesizer=voice())
    for recording, other in zip(recordings, converted, strict=True):
        assert snr_db(alone.convert(*recording, NOISY)[0], other) > 80


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(("switch", "precision"), [("use_fp16", "float16"), ("use_bf16", "bfloat16")])
def test_a_chunk_that_overflowed_is_computed_again_in_float32(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    switch: str,
    precision: str,
    batch_size: int,
) -> None:
    cpu_with(monkeypatch, *EVERY_HALF)
    rendered: list[int] = []

    def infinite_once(infer: Infer) -> Infer:
        def overflowing(features: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
            waveform = infer(features, *arguments, **options).clone()
            if not rendered:
                waveform[-1, 5_000] = torch.inf  # of the last of the first batch
            rendered.append(len(features))
            return waveform

        return overflowing

    waveform = tone(3.2)
    expected, rate = small_pipeline(synthesizer=voice()).convert(waveform, 16_000, NOISY)
    half = small_pipeline(synthesizer=voice(), optimization=config(**{switch: True}))
    in_half, _ = half.convert(waveform, 16_000, NOISY)
    encoder = LevelEncoder()
    pipeline = small_pipeline(
        synthesizer=replace_infer(voice(), infinite_once),
        encoder=encoder,
        optimization=config(**{switch: True}, batch_size=batch_size),
    )
    with caplog.at_level(logging.WARNING):
        converted, _ = pipeline.convert(waveform, 16_000, NOISY)
    chunks = sum(encoder.batches) - 1  # one of them twice
    assert chunks > 1
    assert sum(rendered) == chunks + 1
    assert (
        f"1 of {chunks} windows overflowed in {'float16' if switch == 'use_fp16' else 'bfloat16'}"
        in caplog.text
    )
    # One chunk is that of float32 to the last digits, the others are those of half precision.
    tenths = range(0, len(converted), rate // 10)
    nearness = [snr_db(*(w[start : start + rate // 10] for w in (expected, converted))) for start in tenths]
    assert max(nearness) > 80
    assert min(nearness) < 70
    assert snr_db(in_half, converted) > snr_db(in_half, expected)


def test_float32_is_taken_back_for_the_next_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_with(monkeypatch, *EVERY_HALF)
    loud = voice()
    pipeline = small_pipeline(synthesizer=loud, optimization=config(use_bf16=True))
    before, _ = pipeline.convert(tone(1), 16_000, NOISY)
    own, broken = loud.infer, [False, True]  # the first call breaks, the second does not

    def once(*arguments: Any, **options: Any) -> torch.Tensor:
        waveform = own(*arguments, **options)
        return waveform * (torch.nan if broken.pop() else 1)

    loud.infer = once
    redone, _ = pipeline.convert(tone(1), 16_000, NOISY)
    loud.infer = own
    after, _ = pipeline.convert(tone(1), 16_000, NOISY)
    assert before.tobytes() == after.tobytes()
    assert 20 < snr_db(redone, after) < 90


@dataclass
class DoubtfulRetriever:
    """Gives something else unless it is asked to be exact, and then says that it may be wrong."""

    doubts: bool = True
    dim: int = PHONE_DIM
    size: int = 40
    needs_exact: torch.Tensor | None = None
    asked: list[bool] = field(default_factory=list)

    def forget_doubts(self) -> None:
        self.needs_exact = None

    def blend(self, features: torch.Tensor, index_rate: float, *, exact: bool = False) -> torch.Tensor:
        self.asked.append(exact)
        if not exact:
            self.needs_exact = torch.tensor(self.doubts)
        return features + (1.0 if exact else 2.0)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_doubts_of_the_retriever_cost_one_exact_repetition(
    caplog: pytest.LogCaptureFixture, batch_size: int
) -> None:
    retriever = DoubtfulRetriever()
    pipeline = small_pipeline(
        retriever=retriever, synthesizer=voice(), optimization=config(batch_size=batch_size)
    )
    with caplog.at_level(logging.INFO):
        converted = pipeline.convert_all(RECORDINGS, NOISY)
    windows = len(retriever.asked) // 2
    assert windows > len(RECORDINGS)
    assert retriever.asked == [False] * windows + [True] * windows
    assert caplog.text.count("searched again, exactly") == 1
    always = DoubtfulRetriever()
    always.blend = lambda features, index_rate, exact=False: features + 1.0  # type: ignore[method-assign]
    expected = small_pipeline(
        retriever=always, synthesizer=voice(), optimization=config(batch_size=batch_size)
    ).convert_all(RECORDINGS, NOISY)
    assert [waveform.tobytes() for waveform in converted] == [waveform.tobytes() for waveform in expected]
    pipeline.convert_all(RECORDINGS[:1], NOISY)  # each job has its own doubts
    assert retriever.asked[2 * windows :] == [False, True]


def test_without_doubts_nothing_is_repeated() -> None:
    retriever = DoubtfulRetriever(doubts=False)
    small_pipeline(retriever=retriever, synthesizer=voice()).convert(tone(1), 16_000, NOISY)
    assert retriever.asked == [False]
