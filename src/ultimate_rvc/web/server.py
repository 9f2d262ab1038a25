"""The server behind the page: who may reach it, what it takes, which files it gives."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import audio_dir, cache_dir, output_dir

if TYPE_CHECKING:
    from ultimate_rvc.web.desk import Server

REQUESTS_AT_ONCE = 16  # they only look or queue: the work itself is done by the queue of jobs
MEGABYTE = 10**6


@dataclass(frozen=True)
class ServerOptions:
    """Where to listen, and whom to let in."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: str | None = field(default=None, repr=False)
    """``USER:PASS``; None lets everybody in who reaches the address."""
    max_upload_mb: int = 2000

    def __post_init__(self) -> None:
        if self.auth is not None and not all(self.auth.partition(":")):
            raise SettingError("auth must be USER:PASS, both not empty.", "auth")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the page."""
        if self.share:
            return False
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

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


def launch_options(options: ServerOptions) -> dict[str, Any]:
    """For ``Blocks.launch``: all that does not depend on how it is waited for."""
    from fastapi.exceptions import RequestValidationError
    from gradio.utils import get_upload_folder
    from starlette.middleware import Middleware

    from ultimate_rvc.web.gate import Gate, tell_unfit
    from ultimate_rvc.web.origins import OwnOrigin
    from ultimate_rvc.web.theme import SCRIPT, STYLE, make_theme

    return {
        "server_name": options.host,
        "server_port": options.port or None,
        "share": options.share,
        "auth": options.credentials,
        "max_file_size": options.max_upload_mb * MEGABYTE,
        "allowed_paths": [str(output_dir()), str(cache_dir())],
        "show_error": True,
        "enable_monitoring": False,
        "theme": make_theme(),
        "css_paths": STYLE,
        "head": SCRIPT.read_text(encoding="utf-8"),
        "footer_links": ["api"],
        "app_kwargs": {
            "middleware": [
                Middleware(OwnOrigin, only_local=options.is_local),
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
    with JobQueue() as queue:
        serve(Server(queue, is_local=options.is_local), options)


def serve(server: Server, options: ServerOptions, *, wait: bool = True) -> tuple[Any, str]:
    """Launch the page; returns it and its address, at once without ``wait``."""
    from ultimate_rvc.web.page import build_page
    from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, load_texts
    from ultimate_rvc.web.unfit import tell_in_one_sentence

    page = build_page(server).queue(default_concurrency_limit=REQUESTS_AT_ONCE)
    tell_in_one_sentence(page, load_texts(DEFAULT_LANGUAGE))
    _, url, _ = page.launch(prevent_thread_lock=not wait, quiet=not wait, **launch_options(options))
    return page, url
