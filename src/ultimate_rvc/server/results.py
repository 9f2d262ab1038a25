"""Answers that were given before, by content: the same audio with the same settings is not converted again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc import __version__
from ultimate_rvc.files import KnownHashes, file_hash
from ultimate_rvc.paths import cache_dir
from ultimate_rvc.rvc.infer.optimization.feature_files import FeatureFiles, limit_of

if TYPE_CHECKING:
    from ultimate_rvc.server.answers import AnswerFormat
    from ultimate_rvc.voices.library import VoiceRef

log = logging.getLogger(__name__)

FOLDER = "answers"
LIMIT_VARIABLE = "URVC_ANSWERS_MB"
DEFAULT_LIMIT_MB = 512


class Results:
    """Files of answers below a limit; those unused for longest go first."""

    def __init__(self, files: FeatureFiles) -> None:
        self._files = files
        self._hashes = KnownHashes()

    @classmethod
    def open(cls) -> Results:
        """Those of this machine, as many as ``URVC_ANSWERS_MB`` allows.

        Raises
        ------
        SettingError
            The variable is no number of megabytes.
        """
        limit = limit_of(LIMIT_VARIABLE, DEFAULT_LIMIT_MB, os.environ)
        return cls(FeatureFiles(cache_dir() / FOLDER, limit))

    def key(self, audio: Path, voice: VoiceRef, settings: Mapping[str, Any], wanted: AnswerFormat) -> str:
        """A hash of everything that decides an answer: bytes of the audio and of the voice, settings, format."""
        parts = [
            __version__,
            file_hash(audio),
            self._hashes.of(voice.model_path),
            self._hashes.of(voice.index_path),
            {name: settings[name] for name in ("conversion", "optimization")},
            {name: value for name, value in os.environ.items() if name.startswith("RVC_")},
            asdict(wanted),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> bytes | None:
        try:
            return self._files.read(key)
        except OSError as error:
            log.warning("An earlier answer cannot be read (%s); it is made again.", error.strerror)
            return None

    def keep(self, key: str, body: bytes) -> None:
        try:
            self._files.write(key, body)
        except OSError as error:
            log.warning("An answer could not be kept (%s).", error.strerror)
