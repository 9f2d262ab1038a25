"""Half precision: which type, what runs in it, what stays, and what happens when it overflows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from small_synthesizer import random_inputs, small_synthesizer
from ultimate_rvc.choices import Backend, Vocoder
from ultimate_rvc.rvc.infer.optimization import precision as precision_module
from ultimate_rvc.rvc.infer.optimization.precision import (
    Precision,
    all_finite,
    float32_arithmetic,
    resolve_precision,
)
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.pitch.rmvpe_network import BidirectionalGRU, ConvBlock

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")
FRAMES = 30
HALF_TYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Choice:
    use_fp16: bool = False
    use_bf16: bool = False
    use_tf32: bool = False
    backend: Backend = Backend.TORCH


@pytest.fixture(params=["Ampere", "Turing", "Pascal"])
def cuda_generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    capability = {"Ampere": (8, 0), "Turing": (7, 5), "Pascal": (6, 1)}[request.param]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    return str(request.param)


def cpu_with(monkeypatch: pytest.MonkeyPatch, *capabilities: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(capabilities, True))


def test_nothing_asked_for_is_float32_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    for device in (CPU, CUDA, MPS):
        assert resolve_precision(Choice(), device) is torch.float32
    assert not caplog.messages


def test_bfloat16_on_cuda_falls_back_step_by_step(
    cuda_generation: str, caplog: pytest.LogCaptureFixture
) -> None:
    dtype = resolve_precision(Choice(use_bf16=True), CUDA)
    to_float16 = "cuda:0 has no fast bfloat16; using float16 instead."
    to_float32 = "cuda:0 has no fast float16; using float32 instead."
    assert (dtype, caplog.messages) == {
        "Ampere": (torch.bfloat16, []),
        "Turing": (torch.float16, [to_float16]),
        "Pascal": (torch.float32, [to_float16, to_float32]),
    }[cuda_generation]


def test_float16_on_cuda_needs_volta_or_later(cuda_generation: str) -> None:
    expected = torch.float32 if cuda_generation == "Pascal" else torch.float16
    assert resolve_precision(Choice(use_fp16=True), CUDA) is expected


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_bfloat16_on_apple_gpus_is_tried(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, expected: torch.dtype
) -> None:
    def ones(*shape: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        if not has_bfloat16:
            raise TypeError("BFloat16 is not supported on MPS")
        return torch.tensor(1.0).expand(*shape)

    monkeypatch.setattr(precision_module, "torch", SimpleNamespace(**vars(torch) | {"ones": ones}))
    assert resolve_precision(Choice(use_bf16=True), MPS) is expected
    assert resolve_precision(Choice(use_fp16=True), MPS) is torch.float16


@pytest.mark.parametrize(
    ("capabilities", "choice", "expected"),
    [
        (("avx512_bf16",), Choice(use_bf16=True), torch.bfloat16),
        (("bf16",), Choice(use_bf16=True), torch.bfloat16),  # ARM
        (("avx512_fp16",), Choice(use_bf16=True), torch.float32),  # float16 was not asked for
        (("avx512_fp16",), Choice(use_bf16=True, use_fp16=True), torch.float16),
        (("amx_fp16",), Choice(use_fp16=True), torch.float16),
        (("avx512_bf16",), Choice(use_fp16=True), torch.float32),
        ((), Choice(use_bf16=True), torch.float32),
    ],
)
def test_a_cpu_uses_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, capabilities: tuple[str, ...], choice: Choice, expected: torch.dtype
) -> None:
    cpu_with(monkeypatch, *capabilities)
    assert resolve_precision(choice, CPU) is expected


def test_each_step_down_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu_with(monkeypatch)
    resolve_precision(Choice(use_bf16=True), CPU)
    assert caplog.messages == ["cpu has no fast bfloat16; using float32 instead."]


def render(synthesizer: Synthesizer) -> Tensor:
    return synthesizer.infer(*random_inputs(2, FRAMES), noise_scale=0, source_noise_scale=0)


def signal_to_noise_db(reference: Tensor, other: Tensor) -> float:
    return float(10 * torch.log10(reference.square().mean() / (reference - other).square().mean()))


@pytest.mark.parametrize("dtype", HALF_TYPES)
@pytest.mark.parametrize("vocoder", list(Vocoder))
def test_a_half_precision_voice_sounds_like_the_float32_one(vocoder: Vocoder, dtype: torch.dtype) -> None:
    synthesizer = small_synthesizer(vocoder)
    reference = render(synthesizer)
    assert Precision(CPU, dtype).prepare(synthesizer) > 0
    half = render(synthesizer)
    assert half.dtype is torch.float32
    assert 40 < signal_to_noise_db(reference, half) < 90  # above 90 dB it would not have been half


def test_only_residual_blocks_are_half() -> None:
    synthesizer = small_synthesizer()
    Precision(CPU, torch.bfloat16).prepare(synthesizer)
    for name, weight in synthesizer.named_parameters():
        expected = torch.bfloat16 if name.startswith("dec.resblocks.") else torch.float32
        assert weight.dtype is expected, name


def test_convolutions_of_residual_blocks_run_in_half_precision() -> None:
    synthesizer = small_synthesizer()
    precision = Precision(CPU, torch.bfloat16)
    precision.prepare(synthesizer)
    types: dict[str, torch.dtype] = {}
    for name, module in synthesizer.dec.named_modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d, nn.Linear)):
            module.register_forward_hook(
                lambda module, given, output, name=name: types.__setitem__(name, output.dtype)
            )
    render(synthesizer)
    half = {name for name, dtype in types.items() if dtype is torch.bfloat16}
    assert half == {name for name in types if name.startswith("resblocks.")}
    assert "m_source.l_linear" in types
    with precision.float32():
        render(synthesizer)
    assert set(types.values()) == {torch.float32}


def test_preparing_twice_changes_nothing_more() -> None:
    synthesizer = small_synthesizer()
    reference = render(synthesizer)
    precision = Precision(CPU, torch.bfloat16)
    blocks = precision.prepare(synthesizer)
    half = render(synthesizer)
    assert (blocks, precision.prepare(synthesizer)) == (12, 0)
    assert torch.equal(render(synthesizer), half)
    with precision.float32():
        assert torch.equal(render(synthesizer), reference)


def test_float32_leaves_the_network_alone() -> None:
    synthesizer = small_synthesizer()
    weights = dict(synthesizer.named_parameters())
    assert Precision(CPU, torch.float32).prepare(synthesizer) == 0
    assert all(weight is weights[name] for name, weight in synthesizer.named_parameters())
    assert not any("forward" in vars(module) for module in synthesizer.modules())


def test_float32_is_exact_again_and_ends_even_after_an_error() -> None:
    synthesizer = small_synthesizer()
    reference = render(synthesizer)
    precision = Precision(CPU, torch.bfloat16)
    precision.prepare(synthesizer)
    half = render(synthesizer)
    with contextlib.suppress(RuntimeError), precision.float32():
        assert torch.equal(render(synthesizer), reference)
        raise RuntimeError
    assert torch.equal(render(synthesizer), half)


def test_a_network_prepared_in_inference_mode_serves_outside_of_it() -> None:
    synthesizer = small_synthesizer()
    precision = Precision(CPU, torch.bfloat16)
    with torch.inference_mode():
        precision.prepare(synthesizer)
        inside = render(synthesizer)
    assert torch.equal(render(synthesizer), inside)


def small_hubert(*, stable_layer_norm: bool) -> HubertModel:
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=stable_layer_norm,
        feat_extract_norm="layer" if stable_layer_norm else "group",
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )
    torch.manual_seed(3)
    return HubertModel(config).eval().requires_grad_(False)


@pytest.mark.parametrize("stable_layer_norm", [False, True])
def test_hubert_gives_float32_features_close_to_its_own(stable_layer_norm: bool) -> None:
    network = small_hubert(stable_layer_norm=stable_layer_norm)
    audio = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1)) * 0.1
    reference = network(audio).last_hidden_state
    precision = Precision(CPU, torch.bfloat16)
    # Three transformer layers, and the convolution layers but for the one that is normed over time.
    assert precision.prepare(network) == (10 if stable_layer_norm else 9)
    half = network(audio).last_hidden_state
    assert half.dtype is torch.float32
    assert 30 < signal_to_noise_db(reference, half) < 90
    with precision.float32():
        assert torch.equal(network(audio).last_hidden_state, reference)


def test_networks_that_find_f0_stay_as_they_are() -> None:
    network = nn.ModuleList([ConvBlock(1, 2), BidirectionalGRU(4, 4)])
    assert Precision(CPU, torch.bfloat16).prepare(network) == 0
    assert all(weight.dtype is torch.float32 for weight in network.parameters())


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20),
    broken=st.sampled_from([None, float("nan"), float("inf"), -float("inf")]),
)
@settings(max_examples=50, deadline=None)
def test_all_finite_finds_the_one_that_is_not(values: list[float], broken: float | None) -> None:
    tensor = torch.tensor(values if broken is None else [*values, broken], dtype=torch.float32)
    flag = all_finite(tensor)
    assert (flag.shape, flag.dtype, bool(flag)) == ((), torch.bool, broken is None)


def overflowing_synthesizer() -> Synthesizer:
    """A voice that a residual block of its last stage takes beyond float16, and back: float32 bears it."""
    synthesizer = small_synthesizer()
    with torch.no_grad():
        synthesizer.dec.resblocks[-1].convs2[-1].bias.fill_(1e5)
        synthesizer.dec.conv_post.weight.mul_(1e-5)
    return synthesizer


def test_an_overflowed_window_is_silent_and_named_until_it_is_done_in_float32(
    caplog: pytest.LogCaptureFixture,
) -> None:
    synthesizer = overflowing_synthesizer()
    reference = render(synthesizer)
    assert reference.isfinite().all()
    precision = Precision(CPU, torch.float16)
    precision.prepare(synthesizer)
    windows = precision.finite_windows()
    silenced = windows.accept(["first", "second"], list(render(synthesizer)))
    assert [float(window.abs().max()) for window in silenced] == [0.0, 0.0]
    assert windows.failed() == ["first", "second"]
    assert caplog.messages == ["2 of 2 windows overflowed in float16; computing them again in float32."]
    with precision.float32():
        assert torch.equal(render(synthesizer), reference)


def test_infinity_that_tanh_makes_finite_is_seen() -> None:
    synthesizer = small_synthesizer()
    precision = Precision(CPU, torch.float16)
    precision.prepare(synthesizer)
    # One infinite number among finite ones, as an overflow in the last stage leaves it.
    synthesizer.dec.conv_post(torch.full((1, 2, 8), torch.inf))
    windows = precision.finite_windows()
    windows.accept(["spoilt"], [torch.ones(4)])
    windows.accept(["sound"], [torch.ones(4)])
    assert windows.failed() == ["spoilt"]


def test_only_windows_that_are_not_finite_are_named() -> None:
    windows = Precision(CPU, torch.float16).finite_windows()
    sound, broken = torch.ones(4), torch.tensor([1.0, torch.nan])
    first, second = windows.accept([0, 1], [sound, broken])
    (third,) = windows.accept([2], [sound])
    assert (first.tolist(), second.tolist(), third.tolist()) == ([1.0] * 4, [0.0] * 2, [1.0] * 4)
    assert windows.failed() == [1]


def test_float32_keeps_no_book() -> None:
    windows = Precision(CPU, torch.float32).finite_windows()
    broken = torch.tensor([torch.nan])
    assert windows.accept([0], [broken])[0] is broken
    assert windows.failed() == []


def test_no_window_failed_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    windows = Precision(CPU, torch.float16).finite_windows()
    windows.accept([0], [torch.ones(2)])
    assert windows.failed() == []
    assert not caplog.messages


def cuda_arithmetic() -> list[str]:
    return [
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cudnn.rnn.fp32_precision,
    ]


@pytest.mark.parametrize(("tf32", "inside"), [(True, "tf32"), (False, "ieee")])
def test_float32_arithmetic_of_cuda_is_set_and_put_back(tf32: bool, inside: str) -> None:
    before = cuda_arithmetic()
    with contextlib.suppress(RuntimeError), float32_arithmetic(CUDA, tf32=tf32):
        assert cuda_arithmetic() == [inside] * 3
        raise RuntimeError
    assert cuda_arithmetic() == before
    with float32_arithmetic(CPU, tf32=True):
        assert cuda_arithmetic() == before


def test_tf32_is_for_encoder_and_synthesizer_only_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_tensors = Precision(CPU, torch.float32, tf32=True)
    monkeypatch.setattr(cpu_tensors, "device", CUDA)

    def arithmetic_of(stage: str) -> str:
        with cpu_tensors.stage(stage):
            return cuda_arithmetic()[0]

    stages = ("f0", "encode", "retrieve", "synthesize")
    assert [arithmetic_of(stage) for stage in stages] == ["ieee", "tf32", "ieee", "tf32"]
    with cpu_tensors.float32():
        assert arithmetic_of("synthesize") == "ieee"
    cpu_tensors.tf32 = False
    assert arithmetic_of("synthesize") == "ieee"


def test_the_configuration_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_with(monkeypatch, "avx512_bf16")
    precision = Precision.for_config(Choice(use_bf16=True, use_tf32=True), CPU)
    assert (precision.dtype, precision.tf32, precision.is_half) == (torch.bfloat16, True, True)
    assert not Precision.for_config(Choice(), CPU).is_half
