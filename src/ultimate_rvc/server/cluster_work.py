"""Work that somebody waits for, done by the machines of a cluster: conversions there, the rest by this one."""

from __future__ import annotations

import functools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.cluster.serving import Clip, Replicas, ServingSettings, serve_any_voice
from ultimate_rvc.cluster.shipping import ShippedFile, ship, voice_of
from ultimate_rvc.cluster.worker import Pipelines
from ultimate_rvc.errors import AudioError, UltimateRVCError
from ultimate_rvc.files import KnownHashes
from ultimate_rvc.progress import StepTime
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.server.options import ApiOptions
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.server.short_work import CLOSING, ShortRequest, ShortWork, Sound, fail, hand_over
from ultimate_rvc.voices.library import find_voice
from ultimate_rvc.work.apart import sentence_with
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.short import SHORT_KINDS

log = logging.getLogger(__name__)

CONVERT = "convert"
SHIPPED_FILES = 16  # of voices, that stay in the object store


@contextmanager
def on_cluster(
    here: ShortWork,
    options: ApiOptions,
    told: Callable[[int, WorkResult], None],
    open_pipelines: Callable[[], Pipelines] = WarmPipelines,
) -> Iterator[ClusterWork]:
    """Short work with the replicas of the cluster that ``options`` name, for as long as the block lasts.

    Raises
    ------
    UltimateRVCError
        The cluster cannot be used, or no replica could start.
    """
    replicas = ServingSettings(
        least_replicas=options.least_replicas,
        most_replicas=options.most_replicas,
        batch_size=options.batch_size,
        batch_wait=options.batch_window_ms / 1000,
        cpus=options.replica_cpus,
        gpus=options.replica_gpus,
    )
    name = f"urvc-api-{socket.gethostname()}-{options.port}"
    with serve_any_voice(name, options.cluster, replicas, open_pipelines) as served:
        yield ClusterWork(here, served, options.most_waiting, told)


class ClusterWork:
    """As :class:`ShortWork`; conversions are done by replicas that other machines of a cluster have.

    All that are let in go to the cluster at once, which makes batches of them: whose turn it is, it decides.
    """

    def __init__(
        self, here: ShortWork, replicas: Replicas, most: int, told: Callable[[int, WorkResult], None]
    ) -> None:
        self._here, self._replicas, self._told = here, replicas, told
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="cluster")
        self._hashes, self._lock = KnownHashes(), threading.Lock()
        self._ship = functools.lru_cache(SHIPPED_FILES)(lambda path, sha256: ship(path))
        self._running = dict[Future[None], ShortRequest]()
        self._is_closing = False

    @property
    def worker_pid(self) -> int | None:
        """Of this machine's own."""
        return self._here.worker_pid

    @property
    def waiting(self) -> int:
        """How many wait for their turn, or for the cluster."""
        return self._here.waiting + len(self._running)

    @property
    def mean_seconds(self) -> float:
        """Of a request, for those who are to come again later."""
        return self._here.mean_seconds

    def submit(self, request: ShortRequest) -> Future[Sound]:
        """As :meth:`ShortWork.submit`."""
        if request.kind != CONVERT:
            return self._here.submit(request)
        with self._lock:
            if self._is_closing:
                raise ApiError(503, CLOSING)
            running = self._threads.submit(self._do, request)
            self._running[running] = request
        running.add_done_callback(lambda done: self._running.pop(done, None))
        return request.sound

    def close(self, patience_seconds: float = 0.0) -> None:
        """As :meth:`ShortWork.close`."""
        with self._lock:
            self._is_closing = True
        started = time.monotonic()
        wait(tuple(self._running), patience_seconds)
        for request in tuple(self._running.values()):
            fail(request, ApiError(503, CLOSING))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._here.close(max(patience_seconds - (time.monotonic() - started), 0.0))

    def _do(self, request: ShortRequest) -> None:
        if not request.sound.set_running_or_notify_cancel():
            return
        started = time.monotonic()
        try:
            sound = self._sound(request, started)
        except AudioError as error:
            assert request.source is not None  # a conversion has one
            fail(request, ApiError(422, sentence_with(request.source, error), "audio"))
        except Exception as error:  # whatever it is, whoever waits must hear of it
            if not isinstance(error, UltimateRVCError):
                log.exception("Short work on the cluster failed")
            fail(request, error)
        else:
            self._here.took(time.monotonic() - started)
            self._told(1, sound.result)
            hand_over(request, sound)

    def _sound(self, request: ShortRequest, started: float) -> Sound:
        assert request.source is not None
        asked = SHORT_KINDS[CONVERT].read({**request.settings, "sources": [str(request.source)]})
        voice = voice_of(find_voice(asked.voice), self._shipped)
        waveform, sample_rate = decode(request.source)
        clip = Clip(waveform, sample_rate, asked.conversion, voice, asked.optimization)
        converted, rate = self._replicas.answer(clip)
        step = StepTime("convert", time.monotonic() - started)
        return Sound(
            converted, rate, WorkResult(steps=(step,), device="cluster", facts={"sample_rate": rate})
        )

    def _shipped(self, path: Path) -> ShippedFile:
        with self._lock:  # else two requests would send it twice
            return self._ship(path, self._hashes.of(path))
