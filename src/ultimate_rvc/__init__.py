"""Song covers and speech in any voice with RVC, made fast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ultimate_rvc.api import convert, speak, speak_stream

__version__ = "0.1.0"
__all__ = ["__version__", "convert", "speak", "speak_stream"]

# ONNX Runtime (1.32 does so on Linux as well) gives the machine a number, notes what it runs and tells Microsoft. It
# looks for this when it is imported, by us or by a library.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so the engine is loaded when it is first asked for.
    if name in ("convert", "speak", "speak_stream"):
        from ultimate_rvc import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
