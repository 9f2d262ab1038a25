"""Train: recordings, a check of them, a training that can be stopped and gone on with, its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from ultimate_rvc.settings import parts_of
from ultimate_rvc.settings_files import TRAIN_PART
from ultimate_rvc.web import controls, train_check, train_curves
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.work.requests import TrainParts
from ultimate_rvc.work.settings_parts import file_part

# The device is chosen under Settings, for all work.
LEFT_OUT = ("extraction.device", "training.device")
LOOK_SECONDS = 3.0  # how often the curves are drawn anew while a training runs


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            name = gr.Textbox("", **texts.labelled("train.name"), max_lines=1, max_length=120)
            files = gr.File(
                label=texts("train.files.label"), file_count="multiple", file_types=["audio"],
                type="filepath", height=170, elem_classes="drop",
            )  # fmt: skip
            check = ActionButton(desk, texts("train.check"))
            report = gr.HTML(padding=False)
            forms = _form(desk)
            go = ActionButton(desk, texts("train.go"), variant="primary", size="lg")
            gr.Markdown(texts("train.go.info"), elem_classes="hint")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, of_kind("train"), texts("train.empty"))
            curves = gr.Plot(label=texts("train.curves.label"), visible=False)
            with gr.Accordion(texts("train.samples"), open=False):
                gr.Markdown(texts("train.samples.info"), elem_classes="hint")
                samples = gr.Dropdown([], **texts.labelled("train.sample"), interactive=True)
                player = gr.Audio(
                    interactive=False, editable=False, buttons=["download"], label=texts("train.sample.heard")
                )
    panel.shows([curves, samples], lambda job: train_curves.drawn(desk, job))
    panel.connect()
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    look = gr.Timer(LOOK_SECONDS)
    look.tick(
        lambda job_id: train_curves.redrawn(desk, job_id),
        panel.job_id,
        [curves, samples],
        concurrency_limit=None,
        **quiet,
    )
    samples.input(
        desk.told(lambda tag, job_id: train_curves.heard(desk, tag, job_id)), [samples, panel.job_id], player,
        **quiet,
    )  # fmt: skip
    preprocessing = forms["preprocessing"]
    check.runs(
        lambda name, given, *values: train_check.report(
            desk, name, given, preprocessing.read(values)["preprocessing"]
        ),
        [name, files, *preprocessing.components],
        report,
    )
    form = controls.joined(*forms.values())
    desk.forms[TRAIN_PART] = form

    def start(
        name: str, uploads: list[str] | None, client: str, optimization: dict[str, Any], *values: Any
    ) -> int:
        if not name.strip():
            raise problem(texts, texts("error.no_name"))
        settings = {
            "name": name.strip(),
            "recordings": uploads or [],
            "device": (optimization or {}).get("device", "auto"),
            **form.read(values),
        }
        return desk.submit("train", settings, client).id

    panel.starts(go, start, [name, files, desk.client, desk.optimization, *form.components])
    return [panel]


def _form(desk: Desk) -> dict[str, Form]:
    """Lay out all settings, a group in each fold."""
    given, here = file_part(TRAIN_PART), _defaults_here()
    parts = controls.groups(TrainParts, {name: (f"{name}.",) for name in parts_of(TrainParts)}, LEFT_OUT)
    return {
        name: _folded(desk, name, [_with_default(each, here.get(name, {})) for each in part], given)
        for name, part in parts.items()
    }


def _folded(desk: Desk, name: str, part: Sequence[Control], given: Mapping[str, Any]) -> Form:
    with gr.Accordion(desk.texts(f"train.{name}"), open=False):
        return controls.lay_out(desk, part, given)


def _with_default(control: Control, defaults: Mapping[str, Any]) -> Control:
    entry = control.entry
    return Control(control.path, replace(entry, default=defaults.get(entry.name, entry.default)))


def _defaults_here() -> dict[str, dict[str, Any]]:
    """By group, where the best default depends on what is here: as the command line chooses it."""
    from ultimate_rvc.rvc.train.defaults import embedder_at_hand, sample_rate_for

    embedder = embedder_at_hand()
    return {
        "preprocessing": {"sample_rate": sample_rate_for(embedder)},
        "extraction": {"embedder_model": embedder.value},
    }
