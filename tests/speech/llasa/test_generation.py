"""Token after token: every way of computing gives the same tokens, and a seed the same samples."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ultimate_rvc.choices import StepSwitch
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.llasa import generation
from ultimate_rvc.speech.llasa.folders import Reader
from ultimate_rvc.speech.llasa.generation import Generator
from ultimate_rvc.speech.llasa.loading import LanguageModel, load_language_model
from ultimate_rvc.speech.llasa.prompt import prompt_tokens
from ultimate_rvc.speech.llasa.sampling import Sampler, likeliest
from ultimate_rvc.speech.llasa.settings import LlasaSettings, NumberFormat

TEXT = "Good morning."
GREEDY = LlasaSettings(temperature=0, repetition_penalty=1.3, max_tokens=256)


def prompt_of(model: LanguageModel, text: str = TEXT) -> torch.Tensor:
    return prompt_tokens(model.tokenizer, model.vocabulary, text, None)


@pytest.fixture(scope="module")
def published(model: LanguageModel) -> list[int]:
    """The greedy codes of transformers' own loop, which is the one of the published examples."""
    prompt = prompt_of(model)
    written = model.network.generate(
        prompt[None], attention_mask=torch.ones_like(prompt)[None], do_sample=False, repetition_penalty=1.3,
        max_length=256, eos_token_id=model.vocabulary.end, pad_token_id=model.vocabulary.end,
    )[0, len(prompt) :]  # fmt: skip
    names = model.tokenizer.convert_ids_to_tokens(written.tolist())
    codes = [int(name[4:-2]) for name in names if name.startswith("<|s_")]
    assert len(set(codes)) > 5
    return codes


@pytest.mark.parametrize("static_cache", [StepSwitch.OFF, StepSwitch.ON])
def test_greedy_codes_are_those_of_transformers(
    model: LanguageModel, published: list[int], static_cache: StepSwitch
) -> None:
    settings = replace(GREEDY, static_cache=static_cache)
    generator = Generator(model, settings)
    for _ in range(2):  # a static cache is used again
        assert generator.speak(prompt_of(model), 0).codes.tolist() == published


def test_a_compiled_step_writes_the_same_codes(model: LanguageModel, published: list[int]) -> None:
    """By the backend that runs what dynamo captured as it is: inductor takes 38 s for this model here."""
    settings = replace(GREEDY, compile_model=StepSwitch.ON)
    generator = Generator(model, settings, compiler="aot_eager")
    assert generator.speak(prompt_of(model), 0).codes.tolist() == published
    assert generator._compiled is not None


def test_a_compiler_that_fails_is_told_once_and_done_without(
    model: LanguageModel, published: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no C++ compiler is here")

    settings = replace(GREEDY, compile_model=StepSwitch.ON)
    generator = Generator(model, settings, compiler=broken)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert generator.speak(prompt_of(model), 0).codes.tolist() == published
    (record,) = caplog.records
    assert "could not be compiled and runs as it is" in record.message


def test_layers_spread_by_the_device_map_write_the_same_codes(llasa_dir: Path, published: list[int]) -> None:
    reader = Reader(llasa_dir / "tiny")
    spread = load_language_model(reader, torch.device("cpu"), NumberFormat.AUTO, spread=True)
    settings = replace(GREEDY, compile_model=StepSwitch.ON)
    generator = Generator(spread, settings)
    assert generator._compiled is None  # no compiler sees through the hooks that move layers
    assert generator.speak(prompt_of(spread), 0).codes.tolist() == published


def test_looking_at_the_end_seldom_changes_nothing(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = (25, 1)  # which come to an end soon: before the first look, and after it
    generator = Generator(model, LlasaSettings())
    seldom = [generator.speak(prompt_of(model), seed) for seed in seeds]
    monkeypatch.setattr(generation, "CHECK_EVERY", 1)
    often = [generator.speak(prompt_of(model), seed) for seed in seeds]
    assert [each.codes.tolist() for each in seldom] == [each.codes.tolist() for each in often]
    assert all(each.is_complete for each in seldom)
    assert len({len(each.codes) for each in seldom}) > 1


def test_a_seed_gives_the_same_samples_and_another_seed_others(model: LanguageModel) -> None:
    generator = Generator(model, LlasaSettings(max_tokens=128))
    torch.manual_seed(1)
    first = generator.speak(prompt_of(model), 3).codes.tolist()
    torch.manual_seed(2)  # nobody else's random numbers matter
    assert generator.speak(prompt_of(model), 3).codes.tolist() == first
    assert generator.speak(prompt_of(model), 4).codes.tolist() != first


def test_what_is_cut_off_is_not_complete(model: LanguageModel) -> None:
    whole = Generator(model, LlasaSettings()).speak(prompt_of(model), 1)
    part = Generator(model, LlasaSettings()).speak(prompt_of(model), 1, most=5)
    assert whole.is_complete
    assert not part.is_complete
    assert whole.codes.tolist()[: len(part.codes)] == part.codes.tolist()


def test_a_prompt_that_fills_the_context_is_told(model: LanguageModel) -> None:
    with pytest.raises(SpeechError, match=r"has 28\d tokens, and the context holds 200"):
        Generator(model, LlasaSettings(max_tokens=200)).speak(prompt_of(model, "a" * 200), 0)


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(0.8, 50, 1.0), (0.95, 0, 0.9), (1.5, 7, 0.5)])
def test_shares_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    scores = 3 * torch.randn(500, generator=torch.Generator().manual_seed(0))
    shares, tokens = likeliest(scores, LlasaSettings(temperature=temperature, top_k=top_k, top_p=top_p))
    ours = torch.zeros(500).scatter(0, tokens, shares / shares.sum())
    prompt = torch.zeros(1, 1, dtype=torch.long)
    warped = TemperatureLogitsWarper(temperature)(prompt, scores[None])
    if top_k:
        warped = TopKLogitsWarper(top_k)(prompt, warped)
    theirs = TopPLogitsWarper(top_p)(prompt, warped)[0].softmax(-1)
    torch.testing.assert_close(ours, theirs)


def test_used_tokens_are_less_likely_as_in_transformers() -> None:
    scores = torch.randn(40, generator=torch.Generator().manual_seed(1))
    prompt = torch.tensor([3, 5, 5, 39])
    sampler = Sampler(LlasaSettings(temperature=0, repetition_penalty=1.2), prompt, 40, 0)
    used = prompt.tolist()
    for _ in range(10):
        theirs = RepetitionPenaltyLogitsProcessor(1.2)(torch.tensor([used]), scores[None].clone())[0]
        token = int(sampler.next_token(scores))
        assert token == int(theirs.argmax())
        used.append(token)
    assert len(set(used)) > 4
