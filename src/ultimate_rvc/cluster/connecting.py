"""The way to a Ray cluster: one sentence for whatever is wrong with it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ultimate_rvc.errors import ClusterError, SettingError, first_line

ADDRESS_VARIABLE = "RAY_ADDRESS"
ON_THIS_MACHINE = "auto"  # ray's own word for the cluster that this machine belongs to
PATIENCE_SECONDS = 5.0  # for a connection: without this look, ray waits minutes for a machine that is away
ADDRESS = re.compile(r"(ray://)?(?P<host>\[[0-9a-fA-F:]+\]|[^\s:/]+):(?P<port>\d{1,5})/?")


def ray_module() -> ModuleType:
    """The package ray.

    Raises
    ------
    ClusterError
        It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "A cluster needs the package ray, which is not installed here; install it with "
            "uv pip install 'ultimate-rvc-fast[cluster]', the same version on all machines."
        ) from error
    module: ModuleType = ray
    return module


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at ``address``; left out, ``RAY_ADDRESS``, else a cluster of this machine alone.

    ``address`` is ``host:6379`` on a machine of the cluster, ``ray://host:10001`` from outside of it, ``auto``
    on a machine that belongs to it. A process that is connected already stays so.

    Raises
    ------
    ClusterError
        Ray is not installed, nothing answers there, or its versions are others.
    SettingError
        The address is none.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get(ADDRESS_VARIABLE) or None
    if address not in (None, ON_THIS_MACHINE):
        _check_answers(str(address))
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    # What workers print stays in their own logs; what a user should know comes with their answers.
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unasked
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (RuntimeError, ConnectionError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = "this machine" if address is None else address
        raise ClusterError(
            f"The cluster at {where} cannot be used: {first_line(error)} "
            "All machines need the same versions of ray and Python."
        ) from error


def _check_answers(address: str) -> None:
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise SettingError(
            f"address {address} is none of a cluster; it should be like 10.0.0.5:6379 or ray://10.0.0.5:10001.",
            "address",
        )
    host, port = found["host"].strip("[]"), int(found["port"])
    try:
        socket.create_connection((host, port), PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"No cluster answers at {address} ({first_line(error).rstrip('.')}); start one, or give "
            "its address."
        ) from error
