"""Where things live on disk; each folder can be moved by an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent


def home_dir() -> Path:
    """The checkout when run from one, else the user's data folder; ``URVC_HOME`` overrides."""
    if chosen := os.environ.get("URVC_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = PACKAGE_DIR.parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "urvc-macos.sh").is_file():
        return checkout
    from platformdirs import user_data_path

    return user_data_path("ultimate-rvc")


def _folder(variable: str, default: Path) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().resolve() if chosen else default


def models_dir() -> Path:
    """Downloaded models (encoders, rmvpe, separators): ``URVC_MODELS_DIR``."""
    return _folder("URVC_MODELS_DIR", home_dir() / "models")


def voice_models_dir() -> Path:
    """The user's voices, one folder each: ``URVC_VOICE_MODELS_DIR``."""
    return _folder("URVC_VOICE_MODELS_DIR", home_dir() / "voice_models")


def audio_dir() -> Path:
    """Intermediate and finished audio: ``URVC_AUDIO_DIR``."""
    return _folder("URVC_AUDIO_DIR", home_dir() / "audio")


def training_dir() -> Path:
    """What training makes, one folder per voice: ``URVC_TRAINING_DIR``."""
    return _folder("URVC_TRAINING_DIR", home_dir() / "training")


def datasets_dir() -> Path:
    """Recordings to train on, one folder per dataset."""
    return audio_dir() / "training"


def cache_dir() -> Path:
    """Results of the steps of a cover, by content."""
    return audio_dir() / "intermediate"


def voice_samples_dir() -> Path:
    """What each voice sounds like, made once."""
    return audio_dir() / "voice_samples"


def feature_cache_dir() -> Path:
    """Pitch curves and content features of vocals, by content."""
    return cache_dir() / "features"


def exports_dir() -> Path:
    """Networks in the forms that backends run, by content."""
    return models_dir() / "exports"


def output_dir() -> Path:
    """Finished covers and conversions that were given no path."""
    return audio_dir() / "output"


def shipped_dir() -> Path:
    """Voices that a cluster sent to this machine, by content."""
    return audio_dir() / "shipped"


def jobs_dir() -> Path:
    """The list of jobs, and what is unfinished of them."""
    return audio_dir() / "jobs"


def config_dir() -> Path:
    """Named settings files: ``URVC_CONFIG_DIR``."""
    return _folder("URVC_CONFIG_DIR", home_dir() / "configs")


def packaged_assets_dir() -> Path:
    """Model files and sounds that ship inside the package."""
    return PACKAGE_DIR / "assets" / "data"


def packaged_voice(name: str) -> Path:
    """The model file of a voice that ships; its index and its card lie beside it."""
    return packaged_assets_dir() / "voices" / name / f"{name}.pth"
