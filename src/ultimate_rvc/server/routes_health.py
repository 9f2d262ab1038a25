"""For what watches over the server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ultimate_rvc import __version__
from ultimate_rvc.server.api import Api


def add_health(router: APIRouter, api: Api) -> None:
    """Add the routes."""

    @router.get("/healthz", tags=["health"])
    def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok", "version": __version__}

    @router.get("/readyz", tags=["health"])
    def readyz() -> Response:
        """Whether it takes work: 503 while it has all that it takes, closes, or cannot write its list of jobs."""
        problems: dict[str, Any] = {}
        if api.queue.trouble is not None:
            problems["jobs"] = api.queue.trouble
        if api.places.taken >= api.options.most_waiting:
            problems["requests"] = "all places are taken"
        state = "ready" if not problems else "not ready"
        return JSONResponse({"status": state, **problems}, status_code=503 if problems else 200)

    @router.get("/metrics", tags=["health"])
    def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(api.metrics.text(), media_type="text/plain; version=0.0.4")
