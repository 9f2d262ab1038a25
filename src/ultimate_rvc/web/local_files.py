"""Paths among settings that somebody typed: on a page that others reach they open nothing of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.web.desk import Door, problem
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.work.requests import DEMO_SOURCE

# Names of settings, wherever they stand, that the engine takes as a file, a folder, or a name of one.
PATHS = frozenset(
    {
        "index_path",
        "cookiefile",
        "output_path",
        "custom_embedder_model",
        "sources",
        "recordings",
        "pretrained_generator",
        "pretrained_discriminator",
        "versions",
        "index",
    }
)


def refuse_local_files(desk: Door, settings: Mapping[str, Any]) -> None:
    """Raise an error for the page when ``settings`` name files; a local user's may.

    What was uploaded does not come through here: its path is Gradio's, not the user's.
    """
    if desk.server.is_local:
        return
    for name, value in settings.items():
        if isinstance(value, Mapping):
            refuse_local_files(desk, value)
        elif value in (None, [], ()):
            continue
        elif name in PATHS:
            raise problem(desk.texts, desk.texts("error.path", name=name))
        elif name == "voice":
            checked_voice(desk, str(value))
        elif name == "source" and value != DEMO_SOURCE and not is_link(str(value)):
            raise problem(desk.texts, desk.texts("error.path", name=name))
