"""``urvc serve``: the API by itself, until the process is ended."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.paths import output_dir
from ultimate_rvc.server.options import ApiOptions

CLOSE_SECONDS = 30
WAITING_CONNECTIONS = 2048


def run_api(options: ApiOptions, told: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; then take nothing more in, finish what is waited for, and keep the jobs.

    ``told`` is given the address, once it can be asked.

    Raises
    ------
    UltimateRVCError
        An option is wrong; the port is taken; another server works on the same list of jobs.
    """
    import uvicorn

    from ultimate_rvc.server.app import make_app, open_api

    output_dir().mkdir(parents=True, exist_ok=True)
    with _listening(options) as place, JobQueue() as queue, open_api(options, queue) as api:
        config = uvicorn.Config(
            make_app(api),
            log_level=logging.WARNING,
            timeout_graceful_shutdown=CLOSE_SECONDS,
            server_header=False,
        )
        told(f"http://{options.host}:{place.getsockname()[1]}")
        # uvicorn raises the signal again when it is done: then what is open here must still be closed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[place])


def _listening(options: ApiOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        place = socket.create_server((options.host, options.port), family=family, backlog=WAITING_CONNECTIONS)
        # Connections inherit it. asyncio sets it only where the protocol was named when the socket was made; without
        # it an answer's body waits 40 ms for the client to confirm its head.
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return place
    except OSError as error:
        raise SettingError(
            f"Nothing can listen on port {options.port} of {options.host} ({error.strerror}); choose another port.",
            "port",
        ) from error
