"""What a person gives the page to work on: files that were uploaded, links, and no paths of this machine."""

from __future__ import annotations

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.jobs.kinds import DEMO_SOURCE
from ultimate_rvc.web.desk import Desk, problem


def song_source(desk: Desk, upload: str | None, link: str | None) -> str:
    """The file that was dropped, else the link; both, or neither, is told."""
    link = (link or "").strip()
    if upload and link:
        raise problem(desk.texts, desk.texts("error.two_songs"))
    if upload:
        return upload
    if not link:
        raise problem(desk.texts, desk.texts("error.no_song"))
    if link != DEMO_SOURCE and not is_link(link):
        # Others may reach this page: what they type must not open files of this machine.
        raise problem(desk.texts, desk.texts("error.no_link"))
    return link
