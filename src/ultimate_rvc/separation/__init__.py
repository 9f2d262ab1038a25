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
    SeparationModel,
    SeparationTask,
    model_names,
)

if TYPE_CHECKING:
    from ultimate_rvc.separation.checks import check_stems
    from ultimate_rvc.separation.stems import (
        DryVocals,
        LeadBacking,
        Stems,
        remove_reverb,
        separate,
        split_lead_backing,
    )

__all__ = [
    "AUTO_MODEL",
    "DEFAULT_MODELS",
    "DSP_MODEL",
    "SEPARATION_MODELS",
    "DryVocals",
    "LeadBacking",
    "SeparationModel",
    "SeparationTask",
    "Stems",
    "check_stems",
    "model_names",
    "remove_reverb",
    "separate",
    "split_lead_backing",
]

_LATE = dict.fromkeys(
    ("DryVocals", "LeadBacking", "Stems", "remove_reverb", "separate", "split_lead_backing"), "stems"
)
_LATE["check_stems"] = "checks"


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
