"""Jobs as people see them: progress, times of stages, facts; all as HTML with every text escaped."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.covers.forecast import rounded
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.progress import StepTime
from ultimate_rvc.web.texts import Texts

REMARKED = re.compile(r"(.+) \((.+)\)")  # the title of a step by itself: "song.mp3 (effects)"
SHIFT = re.compile(r"(\S+) semitones")
WAVIFY = "wavify"
SHADES = 6  # colours of the bar of stage times, `.shade-0` and on in style.css
SHOWN_NAMES = 2  # of files in a title
TIME = "\0"  # where in a sentence the time goes
LEAST_SHARE = 0.004  # thinner stages are told in the list below the bar only


def clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``1:02:03``."""
    whole = max(round(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def duration(seconds: float, texts: Texts) -> str:
    """``about 2 minutes``, in the page's language."""
    count, unit = rounded(seconds)
    return texts(f"duration.{unit}", count=count)


def without_uploads(sentence: str) -> str:
    """A sentence that names uploaded files by their name, as the person who sent them knows them."""
    folder = os.environ.get("GRADIO_TEMP_DIR")
    return re.sub(re.escape(folder) + r"[/\\][0-9a-f]+[/\\]", "", sentence) if folder else sentence


def megabytes(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def status(job: Job | None, texts: Texts, empty: str) -> str:
    """The state of a job: a bar while it runs, one sentence when it failed."""
    if job is None:
        return nothing_yet(empty) if empty else ""
    head = f'<div class="job-head"><b>{escape(title(job, texts))}</b>{badge(job, texts)}</div>'
    return f'<div class="job {job.state}" role="status">{head}{_body(job, texts)}</div>'


def nothing_yet(words: str) -> str:
    """What stands where a result or a list will be."""
    return f'<div class="job empty">{escape(words)}</div>'


def title(job: Job, texts: Texts) -> str:
    """What a job does, in the page's language."""
    given = job.settings
    if job.kind == "speech" and given.get("output_name"):
        return str(given["output_name"])
    if job.kind not in ("cover", "convert"):
        return _retold(job, texts)
    sources = [given["source"]] if job.kind == "cover" else list(given["sources"])
    names = [str(source) if is_link(str(source)) else Path(source).name for source in sources]
    shown = ", ".join(names[:SHOWN_NAMES])
    if len(names) > SHOWN_NAMES:
        shown = texts("title.more", names=shown, count=len(names) - SHOWN_NAMES)
    return texts("title.by", name=shown, voice=given["voice"])


def _retold(job: Job, texts: Texts) -> str:
    """The title that the work gave itself, with its English words in the page's language."""
    if (end := f" by {job.settings.get('voice')}") and job.title.endswith(end):
        return texts("title.by", name=job.title.removesuffix(end), voice=job.settings["voice"])
    if not (remarked := REMARKED.fullmatch(job.title)):
        return job.title
    name, remark = remarked.groups()
    if shift := SHIFT.fullmatch(remark):
        return f"{name} ({texts('result.shift', semitones=shift[1])})"
    # What was separated and what was made of it are both stems.
    return f"{name} ({texts.named('stem', WAVIFY if remark == 'wav' else remark)})"


def badge(job: Job, texts: Texts) -> str:
    name = texts("state.cancelling") if _is_ending(job) else texts(f"state.{job.state}")
    return f'<span class="badge {job.state}">{escape(name)}</span>'


def _is_ending(job: Job) -> bool:
    return job.cancel_wanted and not job.state.is_finished


def _body(job: Job, texts: Texts) -> str:
    if job.state is JobState.QUEUED:
        return f"<p>{escape(texts('job.waits'))}</p>"
    if job.state is JobState.RUNNING:
        return _bar(job, texts)
    if job.error:
        details = ""
        if job.details:
            details = (
                f"<details><summary>{escape(texts('job.details'))}</summary>"
                f"<pre>{escape(job.details)}</pre></details>"
            )
        return f'<p class="error">{escape(without_uploads(texts.sentence(job.error)))}</p>{details}'
    took = job.elapsed_seconds
    return "" if took is None else f"<p>{escape(texts('job.took', time=clock(took)))}</p>"


def _bar(job: Job, texts: Texts) -> str:
    percent = round(100 * job.fraction)
    left = texts("job.left", time=clock(job.seconds_left)) if job.seconds_left is not None else ""
    run = _ticking(texts("job.running_for", time=TIME), time.time() - job.started) if job.started else ""
    step = _doing(job.step, texts) if job.step else texts("job.starts")
    text = f" · {_doing(job.text, texts)}" if job.text and job.text != job.step else ""
    return (
        f'<div class="bar{"" if job.step else " waits"}" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" aria-label="{escape(step)}">'
        f'<div style="width:{percent}%"></div></div>'
        f'<div class="job-line"><span>{escape(step + text)}</span>'
        f"<span>{percent} %{' · ' + escape(left) if left else ''}</span></div>"
        f'<div class="job-line quiet"><span>{run}</span></div>'
    )


def _ticking(words: str, seconds: float) -> str:
    """``words`` as HTML with a time that ``page.js`` lets run on between two looks at the job."""
    shown = f'<span data-elapsed="{seconds:.1f}">{clock(seconds)}</span>'
    return escape(words).replace(TIME, shown)


def _doing(words: str, texts: Texts) -> str:
    """What work says it does: the name of a step, or a sentence."""
    named = texts.named("step", words)
    return texts.sentence(words) if named == words else named


def facts(job: Job, texts: Texts) -> str:
    """Device, precision and what else is worth a line."""
    result = job.result
    if result is None:
        return ""
    parts = []
    if result.device:
        parts.append(texts("result.device", device=result.device))
    if result.precision:
        parts.append(texts("result.precision", precision=result.precision))
    if (shift := result.facts.get("shift_semitones")) is not None:
        parts.append(texts("result.shift", semitones=f"{shift:+d}"))
    if quality := result.facts.get("quality"):
        time = duration(result.facts["estimate_seconds"], texts)
        parts.append(texts("result.quality", quality=texts.named("quality", quality), time=time))
    if model := result.facts.get("separation_model"):
        parts.append(texts("result.separation", model=model))
    if result.facts.get("was_loaded") is False:
        parts.append(texts("result.warm"))
    shown = "".join(f"<span>{escape(part)}</span>" for part in parts)
    warned = "".join(f"<li>{escape(texts.sentence(warning))}</li>" for warning in result.warnings)
    return f'<div class="facts">{shown}</div>' + (f'<ul class="warnings">{warned}</ul>' if warned else "")


def converted(job: Job, texts: Texts) -> str:
    """Which file each source became, side by side."""
    pairs = job.result.facts.get("converted", ()) if job.result is not None else ()
    rows = "".join(
        f"<tr><td>{escape(Path(each['source']).name)}</td><td>{escape(Path(each['output']).name)}</td></tr>"
        for each in pairs
    )
    head = f"<tr><th>{escape(texts('convert.source'))}</th><th>{escape(texts('convert.made'))}</th></tr>"
    return f'<table class="voice">{head}{rows}</table>' if rows else ""


def told(job: Job | None, texts: Texts) -> str:
    """All that there is to say of a result."""
    return facts(job, texts) + stage_times(job, texts) if job is not None else ""


def stage_times(job: Job, texts: Texts) -> str:
    """Bars of a finished job's steps and, where they were measured, of the stages within its conversion."""
    if job.result is None:
        return ""
    # The profiler's are nested ("synthesize/vocoder"): the outer ones hold all of the time.
    measured = [
        StepTime(stage["name"], stage["seconds"])
        for stage in job.result.facts.get("stages", ())
        if "/" not in stage["name"]
    ]
    return _times("step", job.result.steps, texts) + _times("stage", measured, texts)


def _times(group: str, steps: Sequence[StepTime], texts: Texts) -> str:
    """A bar; ``group`` is that of the names in the catalogue."""
    total = sum(step.seconds for step in steps)
    if not steps or total <= 0:
        return ""
    bars = "".join(
        f'<div class="shade-{number % SHADES}" style="flex-grow:{step.seconds / total:.4f}" '
        f'title="{escape(texts.named(group, step.name))}: {step.seconds:.1f} s"></div>'
        for number, step in enumerate(steps)
        if step.seconds / total >= LEAST_SHARE
    )
    title = escape(texts(f"result.{group}s", seconds=f"{total:.1f}"))
    legend = _legend(group, steps, texts)
    return f'<div class="stages"><b>{title}</b><div class="stage-bar">{bars}</div>{legend}</div>'


def _legend(group: str, steps: Sequence[StepTime], texts: Texts) -> str:
    entries = "".join(
        f'<li><i class="shade-{number % SHADES}"></i>{escape(texts.named(group, step.name))} '
        f"<span>{escape(texts('result.cached')) if step.cached else f'{step.seconds:.1f} s'}</span></li>"
        for number, step in enumerate(steps)
    )
    return f'<ul class="legend">{entries}</ul>'
