"""An API in this process, whose short work is pretended; nothing listens on a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from server import fake_short
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.server.api import Api
from ultimate_rvc.server.app import make_app, open_api
from ultimate_rvc.server.options import ApiOptions

Opened = tuple[Api, httpx.AsyncClient]


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pretended worker writes its batches to."""
    path = tmp_path / "diary"
    monkeypatch.setenv(fake_short.DIARY, str(path))
    return path


@pytest.fixture
def open_server(diary: Path, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens an API with some options, and a client that speaks to it without a network."""
    with ExitStack() as stack:

        def opened(**options: object) -> Opened:
            queue = stack.enter_context(JobQueue(tmp_path / f"jobs{len(list(tmp_path.iterdir()))}"))
            api = stack.enter_context(
                open_api(ApiOptions(**options), queue, table=fake_short.TABLE, close_seconds=0)  # type: ignore[arg-type]
            )
            transport = httpx.ASGITransport(make_app(api))
            return api, httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120)

        yield opened
