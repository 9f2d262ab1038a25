"""The server behind the page: who may reach it, what it takes, which files it gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import audio_dir, cache_dir, output_dir, packaged_assets_dir, voice_samples_dir
from ultimate_rvc.server.origins import is_loopback
from ultimate_rvc.server.proxy import checked_root_path

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ultimate_rvc.jobs.queue import JobQueue
    from ultimate_rvc.web.desk import Server

REQUESTS_AT_ONCE = 16  # they only look or queue: the work itself is done by the queue of jobs
CLOSING_SECONDS = 1
MEGABYTE = 10**6
ANY_ADDRESS = "0.0.0.0"
SAMPLE_COVER = "sample_cover.ogg"  # the demo song by the starter voice


@dataclass(frozen=True)
class ServerOptions:
    """Where to listen, and whom to let in."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: str | None = field(default=None, repr=False)
    """``USER:PASS``; None lets everybody in who reaches the address."""
    max_upload_mb: int = 2000
    root_path: str | None = None
    """Below which path a proxy serves the page, ``/`` for its top; None where nothing stands before it."""

    def __post_init__(self) -> None:
        if self.auth is not None and not all(self.auth.partition(":")):
            raise SettingError("auth must be USER:PASS, both not empty.", "auth")
        if self.root_path is not None:
            checked_root_path(self.root_path, "root_path")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the page; a proxy is there for others."""
        return not self.share and self.root_path is None and is_loopback(self.host)

    @property
    def prefix(self) -> str:
        """What stands before every path of the page: ``/rvc``, or nothing."""
        return "" if self.root_path is None else checked_root_path(self.root_path, "root_path")

    @property
    def credentials(self) -> tuple[str, str] | None:
        if self.auth is None:
            return None
        user, _, password = self.auth.partition(":")
        return user, password


def prepare_environment() -> None:
    """What Gradio reads from the environment when it is imported; whatever is set already stays."""
    # It would tell its makers about every start; a local tool has nobody to tell, nor often a network.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Jobs name uploaded files by path and may wait longer than the system keeps its temporary folder.
    os.environ.setdefault("GRADIO_TEMP_DIR", str(audio_dir() / "uploads"))


def samples() -> list[Path]:
    """Sounds of the package that a page gives."""
    from ultimate_rvc.covers.sources import DEMO_FILE

    folder = packaged_assets_dir()
    return [folder / DEMO_FILE, *folder.glob("sample_*.ogg")]


def launch_options(options: ServerOptions, api: FastAPI | None = None) -> dict[str, Any]:
    """For ``Blocks.launch``: all that does not depend on how it is waited for."""
    from fastapi.exceptions import RequestValidationError
    from gradio.utils import get_upload_folder
    from starlette.middleware import Middleware

    from ultimate_rvc.server.origins import OwnOrigin
    from ultimate_rvc.server.proxy import BehindProxy
    from ultimate_rvc.web.api_first import ApiFirst
    from ultimate_rvc.web.gate import Gate, tell_unfit
    from ultimate_rvc.web.head_first import HeadFirst
    from ultimate_rvc.web.live_door import LiveDoor
    from ultimate_rvc.web.login import LoginFirst
    from ultimate_rvc.web.theme import STYLE, make_theme, page_scripts

    return {
        "server_name": options.host,
        "server_port": options.port or None,
        "share": options.share,
        "root_path": options.prefix or None,
        "auth": options.credentials,
        "max_file_size": options.max_upload_mb * MEGABYTE,
        "allowed_paths": [*map(str, (output_dir(), cache_dir(), voice_samples_dir(), *samples()))],
        "show_error": True,
        "enable_monitoring": False,
        "theme": make_theme(),
        "css_paths": STYLE,
        "head": page_scripts(),
        "footer_links": ["api"],
        "app_kwargs": {
            "middleware": [
                # First: what follows compares paths, and the host with the origin.
                *([] if options.root_path is None else [Middleware(BehindProxy, root_path=options.prefix)]),
                Middleware(OwnOrigin, only_local=options.is_local),
                *([Middleware(ApiFirst, api=api)] if api is not None else []),
                *([Middleware(LoginFirst)] if options.auth is not None else []),
                Middleware(LiveDoor),
                Middleware(HeadFirst),
                Middleware(Gate, uploads=Path(get_upload_folder())),
            ],
            "exception_handlers": {RequestValidationError: tell_unfit},
        },
        "ssr_mode": False,
        "pwa": False,
    }


def run_server(options: ServerOptions) -> None:
    """Open the page and serve it until the process is ended.

    Raises
    ------
    SettingError
        An option is wrong.
    JobError
        Another server works on the same list of jobs.
    OSError
        The port is taken.
    """
    prepare_environment()
    from ultimate_rvc.jobs.queue import JobQueue
    from ultimate_rvc.web.desk import Server

    output_dir().mkdir(parents=True, exist_ok=True)
    with JobQueue() as queue, offered_api(options, queue) as api:
        serve(Server(queue, is_local=options.is_local), options, api=api)


@contextmanager
def offered_api(options: ServerOptions, queue: JobQueue) -> Iterator[FastAPI | None]:
    """The HTTP API for the page's own server; None where others reach it and nobody made a key for them."""
    from ultimate_rvc.server.app import make_app, open_api
    from ultimate_rvc.server.keys import KEY_VARIABLE, all_keys
    from ultimate_rvc.server.options import ApiOptions

    given = tuple(filter(None, [os.environ.get(KEY_VARIABLE)]))
    if not options.is_local and not all_keys(given):
        yield None
        return
    host = (
        options.host if options.is_local else ANY_ADDRESS
    )  # a shared page listens here and is reached elsewhere
    with open_api(ApiOptions(host=host, api_keys=given, max_upload_mb=options.max_upload_mb), queue) as api:
        yield make_app(api)


def serve(
    server: Server, options: ServerOptions, *, api: FastAPI | None = None, wait: bool = True
) -> tuple[Any, str]:
    """Launch the page; returns it and its address, at once without ``wait``."""
    from ultimate_rvc.web.page import build_page
    from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, load_texts
    from ultimate_rvc.web.unfit import tell_in_one_sentence

    page = build_page(server).queue(default_concurrency_limit=REQUESTS_AT_ONCE)
    tell_in_one_sentence(page, load_texts(DEFAULT_LANGUAGE))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=not wait, **launch_options(options, api))
    # Every open page holds a connection; whoever stops the server does not wait for them all to be closed.
    page.server.config.timeout_graceful_shutdown = CLOSING_SECONDS
    if wait:
        page.block_thread()
    return page, url
