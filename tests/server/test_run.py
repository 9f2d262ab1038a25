"""Where the server listens."""

from __future__ import annotations

import socket

from ultimate_rvc.server.options import ApiOptions
from ultimate_rvc.server.run import _listening


def test_an_answer_does_not_wait_for_its_head_to_be_confirmed() -> None:
    """Nagle's algorithm would keep its body back for 40 ms."""
    with (
        _listening(ApiOptions(port=0)) as place,
        socket.create_connection(place.getsockname()),
        place.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
