"""The API put together: routes behind a guard, as an application that any server can run."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware

from ultimate_rvc import __version__
from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.jobs.settings import QueueSettings
from ultimate_rvc.paths import audio_dir
from ultimate_rvc.server import described
from ultimate_rvc.server.api import Api
from ultimate_rvc.server.guard import Answered, Guard
from ultimate_rvc.server.keys import RateLimit, all_keys
from ultimate_rvc.server.metrics import Counted, Metrics, resident_bytes
from ultimate_rvc.server.options import ApiOptions
from ultimate_rvc.server.origins import OwnOrigin
from ultimate_rvc.server.problems import WORK_FOLDER, ApiError, answer, as_problem
from ultimate_rvc.server.results import Results
from ultimate_rvc.server.routes_elevenlabs import add_elevenlabs
from ultimate_rvc.server.routes_health import add_health
from ultimate_rvc.server.routes_jobs import add_jobs
from ultimate_rvc.server.routes_openai import add_openai
from ultimate_rvc.server.routes_rvc_python import add_rvc_python
from ultimate_rvc.server.routes_voices import add_voices
from ultimate_rvc.server.routes_work import add_work
from ultimate_rvc.server.short_work import Batching, ShortWork
from ultimate_rvc.work.short import TABLE

if TYPE_CHECKING:
    from ultimate_rvc.server.cluster_work import ClusterWork

log = logging.getLogger(__name__)

CLOSE_SECONDS = 30.0  # for what runs when the server is to end
SPARE_THREADS = 8
TRACES_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def open_api(
    options: ApiOptions, queue: JobQueue, *, table: str = TABLE, close_seconds: float = CLOSE_SECONDS
) -> Iterator[Api]:
    """What the routes work with, for as long as the block lasts; at its end what runs is finished.

    Raises
    ------
    SettingError
        Others could reach the server and nobody said that they may; a key is too short.
    ClusterError
        The cluster cannot be used.
    """
    keys = all_keys(options.api_keys)
    if not keys and not options.is_local and not options.is_open:
        raise SettingError(
            f"On {options.host} others reach the API, and there is no key: give api_keys, or set is_open to let "
            "everybody in.",
            *("api_keys", "is_open"),
        )
    metrics, folder = Metrics(), audio_dir() / WORK_FOLDER / str(os.getpid())
    folder.mkdir(parents=True, exist_ok=True)
    batching = Batching(size=options.batch_size, window_seconds=options.batch_window_ms / 1000)
    slots = QueueSettings.from_env()
    short = ShortWork(
        folder,
        device=slots.slots[0],
        batching=batching,
        idle_seconds=slots.idle_seconds,
        table=table,
        told=metrics.batch_done,
    )
    threads = ThreadPoolExecutor(options.most_waiting + SPARE_THREADS, thread_name_prefix="api")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(short.close, close_seconds)  # at once where another closed it
        work: ShortWork | ClusterWork = short
        if options.cluster is not None:
            from ultimate_rvc.server.cluster_work import on_cluster

            work = stack.enter_context(on_cluster(short, options, metrics.batch_done))
            stack.callback(work.close, close_seconds)
        api = Api(options, queue, work, keys, metrics, Results.open(), folder, threads)
        metrics.watch(
            "waiting_requests", "Requests that are read, wait or are answered.", lambda: api.places.taken
        )
        metrics.watch("waiting_jobs", "Jobs that wait.", lambda: len(queue.waiting()))
        metrics.watch("memory_bytes", "Memory of the server and its workers.", lambda: _memory(api))
        yield api


def make_app(api: Api) -> FastAPI:
    """The API as an application."""
    app = FastAPI(
        title="Ultimate RVC",
        version=__version__,
        description="Song covers, speech and conversions in any voice. docs/serving.md tells more.",
        middleware=[
            Middleware(Counted, metrics=api.metrics),
            Middleware(OwnOrigin, only_local=api.options.is_local, allowed=api.options.origins),
            *_cors(api.options),
            Middleware(Answered),
            Middleware(
                Guard,
                keys=api.keys,
                rate=RateLimit(api.options.requests_per_minute),
                max_bytes=api.options.max_upload_bytes,
            ),
        ],
    )
    for kind in (UltimateRVCError, StarletteHTTPException, RequestValidationError):
        app.add_exception_handler(kind, _tell)
    router = APIRouter()
    for add in (add_work, add_jobs, add_voices, add_openai, add_elevenlabs, add_rvc_python, add_health):
        add(router, api)
    app.include_router(router)
    written = app.openapi

    def with_components() -> dict[str, Any]:
        document = written()
        for kind, named in described.components().items():
            document.setdefault("components", {}).setdefault(kind, {}).update(named)
        return document

    app.openapi = with_components  # type: ignore[method-assign]
    _trace(app)
    return app


def beginnings(app: FastAPI) -> frozenset[str]:
    """The first parts of the addresses that the API answers to, such as ``v1``."""
    return frozenset(
        path.split("/")[1] for path in (*app.openapi()["paths"], app.docs_url, app.openapi_url) if path
    )


def _cors(options: ApiOptions) -> list[Middleware]:
    if not options.origins:
        return []
    return [
        Middleware(CORSMiddleware, allow_origins=options.origins, allow_methods=["*"], allow_headers=["*"])
    ]


async def _tell(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return answer(ApiError(400, f"{name}: {first['msg']}.", name))
    if isinstance(error, HTTPException | StarletteHTTPException):
        sentence = (
            error.detail
            if error.status_code != 404
            else f"There is nothing at {request.url.path}; /docs lists all."
        )
        return answer(ApiError(error.status_code, sentence))
    return answer(as_problem(error))


def _trace(app: FastAPI) -> None:
    """Tell OpenTelemetry of each request, where its packages are and the environment says to whom."""
    if not os.environ.get(TRACES_VARIABLE):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:  # all of them, or some
        log.warning(
            "%s is set, and the packages for it are not here: install the extra 'otel'.", TRACES_VARIABLE
        )
        return

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)


def _memory(api: Api) -> float:
    workers = [api.short.worker_pid, *api.queue.worker_pids]
    pids = ["self", *(str(pid) for pid in workers if pid is not None)]
    return sum(map(resident_bytes, pids))
