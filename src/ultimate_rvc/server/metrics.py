"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from ultimate_rvc.work.result import WorkResult

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
UNKNOWN_ROUTE = "other"  # addresses that are none would each be a series of their own
PAGE_BYTES = 4096


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began is nothing that anybody looks at
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "urvc_requests",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "urvc_request_seconds", "From a request to the end of its answer.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "urvc_batch_requests",
            "Requests that were done together.",
            buckets=BATCHES,
            registry=self.registry,
        )
        self.stages = Counter(
            "urvc_stage_seconds", "Seconds by step of the work.", ["stage"], registry=self.registry
        )
        self.cache = Counter(
            "urvc_cache",
            "Answers found, or not found, among earlier ones.",
            ["found"],
            registry=self.registry,
        )

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A number that is looked up when somebody asks."""
        Gauge(f"urvc_{name}", what, registry=self.registry).set_function(value)

    def batch_done(self, count: int, result: WorkResult) -> None:
        """For the short work: a batch and its steps."""
        self.batches.observe(count)
        for step in result.steps:
            self.stages.labels(step.name).inc(step.seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Counted:
    """Counts requests by their route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            self._metrics.requests.labels(route, scope["method"], str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)


def resident_bytes(pid: str) -> float:
    """Memory of a process; nan where the system has no ``/proc``."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return float("nan")
