"""Endpoints of the voice library and of the models that can be downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ultimate_rvc.assets import manage
from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.outside import job_json
from ultimate_rvc.paths import output_dir
from ultimate_rvc.plain import from_plain
from ultimate_rvc.voices import library
from ultimate_rvc.web.desk import Door
from ultimate_rvc.web.voice_choice import checked_voice

EXPORTS = "voices"  # folder of exported zips below the output folder


class VoiceEndpoints:
    """Each public method is the endpoint of its name."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def functions(self) -> list[Callable[..., Any]]:
        return [
            *(self.voices, self.voice, self.change_voice, self.rename_voice, self.delete_voice, self.trash),
            *(self.restore_voice, self.blend_voices, self.models, self.download_models),
        ]

    def voices(self, query: str = "") -> list[dict[str, Any]]:
        """Cards of the voices in which every word of the query occurs."""
        return [card.to_json() for card in library.search_voices(_text("query", query), packaged=True)]

    def voice(self, name: str) -> dict[str, Any]:
        """All that the files of a voice hold; every byte is read."""
        return library.inspect_voice(library.find_voice(self._name(name))).to_json()

    def change_voice(
        self,
        name: str,
        note: str | None = None,
        tags: list[str] | None = None,
        preset: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write note, tags or preset of a voice; what is left out stays."""
        name = self._name(name)
        wanted = None if preset is None else _preset(preset)
        if note is not None:
            library.set_note(name, _text("note", note))
        if tags is not None:
            library.set_tags(name, [_text("tags", tag) for tag in tags])
        if wanted is not None:
            library.set_preset(name, wanted)
        self._door.server.mark_edit()
        return library.voice_card(name).to_json()

    def rename_voice(self, name: str, new_name: str) -> str:
        """Call a voice something else; returns its name."""
        return library.rename_voice(self._name(name), _text("new_name", new_name)).name

    def delete_voice(self, name: str) -> str:
        """Move a voice to the trash; returns the id of the deletion."""
        return library.delete_voice(self._name(name)).id

    def trash(self) -> list[dict[str, Any]]:
        """What can be restored, the latest deletion first."""
        return [entry.to_json() for entry in library.list_trash()]

    def restore_voice(self, deletion: str, name: str = "") -> str:
        """Bring back a deleted voice by name or id of the deletion; returns its name."""
        return library.restore_voice(_text("deletion", deletion), _text("name", name) or None).name

    def blend_voices(self, first: str, second: str, name: str, ratio: float = 0.5) -> str:
        """Make a voice between two others; the ratio is the share of the first. Returns its name."""
        if isinstance(ratio, bool) or not isinstance(ratio, int | float):
            raise SettingError(f"ratio is {ratio!r}, but must be a number from 0 to 1.")
        parts = self._name(first), self._name(second)
        return library.blend_voices(*parts, _text("name", name), float(ratio)).name

    def export_voice(self, name: str) -> str:
        """A zip of the voice that every RVC tool can read."""
        exported = library.export_voice(self._name(name), output_dir() / EXPORTS, overwrite=True)
        return str(exported.path)

    def models(self) -> list[dict[str, Any]]:
        """Every model that can be downloaded, and what of it is here."""
        return [
            {"name": report.name, "kind": report.kind, "state": report.state, "bytes": report.bytes}
            for report in manage.list_assets()
        ]

    def download_models(self, names: list[str], client: str = "") -> dict[str, Any]:
        """Queue the download of models by name. Returns the job."""
        return job_json(self._door.submit("download", {"names": names}, client))

    def _name(self, name: object) -> str:
        return checked_voice(self._door, _text("name", name))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{name} is {value!r}, but must be a text.")
    return value


def _preset(given: Mapping[str, Any]) -> library.VoicePreset:
    """A preset from JSON; a name that is none or a value outside its range is a :class:`SettingError`."""
    if not isinstance(given, Mapping):
        raise SettingError("preset must be an object with names and values.")
    return from_plain(library.VoicePreset, given, "preset")
