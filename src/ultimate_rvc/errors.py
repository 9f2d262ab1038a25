"""Errors a user can meet: each says what is wrong, with which file or option, and the way out.

Anything that is not an ``UltimateRVCError`` is a bug and may show a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class UltimateRVCError(Exception):
    """Work that cannot be done, said in one sentence.

    ``fields`` are the names of settings in the sentence: a door may call them otherwise.
    """

    exit_code = 1

    def __init__(self, sentence: str, *fields: str) -> None:
        super().__init__(sentence)
        self.fields = fields

    def rename_fields(self, names: Mapping[str, str]) -> None:
        """Call fields in the sentence by other ``names``."""
        sentence = str(self)
        for field in self.fields:
            if (name := names.get(field)) is not None:
                # As a word of its own: a path in the sentence may hold the field's name too.
                sentence = re.sub(rf"(?<![^\s(]){re.escape(field)}(?![^\s:,;.])", name, sentence)
        self.args = (sentence,)
        self.fields = tuple(names.get(field, field) for field in self.fields)


def first_line(error: Exception, longest: int = 200) -> str:
    """The first line of what a library says went wrong, as a sentence; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__)[:longest]
    return text if text.endswith((".", "!", "?")) else f"{text}."


class SettingError(UltimateRVCError):
    """A setting outside its range or choices."""

    exit_code = 2


class AudioError(UltimateRVCError):
    """An audio file that cannot be read, written or used."""


class VoiceFileError(UltimateRVCError):
    """A voice or index file that cannot be used, or must not be opened."""


class VoiceNotFoundError(UltimateRVCError):
    """A voice name that is neither in the library nor a file."""


class EncoderMismatchError(UltimateRVCError):
    """A voice trained with another content encoder than the one asked for."""


class EncoderFileError(UltimateRVCError):
    """A content encoder's file or folder that cannot be used."""


class BackendError(UltimateRVCError):
    """A network that a backend cannot export or run."""


class SpeechError(UltimateRVCError):
    """Text that cannot be read aloud, or an engine that is not here or failed."""


class ConsentError(SpeechError):
    """A person's voice that is to be imitated before the user has consented."""

    exit_code = 2


class AssetMissingError(UltimateRVCError):
    """A model file that is needed, absent, and could not be fetched."""


class DownloadError(UltimateRVCError):
    """A download that failed or brought the wrong bytes."""


class SourceError(UltimateRVCError):
    """A song source (file, folder, URL) that cannot be fetched or understood."""


class SeparationError(UltimateRVCError):
    """A separation that failed or an unknown separation model."""


class CacheError(UltimateRVCError):
    """A cache folder that cannot be written, is full, or is in use."""


class ClusterError(UltimateRVCError):
    """A cluster that is not there, does not answer, or whose machines do not fit together."""


class DatasetError(UltimateRVCError):
    """Recordings that no voice can be trained on, or that are not there."""


class TrainingError(UltimateRVCError):
    """A training that cannot begin, go on or be finished."""


class OutOfMemoryError(UltimateRVCError):
    """A device whose memory does not suffice even for the smallest chunk."""


class CancelledError(UltimateRVCError):
    """The job was cancelled through its progress object."""

    exit_code = 130
