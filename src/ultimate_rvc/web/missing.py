"""What is still missing for covers of a quality by a voice, and the button that fetches it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.assets.manage import AssetState, list_assets
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.separation.choose import is_here
from ultimate_rvc.separation.models import SEPARATION_MODELS, SeparationTask
from ultimate_rvc.voices.library import voice_card
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.texts import Texts

PITCH = "rmvpe"  # without it another method stands in
DEFAULT_ENCODER = "contentvec"  # of a voice that records none


@dataclass(frozen=True)
class MissingModel:
    """A model that a cover would use and that is not here."""

    use: str
    """What it is for, a word of the catalogue."""
    name: str
    bytes: int
    asset: str | None
    """Its name for a download; without one only the work itself can fetch it, or nobody."""

    def words(self, texts: Texts) -> str:
        """``clean vocals (demucs, 84 MB)``."""
        use = texts(f"missing.{self.use}")
        if not self.bytes:
            return texts("missing.unknown", use=use, name=self.name)
        return texts("missing.model", use=use, name=self.name, size=display.megabytes(self.bytes))


def missing_models(voice: str | None, separation: Iterable[tuple[SeparationTask, str]]) -> list[MissingModel]:
    """What a cover by this voice with these separation models would use and is not here."""
    return [*_of_separation(separation), *_of_conversion(voice)]


def _of_separation(wanted: Iterable[tuple[SeparationTask, str]]) -> list[MissingModel]:
    found = []
    for task, name in wanted:
        known = SEPARATION_MODELS.get(name)
        if not is_here(name):
            found.append(
                MissingModel(task, name, known.bytes if known else 0, known.asset if known else None)
            )
    return found


def _of_conversion(voice: str | None) -> list[MissingModel]:
    wanted = {PITCH: "pitch"}
    if voice:
        try:
            card = voice_card(voice)
            if not card.packaged:  # those bring their encoder along
                wanted[card.embedder or DEFAULT_ENCODER] = "encoder"
        except UltimateRVCError:  # deleted meanwhile
            pass
    return [
        MissingModel(wanted[report.name], report.name, report.bytes, report.name)
        for report in list_assets((AssetKind.ENCODER, AssetKind.PITCH))
        if report.name in wanted and report.state is not AssetState.PRESENT
    ]


def line(missing: Sequence[MissingModel], texts: Texts) -> str:
    """What is missing as HTML in the page's language: one friendly sentence, the names folded."""
    if not missing:
        return f'<p class="hint">{escape(texts("missing.nothing"))}</p>'
    fetched, others = _parted(missing)
    told = ""
    if fetched:
        is_rough = any(each.use == SeparationTask.VOCALS for each in fetched)
        size = display.megabytes(sum(each.bytes for each in fetched))
        told = f'<p class="hint">{escape(texts("missing.cleaner" if is_rough else "missing.better", size=size))}</p>'
    sentences = [
        texts(key, names=texts("missing.and").join(each.words(texts) for each in models))
        for key, models in (("missing.some", fetched), ("missing.others", others))
        if models
    ]
    details = "".join(f'<p class="hint">{escape(each)}</p>' for each in sentences)
    return f"{told}<details><summary>{escape(texts('job.more'))}</summary>{details}</details>"


def _parted(missing: Sequence[MissingModel]) -> tuple[list[MissingModel], list[MissingModel]]:
    """What a download fetches, and what it cannot."""
    return [each for each in missing if each.asset], [each for each in missing if not each.asset]


class MissingFooter:
    """The line and its button; they show what :meth:`show` is told."""

    def __init__(self, desk: Desk) -> None:
        self._texts = desk.texts
        with gr.Column(elem_classes="footer"):
            self._line = gr.HTML(padding=False)
            fetch = ActionButton(desk, desk.texts("missing.fetch", size=""), size="sm", visible=False)
            self.panel = JobPanel(desk, of_kind("download"), "")
        self._assets: gr.State = gr.State([])
        self._button = fetch.button
        self.panel.connect()

        def start(assets: list[str], client: str) -> int:
            return desk.submit("download", {"names": assets}, client).id

        self.panel.starts(fetch, start, [self._assets, desk.client])

    @property
    def places(self) -> list[Any]:
        return [self._line, self._button, self._assets]

    def show(self, missing: Sequence[MissingModel]) -> list[Any]:
        """What the ``places`` become."""
        fetched, _ = _parted(missing)
        size = display.megabytes(sum(each.bytes for each in fetched))
        button = gr.Button(self._texts("missing.fetch", size=size), visible=bool(fetched))
        return [line(missing, self._texts), button, [each.asset for each in fetched]]
