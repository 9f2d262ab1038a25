"""What is still missing for the best result with the chosen voice, and the button that fetches it."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.assets.manage import AssetState, list_assets
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.voices.library import voice_card
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.panel import JobPanel, of_kind

# Without these a cover is made all the same, only rougher: each has something built in to stand in for it.
FOR_ANY_COVER = ("separation-vocals", "rmvpe")
DEFAULT_ENCODER = "contentvec"  # of a voice that records none


def missing_assets(voice: str | None) -> list[tuple[str, int]]:
    """Names and bytes of the models that a cover by this voice would use and that are not here."""
    wanted = set(FOR_ANY_COVER)
    if voice:
        try:
            card = voice_card(voice)
            if not card.packaged:  # those bring their encoder along
                wanted.add(card.embedder or DEFAULT_ENCODER)
        except UltimateRVCError:  # deleted meanwhile
            pass
    kinds = (AssetKind.ENCODER, AssetKind.PITCH, AssetKind.SEPARATION)
    return [
        (report.name, report.bytes)
        for report in list_assets(kinds)
        if report.name in wanted and report.state is not AssetState.PRESENT
    ]


def missing_footer(desk: Desk, voice: gr.Dropdown) -> JobPanel:
    """Lay out the footer; it follows the chosen voice and what is downloaded."""
    texts = desk.texts
    with gr.Column(elem_classes="footer"):
        line = gr.HTML(padding=False)
        fetch = ActionButton(desk, texts("missing.fetch"), size="sm", visible=False)
        panel = JobPanel(desk, of_kind("download"), "")
    ended = gr.State(0)
    panel.shows([ended], lambda job: [job.id if job is not None else 0])
    panel.connect()

    def look(name: str | None) -> list[Any]:
        missing = missing_assets(name)
        if not missing:
            return [f'<p class="hint">{escape(texts("missing.nothing"))}</p>', gr.Button(visible=False)]
        names = ", ".join(f"{name} ({display.megabytes(size)})" for name, size in missing)
        return [f'<p class="hint">{escape(texts("missing.some", names=names))}</p>', gr.Button(visible=True)]

    def start(name: str | None, client: str) -> int:
        names = [name for name, _ in missing_assets(name)]
        return desk.submit("download", {"names": names}, client).id

    gr.on([voice.change, ended.change], look, [voice], [line, fetch.button], **QUIET)
    desk.library_followers.append(Follower(look, [voice], [line, fetch.button]))
    panel.starts(fetch, start, [voice, desk.client])
    return panel
