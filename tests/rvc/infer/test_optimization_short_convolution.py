"""Convolutions by short transforms, and residual blocks made of them, against torch's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization import fast_layers
from ultimate_rvc.rvc.infer.optimization.fast_layers import FastLayers
from ultimate_rvc.rvc.infer.optimization.short_convolution import (
    DirectConvolution,
    RowConvolution,
    ShortConvolution,
    row_convolution,
    transforms,
)
from ultimate_rvc.rvc.networks.hifigan import (
    PLAIN_LAYERS,
    ResidualBlock,
    same_convolution,
    source_convolution,
    upsampler,
)
from ultimate_rvc.rvc.networks.noise import Noise

FLOAT64_EXACT = {"rtol": 0, "atol": 1e-12}


@given(points=st.integers(2, 24).map(lambda half: 2 * half), taps=st.integers(1, 13), seed=st.integers(0, 99))
def test_transforms_multiply_to_a_correlation(points: int, taps: int, seed: int) -> None:
    taps = min(taps, points - 1)
    random = np.random.default_rng(seed)
    signal, weight = random.normal(size=points), random.normal(size=taps)
    forward, backward, of_weight = (matrix.numpy() for matrix in transforms(points, taps))
    answer = backward @ ((forward @ signal) * (of_weight @ weight))
    np.testing.assert_allclose(answer, np.correlate(signal, weight, "valid"), rtol=0, atol=1e-12)
    assert len(forward) == 3 * points // 2 - 1


def padded(rows: Tensor, convolution: RowConvolution) -> Tensor:
    result = torch.zeros(
        max(convolution.rows_read(len(rows)), convolution.margin + len(rows)), rows.shape[1], dtype=rows.dtype
    )
    result[convolution.margin : convolution.margin + len(rows)] = rows
    return result


@settings(deadline=None)
@given(
    kernel_size=st.sampled_from([3, 5, 7, 9, 11, 13]),
    dilation=st.integers(1, 5),
    samples=st.integers(1, 200),
    points=st.sampled_from([16, 24, 32]),
    direct=st.booleans(),
)
@torch.inference_mode()
def test_a_row_convolution_is_torchs_own(
    kernel_size: int, dilation: int, samples: int, points: int, direct: bool
) -> None:
    torch.manual_seed(samples)
    plain = same_convolution(6, kernel_size, dilation).double()
    convolution = DirectConvolution(plain) if direct else ShortConvolution(plain, points)
    rows = torch.randn(samples, 6, dtype=torch.float64)
    expected = plain(rows.T[None])[0].T
    output = convolution(padded(rows, convolution), samples).reshape(-1, 6)
    assert len(output) == convolution.rows_written(samples) >= samples
    torch.testing.assert_close(output[:samples], expected, **FLOAT64_EXACT)
    around = torch.randn(convolution.rows_written(samples), 6, dtype=torch.float64)
    summed = around.clone()
    convolution.add_to(summed, padded(rows, convolution), samples)
    torch.testing.assert_close(summed[:samples], around[:samples] + expected, **FLOAT64_EXACT)


@torch.inference_mode()
def test_in_float32_it_is_as_exact_as_the_plain_convolution() -> None:
    torch.manual_seed(0)
    plain = same_convolution(64, 11, 3)
    rows = torch.randn(3000, 64)
    convolution = row_convolution(plain)
    assert isinstance(convolution, ShortConvolution)
    exact = plain.double()(rows.double().T[None])[0].T
    output = convolution(padded(rows, convolution), 3000).reshape(-1, 64)[:3000].double()
    assert (output - exact).square().mean() < 1e-12 * exact.square().mean()  # 120 dB


@pytest.mark.parametrize(
    ("channels", "kernel_size", "kind"),
    [
        (256, 3, DirectConvolution),
        (64, 7, ShortConvolution),
        (32, 7, DirectConvolution),
        (32, 11, ShortConvolution),
        (16, 11, DirectConvolution),
    ],
)
def test_transforms_are_used_where_they_pay(channels: int, kernel_size: int, kind: type) -> None:
    assert isinstance(row_convolution(same_convolution(channels, kernel_size, 1)), kind)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 700), piece_values=st.integers(1, 9000), shorter=st.integers(0, 300))
@torch.inference_mode()
def test_fast_blocks_are_the_plain_ones(samples: int, piece_values: int, shorter: int) -> None:
    torch.manual_seed(samples)
    # Wide enough that long kernels go through transforms.
    blocks = [ResidualBlock(32, kernel_size, (1, 3, 5)).double() for kernel_size in (3, 7, 11)]
    hidden = torch.randn(2, 32, samples, dtype=torch.float64)
    valid = (samples, max(samples - shorter, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_layers, "PIECE_VALUES", piece_values)
        fast = FastLayers().mean_of_blocks(hidden.clone(), blocks, valid)
    plain = PLAIN_LAYERS.mean_of_blocks(hidden, blocks, valid)
    for item, length in enumerate(valid):
        torch.testing.assert_close(fast[item, :, :length], plain[item, :, :length], **FLOAT64_EXACT)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.integers(2, 12),
    surplus=st.integers(0, 26),
    following=st.sampled_from([(), (2,), (5, 2)]),
    samples=st.integers(1, 60),
)
@torch.inference_mode()
def test_upsampling_as_products_is_the_plain_one(
    rate: int, surplus: int, following: tuple[int, ...], samples: int
) -> None:
    torch.manual_seed(samples)
    config = replace(
        small_config(),
        upsample_rates=(rate, *following),
        upsample_kernel_sizes=(rate + surplus, *(2 * later for later in following)),
        upsample_initial_channel=16,
    )
    layers = (upsampler(config, 0).double(), source_convolution(config, 0).double())
    hidden = torch.randn(2, 16, samples, dtype=torch.float64)
    source = torch.randn(2, 1, samples * config.hop_length, dtype=torch.float64)
    for heard, source_conv in ((source, layers[1]), (None, None)):
        fast = FastLayers().upsample(hidden, layers[0], heard, source_conv)
        plain = PLAIN_LAYERS.upsample(hidden, layers[0], heard, source_conv)
        torch.testing.assert_close(fast, plain, **FLOAT64_EXACT)


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_the_output_as_products_is_the_plain_one(bias: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv1d(24, 1, 7, padding=3, bias=bias).double()
    hidden = torch.randn(2, 24, 501, dtype=torch.float64)
    fast = FastLayers().output(hidden, convolution)
    torch.testing.assert_close(fast, PLAIN_LAYERS.output(hidden, convolution), **FLOAT64_EXACT)


@pytest.mark.parametrize("vocoder", list(Vocoder))
@torch.inference_mode()
def test_every_vocoder_sounds_the_same_with_them(vocoder: Vocoder) -> None:
    synthesizer = small_synthesizer(vocoder, config=small_config(initial_channels=256)).double()
    features, pitch, f0_hz, speaker_id = random_inputs(2, 40)
    speaker = synthesizer.speaker(speaker_id)
    latent = synthesizer.latent(features, pitch, speaker, Noise(0.0))
    assert f0_hz is not None
    source = synthesizer.vocoder.excitation(f0_hz, Noise(0.0))
    for valid in (None, (40, 17)):
        inputs = (latent.clone(), source.clone(), speaker, Noise(0.0), valid)
        plain = synthesizer.vocoder(*inputs)
        fast = synthesizer.vocoder(*inputs, FastLayers())
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_weights_are_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Conv1d] = []

    def counted(convolution: nn.Conv1d) -> RowConvolution:
        made.append(convolution)
        return row_convolution(convolution)

    monkeypatch.setattr(fast_layers, "row_convolution", counted)
    layers, blocks = FastLayers(), [ResidualBlock(8, 3, (1, 3))]
    for _ in range(3):
        layers.mean_of_blocks(torch.randn(1, 8, 50), blocks, None)
    assert len(made) == 4
