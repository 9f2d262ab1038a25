"""Settings that somebody typed: on a page that others reach they open and replace nothing of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.settings import walk
from ultimate_rvc.web.controls import OVERWRITE
from ultimate_rvc.web.desk import Door, problem
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.requests import DEMO_SOURCE

# Wherever they stand, the program takes these as files or folders, or as a name of one.
PATHS = {entry.name for kind in KINDS.values() for _, entry in walk(kind.settings) if entry.is_path}
SOURCE = "source"  # may be a link
# A name, or for engines that read like a recording, a file; so are separation models.
NAMES = {"speaker"} | {
    entry.name for kind in KINDS.values() for _, entry in walk(kind.settings) if entry.is_open
}
NOT_FOR_OTHERS = {OVERWRITE, "allow_local", "consent"}


def refuse_local_files(desk: Door, settings: Mapping[str, Any]) -> None:
    """Raise an error for the page when ``settings`` name files or replace some; a local user's may.

    What was uploaded does not come through here: its path is Gradio's, not the user's.
    """
    if desk.server.is_local:
        return
    for name, value in settings.items():
        if isinstance(value, Mapping):
            refuse_local_files(desk, value)
        elif value in (None, False, [], ()):
            continue
        elif name in NOT_FOR_OTHERS:
            raise problem(desk.texts, desk.texts("error.not_for_others", name=name))
        elif name == "voice":
            checked_voice(desk, str(value))
        elif name == SOURCE:
            if value != DEMO_SOURCE and not is_link(str(value)):
                raise problem(desk.texts, desk.texts("error.path", name=name))
        elif name in PATHS or (name in NAMES and _may_be_a_path(str(value))):
            raise problem(desk.texts, desk.texts("error.path", name=name))


def _may_be_a_path(name: str) -> bool:
    path = Path(name).expanduser()
    return path.name != name or path.exists()
