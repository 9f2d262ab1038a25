"""A voice served by Ray Serve: many callers, batches, the same sound as alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cluster_machines import Machines
from cluster_pipelines import SmallPipelines
from small_pipeline import snr_db, tone
from ultimate_rvc.cluster.serving import (
    BatchConverter,
    Clip,
    Replicas,
    ServedVoice,
    ServingSettings,
    application,
    serve_any_voice,
    serve_voice,
    voice_served_at,
)
from ultimate_rvc.cluster.shipping import ShippedFile, ShippedVoice, shared, ship, voice_of
from ultimate_rvc.errors import AudioError, ClusterError, SettingError
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import find_voice

ray = pytest.importorskip("ray")

EXACT = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0)
HIGHER = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0, n_semitones=5)
SAME_DB = 80.0  # batches and single clips differ by rounding


@pytest.fixture
def starter() -> ShippedVoice:
    return voice_of(find_voice("starter"), shared)


@pytest.fixture(scope="module")
def machines(_session_folders: None) -> Iterator[Machines]:
    """One, with room for two replicas."""
    cluster = Machines(0, head_cores=2)
    yield cluster
    cluster.end()


@pytest.fixture(scope="module")
def served(machines: Machines) -> Iterator[ServedVoice]:
    options = {"least_replicas": 1, "most_replicas": 2, "batch_size": 4, "batch_wait": 0.05}
    with serve_voice("starter", machines.address, SmallPipelines, **options) as voice:
        yield voice


@pytest.fixture(scope="module")
def alone() -> SmallPipelines:
    return SmallPipelines()


def converted_alone(
    pipelines: SmallPipelines, waveform: np.ndarray, settings: ConversionSettings
) -> np.ndarray:  # type: ignore[type-arg]
    return pipelines.open(Path(), settings).convert(waveform, 16_000, settings)[0]  # type: ignore[no-any-return]


def test_many_callers_hear_what_each_would_hear_alone(served: ServedVoice, alone: SmallPipelines) -> None:
    clips = [tone(0.2 + number / 20) for number in range(8)]
    settings = [EXACT, HIGHER] * 4
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda clip, how: served.convert(clip, 16_000, how), clips, settings))
    for clip, how, (waveform, rate) in zip(clips, settings, answers, strict=True):
        expected = converted_alone(alone, clip, how)
        assert rate == 32_000
        assert waveform.shape == expected.shape
        assert snr_db(expected, waveform) > SAME_DB


def test_what_is_wrong_with_a_clip_is_told_to_its_caller(served: ServedVoice) -> None:
    with pytest.raises(AudioError):
        served.convert(np.full(1600, np.nan, np.float32), 16_000, EXACT)
    assert len(served.convert(tone(0.2), 16_000, EXACT)[0]) > 0


def test_a_voice_that_is_served_is_found_by_others(served: ServedVoice, machines: Machines) -> None:
    with voice_served_at(machines.address) as found:
        assert np.array_equal(
            found.convert(tone(0.2), 16_000, EXACT)[0], served.convert(tone(0.2), 16_000, EXACT)[0]
        )


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(SettingError, match="There is no setting replicas; did you mean"):
        application({"voice": "starter", "replicas": 2})


def test_a_bad_clip_does_not_cost_its_batch(starter: ShippedVoice) -> None:
    converter = BatchConverter(starter, SmallPipelines)
    bad = np.full(1600, np.nan, np.float32)
    answers = converter.convert([Clip(tone(0.2), 16_000, EXACT), Clip(bad, 16_000, EXACT)])
    assert isinstance(answers[0], tuple)
    assert isinstance(answers[1], AudioError)


def test_a_machine_with_another_voice_under_its_path_is_refused(starter: ShippedVoice) -> None:
    other = ShippedVoice(ShippedFile(starter.model.path, "0" * 64))
    with pytest.raises(ClusterError, match="or another file there"):
        BatchConverter(other, SmallPipelines)


def test_a_clip_without_a_voice_is_told_where_the_replicas_have_none() -> None:
    (answer,) = BatchConverter(None, SmallPipelines).convert([Clip(tone(0.2), 16_000, EXACT)])
    assert isinstance(answer, ClusterError)


def test_a_voice_travels_with_the_requests_and_others_go_on_being_served(
    served: ServedVoice, machines: Machines, alone: SmallPipelines
) -> None:
    settings = ServingSettings(least_replicas=1, most_replicas=1, cpus=0.5)
    with serve_any_voice("travelling", machines.address, settings, SmallPipelines) as replicas:
        clip = Clip(tone(0.3), 16_000, EXACT, voice_of(find_voice("starter"), ship))
        waveform, rate = replicas.answer(clip)
    assert rate == 32_000
    assert snr_db(converted_alone(alone, clip.waveform, EXACT), waveform) > SAME_DB
    assert len(served.convert(tone(0.2), 16_000, EXACT)[0]) > 0


class DyingHandle:
    """Of replicas that die over a clip, so many times."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def remote(self, clip: Clip) -> DyingHandle:
        return self

    def result(self, timeout_s: float) -> tuple[np.ndarray, int]:  # type: ignore[type-arg]
        self.deaths -= 1
        if self.deaths >= 0:
            raise ray.exceptions.RayActorError
        return np.ones(3, np.float32), 16_000


def test_a_replica_that_dies_costs_nobody_an_answer_and_a_clip_that_kills_them_ends() -> None:
    clip = Clip(tone(0.2), 16_000, EXACT)
    assert Replicas(DyingHandle(2)).answer(clip)[1] == 16_000
    with pytest.raises(ClusterError, match="Every replica died that tried it"):
        Replicas(DyingHandle(3)).answer(clip)
