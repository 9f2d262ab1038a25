"""Song cover step by step: every step by itself, its result heard, and sent on to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.covers.settings import CoverSettings, rest_semitones
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.separation.models import AUTO_MODEL, SeparationTask, model_names
from ultimate_rvc.settings import settings_of
from ultimate_rvc.web import controls, display, step_flow
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.controls import Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import Sound, player_place, player_update
from ultimate_rvc.web.suggestion import Heard
from ultimate_rvc.web.tabs import advanced
from ultimate_rvc.web.voice_choice import checked_voice, follow_preset, voice_dropdown
from ultimate_rvc.work.requests import EffectsRequest, MixRequest, SeparateRequest

GAINS = ("main_gain", "inst_gain", "backup_gain")
OUTPUT = advanced.COVER_FOLDS["output"]
MOST_SHIFT = 12  # semitones; the music of another octave is in the same key
Inputs = dict[str, Any]
"""Audio inputs by their names in ``step_flow.PROVIDERS``."""


@dataclass(frozen=True)
class _Step:
    """A step that was laid out: its panel, what it told, and its players by role."""

    name: str
    panel: JobPanel
    told: Any
    players: dict[str, Any]


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the steps below each other."""
    texts = desk.texts
    inputs: Inputs = {}
    gr.HTML(f'<p class="hint">{texts("steps.intro")}</p>', padding=False)
    parts = (
        (SeparationTask.VOCALS, ("vocals", "instrumental")),
        (SeparationTask.LEAD, ("lead", "backing")),
        (SeparationTask.REVERB, ("dry", "reverb")),
    )
    laid_out = [_part(desk, number, *part, inputs) for number, part in enumerate(parts, start=1)]
    laid_out += [_convert(desk, inputs), _effects(desk, inputs)]
    mix, shift = _mix(desk, inputs)
    for step in [*laid_out, mix]:
        _follow(desk, step, inputs, shift if step.name == "convert" else None)
    return [step.panel for step in [*laid_out, mix]]


def _folded(desk: Desk, number: int, name: str) -> Any:
    return gr.Accordion(f"{number}. {desk.texts(f'steps.title.{name}')}", open=number == 1)


def _audio(desk: Desk, inputs: Inputs, name: str) -> Any:
    inputs[name] = gr.Audio(
        label=desk.texts(f"steps.{name}"), type="filepath", sources=["upload"], elem_classes="drop",
        elem_id=f"steps-{name.replace('.', '-')}",
    )  # fmt: skip
    return inputs[name]


def _result(desk: Desk, name: str, roles: Sequence[str]) -> _Step:
    panel = JobPanel(desk, lambda job: step_flow.step_of(job) == name, "")
    told = gr.HTML(visible=False, padding=False)
    players = {role: player_place(elem_id=f"steps-{name}-{role}") for role in roles}
    return _Step(name, panel, told, players)


def _follow(desk: Desk, step: _Step, inputs: Inputs, shift: Any) -> None:
    """Show what the step made, and put it into the inputs of the steps that take it."""
    targets = step_flow.targets(step.name)
    extra = [] if shift is None else [shift]

    def show(job: Job | None) -> list[Any]:
        made = {} if job is None else step_flow.made(job)
        told = display.told(job, desk.texts)
        players = [
            player_update(
                [Sound(desk.texts.named("stem", role), Path(made[role]))] if role in made else [], desk.texts
            )
            for role in step.players
        ]
        sent = [step_flow.newest(desk.queue, job.client, name) if made and job else None for name in targets]
        updates = [gr.skip() if path is None else gr.Audio(value=path) for path in sent]
        return [gr.HTML(told, visible=bool(told)), *players, *updates, *(_in_key(job) for _ in extra)]

    outputs = [step.told, *step.players.values(), *(inputs[name] for name in targets), *extra]
    step.panel.shows(outputs, show)
    step.panel.connect()


def _in_key(job: Job | None) -> Any:
    """The shift of the music that stays in key with the voice as it was shifted."""
    shifts = job.result.facts.get("shifts_semitones") if job is not None and job.result else None
    return rest_semitones(shifts[0]) if shifts else gr.skip()


def _given(desk: Desk, path: str | None) -> str:
    if not path:
        raise problem(desk.texts, desk.texts("error.no_input"))
    return path


def _output(desk: Desk, kind: type[Any], leave_out: Sequence[str]) -> Form:
    """Where a step's result goes, folded."""
    return advanced.folded(desk, "output", controls.groups(kind, {"output": OUTPUT}, leave_out)["output"])


# ------------------------------------------------------------------ the steps


def _part(desk: Desk, number: int, task: SeparationTask, roles: Sequence[str], inputs: Inputs) -> _Step:
    texts, known = desk.texts, settings_of(SeparateRequest)
    with _folded(desk, number, task.value):
        hint = f'<p class="hint">{texts(f"steps.{task.value}.info")}</p>'
        gr.HTML(hint, padding=False, elem_classes=controls.css_class(known["task"]))
        source = _audio(desk, inputs, f"{task.value}.input")
        model = gr.Dropdown(
            model_names(task),
            value=AUTO_MODEL,
            **controls.words(texts, settings_of(SeparateRequest)["model"]),
        )
        form = _output(desk, SeparateRequest, leave_out=("task", "model"))
        go = ActionButton(desk, texts("steps.go"), variant="primary")
        step = _result(desk, task.value, roles)

    def start(path: str | None, model: str, client: str, optimization: dict[str, Any], *values: Any) -> int:
        settings = {
            "source": _given(desk, path),
            "task": task.value,
            "model": model,
            "optimization": optimization or {},
            **form.read(values),
        }
        return desk.submit("separate", settings, client).id

    step.panel.starts(go, start, [source, model, desk.client, desk.optimization, *form.components])
    return step


def _convert(desk: Desk, inputs: Inputs) -> _Step:
    texts = desk.texts
    with _folded(desk, 4, "convert"):
        source = _audio(desk, inputs, "convert.input")
        voice = voice_dropdown(desk)
        form = advanced.convert_form(desk, Heard(source, voice, whole_octaves=True))
        go = ActionButton(desk, texts("convert.go"), variant="primary")
        step = _result(desk, "convert", ("converted",))
    follow_preset(desk, voice, form)

    def start(
        path: str | None, name: str | None, client: str, optimization: dict[str, Any], *values: Any
    ) -> int:
        settings = {
            "sources": [_given(desk, path)],
            "voice": checked_voice(desk, name),
            "optimization": optimization or {},
            **form.read(values),
        }
        # In a group, so that it is known from those of the tab for conversions.
        return desk.queue.submit_many("convert", [settings], client=client)[0].id

    step.panel.starts(go, start, [source, voice, desk.client, desk.optimization, *form.components])
    return step


def _effects(desk: Desk, inputs: Inputs) -> _Step:
    with _folded(desk, 5, "effects"):
        source = _audio(desk, inputs, "effects.input")
        parts = controls.groups(EffectsRequest, {"effects": ("effects.",), "output": OUTPUT})
        form = controls.joined(
            controls.lay_out(desk, parts["effects"]), advanced.folded(desk, "output", parts["output"])
        )
        go = ActionButton(desk, desk.texts("steps.go"), variant="primary")
        step = _result(desk, "effects", ("effects",))

    def start(path: str | None, client: str, *values: Any) -> int:
        return desk.submit("effects", {"source": _given(desk, path), **form.read(values)}, client).id

    step.panel.starts(go, start, [source, desk.client, *form.components])
    return step


def _mix(desk: Desk, inputs: Inputs) -> tuple[_Step, Any]:
    """The step, and the control of the music's shift, which follows the conversion."""
    texts, known = desk.texts, settings_of(MixRequest)
    with _folded(desk, 6, "mix"):
        tracks = [_audio(desk, inputs, f"mix.{name}") for name in ("lead", "instrumental", "backing")]
        of_a_cover = controls.groups(CoverSettings, {"gains": GAINS, "rest": ("",)})
        with gr.Column(elem_classes=controls.css_class(known["gains_db"])):
            gains = controls.lay_out(desk, of_a_cover["gains"])
        shift = gr.Slider(
            -MOST_SHIFT, MOST_SHIFT, 0, step=1,
            **texts.labelled("steps.shift"),
            elem_classes=controls.css_class(known["semitones"]),
        )  # fmt: skip
        output = _output(desk, MixRequest, leave_out=("gains_db", "semitones"))
        go = ActionButton(desk, texts("steps.mix.go"), variant="primary")
        step = _result(desk, "mix", ("cover",))

    def start(client: str, shift: float, *values: Any) -> int:
        paths, rest = values[: len(tracks)], values[len(tracks) :]
        _given(desk, paths[0])
        gains_db = list(gains.read(rest[: len(tracks)]).values())
        shifts = [0, int(shift), int(shift)]
        given = [track for track in zip(paths, gains_db, shifts, strict=True) if track[0]]
        sources, louder, shifted = (list(column) for column in zip(*given, strict=True))
        settings = {"sources": sources, "gains_db": louder, "semitones": shifted}
        settings |= output.read(rest[len(tracks) :])
        return desk.submit("mix", settings, client).id

    step.panel.starts(go, start, [desk.client, shift, *tracks, *gains.components, *output.components])
    return step, shift
