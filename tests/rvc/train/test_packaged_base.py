"""The voice in the package as the first weights of a training that makes networks of its kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_training import tiny_settings
from ultimate_rvc.choices import EmbedderModel, Vocoder, VoiceVersion
from ultimate_rvc.paths import packaged_voice
from ultimate_rvc.rvc.train.data_settings import ExtractSettings
from ultimate_rvc.rvc.train.defaults import BASE, BASE_SAMPLE_RATE, sample_rate_for
from ultimate_rvc.rvc.train.estimate import expected_description
from ultimate_rvc.rvc.train.networks import build_networks, config_of, first_weights
from ultimate_rvc.rvc.train.settings import LearnFrom, NetworkChoice
from ultimate_rvc.rvc.voice_file.read import read_voice_file

HERE = expected_description(BASE_SAMPLE_RATE, 1, ExtractSettings(embedder_model=EmbedderModel.STARTER))


def settings(**changes: Any) -> Any:
    return tiny_settings(**{"network_size": NetworkChoice.AUTO} | changes)


def test_a_training_on_a_processor_begins_with_the_voice_in_the_package() -> None:
    ours = read_voice_file(packaged_voice(BASE))
    assert first_weights(HERE, settings()) == packaged_voice(BASE)
    assert config_of(HERE, settings()) == replace(ours.metadata.config, speakers=1)
    networks = build_networks(HERE, settings())
    assert networks.notes == (f"The generator starts from {BASE}.pth, but for enc_q.",)
    begun, plain = (
        build_networks(HERE, settings(packaged_base=packaged)).generator.state_dict()[
            "enc_p.emb_phone.weight"
        ]
        for packaged in (True, False)
    )
    theirs = ours.state["enc_p.emb_phone.weight"].float()
    assert torch.equal(begun, theirs)
    assert not torch.allclose(plain, theirs, atol=0.01)


@pytest.mark.parametrize(
    ("data", "training"),
    [
        ({"sample_rate": 40_000}, {}),
        ({"embedder": EmbedderModel.CONTENTVEC}, {}),
        ({"version": VoiceVersion.V1}, {}),
        ({"has_f0": False}, {}),
        ({}, {"vocoder": Vocoder.REFINE_GAN}),
        ({}, {"network_size": NetworkChoice.FULL}),
        ({}, {"packaged_base": False}),
    ],
    ids=["rate", "encoder", "version", "f0", "vocoder", "size", "not wanted"],
)
def test_networks_of_another_kind_begin_with_nothing(data: dict[str, Any], training: dict[str, Any]) -> None:
    assert first_weights(replace(HERE, **data), settings(**training)) is None


@pytest.mark.parametrize(
    ("training", "from_prior"),
    [
        ({}, True),
        ({"packaged_base": False}, False),
        ({"learn_from": LearnFrom.POSTERIOR}, False),
        ({"packaged_base": False, "learn_from": LearnFrom.PRIOR}, True),
        ({"pretrained_generator": packaged_voice("starter")}, True),
    ],
)
def test_it_learns_on_as_the_voice_in_the_package_learnt(training: dict[str, Any], from_prior: bool) -> None:
    assert build_networks(HERE, settings(**training)).from_prior is from_prior


def test_a_chosen_generator_comes_first() -> None:
    chosen = Path("f0G32k.pth")
    assert first_weights(HERE, settings(pretrained_generator=chosen)) == chosen


def test_the_sample_rate_goes_by_the_encoder() -> None:
    assert sample_rate_for(EmbedderModel.STARTER) == BASE_SAMPLE_RATE
    assert sample_rate_for(EmbedderModel.CONTENTVEC) == 40_000
