"""The page: lay out, call, show."""

from __future__ import annotations

import logging
from pathlib import Path

import gradio as gr

from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import import_voice, list_voices, packaged_voices

log = logging.getLogger(__name__)

NO_VOICES = "No voices of your own yet: add a voice file below. The demo voice is untrained."


def build_page() -> gr.Blocks:
    """One screen: song, voice, pitch, Generate."""
    with gr.Blocks(title="Ultimate RVC") as page:
        gr.Markdown("# Ultimate RVC\nDrop a song, choose a voice, press Generate.")
        with gr.Row():
            with gr.Column():
                song = gr.File(label="Song (any audio or video file)", type="filepath")
                link = gr.Textbox(label="... or a link", placeholder="https://")
                voice = gr.Dropdown(label="Voice", choices=_voice_names(), info=_voice_hint())
                octaves = gr.Slider(
                    -3, 3, 0, step=1, label="Octaves", info="About +1 from a male to a female voice."
                )
                semitones = gr.Slider(-12, 12, 0, step=1, label="Semitones")
                generate = gr.Button("Generate", variant="primary")
                with gr.Accordion("Add a voice", open=not list_voices()):
                    files = gr.File(label="Voice file (.pth, .safetensors or .zip)", type="filepath")
                    add = gr.Button("Add to the library")
            with gr.Column():
                cover = gr.Audio(label="Cover", interactive=False)
                steps = gr.Dataframe(label="Steps", headers=["step", "took"], interactive=False)
                warnings = gr.Markdown()
        generate.click(
            _generate,
            [song, link, voice, octaves, semitones],
            [cover, steps, warnings],
            api_name="song_cover",
        )
        add.click(_add_voice, [files], [voice], api_name="import_voice")
        page.load(
            lambda: gr.Dropdown(choices=_voice_names(), info=_voice_hint()), None, voice, api_name=False
        )
    return page  # type: ignore[no-any-return]


def _voice_names() -> list[str]:
    return [voice.name for voice in [*list_voices(), *packaged_voices()]]


def _voice_hint() -> str:
    return "" if list_voices() else NO_VOICES


def _generate(
    song: str | None,
    link: str,
    voice: str | None,
    octaves: float,
    semitones: float,
    bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio fills it in)
) -> tuple[str, list[list[str]], str]:
    from ultimate_rvc.covers.recipe import make_cover
    from ultimate_rvc.covers.source_checks import is_url
    from ultimate_rvc.covers.sources import DEMO_SOURCE

    source = song or link.strip()
    if not source:
        raise gr.Error("Drop a song or paste a link first.")
    if not song and source != DEMO_SOURCE and not is_url(source):
        # Others may reach this page: what they type must not open files of this machine.
        raise gr.Error("A link begins with https:// or http://; drop a file for anything else.")
    if not voice:
        raise gr.Error("Choose a voice first.")
    settings = CoverSettings(
        conversion=ConversionSettings(n_octaves=int(octaves), n_semitones=int(semitones))
    )
    progress = Progress(lambda step, fraction, text: bar(fraction, desc=text or step))
    try:
        result = make_cover(source, voice, settings, progress)
    except UltimateRVCError as error:
        raise gr.Error(str(error)) from error
    rows = [[step.name, "cached" if step.cached else f"{step.seconds:.1f} s"] for step in result.steps]
    return str(result.path), rows, "\n\n".join(result.warnings)


def _add_voice(path: str | None) -> gr.Dropdown:
    if path is None:
        raise gr.Error("Drop a voice file first.")
    try:
        voice = import_voice(Path(path))
    except UltimateRVCError as error:
        raise gr.Error(str(error)) from error
    return gr.Dropdown(choices=_voice_names(), value=voice.name, info="")
