"""What all routes work with: the jobs, the short work, and how a request becomes sound."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.outside import job_json
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.paths import audio_dir
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.server.answers import AnswerFormat, answer_stream, whole_answer
from ultimate_rvc.server.guard import CLIENT
from ultimate_rvc.server.intake import Given, own_folder, read_request
from ultimate_rvc.server.keys import Keys
from ultimate_rvc.server.metrics import Metrics
from ultimate_rvc.server.options import ApiOptions
from ultimate_rvc.server.problems import UPLOADS_FOLDER, ApiError, busy, without_folders
from ultimate_rvc.server.results import Results
from ultimate_rvc.server.short_work import ShortRequest, ShortWork, Sound, give_up
from ultimate_rvc.switches import check_switches
from ultimate_rvc.work.foreign import refuse_foreign
from ultimate_rvc.work.heard import published
from ultimate_rvc.work.short import SHORT_KINDS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ultimate_rvc.server.cluster_work import ClusterWork
    from ultimate_rvc.voices.library import VoiceRef

Value = TypeVar("Value")

LOOK_SECONDS = 1.0  # how often it is looked whether the client is still there
PORTION_SECONDS = 0.02  # how often it is looked for the next portion of a speech


class Places:
    """How many requests may be read, wait and be answered at once."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._taken

    @contextmanager
    def one(self, wait_seconds: float) -> Iterator[None]:
        """
        Raises
        ------
        ApiError
            All are taken; ``wait_seconds`` for each of them is when to come again.
        """
        with self._lock:
            if self._taken >= self._most:
                raise busy("The server has all the requests that it takes at once; ask again later.",
                           wait_seconds * self._most)  # fmt: skip
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


@dataclass(frozen=True)
class Api:
    """One server of the API."""

    options: ApiOptions
    queue: JobQueue
    short: ShortWork | ClusterWork
    keys: Keys
    metrics: Metrics
    results: Results
    work_folder: Path
    """For requests that are answered at once."""
    threads: Executor
    """For what would hold up all others: a speech that is sent while it is made holds one."""
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", Places(self.options.most_waiting))

    async def in_thread(self, work: Callable[..., Value], *given: Any) -> Value:
        """What ``work`` gives, without holding up anybody."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(work, *given))

    # ------------------------------------------------------------------- who asks, and for what

    def client_of(self, request: Request) -> str:
        name: str = getattr(request.state, CLIENT)
        return f"api:{name}" if self.keys else "api"

    def seen_by(self, request: Request) -> str | None:
        """Whose jobs a request may see: None stands for all, where only this machine's user asks."""
        return None if self.options.is_local and not self.keys else self.client_of(request)

    def conversion(self, voice: VoiceRef, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a conversion, those of the voice's preset where none were sent.

        Raises
        ------
        UltimateRVCError
            One of them is none, or not for others.
        """
        refuse_foreign(settings)
        filled = to_plain(voice.preset.fill(settings))
        plain: dict[str, Any] = to_plain(from_plain(ConversionSettings, filled, "settings"))
        return plain

    # ---------------------------------------------------------------------------------- jobs

    def submit(self, request: Request, kind: str, settings: Mapping[str, Any]) -> Response:
        """Queue a job and tell of it.

        Raises
        ------
        UltimateRVCError
            Too many jobs wait; a setting is wrong.
        """
        waiting = len(self.queue.waiting())
        if waiting >= self.options.most_jobs:
            raise busy(f"{waiting} jobs wait already; ask again later.", self.short.mean_seconds * waiting)
        job = self.queue.submit(kind, settings, client=self.client_of(request))
        return JSONResponse(told(job), status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})

    def kept(self, path: Path) -> Path:
        """A file of a request where a job finds it, and where it stays to be done again."""
        folder = audio_dir() / UPLOADS_FOLDER / "api" / path.parent.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(path, folder / path.name))

    # ------------------------------------------------------------------------ what is waited for

    async def read(self, request: Request, stack: AsyncExitStack) -> Given:
        """Read a request that is answered at once; its files and its place go when ``stack`` is closed."""
        stack.enter_context(self.places.one(self.short.mean_seconds))
        return await self.read_for_job(request, stack)

    async def read_for_job(self, request: Request, stack: AsyncExitStack) -> Given:
        """As :meth:`read`, without a place: a job waits by itself."""
        return await read_request(request, stack.enter_context(own_folder(self.work_folder)))

    async def sound_of(self, work: ShortRequest, request: Request) -> Sound:
        """Wait for it for as long as the client does.

        Raises
        ------
        UltimateRVCError
            It failed.
        """
        waiting = asyncio.wrap_future(self.short.submit(work))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
                if not waiting.done() and await request.is_disconnected():
                    raise ApiError(503, "Nobody waits for it.")
            return waiting.result()
        finally:
            if not work.sound.done():
                give_up(work)

    async def converted(
        self, request: Request, given: Given, voice: VoiceRef, conversion: Mapping[str, Any], wanted: AnswerFormat,
        optimization: Mapping[str, Any] | None = None,
    ) -> Response:  # fmt: skip
        """The one file of a request in a voice, as the body of an answer."""
        settings = {"voice": voice.name, "conversion": conversion, "optimization": dict(optimization or {})}
        check_switches(optimization or {})
        key = await self.in_thread(self.results.key, given.audio, voice, settings, wanted)
        body = await self.in_thread(self.results.find, key)
        self.metrics.cache.labels(str(body is not None).lower()).inc()
        keep = None
        if body is None:
            work = ShortRequest("convert", settings, self.client_of(request), given.folder, given.audio)
            sound = await self.sound_of(work, request)
            assert sound.waveform is not None  # as conversions give it
            body = await self.in_thread(whole_answer, sound.waveform, sound.sample_rate, wanted)
            keep = BackgroundTask(self.results.keep, key, body)  # nobody waits for the disk
        return Response(
            body, media_type=wanted.media_type, headers=_named(given.audio.stem, wanted), background=keep
        )

    async def is_short(self, path: Path) -> bool:
        """Whether audio is short enough to be waited for; a file that is no audio is told."""
        about = await self.in_thread(probe, path)
        return about.duration_seconds <= self.options.answer_seconds

    def speech(self, request: Request, given: Given, settings: Mapping[str, Any]) -> ShortRequest:
        """A speech to be waited for.

        Raises
        ------
        UltimateRVCError
            What can be found out before anything waits for a worker.
        """
        made = {**settings, "output": str(given.folder / "speech.wav")}
        kind = SHORT_KINDS["speech"]
        kind.check(kind.read(made))
        return ShortRequest("speech", made, self.client_of(request), given.folder)

    async def said(self, request: Request, work: ShortRequest, wanted: AnswerFormat) -> bytes:
        """A speech as bytes, once all of it was said."""
        sound = await self.sound_of(work, request)
        path = sound.result.files[0].path
        waveform = await self.in_thread(decode_mono, path, sound.sample_rate)
        return await self.in_thread(whole_answer, waveform, sound.sample_rate, wanted)

    async def spoken(
        self, stack: AsyncExitStack, work: ShortRequest, wanted: AnswerFormat
    ) -> AsyncIterator[bytes]:
        """A speech as bytes, each portion as soon as it was said.

        The first portion is waited for here: what goes wrong before is told as a problem.
        """
        waiting = self.short.submit(work)
        stack.callback(lambda: None if work.sound.done() else give_up(work))
        feed = _Feed(work)
        await self.in_thread(feed.wait_for_first)
        stream = answer_stream(feed, feed.sample_rate, wanted)

        async def sent() -> AsyncIterator[bytes]:
            end = object()
            while (chunk := await self.in_thread(next, stream, end)) is not end:
                yield chunk
            waiting.result()

        return sent()


class _Feed:
    """The portions of a speech, waited for one after the other, in a thread."""

    def __init__(self, work: ShortRequest) -> None:
        self._work, self._heard, self._heard_samples = work, 0, 0
        self._pause = threading.Event()
        self.sample_rate = 0

    def wait_for_first(self) -> None:
        """
        Raises
        ------
        UltimateRVCError
            The speech failed before anything was said.
        """
        path = self._next_path()
        self.sample_rate = (
            probe(path).sample_rate if path is not None else self._work.sound.result().sample_rate
        )

    def __iter__(self) -> Iterator[Any]:
        while (path := self._next_path()) is not None:
            portion = decode_mono(path, self.sample_rate)
            self._heard += 1
            self._heard_samples += len(portion)
            yield portion

    def _next_path(self) -> Path | None:
        """The next portion; None after the last.

        Portions are copied out as they appear: their folder goes when the work is over.
        """
        while True:
            self._collect()
            path = self._work.folder / f"{self._heard:06}.wav"
            if path.is_file():
                return path
            if self._work.sound.done():
                self._collect()
                if path.is_file():
                    return path
                self._rest()
                return path if path.is_file() else None
            self._pause.wait(PORTION_SECONDS)

    def _collect(self) -> None:
        for path in published(self._work.work_folder):
            place = self._work.folder / path.name
            if not place.exists():
                try:
                    shutil.copyfile(path, unfinished := place.with_suffix(".partial"))
                    unfinished.replace(place)
                except OSError:  # its folder went meanwhile: the result has it all
                    return

    def _rest(self) -> None:
        """What of the result was not heard as portions: all of a timed text, the end of one that was over at once."""
        sound = self._work.sound.result()
        whole = decode_mono(sound.result.files[0].path, sound.sample_rate)
        if len(rest := whole[self._heard_samples :]) > sound.sample_rate // 100:
            encode(self._work.folder / f"{self._heard:06}.wav", rest, sound.sample_rate)


class HeldResponse(StreamingResponse):
    """A stream that closes what it needs when it is over, however that comes."""

    def __init__(self, content: AsyncIterator[str | bytes], stack: AsyncExitStack, **how: Any) -> None:
        super().__init__(content, **how)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


def told(job: Job) -> dict[str, Any]:
    """A job with the addresses of its files."""
    plain = job_json(job)
    plain["error"] = plain["error"] and without_folders(plain["error"])
    for failed in (plain["result"] or {}).get("facts", {}).get("failed", ()):
        failed["error"] = without_folders(failed["error"])
    if job.state is JobState.DONE and plain["result"]:
        for number, file in enumerate(plain["result"]["files"]):
            file["url"] = f"/v1/jobs/{job.id}/files/{number}"
    return plain


def _named(stem: str, wanted: AnswerFormat) -> dict[str, str]:
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem) or "audio"
    return {"Content-Disposition": f'attachment; filename="{plain}.{wanted.suffix}"'}
