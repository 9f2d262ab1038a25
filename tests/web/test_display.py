"""What the page says of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.progress import StepTime
from ultimate_rvc.web import display, step_flow
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.result import ResultFile, WorkResult

ENGLISH, CHINESE = load_texts("en"), load_texts("zh-TW")


def job(kind: str = "cover", **given: Any) -> Job:
    settings = {
        "source": "/music/song <b>.mp3",
        "sources": ["/a.wav", "/b.wav", "/c.wav"],
        "voice": "starter",
    }
    return Job(**{"id": 1, "kind": kind, "title": "the title", "settings": settings, **given})


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03"), (-3, "0:00")]
)
def test_a_clock(seconds: float, shown: str) -> None:
    assert display.clock(seconds) == shown


def test_a_title_is_in_the_language_of_the_page() -> None:
    assert display.title(job(), ENGLISH) == "song <b>.mp3 by starter"
    assert display.title(job("convert"), ENGLISH) == "a.wav, b.wav and 1 more by starter"
    assert "by" not in display.title(job("convert"), CHINESE)
    assert display.title(job("train"), CHINESE) == "the title"
    assert display.title(job("speech", title="Hello by starter"), CHINESE) == CHINESE(
        "title.by", name="Hello", voice="starter"
    )


@pytest.mark.parametrize("remark", ["effects", "vocals", "lead", "reverb", "wav", "+2 semitones"])
def test_a_title_that_work_gives_itself_is_retold(remark: str) -> None:
    given = job("effects", title=f"a (1).wav ({remark})")
    shown = display.title(given, CHINESE)
    assert shown.startswith("a (1).wav (")
    assert f"({remark})" not in shown
    assert display.title(job("train", title="my voice (new)"), CHINESE) == "my voice (new)"


def test_what_the_engine_says_is_in_the_language_of_the_page() -> None:
    failed = job(state=JobState.FAILED, error="There is no file a.wav.")
    assert "沒有檔案 a.wav。" in display.status(failed, CHINESE, "")
    assert "There is no file a.wav." in display.status(failed, ENGLISH, "")
    running = job(state=JobState.RUNNING, step="convert", text="loading the voice (1/2)", fraction=0.5)
    assert "正在載入聲音 (1/2)" in display.status(running, CHINESE, "")
    done = job(state=JobState.DONE, result=WorkResult(warnings=("The job was stopped.",)))
    assert "工作已停止。" in display.facts(done, CHINESE)


def test_a_failed_job_is_one_sentence_with_its_details_folded_and_nothing_of_it_is_markup() -> None:
    shown = display.status(
        job(state=JobState.FAILED, error="No <sound>.", details="Traceback <x>"), ENGLISH, "none"
    )
    assert '<p class="error">No &lt;sound&gt;.</p>' in shown
    assert "<pre>Traceback &lt;x&gt;</pre></details>" in shown
    assert "song &lt;b&gt;.mp3" in shown


def test_uploads_are_told_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/srv/uploads")
    sentence = "/srv/uploads/0123abcd/song.mp3 holds no audio, /home/me/song.mp3 does."
    assert display.without_uploads(sentence) == "song.mp3 holds no audio, /home/me/song.mp3 does."


def test_stage_times_add_up_and_show_what_was_measured_within() -> None:
    result = WorkResult(
        steps=(StepTime("load voice", 1.0), StepTime("convert", 3.0)),
        facts={"stages": [{"name": "f0", "seconds": 2.0}, {"name": "f0/inner", "seconds": 1.0}]},
    )
    shown = display.stage_times(job("convert", result=result), ENGLISH)
    assert "4.0 s in all" in shown
    assert "Within the conversion: 2.0 s" in shown
    assert "flex-grow:0.7500" in shown
    assert "Find the pitch" in shown
    assert display.stage_times(job(), ENGLISH) == ""


def test_the_quality_and_the_estimate_are_facts_of_a_cover() -> None:
    result = WorkResult(facts={"quality": "balanced", "estimate_seconds": 263.0})
    assert "<span>Quality balanced, estimated about 4 minutes</span>" in display.facts(
        job(result=result), ENGLISH
    )
    assert "quality" not in display.facts(job(result=WorkResult()), ENGLISH).lower()


class Jobs:
    """A list of jobs as the queue gives it."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = jobs

    def list(self, *, client: str, states: list[JobState]) -> list[Job]:
        return [each for each in self._jobs if each.client == client and each.state in states]


def step(folder: Path, number: int, kind: str, roles: str, **given: Any) -> Job:
    files = []
    for role in roles.split():
        path = folder / f"{number} {role}.wav"
        path.touch()
        files.append(ResultFile(role, path))
    return job(
        kind,
        id=number,
        state=JobState.DONE,
        finished=float(number),
        result=WorkResult(files=tuple(files)),
        client="me",
        **given,
    )


def test_a_step_takes_what_was_made_last(tmp_path: Path) -> None:
    first = step(tmp_path, 1, "separate", "vocals instrumental", settings={"task": "vocals"})
    lead = step(tmp_path, 2, "separate", "lead backing", settings={"task": "lead"})
    tab = step(tmp_path, 3, "convert", "converted")
    sung = step(tmp_path, 4, "convert", "converted", group="steps")
    queue: Any = Jobs(first, lead, tab, sung)

    def name(given: str) -> str | None:
        path = step_flow.newest(queue, "me", given)
        return path and Path(path).name

    assert name("lead.input") == "1 vocals.wav"
    assert name("convert.input") == "2 lead.wav"
    assert name("mix.lead") == "4 converted.wav"
    assert name("mix.backing") == "2 backing.wav"
    assert step_flow.newest(queue, "somebody else", "mix.lead") is None
    (tmp_path / "2 lead.wav").unlink()
    assert name("convert.input") == "1 vocals.wav"


def test_every_step_knows_where_its_result_goes() -> None:
    assert step_flow.targets("vocals") == ["lead.input", "reverb.input", "convert.input", "mix.instrumental"]
    assert step_flow.targets("mix") == []


def test_source_and_result_stand_side_by_side() -> None:
    pairs = [{"source": "/in/a <b>.wav", "output": "/out/a <b> (starter).wav"}]
    shown = display.converted(job("convert", result=WorkResult(facts={"converted": pairs})), ENGLISH)
    assert "<th>Source</th><th>Result</th>" in shown
    assert "<td>a &lt;b&gt;.wav</td><td>a &lt;b&gt; (starter).wav</td>" in shown
    assert display.converted(job(), ENGLISH) == ""


def test_every_kind_of_work_and_each_of_its_steps_has_a_name_in_every_language() -> None:
    for name, kind in KINDS.items():
        for step in (*kind.shares, *(() if kind.shares else ("download",))):
            for texts in (ENGLISH, CHINESE):
                assert f"step.{step.replace(' ', '_')}" in texts.catalogue, step
                assert f"kind.{name}" in texts.catalogue, name
