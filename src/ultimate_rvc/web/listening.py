"""Hearing a speech while it is made: a player that goes on with the next portion when one has been heard."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.audio.level import pcm16
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.work.heard import published

FloatArray = NDArray[np.float32]

IDLE: dict[str, Any] = {"job": None, "seconds": 0.0, "plays": False}
MOST_SECONDS = 60.0  # sent at once
LEAST_SECONDS = 0.1  # less is the rounding of a format, not sound that was missed


class LivePlayer:
    """Plays what a job has made so far, portion after portion; hidden while there is nothing to hear.

    It begins with the first portion, goes on with the result once that is there, and plays only what this page
    started: after a reload nothing plays unasked.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._state = gr.State(IDLE)
        self._audio = gr.Audio(
            label=desk.texts("speech.live.label"), type="filepath", interactive=False, visible=False, autoplay=True,
            editable=False, buttons=[],
        )  # fmt: skip

    def follows(self, panel: JobPanel, started: Dependency) -> None:
        """Play the job that ``started`` has put into the panel."""
        places = [self._state, self._audio]
        began = started.success(lambda job_id: {**IDLE, "job": job_id}, panel.job_id, self._state, **QUIET)
        began.then(self._look, self._state, places, **QUIET)
        self._desk.job_followers.append(Follower(self._look, [self._state], places))
        self._audio.stop(self._heard, self._state, places, **QUIET)

    def _look(self, state: dict[str, Any]) -> list[Any]:
        """The next portion, unless one is being heard."""
        following = None if state["plays"] else self._following(state)
        return [gr.skip(), gr.skip()] if following is None else following

    def _heard(self, state: dict[str, Any]) -> list[Any]:
        """What follows a portion; while nothing is ready, the next look finds it."""
        state = {**state, "plays": False}
        following = self._following(state)
        return [state, gr.skip()] if following is None else following

    def _following(self, state: dict[str, Any]) -> list[Any] | None:
        """State and player for what follows what was heard; None while there is nothing new."""
        if state["job"] is None:
            return None
        try:
            job = self._desk.queue.get(state["job"])
            sound, rate = self._sound_after(job, state["seconds"])
        except (UltimateRVCError, OSError):  # cleared, or a portion that went as the job ended
            return None
        if job.state.is_finished and len(sound) < LEAST_SECONDS * rate:
            return [IDLE, gr.Audio(value=None, visible=False)]  # the player of the result has it all
        if not sound.size:
            return None
        state = {**state, "seconds": state["seconds"] + len(sound) / rate, "plays": True}
        return [state, gr.Audio(value=(rate, pcm16(sound)), visible=True, autoplay=True)]

    def _sound_after(self, job: Job, seconds: float) -> tuple[FloatArray, int]:
        """What can be heard from so many seconds on, and its rate: of the portions, or of the finished result."""
        paths = published(self._desk.queue.work_folder(job.id))
        if job.state.is_finished:
            paths = [file.path for file in files_there(job) if file.role == "speech"][:1]
        if not paths:
            return np.zeros(0, np.float32), 1
        rate = probe(paths[0]).sample_rate
        sound = np.concatenate([decode_mono(path, rate) for path in paths])
        return sound[round(seconds * rate) :][: round(MOST_SECONDS * rate)], rate
