"""Models that can be downloaded: which are here, fetch, check, remove."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.assets import manage
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton, ProblemLine
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import Follower
from ultimate_rvc.web.panel import JobPanel, of_kind


def build(desk: Desk) -> JobPanel:
    """Lay out the list and its buttons."""
    texts = desk.texts
    kind = gr.Dropdown(
        [(texts(f"asset_kind.{word}"), word.value) for word in AssetKind], value=AssetKind.ENCODER.value,
        **texts.labelled("models.kind"),
    )  # fmt: skip
    names = gr.CheckboxGroup([], **texts.labelled("models.names"))
    line = ProblemLine(desk, later=True)
    with gr.Row():
        download = ActionButton(desk, texts("models.download"), line, variant="primary")
        verify = ActionButton(desk, texts("models.verify"), line)
        remove = ActionButton(desk, texts("models.remove"), line, variant="stop")
    line.place()
    panel = JobPanel(desk, of_kind("download"), "")
    ended = gr.State(0)
    panel.shows([ended], lambda job: [job.id if job is not None else 0])
    panel.connect()
    desk_kind: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def look(kind: str) -> list[Any]:
        choices = [
            (
                f"{report.name} · {display.megabytes(report.bytes)} · {texts(f'asset_state.{report.state}')}",
                report.name,
            )
            for report in manage.list_assets([AssetKind(kind)])
        ]
        return [gr.CheckboxGroup(choices, value=[])]

    def start(names: list[str], client: str) -> int:
        return desk.submit("download", {"names": _some(desk, names)}, client).id

    def check(names: list[str], kind: str) -> list[Any]:
        reports = manage.verify_assets(_some(desk, names))
        bad = [report.name for report in reports if report.state is not manage.AssetState.PRESENT]
        if bad:
            gr.Warning(texts("models.damaged", names=", ".join(bad)))
        else:
            gr.Info(texts("models.sound"))
        return look(kind)

    def take_away(names: list[str], kind: str) -> list[Any]:
        if not desk.server.is_local:
            raise problem(texts, texts("error.local_only"))
        freed = manage.remove_assets(_some(desk, names))
        gr.Info(texts("models.removed", size=display.megabytes(sum(freed.values()))))
        return look(kind)

    gr.on([kind.change, ended.change], desk.told(look), [kind], [names], **desk_kind)
    desk.library_followers.append(Follower(desk.told(look), [kind], [names]))
    panel.starts(download, start, [names, desk.client])
    verify.runs(check, [names, kind], [names])
    remove.runs(take_away, [names, kind], [names])
    return panel


def _some(desk: Desk, names: list[str]) -> list[str]:
    if not names:
        raise problem(desk.texts, desk.texts("error.no_model"))
    return names
