"""Short conversions by replicas elsewhere: here a pretended cluster, so that no package for it is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from server import fake_short
from small_pipeline import tone
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cluster import shipping
from ultimate_rvc.cluster.serving import Clip
from ultimate_rvc.errors import AudioError, ClusterError, SettingError
from ultimate_rvc.server import cluster_work
from ultimate_rvc.server.cluster_work import ClusterWork
from ultimate_rvc.server.options import ApiOptions
from ultimate_rvc.server.problems import ApiError, as_problem
from ultimate_rvc.server.short_work import CLOSING, ShortRequest, ShortWork, give_up
from ultimate_rvc.work.result import WorkResult

PATIENCE_SECONDS = 120.0
RATE = 16_000


class PretendedReplicas:
    """Answer with the clip itself, louder, once :attr:`may_go_on`; of silence they say what is wrong."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def answer(self, clip: Clip) -> tuple[Any, int]:
        self.clips.append(clip)
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        if not clip.waveform.any():
            raise AudioError("It is silent.")
        if clip.settings.n_semitones == 12:
            raise ClusterError("Every replica died that tried it (of it).")
        return clip.waveform[0] * 2, clip.sample_rate


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was put into the object store of the cluster."""
    contents: list[Any] = []
    monkeypatch.setattr(shipping, "ray_module", lambda: SimpleNamespace(put=contents.append))
    return contents


@pytest.fixture
def replicas(sent: list[Any]) -> PretendedReplicas:
    return PretendedReplicas()


@pytest.fixture
def results() -> list[WorkResult]:
    return []


@pytest.fixture
def work(replicas: PretendedReplicas, results: list[WorkResult], tmp_path: Path) -> Iterator[ClusterWork]:
    here = ShortWork(tmp_path / "here", table=fake_short.TABLE)
    both = ClusterWork(here, replicas, 4, lambda count, result: results.append(result))  # type: ignore[arg-type]
    yield both
    replicas.may_go_on.set()
    both.close()


def request(tmp_path: Path, name: str = "clip", *, level: float = 0.3, **conversion: Any) -> ShortRequest:
    source = tmp_path / f"{name}.wav"
    encode(source, (level * tone(0.2)).astype(np.float32), RATE)
    settings = {"voice": "starter", "conversion": conversion, "optimization": {"use_tf32": True}}
    return ShortRequest("convert", settings, "somebody", tmp_path, source)


def ask_until_it_closes(work: ClusterWork, tmp_path: Path) -> None:
    while True:
        work.submit(request(tmp_path, "later"))


def test_a_conversion_is_the_clusters_and_its_voice_is_sent_once(
    work: ClusterWork,
    replicas: PretendedReplicas,
    results: list[WorkResult],
    sent: list[Any],
    tmp_path: Path,
) -> None:
    for number in range(3):
        sound = work.submit(request(tmp_path, f"clip {number}", n_semitones=5)).result(PATIENCE_SECONDS)
        assert sound.sample_rate == RATE
        assert np.array_equal(sound.waveform, replicas.clips[-1].waveform[0] * 2)
    clip = replicas.clips[-1]
    assert clip.settings.n_semitones == 5
    assert clip.optimization == {"use_tf32": True}
    assert clip.voice is not None
    assert clip.voice.model.path.read_bytes() == sent[0]
    assert len(sent) == 1 + (clip.voice.index is not None)
    assert [step.name for result in results for step in result.steps] == ["convert"] * 3


def test_what_is_no_conversion_is_done_here(
    work: ClusterWork, replicas: PretendedReplicas, tmp_path: Path
) -> None:
    asked = ShortRequest(
        "speech", {"text": "hello", "voice": "starter", "output": str(tmp_path / "said.wav")}, "me", tmp_path
    )
    assert work.submit(asked).result(PATIENCE_SECONDS).result.files
    assert not replicas.clips


def test_what_is_wrong_is_told_with_the_name_of_the_file(work: ClusterWork, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"^silence\.wav: It is silent\.$") as told:
        work.submit(request(tmp_path, "silence", level=0)).result(PATIENCE_SECONDS)
    assert (told.value.status, told.value.field) == (422, "audio")


def test_a_cluster_that_cannot_is_not_the_fault_of_who_asks(work: ClusterWork, tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as told:
        work.submit(request(tmp_path, n_semitones=12)).result(PATIENCE_SECONDS)
    assert as_problem(told.value).status == 503


def test_a_server_that_closes_finishes_what_runs_and_takes_nothing_more(
    work: ClusterWork, replicas: PretendedReplicas, tmp_path: Path
) -> None:
    replicas.may_go_on.clear()
    running = work.submit(request(tmp_path))
    assert work.waiting == 1
    closing = threading.Thread(target=work.close, args=(PATIENCE_SECONDS,))
    closing.start()
    with pytest.raises(ApiError, match=CLOSING):
        ask_until_it_closes(work, tmp_path)
    replicas.may_go_on.set()
    closing.join(PATIENCE_SECONDS)
    assert running.result(0).waveform is not None


def test_whom_a_closing_server_cannot_serve_is_told(
    work: ClusterWork, replicas: PretendedReplicas, tmp_path: Path
) -> None:
    replicas.may_go_on.clear()
    waiting = work.submit(request(tmp_path))
    work.close()
    with pytest.raises(ApiError, match=CLOSING):
        waiting.result(PATIENCE_SECONDS)


def test_who_has_given_up_disturbs_nobody(
    work: ClusterWork, replicas: PretendedReplicas, tmp_path: Path
) -> None:
    replicas.may_go_on.clear()
    left = request(tmp_path)
    waiting = work.submit(left)
    give_up(left)
    replicas.may_go_on.set()
    with pytest.raises((ApiError, CancelledError)):
        waiting.result(PATIENCE_SECONDS)
    assert work.submit(request(tmp_path, "other")).result(PATIENCE_SECONDS).waveform is not None


def test_the_options_become_those_of_the_replicas(
    monkeypatch: pytest.MonkeyPatch, replicas: PretendedReplicas, tmp_path: Path
) -> None:
    asked: list[Any] = []

    class Served:
        def __init__(self, *given: Any) -> None:
            asked.extend(given)

        def __enter__(self) -> PretendedReplicas:
            return replicas

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(cluster_work, "serve_any_voice", Served)
    options = ApiOptions(cluster="auto", most_replicas=3, replica_gpus=0.5, batch_window_ms=50, port=1234)
    here = ShortWork(tmp_path / "here", table=fake_short.TABLE)
    with cluster_work.on_cluster(here, options, lambda count, result: None) as work:
        work.close()
    name, address, settings, _ = asked
    assert name.endswith("-1234")
    assert address == "auto"
    assert (settings.most_replicas, settings.gpus, settings.batch_wait) == (3, 0.5, 0.05)


def test_fewer_at_most_than_at_least_is_refused() -> None:
    with pytest.raises(SettingError, match="least_replicas 5 is more than most_replicas 4"):
        ApiOptions(cluster="auto", least_replicas=5)
