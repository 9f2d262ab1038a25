"""The library of voices, all of it: what the command line, the page and Python programs call.

A voice is a folder ``<name>`` below ``voice_models_dir()`` with ``<name>.pth`` (or ``.safetensors``), an
index ``<name>.index`` if it has one, and ``voice.json``, which tells what the voice is without opening
it. Folders of other tools, and files that lie in the library without a folder, are voices too.
"""

from __future__ import annotations

from ultimate_rvc.voices.cards import VoiceCard, list_cards, search_voices, voice_card
from ultimate_rvc.voices.editing import (
    change_preset,
    change_tags,
    set_note,
    set_picture,
    set_preset,
    set_tags,
)
from ultimate_rvc.voices.finding import VoiceRef, find_voice, list_voices, packaged_voices
from ultimate_rvc.voices.importing import import_voice
from ultimate_rvc.voices.inspection import VoiceDetails, describe_voice, inspect_voice, refresh_voice
from ultimate_rvc.voices.presets import VoicePreset

__all__ = [
    "VoiceCard",
    "VoiceDetails",
    "VoicePreset",
    "VoiceRef",
    "change_preset",
    "change_tags",
    "describe_voice",
    "find_voice",
    "import_voice",
    "inspect_voice",
    "list_cards",
    "list_voices",
    "packaged_voices",
    "refresh_voice",
    "search_voices",
    "set_note",
    "set_picture",
    "set_preset",
    "set_tags",
    "voice_card",
]
