"""A Ray cluster of two machines on this one, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster_machines import Machines


@pytest.fixture(scope="module")
def machines(_session_folders: None) -> Iterator[Machines]:
    """Two of one core each, beside a head that does no work."""
    pytest.importorskip("ray")
    cluster = Machines(2)
    yield cluster
    cluster.end()
