"""The HTTP API: named endpoints for covers, conversions, voices and jobs, which stay as they are.

docs/user-guide.md shows them with ``gradio_client``. What takes or gives files is an event of components that
nobody sees, because only those look after uploads; all else is a function with types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.covers.forecast import cover_forecast
from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.outside import job_json
from ultimate_rvc.plain import to_plain
from ultimate_rvc.separation.choose import missing_bytes
from ultimate_rvc.web import estimate
from ultimate_rvc.web.desk import Door, Server
from ultimate_rvc.web.endpoints_jobs import JobEndpoints
from ultimate_rvc.web.endpoints_voices import VoiceEndpoints
from ultimate_rvc.web.local_files import refuse_local_files
from ultimate_rvc.web.sources import song_source, voice_source
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.work.requests import DEMO_SOURCE
from ultimate_rvc.work.settings_parts import with_preset

LONGEST_SONG_SECONDS = 36_000.0  # as long as the longest song that a cover may be made of
LISTED: dict[str, Any] = {"api_visibility": "public", "show_progress": "hidden", "concurrency_limit": None}


def add(server: Server, texts: Texts) -> None:
    """Put all endpoints into the Blocks that are open."""
    door = Door(server, texts)
    _Makers(door).add()
    jobs, voices = JobEndpoints(door), VoiceEndpoints(door)
    for work in (*jobs.functions(), *voices.functions()):
        gr.events.api(door.told(work), api_name=work.__name__, concurrency_limit=None)
    number = gr.Number(precision=0, label="job", visible=False)
    client = gr.Textbox("", label="client", visible=False)
    name = gr.Textbox("", label="voice", visible=False)
    many = gr.File(file_count="multiple", label="files", visible=False)
    one = gr.File(label="file", visible=False)
    _event(door, jobs.job_files, [number, client], many)
    _event(door, voices.export_voice, [name], one)


def _event(door: Door, work: Callable[..., Any], inputs: Sequence[Any], output: Any) -> None:
    trigger = gr.Button(visible=False)
    trigger.click(
        door.told(work), list(inputs), output, api_name=work.__name__, api_description=work.__doc__, **LISTED
    )


class _Makers:
    """What makes a job out of files: cover, convert, import_voice; and what such a cover would take."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def add(self) -> None:
        song = gr.File(type="filepath", label="song", visible=False)
        files = gr.File(type="filepath", file_count="multiple", label="files", visible=False)
        link, voice, name, client = (
            gr.Textbox("", label=label, visible=False) for label in ("link", "voice", "name", "client")
        )
        settings, optimization = (
            gr.JSON({}, label=label, visible=False) for label in ("settings", "optimization")
        )
        audio_format = gr.Textbox("", label="output_format", visible=False)
        job = gr.JSON(label="job", visible=False)
        _event(self._door, self.cover, [song, link, voice, settings, optimization, client], job)
        seconds = gr.Number(None, label="seconds", visible=False)
        expected = gr.JSON(label="estimate", visible=False)
        _event(self._door, self.cover_estimate, [song, link, seconds, settings, optimization], expected)
        _event(self._door, self.convert, [files, voice, settings, audio_format, optimization, client], job)
        _event(self._door, self.import_voice, [files, link, name, client], job)

    def cover(
        self, song: str | None, link: str, voice: str, settings: object, optimization: object, client: str
    ) -> dict[str, Any]:
        """Queue a song cover; settings are fields of CoverSettings. Returns the job."""
        chosen = self._checked(settings)
        chosen["conversion"] = self._conversion(voice, _mapping(chosen.get("conversion"), "conversion"))
        job = self._door.submit(
            "cover",
            {
                "source": song_source(self._door, song, link),
                "voice": checked_voice(self._door, voice),
                "cover": chosen,
                "optimization": _mapping(optimization, "optimization"),
            },
            client,
        )
        return job_json(job)

    def cover_estimate(
        self, song: str | None, link: str, seconds: float | None, settings: object, optimization: object
    ) -> dict[str, Any]:
        """How long a cover takes on this machine at each quality, and which models it still needs."""
        cover = estimate.cover_settings(self._checked(settings))
        machine = estimate.machine_for(_mapping(optimization, "optimization"))
        length = self._song_seconds(song, link, seconds)
        expected = cover_forecast(length, cover, machine)
        models = expected.plan.models
        return {
            "quality": str(expected.quality),
            "song_seconds": length,
            "seconds": {str(quality): seconds for quality, seconds in expected.seconds.items()},
            "models": {str(task): model for task, model in models.items()},
            "missing_bytes": missing_bytes(models.values()),
            "sentence": expected.sentence,
        }

    def _song_seconds(self, song: str | None, link: str, seconds: float | None) -> float:
        """The length of the song, or what is given for one that is not here."""
        if seconds is None:
            source = song_source(self._door, song, link)
            if is_link(source):
                raise SettingError("seconds is missing: how long the song is, is known when it is fetched.")
            return estimate.demo_seconds() if source == DEMO_SOURCE else estimate.song_seconds(Path(source))
        if song or link.strip() == DEMO_SOURCE:
            raise SettingError("seconds is for a song that is not here yet; leave it out, or the song.")
        if not 0 < seconds <= LONGEST_SONG_SECONDS:
            raise SettingError(
                f"seconds is {seconds!r}, but must be above 0 and at most {LONGEST_SONG_SECONDS:g}."
            )
        return seconds

    def convert(
        self, files: list[str] | None, voice: str, settings: object, output_format: str,
        optimization: object, client: str,
    ) -> dict[str, Any]:  # fmt: skip
        """Queue a conversion of files; settings are fields of ConversionSettings. Returns the job."""
        job = self._door.submit(
            "convert",
            {
                "sources": files or [],
                "voice": checked_voice(self._door, voice),
                "conversion": self._conversion(voice, self._checked(settings)),
                "output_format": output_format or None,
                "optimization": _mapping(optimization, "optimization"),
            },
            client,
        )
        return job_json(job)

    def import_voice(self, files: list[str] | None, link: str, name: str, client: str) -> dict[str, Any]:
        """Queue the import of a voice from a model with its index, an archive or a link. Returns the job."""
        source = voice_source(self._door, files, link.strip(), "")
        allowed = {"allow_local": self._door.server.is_local}
        job = self._door.submit("import-voice", {**source, **allowed, "name": name.strip() or None}, client)
        return job_json(job)

    def _checked(self, settings: object) -> dict[str, Any]:
        chosen = _mapping(settings, "settings")
        refuse_local_files(self._door, chosen)
        return chosen

    def _conversion(self, voice: str, conversion: Mapping[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(with_preset(checked_voice(self._door, voice), conversion))
        return plain


def _mapping(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingError(f"{name} must be an object with names and values.")
    return dict(value)
