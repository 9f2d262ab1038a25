"""Convolutions by short transforms, and residual blocks made of them, against torch's own."""

from __future__ import annotations

import math
import platform
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from small_pipeline import snr_db
from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder import fast_layers
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import has_bfloat16
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_products import CompiledProducts, TorchProducts
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_transforms import (
    PRODUCTS,
    Tiles,
    compiled_transforms,
)
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.fast_layers import FastLayers
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.short_convolution import (
    DirectConvolution,
    RowConvolution,
    ShortConvolution,
    row_convolution,
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


@settings(deadline=None)
@given(
    kernel_size=st.sampled_from([1, 3, 5, 7, 9, 11, 13, 17]),
    dilation=st.integers(1, 5),
    samples=st.integers(1, 400),
    channels=st.sampled_from([16, 32, 48]),
    slope=st.floats(0, 1),
    add=st.booleans(),
    kind=st.sampled_from([DirectConvolution, ShortConvolution]),
    on_x86=st.booleans(),
)
@torch.inference_mode()
def test_a_row_convolution_is_torchs_own(
    kernel_size: int,
    dilation: int,
    samples: int,
    channels: int,
    slope: float,
    add: bool,
    kind: type[DirectConvolution | ShortConvolution],
    on_x86: bool,
) -> None:
    torch.manual_seed(samples)
    plain = same_convolution(channels, kernel_size, dilation).double()
    with pytest.MonkeyPatch.context() as patch:
        if not on_x86:
            patch.setattr(platform, "machine", lambda: "arm64")
        convolution = kind(plain)
    rows, output = torch.randn(2, samples, channels, dtype=torch.float64)
    before = rows.clone()
    expected = plain(F.leaky_relu(rows, slope).T[None])[0].T + (output if add else 0)
    space = torch.full((convolution.space(samples),), math.nan, dtype=torch.float64)
    convolution(rows, slope, output, space, add=add)
    torch.testing.assert_close(output, expected, **FLOAT64_EXACT)
    assert torch.equal(rows, before)


@pytest.mark.parametrize("kernel_size", [3, 7, 11])
@torch.inference_mode()
def test_in_float32_it_is_as_exact_as_the_plain_convolution(kernel_size: int) -> None:
    torch.manual_seed(0)
    plain = same_convolution(64, kernel_size, 3)
    rows, output = torch.randn(2, 3000, 64)
    convolution = row_convolution(plain)
    assert isinstance(convolution, ShortConvolution)
    convolution(rows, 0.1, output, torch.empty(convolution.space(3000)), add=False)
    exact = plain.double()(F.leaky_relu(rows.double(), 0.1).T[None])[0].T
    assert (output - exact).square().mean() < 1e-12 * exact.square().mean()  # 120 dB


@torch.inference_mode()
def test_compiled_products_are_torchs_own() -> None:
    torch.manual_seed(0)
    for channels in (16, 48, 64, 256):
        weight = torch.randn(PRODUCTS, channels, channels)
        compiled, own = CompiledProducts(weight), TorchProducts(weight)
        for tiles in {compiled.least_tiles, 13, 24, 61}:
            spectra, expected, products = torch.randn(3, tiles, PRODUCTS, channels)
            compiled(spectra, products)
            own(spectra, expected)
            torch.testing.assert_close(products, expected, rtol=1e-4, atol=1e-4)


needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no products of bfloat16")


@needs_bfloat16
@torch.inference_mode()
def test_rounded_products_are_those_of_rounded_factors() -> None:
    torch.manual_seed(0)
    for channels in (16, 48, 64, 256):
        weight = torch.randn(PRODUCTS, channels, channels)
        compiled, exact = CompiledProducts(weight, rounded=True), TorchProducts(weight.bfloat16().double())
        for tiles in {compiled.least_tiles, 13, 61}:
            spectra = torch.randn(tiles, PRODUCTS, channels).bfloat16()
            products = torch.empty(tiles, PRODUCTS, channels)
            expected = torch.empty(products.shape, dtype=torch.float64)
            compiled(spectra, products)
            exact(spectra.double(), expected)
            torch.testing.assert_close(products.double(), expected, rtol=1e-4, atol=1e-4)
            with pytest.raises(AssertionError):
                compiled(spectra.float(), products)


@needs_bfloat16
@torch.inference_mode()
def test_rounded_spectra_are_the_spectra_rounded() -> None:
    torch.manual_seed(0)
    transforms, tiles = compiled_transforms(torch.float32), Tiles(500, 7, 2)
    rows, spectra = torch.randn(500, 48), torch.empty(tiles.count, PRODUCTS, 48)
    rounded = torch.empty(spectra.shape, dtype=torch.bfloat16)
    transforms.forward(rows, 0.1, tiles, spectra)
    transforms.forward(rows, 0.1, tiles, rounded)
    assert torch.equal(rounded, spectra.bfloat16())
    with pytest.raises(AssertionError):  # the way back takes none
        transforms.backward(rounded, torch.zeros(48), tiles, rows, add=False)


@needs_bfloat16
@pytest.mark.parametrize("kernel_size", [3, 7, 11])
@torch.inference_mode()
def test_a_convolution_with_rounded_factors_is_near(kernel_size: int) -> None:
    torch.manual_seed(0)
    plain = same_convolution(64, kernel_size, 3)
    rows, output = torch.randn(2, 3000, 64)
    convolution = row_convolution(plain, rounded=True)
    convolution(rows, 0.1, output, torch.empty(convolution.space(3000)), add=False)
    exact = plain(F.leaky_relu(rows, 0.1).T[None])[0].T
    assert snr_db(exact.numpy(), output.numpy()) > 45
    assert convolution.space(3000) < row_convolution(plain).space(3000)


@torch.inference_mode()
def test_only_float32_is_rounded() -> None:
    rows, outputs = torch.randn(300, 32).double(), torch.empty(2, 300, 32).double()
    plain = same_convolution(32, 7, 1).double()
    for output, rounded in zip(outputs, (False, True), strict=True):
        convolution = row_convolution(plain, rounded=rounded)
        convolution(rows, 0.1, output, rows.new_empty(convolution.space(300)), add=False)
    assert torch.equal(*outputs)


def test_compiled_code_refuses_what_would_leave_its_memory() -> None:
    transforms, tiles = compiled_transforms(torch.float32), Tiles(100, 7, 1)
    rows, spectra = torch.zeros(100, 16), torch.zeros(tiles.count, PRODUCTS, 16)
    transforms.forward(rows, 0.1, tiles, spectra)
    for wrong_rows, wrong_spectra in (
        (rows, spectra[1:]),
        (rows[1:], spectra),
        (rows.double(), spectra),
        (torch.zeros(100, 32), spectra),
        (torch.zeros(16, 100).T, spectra),
    ):
        with pytest.raises(AssertionError):
            transforms.forward(wrong_rows, 0.1, tiles, wrong_spectra)


@pytest.mark.parametrize(
    ("channels", "kernel_size", "dtype", "kind"),
    [
        (256, 3, torch.float32, ShortConvolution),
        (16, 11, torch.float64, ShortConvolution),
        (24, 11, torch.float32, DirectConvolution),
        (32, 19, torch.float32, DirectConvolution),
        (32, 11, torch.bfloat16, DirectConvolution),
    ],
)
def test_transforms_are_used_where_their_code_fits(
    channels: int, kernel_size: int, dtype: torch.dtype, kind: type
) -> None:
    assert isinstance(row_convolution(same_convolution(channels, kernel_size, 1).to(dtype)), kind)


@settings(max_examples=12, deadline=None)
@given(
    samples=st.integers(1, 700),
    piece_values=st.integers(1, 9000),
    shorter=st.integers(0, 300),
    threads=st.integers(1, 3),
)
@torch.inference_mode()
def test_fast_blocks_are_the_plain_ones(samples: int, piece_values: int, shorter: int, threads: int) -> None:
    torch.manual_seed(samples)
    blocks = [ResidualBlock(32, kernel_size, (1, 3, 5)).double() for kernel_size in (3, 7, 11)]
    hidden = torch.randn(2, 32, samples, dtype=torch.float64)
    valid = (samples, max(samples - shorter, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_layers, "PIECE_VALUES", piece_values)
        patch.setattr(torch, "get_num_threads", lambda: threads)
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
    features, pitch, f0_hz, speaker_id = random_inputs(2, 16)
    speaker = synthesizer.speaker(speaker_id)
    latent = synthesizer.latent(features, pitch, speaker, Noise(0.0))
    assert f0_hz is not None
    source = synthesizer.vocoder.excitation(f0_hz, Noise(0.0))
    for valid in (None, (16, 7)):
        inputs = (latent.clone(), source.clone(), speaker, Noise(0.0), valid)
        plain = synthesizer.vocoder(*inputs)
        fast = synthesizer.vocoder(*inputs, FastLayers())
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_weights_are_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Conv1d] = []

    def counted(convolution: nn.Conv1d, *, rounded: bool) -> RowConvolution:
        made.append(convolution)
        return row_convolution(convolution, rounded=rounded)

    monkeypatch.setattr(fast_layers, "row_convolution", counted)
    layers, blocks = FastLayers(), [ResidualBlock(8, 3, (1, 3))]
    for _ in range(3):
        layers.mean_of_blocks(torch.randn(1, 8, 50), blocks, None)
    assert len(made) == 4


@torch.inference_mode()
def test_pieces_leave_the_number_of_threads_and_raise_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = [ResidualBlock(16, 3, (1, 3))]
    hidden = torch.randn(1, 16, 4000)
    before = torch.get_num_threads()
    monkeypatch.setattr(fast_layers, "PIECE_VALUES", 16_000)
    torch.set_num_threads(2)
    try:
        FastLayers().mean_of_blocks(hidden, blocks, None)
        assert torch.get_num_threads() == 2

        def fails(*arguments: object, **options: object) -> None:
            raise MemoryError("no room")

        monkeypatch.setattr(ShortConvolution, "__call__", fails)
        with pytest.raises(MemoryError, match="no room"):
            FastLayers().mean_of_blocks(hidden, blocks, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
