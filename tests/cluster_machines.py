"""A Ray cluster of two machines on this one, which come and go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
# Loopback alone, and no secret that would be written into the user's home.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else ray takes 127.0.0.1 for the machine's address in its network
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)]),
}
os.environ |= ENVIRONMENT  # ray reads some of it when it is imported, which is before any fixture
LOOPBACK = "127.0.0.1"
STORE_BYTES = 100_000_000


class Machines:
    """The cluster: a head of ``head_cores`` cores, and machines of one core each."""

    def __init__(self, count: int, *, head_cores: int = 0) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": head_cores, "include_dashboard": False, **self._node()}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add() for _ in range(count)]
        self.address: str = self._cluster.address

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **self._node())

    def remove(self, node: Any) -> None:
        """As when its power fails."""
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()

    @staticmethod
    def _node() -> dict[str, Any]:
        return {"node_ip_address": LOOPBACK, "object_store_memory": STORE_BYTES}
