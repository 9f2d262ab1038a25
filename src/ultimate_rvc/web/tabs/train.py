"""Train: recordings, a check of them, a training that can be stopped and gone on with, its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import gradio as gr

from ultimate_rvc.switches import TRAIN_PART
from ultimate_rvc.web import train_check, train_curves
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.portions import portions
from ultimate_rvc.web.settings_form import FieldForm, lay_out_fields
from ultimate_rvc.work.requests import TrainParts
from ultimate_rvc.work.settings_file import file_part

# Left out: what is a path of the machine, what the page says elsewhere, and what only tests need.
LEFT_OUT = frozenset(
    {
        *("device", "cpu_cores", "custom_embedder_model", "versions"),
        *("pretrained_generator", "pretrained_discriminator"),
    }
)
LOOK_SECONDS = 3.0  # how often the curves are drawn anew while a training runs


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            name = gr.Textbox(
                value="",
                label=texts("train.name.label"),
                info=texts("train.name.info"),
                max_lines=1,
                max_length=120,
            )
            files = gr.File(
                label=texts("train.files.label"), file_count="multiple", file_types=["audio"],
                type="filepath", height=170, elem_classes="drop",
            )  # fmt: skip
            check = ActionButton(desk, texts("train.check"))
            report = gr.HTML(padding=False)
            form = _form(desk)
            go = ActionButton(desk, texts("train.go"), variant="primary", size="lg")
            gr.Markdown(texts("train.go.info"), elem_classes="hint")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, of_kind("train"), texts("train.empty"))
            curves = gr.Plot(label=texts("train.curves.label"), visible=False)
            with gr.Accordion(texts("train.samples"), open=False):
                gr.Markdown(texts("train.samples.info"), elem_classes="hint")
                samples = gr.Dropdown(
                    [], label=texts("train.sample.label"), info=texts("train.sample.info"), interactive=True
                )
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
    preprocessing = form.groups["preprocessing"]
    check.runs(
        lambda name, given, *values: train_check.report(desk, name, given, preprocessing.read(values)),
        [name, files, *preprocessing.components],
        report,
    )
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


@dataclass(frozen=True)
class TrainForm:
    """All controls of a training's settings."""

    groups: Mapping[str, FieldForm]

    @property
    def components(self) -> list[Any]:
        return [component for form in self.groups.values() for component in form.components]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """Fields of ``TrainParts`` from the components' values."""
        shares = portions(values, [len(form.components) for form in self.groups.values()])
        return {
            group: form.read(share) for (group, form), share in zip(self.groups.items(), shares, strict=True)
        }

    def show(self, part: Mapping[str, Any]) -> list[Any]:
        """The components' values for fields of ``TrainParts``."""
        return [value for group, form in self.groups.items() for value in form.show(part.get(group) or {})]


def _form(desk: Desk) -> TrainForm:
    """Lay out all settings, a group in each fold."""
    given = file_part(TRAIN_PART)
    groups = {}
    for group, kind in get_type_hints(TrainParts).items():
        with gr.Accordion(desk.texts(f"train.{group}"), open=False):
            defaults = {**_defaults(group), **(given.get(group) or {})}
            groups[group] = lay_out_fields(kind, desk.texts, LEFT_OUT, defaults)
    return TrainForm(groups)


def _defaults(group: str) -> dict[str, Any]:
    """Where the best default depends on what is here: as the command line chooses it."""
    if group != "extraction":
        return {}
    from ultimate_rvc.rvc.train.defaults import embedder_at_hand

    return {"embedder_model": embedder_at_hand().value}
