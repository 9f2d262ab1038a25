"""One server of the page for all tests of a module, with a queue of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.paths import output_dir
from ultimate_rvc.web.server import ServerOptions, prepare_environment
from web.running import Running


@pytest.fixture(scope="module")
def running(_session_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        prepare_environment()
        from ultimate_rvc.web.desk import Server
        from ultimate_rvc.web.server import offered_api, serve

        output_dir().mkdir(parents=True, exist_ok=True)
        options = ServerOptions(port=0)
        with JobQueue(tmp_path_factory.mktemp("jobs")) as queue, offered_api(options, queue) as api:
            page, url = serve(Server(queue), options, api=api, wait=False)
            folders = {name: value for name, value in os.environ.items() if name.startswith("URVC_")}
            yield Running(url, queue, output_dir(), folders)
            page.close()


@pytest.fixture
def folders_of_the_server(
    running: Running, _own_folders_and_seed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test has folders of its own, but the server, which is in this process, outlives a test."""
    for name, value in running.folders.items():
        monkeypatch.setenv(name, value)
