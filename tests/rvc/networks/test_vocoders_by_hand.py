"""MRF HiFi-GAN and RefineGAN against their definitions, written out in numpy for a tiny case.

No second implementation of these two is at hand, so the expected values are derived here from the
description of the networks: plain sums over samples and taps, with nothing of ours but the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchaudio

from small_synthesizer import small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.refinegan import Downsampler, NoiseInjection, RefineGAN
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

Array = np.ndarray[Any, np.dtype[np.float64]]
Weights = dict[str, Array]

RATES = (4, 2)
KERNELS = (8, 4)
HOP = 8
SAMPLE_RATE = 800
FRAMES = 7
F0_HZ = np.array([31.0, 35.5, 0.0, 0.0, 60.25, 58.0, 100.0])
RESBLOCK_KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)
TOLERANCE = 1e-5


def convolve(
    signal: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: int | None = None,
) -> Array:
    """Cross-correlate (channels, samples) with (out, channels, taps), keeping the length by default."""
    taps = weight.shape[2]
    margin = dilation * (taps - 1) // 2 if padding is None else padding
    padded = np.pad(signal, ((0, 0), (margin, margin)))
    count = (padded.shape[1] - dilation * (taps - 1) - 1) // stride + 1
    output = np.zeros((weight.shape[0], count))
    for sample in range(count):
        for tap in range(taps):
            output[:, sample] += weight[:, :, tap] @ padded[:, sample * stride + tap * dilation]
    return output if bias is None else output + bias[:, None]


def convolve_transposed(signal: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array:
    """Let every sample paint its kernel, then cut ``padding`` off both ends."""
    taps = weight.shape[2]
    painted = np.zeros((weight.shape[1], (signal.shape[1] - 1) * stride + taps))
    for sample in range(signal.shape[1]):
        for tap in range(taps):
            painted[:, sample * stride + tap] += weight[:, :, tap].T @ signal[:, sample]
    return painted[:, padding : painted.shape[1] - padding] + bias[:, None]


def leaky(signal: Array, slope: float) -> Array:
    return np.where(signal > 0, signal, slope * signal)


def stretch_linearly(signal: Array, rate: int) -> Array:
    """Interpolate between sample centres, holding the ends."""
    positions = np.clip((np.arange(signal.shape[1] * rate) + 0.5) / rate - 0.5, 0, signal.shape[1] - 1)
    return np.stack([np.interp(positions, np.arange(signal.shape[1]), channel) for channel in signal])


def keep_one_in(signal: Array, rate: int) -> Array:
    """Low-pass with a Kaiser-windowed sinc of 64 zero crossings, then keep every ``rate``-th sample."""
    rolloff, beta, crossings = 0.9475937167399596, 14.769656459379492, 64
    output = np.zeros((signal.shape[0], -(-signal.shape[1] // rate)))
    for kept in range(output.shape[1]):
        lag = (np.arange(signal.shape[1]) - kept * rate) * rolloff / rate
        inside = np.abs(lag) < crossings
        window = np.i0(beta * np.sqrt(1 - np.where(inside, lag / crossings, 0) ** 2)) / np.i0(beta)
        output[:, kept] = signal @ (rolloff / rate * np.sinc(lag) * window * inside)
    return output


def tiny_config() -> SynthesizerConfig:
    return SynthesizerConfig(
        **(vars(small_config(RATES, initial_channels=16)) | {"sample_rate": SAMPLE_RATE})
    )


def tiny_case(vocoder: Vocoder) -> tuple[Synthesizer, Weights, Array, Array]:
    """Return a synthesizer, its vocoder's weights, a latent (6, frames) and a speaker vector (5, 1)."""
    synthesizer = small_synthesizer(vocoder, config=tiny_config())
    synthesizer.dec.conv_post.weight.mul_(0.2)  # keeps the final tanh from saturating
    weights = {key: tensor.double().numpy() for key, tensor in synthesizer.dec.state_dict().items()}
    rng = np.random.RandomState(1)
    return synthesizer, weights, rng.standard_normal((6, FRAMES)), rng.standard_normal((5, 1))


def rendered(synthesizer: Synthesizer, latent: Array, speaker: Array) -> Array:
    vocoder = synthesizer.vocoder
    f0_hz, latent_tensor, speaker_tensor = (
        torch.from_numpy(part)[None].float() for part in (F0_HZ, latent, speaker)
    )
    with torch.inference_mode():
        source = vocoder.excitation(f0_hz, Noise(0.0))
        return vocoder(latent_tensor, source, speaker_tensor, Noise(0.0))[0, 0].double().numpy()


def residual(signal: Array, weights: Weights, names: list[tuple[str, str]], slope: float) -> Array:
    for dilation, (first, second) in zip(DILATIONS, names, strict=True):
        branch = convolve(
            leaky(signal, slope), weights[f"{first}.weight"], weights[f"{first}.bias"], dilation=dilation
        )
        branch = convolve(leaky(branch, slope), weights[f"{second}.weight"], weights[f"{second}.bias"])
        signal = signal + branch
    return signal


def mrf_by_hand(weights: Weights, latent: Array, speaker: Array) -> Array:
    f0_hz = np.repeat(F0_HZ, HOP)
    phase = np.cumsum(f0_hz) / SAMPLE_RATE
    sines = 0.1 * np.sin(2 * np.pi * phase * np.arange(1, 10)[:, None]) * (f0_hz > 0)
    source = np.tanh(weights["m_source.l_linear.weight"] @ sines + weights["m_source.l_linear.bias"][:, None])
    hidden = convolve(latent, weights["conv_pre.weight"], weights["conv_pre.bias"])
    hidden = hidden + weights["cond.weight"][:, :, 0] @ speaker + weights["cond.bias"][:, None]
    for stage, (rate, kernel) in enumerate(zip(RATES, KERNELS, strict=True)):
        hidden = convolve_transposed(
            leaky(hidden, 0.1),
            weights[f"upsamples.{stage}.weight"],
            weights[f"upsamples.{stage}.bias"],
            rate,
            (kernel - rate) // 2,
        )
        stride, padding = (2, 1) if stage == 0 else (1, 0)
        hidden = hidden + convolve(
            source,
            weights[f"noise_convs.{stage}.weight"],
            weights[f"noise_convs.{stage}.bias"],
            stride=stride,
            padding=padding,
        )
        hidden = (
            sum(
                residual(hidden, weights, [(f"{name}.{k}.conv1", f"{name}.{k}.conv2") for k in range(3)], 0.1)
                for name in (f"mrfs.{stage}.{j}.layers" for j in range(3))
            )
            / 3
        )
    return np.tanh(convolve(leaky(hidden, 0.01), weights["conv_post.weight"], weights["conv_post.bias"]))[0]


def refinegan_by_hand(weights: Weights, latent: Array, speaker: Array) -> Array:
    f0_hz = stretch_linearly(F0_HZ[None], HOP)
    sine = 0.1 * np.sin(2 * np.pi * np.cumsum(f0_hz, axis=1) / SAMPLE_RATE) * (f0_hz > 0)
    source = np.tanh(weights["m_source.merge.0.weight"] @ sine)
    hidden = convolve(source, weights["pre_conv.weight"], weights["pre_conv.bias"])
    skips = []
    for level, rate in enumerate(reversed(RATES)):
        hidden = leaky(hidden, 0.2)
        skips.append(hidden)
        name = f"downsample_blocks.{level}"
        hidden = convolve(keep_one_in(hidden, rate), weights[f"{name}.weight"], weights[f"{name}.bias"])
    entry = convolve(latent, weights["mel_conv.weight"], weights["mel_conv.bias"])
    entry = entry + weights["cond.weight"][:, :, 0] @ speaker + weights["cond.bias"][:, None]
    hidden = np.concatenate((entry, hidden))
    for stage, rate in enumerate(RATES):
        hidden = np.concatenate((stretch_linearly(leaky(hidden, 0.2), rate), skips.pop()))
        name = f"upsample_conv_blocks.{stage}"
        hidden = convolve(hidden, weights[f"{name}.input_conv.weight"], weights[f"{name}.input_conv.bias"])
        hidden = (
            sum(
                leaky(
                    residual(
                        leaky(hidden, 0.2),
                        weights,
                        [(f"{part}.convs1.{k}", f"{part}.convs2.{k}") for k in range(3)],
                        0.2,
                    ),
                    0.2,
                )
                for part in (f"{name}.blocks.{j}.1" for j in range(3))
            )
            / 3
        )
    return np.tanh(convolve(leaky(hidden, 0.2), weights["conv_post.weight"]))[0]


@pytest.mark.parametrize(
    ("vocoder", "by_hand"),
    [(Vocoder.MRF_HIFI_GAN, mrf_by_hand), (Vocoder.REFINE_GAN, refinegan_by_hand)],
    ids=["MRF", "RefineGAN"],
)
def test_vocoder_equals_its_definition(vocoder: Vocoder, by_hand: Any) -> None:
    synthesizer, weights, latent, speaker = tiny_case(vocoder)
    expected = by_hand(weights, latent, speaker)
    assert expected.shape == (FRAMES * HOP,)
    assert expected.std() > 0.05
    assert np.abs(expected).max() < 0.999  # a saturated output would hide differences
    np.testing.assert_allclose(rendered(synthesizer, latent, speaker), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rate", [2, 3, 8, 10, 12])
def test_downsampler_equals_torchaudio(rate: int) -> None:
    torch.manual_seed(0)
    signal = torch.randn(2, 3, rate * 40)
    expected = torchaudio.functional.resample(
        signal,
        rate,
        1,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    torch.testing.assert_close(Downsampler(rate)(signal), expected, rtol=0, atol=1e-5)


def test_noise_injection_weighs_random_numbers_per_channel() -> None:
    injection = NoiseInjection(2)
    with torch.no_grad():
        injection.weight.copy_(torch.tensor([0.5, 0.0]))
    hidden = torch.full((1, 2, 5), -1.0)
    drawn = torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(9))
    injected = injection(hidden, Noise(0.8, torch.Generator().manual_seed(9)))
    expected = torch.nn.functional.leaky_relu(hidden + 0.8 * drawn * torch.tensor([[0.5], [0.0]]), 0.2)
    torch.testing.assert_close(injected, expected)
    assert torch.equal(injection(hidden, Noise(0.0)), torch.full((1, 2, 5), -0.2))


def test_refinegan_refuses_channels_it_cannot_share_out() -> None:
    with pytest.raises(VoiceFileError, match="16 initial channels"):
        RefineGAN(small_config((10, 8, 2, 2), initial_channels=16))


STOCK_LAYERS = {  # names and shapes of public voice files, after folding
    Vocoder.HIFI_GAN: {
        "dec.m_source.l_linear.weight": (1, 1),
        "dec.conv_pre.weight": (512, 192, 7),
        "dec.cond.weight": (512, 256, 1),
        "dec.ups.0.weight": (512, 256, 16),
        "dec.ups.3.weight": (64, 32, 4),
        "dec.noise_convs.0.weight": (256, 1, 80),
        "dec.noise_convs.3.weight": (32, 1, 1),
        "dec.resblocks.11.convs2.2.weight": (32, 32, 11),
        "dec.conv_post.weight": (1, 32, 7),
    },
    Vocoder.MRF_HIFI_GAN: {
        "dec.m_source.l_linear.weight": (1, 9),
        "dec.upsamples.0.weight": (512, 256, 16),
        "dec.mrfs.3.2.layers.2.conv2.weight": (32, 32, 11),
        "dec.noise_convs.1.weight": (128, 1, 8),
        "dec.conv_post.bias": (1,),
    },
    Vocoder.REFINE_GAN: {
        "dec.m_source.merge.0.weight": (1, 1),
        "dec.pre_conv.weight": (16, 1, 7),
        "dec.pre_conv.bias": (16,),
        "dec.downsample_blocks.3.weight": (256, 128, 7),
        "dec.mel_conv.weight": (256, 192, 7),
        "dec.cond.weight": (256, 256, 1),
        "dec.upsample_conv_blocks.0.input_conv.weight": (256, 640, 7),
        "dec.upsample_conv_blocks.0.blocks.0.0.weight": (256,),
        "dec.upsample_conv_blocks.3.blocks.2.1.convs1.2.weight": (32, 32, 11),
        "dec.upsample_conv_blocks.3.blocks.2.2.weight": (32,),
        "dec.conv_post.weight": (1, 32, 7),
    },
}
SHARED_STOCK_LAYERS = {
    "enc_p.emb_phone.weight": (192, 768),
    "enc_p.emb_pitch.weight": (256, 192),
    "enc_p.encoder.attn_layers.5.emb_rel_k": (1, 21, 96),
    "enc_p.encoder.attn_layers.0.conv_o.weight": (192, 192, 1),
    "enc_p.encoder.norm_layers_2.5.gamma": (192,),
    "enc_p.encoder.ffn_layers.0.conv_1.weight": (768, 192, 3),
    "enc_p.proj.weight": (384, 192, 1),
    "flow.flows.0.pre.weight": (192, 96, 1),
    "flow.flows.6.enc.cond_layer.weight": (1152, 256, 1),
    "flow.flows.2.enc.in_layers.2.weight": (384, 192, 5),
    "flow.flows.2.enc.res_skip_layers.1.weight": (384, 192, 1),
    "flow.flows.2.enc.res_skip_layers.2.weight": (192, 192, 1),
    "flow.flows.4.post.weight": (96, 192, 1),
    "emb_g.weight": (109, 256),
}
# Counted from the description: one name missing or one too many fails a strict load.
TEXT_ENCODER_TENSORS = 2 + 1 + 6 * (4 * 2 + 2 + 2 * 2 + 2 * 2) + 2
FLOW_TENSORS = 4 * (2 + (1 + 3 + 3) * 2 + 2)
VOCODER_TENSORS = {
    Vocoder.HIFI_GAN: 2 + 2 + 2 + 4 * (2 + 2 + 3 * 6 * 2) + 1,
    Vocoder.MRF_HIFI_GAN: 2 + 2 + 2 + 4 * (2 + 2 + 3 * 6 * 2) + 2,
    Vocoder.REFINE_GAN: 1 + 2 + 2 + 2 + 4 * (2 + 2 + 3 * (2 + 6 * 2)) + 1,
}


@pytest.mark.parametrize("vocoder", list(Vocoder))
def test_stock_layers_have_the_names_and_shapes_of_voice_files(vocoder: Vocoder) -> None:
    stock = [1025, 32, 192, 192, 768, 2, 6, 3, 0, "1", [3, 7, 11], [[1, 3, 5]] * 3,
             [10, 10, 2, 2], 512, [16, 16, 4, 4], 109, 256, 40000]  # fmt: skip
    config = SynthesizerConfig.from_list(stock, phone_dim=768)
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in Synthesizer(config, has_f0=True, vocoder=vocoder).state_dict().items()
    }
    expected = SHARED_STOCK_LAYERS | STOCK_LAYERS[vocoder]
    assert {name: shapes.get(name) for name in expected} == expected
    assert len(shapes) == TEXT_ENCODER_TENSORS + FLOW_TENSORS + 1 + VOCODER_TENSORS[vocoder]
    assert ("dec.conv_post.bias" in shapes) is (vocoder is Vocoder.MRF_HIFI_GAN)
