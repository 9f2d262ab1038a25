"""Settings: models, what the machine does, how work is computed, named settings files, folders, language."""

from __future__ import annotations

from html import escape

import gradio as gr

from ultimate_rvc import paths
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs import settings_machine, settings_models, settings_switches
from ultimate_rvc.web.texts import language_links

FOLDERS = {
    "voices": paths.voice_models_dir,
    "models": paths.models_dir,
    "output": paths.output_dir,
    "cache": paths.cache_dir,
    "training": paths.training_dir,
    "configs": paths.config_dir,
}


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab: models first, then what the machine does, then how it is computed."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=320):
            gr.HTML(f"<h3>{escape(texts('settings.models'))}</h3>", padding=False, elem_classes="part")
            panel = settings_models.build(desk)
        with gr.Column(scale=5, min_width=320):
            gr.HTML(f"<h3>{escape(texts('settings.machine'))}</h3>", padding=False, elem_classes="part")
            settings_machine.build(desk)
            settings_switches.build(desk)
            if desk.server.is_local:  # the layout of the machine is nobody else's business
                with gr.Accordion(texts("settings.folders"), open=False):
                    gr.HTML(_folders(desk), padding=False)
            gr.HTML(
                f'<p class="languages"><b>{escape(texts("language.label"))}</b> {language_links(texts)}</p>',
                padding=False,
            )
    return [panel]


def _folders(desk: Desk) -> str:
    rows = "".join(
        f"<tr><th>{escape(desk.texts(f'folder.{name}'))}</th><td>{escape(str(folder()))}</td></tr>"
        for name, folder in FOLDERS.items()
    )
    info = escape(desk.texts("settings.folders.info"))
    return f'<table class="voice">{rows}</table><p class="hint">{info}</p>'
