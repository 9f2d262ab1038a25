"""The converting step of a cover: what its result depends on, besides the vocals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ultimate_rvc.choices import F0Method
from ultimate_rvc.covers.cache import StepCache
from ultimate_rvc.covers.conversion import CoverVoice, open_pipeline, warm_up, ways_that_matter
from ultimate_rvc.covers.steps import Workshop
from ultimate_rvc.paths import models_dir
from ultimate_rvc.rvc.content import files
from ultimate_rvc.rvc.infer.identity import pitch_identity
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

WITH_INDEX = CoverVoice("Anna", Path("a.pth"), Path("a.index"), ConversionSettings(index_rate=0.5), {})


@pytest.mark.parametrize(
    ("changes", "matters"),
    [
        ({"use_fp16": True}, True),
        ({"use_bf16": True}, True),
        ({"use_tf32": True}, True),
        ({"feature_cache": True}, True),
        ({"skip_silence": True}, True),
        ({"use_gpu_retrieval": True}, True),
        ({"device": "cpu"}, False),
        ({"use_gpu_filter": True}, False),
        ({"batch_size": 8}, False),
        ({"compile_model": True}, False),
        ({"fast_vocoder": True}, False),
        ({"enable_profiling": True}, False),
    ],
)
def test_ways_that_change_samples_by_more_than_rounding_are_told_apart(
    changes: dict[str, Any], matters: bool
) -> None:
    plain = ways_that_matter(OptimizationConfig(), WITH_INDEX)
    assert (ways_that_matter(OptimizationConfig(**changes), WITH_INDEX) != plain) is matters


@pytest.mark.parametrize("wanted", [True, False])
def test_a_voice_is_opened_early_only_to_compile_it(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    opened: list[Mock] = []
    monkeypatch.setattr(Pipeline, "open", lambda *_, **__: opened.append(Mock(spec=Pipeline)) or opened[-1])
    shop = Workshop(StepCache(Path()), optimization=OptimizationConfig(compile_model=wanted))
    warm_up(WITH_INDEX, shop)
    assert [pipeline.warm_up.call_count for pipeline in opened] == [1] * wanted
    open_pipeline(WITH_INDEX, shop)
    assert len(opened) == 1  # the one that compiles is the one that will sing


@pytest.mark.parametrize(
    "voice",
    [
        replace(WITH_INDEX, index_path=None),
        replace(WITH_INDEX, conversion=ConversionSettings(index_rate=0.0)),
    ],
)
def test_how_an_index_is_searched_does_not_matter_when_none_is(voice: CoverVoice) -> None:
    exact = OptimizationConfig(use_gpu_retrieval=True)
    assert ways_that_matter(exact, voice) == ways_that_matter(OptimizationConfig(), voice)


def test_rmvpe_is_hashed_once_while_its_file_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    real = files.file_hash
    monkeypatch.setattr(files, "file_hash", lambda path: (hashed.append(path), real(path))[1])
    models_dir().mkdir(parents=True)
    path = models_dir() / "rmvpe.pt"
    path.write_bytes(b"weights")
    first = pitch_identity(F0Method.RMVPE)
    assert pitch_identity(F0Method.RMVPE) == first
    assert hashed == [path]
    path.write_bytes(b"other weights")
    assert pitch_identity(F0Method.RMVPE) != first
