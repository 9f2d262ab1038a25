"""Our synthesizer against an independent implementation, on every stock architecture.

The data come from ``scripts/oracles/synthesizer_reference.py``, which says how they are made.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm

DATA = Path(__file__).parents[2] / "data" / "networks"
ARCHITECTURES = ("v1_32k", "v1_40k", "v1_48k", "v2_32k", "v2_40k", "v2_48k", "v2_24k")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    synthesizer: Synthesizer
    features: Tensor
    pitch: Tensor | None
    f0_hz: Tensor | None
    speaker_id: Tensor
    waveform: np.ndarray[Any, np.dtype[np.float32]]

    def render(self, **options: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        options = {"noise_scale": 0.0, "source_noise_scale": 0.0} | options
        rendered = self.synthesizer.infer(self.features, self.pitch, self.f0_hz, self.speaker_id, **options)
        return rendered.numpy()


def load_case(architecture: str, has_f0: bool) -> Case:
    data = np.load(DATA / f"{architecture}_{'f0' if has_f0 else 'no_f0'}.npz")
    state = {}
    start = 0
    for key, shape in json.loads(str(data["state_shapes"])).items():
        state[key] = torch.from_numpy(data["state"][start : start + math.prod(shape)].reshape(shape))
        start += math.prod(shape)
    config = SynthesizerConfig.from_list(
        json.loads(str(data["config"])), phone_dim=state["enc_p.emb_phone.weight"].shape[1]
    )
    return Case(
        Synthesizer.from_state(config, fold_weight_norm(state), has_f0=has_f0, vocoder=Vocoder.HIFI_GAN),
        torch.from_numpy(data["features"]).float()[None],
        torch.from_numpy(data["pitch"])[None] if has_f0 else None,
        torch.from_numpy(data["f0_hz"])[None] if has_f0 else None,
        torch.from_numpy(data["speaker"])[None],
        data["waveform"],
    )


@pytest.mark.parametrize("has_f0", [True, False], ids=["f0", "no_f0"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_renders_equal_the_independent_implementation(architecture: str, has_f0: bool) -> None:
    case = load_case(architecture, has_f0)
    rendered = case.render()[0]
    assert np.sqrt(np.mean(case.waveform**2)) > 0.05  # a silent reference would prove nothing
    assert (
        rendered.shape == case.waveform.shape == (len(case.features[0]) * case.synthesizer.config.hop_length,)
    )
    np.testing.assert_allclose(rendered, case.waveform, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("part", ["features", "pitch", "f0_hz", "speaker_id"])
def test_every_input_is_heard_in_the_comparison(part: str) -> None:
    """Were an input ignored by both sides, their agreement would say nothing about it."""
    case = load_case("v2_40k", has_f0=True)
    changed = {"features": case.features * 0.9, "pitch": case.pitch.flip(1), "f0_hz": case.f0_hz * 1.1}
    other = Case(**(vars(case) | {part: changed.get(part, torch.tensor([0]))}))
    assert np.abs(other.render() - case.render()).max() > 100 * TOLERANCE
