"""Stems: a song into vocals and instrumental, vocals into lead and backing, dry and reverb.

Importing the package loads nothing heavy; numpy, scipy and torch come with the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ultimate_rvc.separation.models import (
    AUTO_MODEL,
    DEFAULT_MODELS,
    DSP_MODEL,
    SEPARATION_MODELS,
    SeparationTask,
    model_names,
)

if TYPE_CHECKING:
    from ultimate_rvc.separation.stems import remove_reverb, separate, split_lead_backing

__all__ = [
    "AUTO_MODEL",
    "DEFAULT_MODELS",
    "DSP_MODEL",
    "SEPARATION_MODELS",
    "SeparationTask",
    "model_names",
    "remove_reverb",
    "separate",
    "split_lead_backing",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ultimate_rvc.separation import stems

    return getattr(stems, name)
