"""RoFormers on a processor: in pieces as in one, and in bfloat16 only where float32 was not asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from separation_material import FloatArray, load_stems, sdr_db, write_tiny_model
from ultimate_rvc.separation import pymss_network, remove_reverb, separate
from ultimate_rvc.separation.models import Effort

pytest.importorskip("pymss_core")  # Intel Macs cannot have it
transformer = importlib.import_module("pymss_core.modules.bs_roformer.transformer")
common = importlib.import_module("pymss_core.modules.bs_roformer.common")
cpu_roformer = importlib.import_module("ultimate_rvc.separation.cpu_roformer")
suit_processor = cpu_roformer.suit_processor

NEAR_DB = 45.0
DIM, HEADS, HEAD_DIM, DEPTH = 64, 4, 16, 3


def a_transformer(*, rotary: bool, biases: bool) -> Any:
    torch.manual_seed(0)
    offsets = {
        "shared_qkv_bias": nn.Parameter(torch.randn(3 * HEADS * HEAD_DIM)),
        "shared_out_bias": nn.Parameter(torch.randn(DIM)),
    }
    network = transformer.Transformer(
        dim=DIM,
        depth=DEPTH,
        dim_head=HEAD_DIM,
        heads=HEADS,
        rotary_embed=common.RotaryEmbedding(HEAD_DIM) if rotary else None,
        **(offsets if biases else {}),
    )
    for module in network.modules():
        if isinstance(module, transformer.RMSNorm):
            nn.init.uniform_(module.gamma, 0.5, 1.5)
    return network.eval()


def snr_db(wanted: Tensor, found: Tensor) -> float:
    return sdr_db(wanted.numpy(), found.float().numpy())


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
@torch.inference_mode()
def test_pieces_and_rounded_layers_are_near_to_the_whole_in_float32(
    rotary: bool, biases: bool, rounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of any layout: transformers over time and over bands see the same numbers turned round."""
    monkeypatch.setattr(cpu_roformer, "TOKENS_AT_ONCE", 100)  # two sequences, and one is left
    network = a_transformer(rotary=rotary, biases=biases)
    tokens = torch.randn(7, 50, DIM)
    turned = torch.randn(50, 7, DIM).transpose(0, 1)
    kept = tokens.clone()
    wanted = [network(each) for each in (tokens, turned)]
    suit_processor(network, rounded=rounded)
    for each, one in zip((tokens, turned), wanted, strict=True):
        found = snr_db(one, network(each))
        assert NEAR_DB < found < 80 if rounded else found > 110
    assert torch.equal(tokens, kept)


@torch.inference_mode()
def test_silent_tokens_give_numbers() -> None:
    network = a_transformer(rotary=True, biases=False)
    suit_processor(network, rounded=True)
    assert network(torch.zeros(2, 9, DIM)).isfinite().all()


def test_a_layer_of_another_kind_stays_as_it_is() -> None:
    network = a_transformer(rotary=False, biases=False)
    network.layers[1][0].use_pope = True
    known = network.layers[1][0]
    suit_processor(network, rounded=True)
    assert network.layers[1][0] is known
    assert network.layers[0][0] is not known


def test_a_pymss_with_other_layers_separates_in_float32_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = write_tiny_model("bs_roformer", tmp_path / "mine.ckpt")
    song = load_stems("water")[1][:, :44_100]
    monkeypatch.setattr(pymss_network, "cpu_has_arithmetic", lambda dtype: True)
    exact = separate(song, 44_100, model=str(model), device="cpu", effort=Effort(exact=True))
    monkeypatch.setitem(sys.modules, "ultimate_rvc.separation.cpu_roformer", None)
    found = separate(song, 44_100, model=str(model), device="cpu")
    assert sdr_db(exact.vocals, found.vocals) > 100
    assert "float32" in caplog.text


@pytest.mark.parametrize(
    ("architecture", "take_apart"),
    [
        ("bs_roformer", lambda *given, **way: separate(*given, **way).vocals),
        ("mel_band_roformer", lambda *given, **way: remove_reverb(*given, **way).dry),
    ],
)
def test_stems_are_rounded_only_where_a_processor_can_and_nobody_wants_them_exact(
    architecture: str, take_apart: Callable[..., FloatArray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_model(architecture, tmp_path / f"{architecture}.ckpt")
    song = load_stems("water")[1][:, : 2 * 44_100]

    def dry(*, has_bfloat16: bool, exact: bool) -> FloatArray:
        monkeypatch.setattr(pymss_network, "cpu_has_arithmetic", lambda dtype: has_bfloat16)
        return take_apart(song, 44_100, model=str(model), device="cpu", effort=Effort(exact=exact))

    plain = dry(has_bfloat16=False, exact=False)
    assert np.array_equal(dry(has_bfloat16=True, exact=True), plain)
    assert 40 < sdr_db(plain, dry(has_bfloat16=True, exact=False)) < 100
