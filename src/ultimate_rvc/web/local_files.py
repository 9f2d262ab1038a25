"""Settings that somebody typed: on a page that others reach they open and replace nothing of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.web.desk import Door, problem
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.work.foreign import unwanted, voices_named


def refuse_local_files(desk: Door, settings: Mapping[str, Any]) -> None:
    """Raise an error for the page when ``settings`` name files or replace some; a local user's may.

    What was uploaded does not come through here: its path is Gradio's, not the user's.
    """
    if desk.server.is_local:
        return
    for found in unwanted(settings):
        key = "error.path" if found.is_path else "error.not_for_others"
        raise problem(desk.texts, desk.texts(key, name=found.name))
    for voice in voices_named(settings):
        checked_voice(desk, voice)
