"""What every tab of the page works with."""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import gradio as gr

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.web.display import without_uploads
from ultimate_rvc.web.following import Follower
from ultimate_rvc.web.texts import Texts

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Server:
    """What does not depend on the language: the jobs, and who may reach the page."""

    queue: JobQueue
    is_local: bool = True
    """Whether only this machine reaches it; then its user sees all jobs, and may write settings files."""
    _edits: list[int] = field(default_factory=list)

    def mark_edit(self) -> None:
        """Let every open page read the library again, after a change that its folder does not show."""
        self._edits.append(1)

    def library_stamp(self) -> list[int]:
        """Another value after every change of the voice library."""
        folder = voice_models_dir()
        return [len(self._edits), folder.stat().st_mtime_ns if folder.is_dir() else 0]


@dataclass(frozen=True)
class Door:
    """A way in, page or endpoint, in one language."""

    server: Server
    texts: Texts

    @property
    def queue(self) -> JobQueue:
        return self.server.queue

    def submit(self, kind: str, settings: Mapping[str, Any], client: str) -> Job:
        """Queue a job; what is wrong is told where it was asked for."""
        return self.told(self.queue.submit)(kind, settings, client=client)

    def seen_by(self, client: str) -> str | None:
        """Whose jobs a browser may see: None stands for all."""
        return None if self.server.is_local else client

    def told(self, work: Callable[P, R]) -> Callable[P, R]:
        """``work`` whose errors are one sentence on the page; a bug is logged and told without its traceback."""
        if inspect.iscoroutinefunction(work):

            @functools.wraps(work)
            async def patient(*given: P.args, **named: P.kwargs) -> Any:
                with _sentences(self.texts):
                    return await work(*given, **named)

            return cast(Callable[P, R], patient)

        @functools.wraps(work)
        def wrapper(*given: P.args, **named: P.kwargs) -> R:
            with _sentences(self.texts):
                return work(*given, **named)

        return wrapper


class PartForm(Protocol):
    """Controls of a part of settings files."""

    @property
    def components(self) -> Sequence[Any]: ...

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """The part as plain values, from those of the components."""
        ...

    def show(self, part: Mapping[str, Any]) -> Sequence[Any]:
        """The components' values for a part; what it does not say has its default."""
        ...


@dataclass(frozen=True)
class Desk(Door):
    """One language's page while it is laid out."""

    client: gr.BrowserState
    """Who asks: drawn once per browser, so that a reload finds its jobs."""
    optimization: gr.BrowserState
    """Switches chosen under Settings, kept by the browser and sent with each job; None where nobody chose.

    Not an empty mapping: of a mapping the browser says that it has changed whenever anything on the page has.
    """
    library: gr.State
    """Counts changes of the voice library."""
    arrivals: list[Follower] = field(default_factory=list)
    """All that look once when the page is opened."""
    job_followers: list[Follower] = field(default_factory=list)
    """All that look again when a job has changed."""
    library_followers: list[Follower] = field(default_factory=list)
    """All that look again when the voice library has changed."""
    voice_fields: dict[str, Any] = field(default_factory=dict)
    """The lists of voices in which others choose one, by the name of their tab, once laid out."""
    forms: dict[str, PartForm] = field(default_factory=dict)
    """Forms whose settings a settings file holds as well, by the name of the part, once laid out."""


@contextmanager
def _sentences(texts: Texts) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except UltimateRVCError as error:
        raise problem(texts, texts.sentence(str(error))) from error
    except Exception as error:
        log.exception("A bug of the page")
        raise problem(texts, texts("error.bug", name=type(error).__name__)) from error


def problem(texts: Texts, sentence: str) -> gr.Error:
    """An error for the page, with our title and without a traceback in the log."""
    # Gradio shows messages as HTML, and a file's name may hold anything; uploads keep their own names.
    told = html.escape(without_uploads(sentence), quote=False)
    return gr.Error(told, title=texts("error.title"), print_exception=False)
