"""What a person gives the page to work on: files that were uploaded, links, and no paths of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultimate_rvc.assets.links import is_link, pasted_link
from ultimate_rvc.web.desk import Door, problem
from ultimate_rvc.work.requests import DEMO_SOURCE


def is_uploaded(path: Path) -> bool:
    """Whether a file came through the page: Gradio gives such files back, and no others of this machine."""
    from gradio.utils import get_upload_folder

    return path.resolve().is_relative_to(Path(get_upload_folder()).resolve())


def song_source(desk: Door, upload: str | None, link: str | None) -> str:
    """The file that was dropped, else the link; both, or neither, is told."""
    link = pasted_link(link or "")
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


def song_sources(desk: Door, uploads: list[str] | None, link: str | None) -> list[str]:
    """As :func:`song_source`, of several files."""
    if uploads and len(uploads) > 1:
        if (link or "").strip():
            raise problem(desk.texts, desk.texts("error.two_songs"))
        return uploads
    return [song_source(desk, uploads[0] if uploads else None, link)]


def voice_source(desk: Door, uploads: list[str] | None, link: str, published: str) -> dict[str, Any]:
    """What to import: one model with its index, an archive, a link or a published voice."""
    texts, link = desk.texts, pasted_link(link)
    if sum(map(bool, (uploads, link, published))) != 1:
        raise problem(texts, texts("error.one_voice"))
    if published:
        return {"source": published}
    if link:
        if not is_link(link):
            raise problem(texts, texts("error.no_link"))
        return {"source": link}
    assert uploads is not None  # the only one left
    indexes = [path for path in uploads if path.lower().endswith(".index")]
    models = [path for path in uploads if path not in indexes]
    if len(models) != 1 or len(indexes) > 1:
        raise problem(texts, texts("error.one_model"))
    return {"source": models[0], "index": indexes[0] if indexes else None}
