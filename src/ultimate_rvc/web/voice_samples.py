"""What each voice sounds like: one sentence, said once and kept for as long as the voice's file stays the same."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from ultimate_rvc.files import atomic_path
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.paths import packaged_assets_dir, voice_samples_dir
from ultimate_rvc.speech.samples import sample_text
from ultimate_rvc.voices.library import VoiceCard, voice_card
from ultimate_rvc.web.texts import Texts

FORMAT = "ogg"
KEY_LETTERS = 16


def sample_of(card: VoiceCard) -> Path | None:
    """The sample of a voice, if there is one: those that ship bring theirs."""
    path = _shipped(card) if card.packaged else _kept(card)
    return path if path.is_file() else None


def sample_request(name: str, texts: Texts) -> dict[str, Any]:
    """Settings of the job ``speech`` that makes it."""
    return {
        "text": sample_text(texts.language),
        "voice": name,
        "output_format": FORMAT,
        "output_name": texts("speech.sample.name", name=name),
    }


def keep_sample(job: Job) -> bool:
    """Keep what such a job made; whether there is a sample now."""
    made = next((file.path for file in files_there(job) if file.role == "speech"), None)
    if made is None:
        return False
    path = _kept(voice_card(str(job.settings["voice"])))
    if not path.is_file():
        with atomic_path(path) as unfinished:
            shutil.copyfile(made, unfinished)
    return True


def _shipped(card: VoiceCard) -> Path:
    return packaged_assets_dir() / f"sample_{card.name}.{FORMAT}"


def _kept(card: VoiceCard) -> Path:
    """By name, size and time of the voice's file: a changed voice is heard anew."""
    known = card.model_path.stat()
    key = hashlib.sha256(f"{card.name}\0{known.st_size}\0{known.st_mtime_ns}".encode()).hexdigest()
    return voice_samples_dir() / f"{key[:KEY_LETTERS]}.{FORMAT}"
