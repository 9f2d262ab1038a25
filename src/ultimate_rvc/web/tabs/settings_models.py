"""Models that can be downloaded: what each is for, which are here, fetch, check, remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ultimate_rvc.assets import manage
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ProblemLine
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.model_list import BUTTON_CLICKS, CHECK, GET, REMOVE, ModelList
from ultimate_rvc.web.panel import JobPanel, of_kind

KIND = "download"


def build(desk: Desk) -> JobPanel:
    """Lay out the list; each row has its buttons."""
    texts = desk.texts
    line = ProblemLine(desk)
    panel = JobPanel(desk, of_kind(KIND), "")
    panel.connect()
    needed = gr.HTML(js_on_load=BUTTON_CLICKS, padding=False)
    with gr.Accordion(texts("models.all"), open=False):
        others = gr.HTML(js_on_load=BUTTON_CLICKS, padding=False)
    lists, seen, wish = [needed, others], gr.State([]), gr.State({})

    def look() -> list[Any]:
        reports = {report.name: report for report in manage.list_assets()}
        shown = ModelList(texts, reports, _coming(desk), can_remove=desk.server.is_local)
        return [shown.needed(), shown.others()]

    def look_at_downloads(seen: object) -> list[Any]:
        """Look again only where a download has begun or ended: every model is looked for on the disk."""
        now = [[job.id, job.state.is_finished] for job in desk.queue.list() if job.kind == KIND]
        return [gr.skip()] * 3 if now == seen else [now, *look()]

    def picked(event: gr.EventData) -> dict[str, Any]:
        return event._data if isinstance(event._data, dict) else {}

    def act(wish: dict[str, Any], client: str) -> list[Any]:
        action, names = wish.get("action"), [str(name) for name in wish.get("names", ())]
        if action == GET:
            return [desk.submit(KIND, {"names": names}, client).id, *look()]
        if action == CHECK and names:  # without names that would be all
            _check(desk, names)
        elif action == REMOVE:
            _remove(desk, names)
        return [gr.skip(), *look()]

    for each in lists:
        picking = each.click(picked, None, wish, **QUIET)
        acted = line.watches(picking.then, act, [wish, desk.client], [panel.job_id, *lists], **QUIET)
        panel.opens(acted)
    # By itself and not with the library's followers: a large file that is seen for the first time is read whole.
    desk.library.change(desk.told(look), None, lists, **QUIET)
    desk.job_followers.append(Follower(desk.told(look_at_downloads), [seen], [seen, *lists]))
    return panel


def _coming(desk: Desk) -> set[str]:
    """Models that jobs fetch, or will, whoever asked for them."""
    jobs = [job for job in desk.queue.list() if job.kind == KIND and not job.state.is_finished]
    return {str(name) for job in jobs for name in job.settings["names"]}


def _check(desk: Desk, names: Sequence[str]) -> None:
    reports = manage.verify_assets(names)
    bad = [report.name for report in reports if report.state is not manage.AssetState.PRESENT]
    if bad:
        gr.Warning(desk.texts("models.damaged", names=", ".join(bad)))
    else:
        gr.Info(desk.texts("models.sound", names=", ".join(names)))


def _remove(desk: Desk, names: Sequence[str]) -> None:
    if not desk.server.is_local:
        raise problem(desk.texts, desk.texts("error.local_only"))
    freed = manage.remove_assets(names)
    gr.Info(desk.texts("models.removed", size=display.megabytes(sum(freed.values()))))
