"""Settings: how work is computed, named settings files, models, folders, language."""

from __future__ import annotations

from html import escape

import gradio as gr

from ultimate_rvc import paths
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs import settings_models, settings_switches
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, languages, load_texts

FOLDERS = {
    "voices": paths.voice_models_dir,
    "models": paths.models_dir,
    "output": paths.output_dir,
    "cache": paths.cache_dir,
    "training": paths.training_dir,
    "configs": paths.config_dir,
}


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            settings_switches.build(desk)
        with gr.Column(scale=6, min_width=320):
            panel = settings_models.build(desk)
            gr.HTML(_languages(desk), padding=False)
            if desk.server.is_local:  # the layout of the machine is nobody else's business
                with gr.Accordion(texts("settings.folders"), open=False):
                    gr.HTML(_folders(desk), padding=False)
    return [panel]


def _languages(desk: Desk) -> str:
    links = " ".join(
        f'<a href="/{"" if language == DEFAULT_LANGUAGE else language}" data-language="{language}">'
        f"{escape(load_texts(language)('language.name'))}</a>"
        for language in languages()
    )
    return f'<p class="languages"><b>{escape(desk.texts("language.label"))}</b> {links}</p>'


def _folders(desk: Desk) -> str:
    rows = "".join(
        f"<tr><th>{escape(desk.texts(f'folder.{name}'))}</th><td>{escape(str(folder()))}</td></tr>"
        for name, folder in FOLDERS.items()
    )
    info = escape(desk.texts("settings.folders.info"))
    return f'<table class="voice">{rows}</table><p class="hint">{info}</p>'
