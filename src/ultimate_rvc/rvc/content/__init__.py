"""Content encoders ("embedders"): audio at 16 kHz in, features of what is said out, 50 per second."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.errors import AssetMissingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import packaged_assets_dir

__all__ = ["ContentEncoder", "encoder_identity", "load_content_encoder"]

STARTER_FILE = "starter_encoder.safetensors"


class ContentEncoder(Protocol):
    """One encoder, loaded."""

    @property
    def name(self) -> str: ...

    def feature_dim(self, version: str) -> int:
        """Features per frame for a voice of ``version`` (``v1`` or ``v2``)."""

    def encode(self, waveform_16k: Tensor, version: str) -> Tensor:
        """``(batch, samples)`` at 16 kHz to ``(batch, (samples - 80) // 320, features)``."""


def load_content_encoder(
    name: str, device: torch.device | str, *, folder: Path | None = None
) -> ContentEncoder:
    """Load the encoder ``name``; ``folder`` holds it when it is a custom one.

    Raises
    ------
    AssetMissingError
        Its files are not on this machine and cannot be fetched.
    """
    if name == EmbedderModel.STARTER:
        from ultimate_rvc.rvc.content.starter import StarterEncoder

        return StarterEncoder(_starter_file(), device)
    raise AssetMissingError(f"The encoder '{name}' is not on this machine.")


def encoder_identity(name: str, *, folder: Path | None = None) -> str:
    """Hash of the encoder's weights, without loading it."""
    if name == EmbedderModel.STARTER:
        return file_hash(_starter_file())
    raise AssetMissingError(f"The encoder '{name}' is not on this machine.")


def _starter_file() -> Path:
    return packaged_assets_dir() / STARTER_FILE
