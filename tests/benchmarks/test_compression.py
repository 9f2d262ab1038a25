"""That what benchmarks/compression.py measures is what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compression import ConvolutionAsLinear, pairs_of, without_smallest_channels, without_smallest_weights
from small_pipeline import small_pipeline, snr_db, tone, use_simple_pitch
from ultimate_rvc.rvc.infer.settings import ConversionSettings

SETTINGS = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0)


def test_a_convolution_as_a_product_is_the_same() -> None:
    convolution = nn.Conv1d(8, 6, 7, dilation=3, padding=9)
    hidden = torch.randn(2, 8, 50)
    torch.testing.assert_close(ConvolutionAsLinear(convolution)(hidden), convolution(hidden))


def test_pruned_channels_are_gone_and_pruned_weights_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    expected, _ = small_pipeline().convert(tone(0.5), 16_000, SETTINGS)
    fewer, sparse = small_pipeline(), small_pipeline()
    channels = [first.out_channels for (_, _, first), _ in pairs_of(fewer)]
    with torch.no_grad():
        without_smallest_channels(fewer, share=0.25)
        without_smallest_weights(sparse, share=0.5)
    kept = [(first.out_channels, second.in_channels) for (_, _, first), (_, _, second) in pairs_of(fewer)]
    assert kept == [(count - round(count * 0.25), count - round(count * 0.25)) for count in channels]
    assert all(
        float((layer.weight == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
        for pair in pairs_of(sparse)
        for _, _, layer in pair
    )
    for changed in (fewer, sparse):
        converted, _ = changed.convert(tone(0.5), 16_000, SETTINGS)
        assert 0 < snr_db(expected, converted) < 100


def test_what_torch_would_do_anyway_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    expected, _ = small_pipeline().convert(tone(0.5), 16_000, SETTINGS)
    whole = small_pipeline()
    with torch.no_grad():
        without_smallest_channels(whole, share=0.0)
    assert snr_db(expected, whole.convert(tone(0.5), 16_000, SETTINGS)[0]) > 100
