"""Finished files into the output folder, under a free name, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ultimate_rvc.covers.cache import CachedFile, StepCache
from ultimate_rvc.covers.output import place_cover
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.covers.sources import file_title
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import cache_dir


def place(finished: Path, name: str) -> Path:
    """Copy ``finished`` to ``name`` with its suffix in the output folder; where it is.

    If another file has the name, `` (1)`` and so on is added, as for covers.
    """
    file = CachedFile(finished, file_hash(finished), finished.stat().st_size)
    return place_cover(file, file_title(name), CoverSettings(), StepCache(cache_dir()))
