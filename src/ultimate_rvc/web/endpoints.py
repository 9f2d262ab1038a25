"""Named endpoints."""

from __future__ import annotations

from ultimate_rvc.web.desk import Server
from ultimate_rvc.web.texts import Texts


def add(server: Server, texts: Texts) -> None:
    return
