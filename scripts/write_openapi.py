"""Write docs/openapi.json, the document of the HTTP API, as the code has it.

Run: .venv/bin/python scripts/write_openapi.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.server.app import make_app, open_api
from ultimate_rvc.server.options import ApiOptions

PATH = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def document() -> str:
    """The document as text."""
    with (
        tempfile.TemporaryDirectory() as folder,
        JobQueue(Path(folder)) as queue,
        open_api(ApiOptions(), queue, close_seconds=0) as api,
    ):
        return json.dumps(make_app(api).openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
