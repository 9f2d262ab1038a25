"""The library of voices, all of it: what the command line, the page and Python programs call.

A voice is a folder ``<name>`` below ``voice_models_dir()`` with ``<name>.pth`` (or ``.safetensors``, ``.onnx``), an
index ``<name>.index`` if it has one, and ``voice.json``, which tells what the voice is without opening
it. Folders of other tools, and files that lie in the library without a folder, are voices too.
"""

from __future__ import annotations

from ultimate_rvc.voices.blending import blend_voices
from ultimate_rvc.voices.cards import VoiceCard, list_cards, search_voices, voice_card
from ultimate_rvc.voices.editing import (
    change_preset,
    change_tags,
    set_note,
    set_picture,
    set_preset,
    set_tags,
)
from ultimate_rvc.voices.exporting import ExportedVoice, export_voice
from ultimate_rvc.voices.fetching import import_known_voice, import_voice_from_url, known_voices
from ultimate_rvc.voices.finding import VoiceRef, find_voice, list_voices, packaged_voices
from ultimate_rvc.voices.importing import import_voice
from ultimate_rvc.voices.indexes import attach_index, detach_index
from ultimate_rvc.voices.inspection import VoiceDetails, inspect_voice, refresh_voice
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.renaming import rename_voice
from ultimate_rvc.voices.restoring import restore_voice
from ultimate_rvc.voices.trash import TrashEntry, delete_voice, empty_trash, list_trash

__all__ = [
    "ExportedVoice",
    "TrashEntry",
    "VoiceCard",
    "VoiceDetails",
    "VoicePreset",
    "VoiceRef",
    "attach_index",
    "blend_voices",
    "change_preset",
    "change_tags",
    "delete_voice",
    "detach_index",
    "empty_trash",
    "export_voice",
    "find_voice",
    "import_known_voice",
    "import_voice",
    "import_voice_from_url",
    "inspect_voice",
    "known_voices",
    "list_cards",
    "list_trash",
    "list_voices",
    "packaged_voices",
    "refresh_voice",
    "rename_voice",
    "restore_voice",
    "search_voices",
    "set_note",
    "set_picture",
    "set_preset",
    "set_tags",
    "voice_card",
]
