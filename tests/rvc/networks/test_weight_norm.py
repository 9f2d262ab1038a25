"""Folding weight norm against torch's own two implementations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as hook_weight_norm

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm

LAYERS = {"conv": lambda: nn.Conv1d(5, 7, 3), "transposed": lambda: nn.ConvTranspose1d(5, 7, 4, 2)}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "norm", [hook_weight_norm, parametrizations.weight_norm], ids=["hook", "parametrized"]
)
def test_folded_weight_equals_the_weight_torch_computes(layer: str, norm) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    module = nn.Sequential(norm(LAYERS[layer]()), nn.Linear(2, 2))
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if key.endswith(("weight_g", "original0")):
                parameter.mul_(torch.rand_like(parameter) * 3)
        module[0](torch.randn(1, 5, 9))  # the hook computes its weight when called
    folded = fold_weight_norm(module.state_dict())
    assert set(folded) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    torch.testing.assert_close(folded["0.weight"], module[0].weight.detach(), rtol=1e-6, atol=1e-7)
    assert folded["1.weight"] is not None
    torch.testing.assert_close(folded["1.weight"], module[1].weight.detach())


def test_half_precision_pairs_fold_in_float32() -> None:
    direction, magnitude = torch.randn(4, 3, 5).half(), torch.rand(4, 1, 1).half()
    folded = fold_weight_norm({"up.weight_v": direction, "up.weight_g": magnitude})["up.weight"]
    expected = direction.double() * magnitude.double() / direction.double().norm(dim=(1, 2), keepdim=True)
    assert folded.dtype == torch.float32
    torch.testing.assert_close(folded.double(), expected, rtol=1e-6, atol=1e-7)


def test_a_direction_that_underflowed_to_zero_is_a_silent_channel() -> None:
    direction = torch.zeros(2, 3, 5)
    direction[1] = 1
    folded = fold_weight_norm({"up.weight_g": torch.ones(2, 1, 1), "up.weight_v": direction})["up.weight"]
    assert torch.equal(folded[0], torch.zeros(3, 5))
    assert torch.isfinite(folded).all()


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ("dec.ups.0.weight_g", "dec.ups.0.weight_v"),
        ("dec.ups.0.weight_v", "dec.ups.0.weight_g"),
        ("dec.ups.0.parametrizations.weight.original0", "dec.ups.0.parametrizations.weight.original1"),
    ],
)
def test_half_a_pair_is_refused_by_name(present: str, missing: str) -> None:
    with pytest.raises(VoiceFileError, match=missing):
        fold_weight_norm({present: torch.ones(2, 1, 1)})
