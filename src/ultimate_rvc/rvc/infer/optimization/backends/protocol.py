"""What every backend is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner

FLOAT32, FLOAT16, BFLOAT16, INT8 = "float32", "float16", "bfloat16", "int8"

EXPORTED = (
    BackendName.TORCHSCRIPT,
    BackendName.ONNX,
    BackendName.OPENVINO,
    BackendName.COREML,
    BackendName.MLX,
    BackendName.TENSORRT,
)
"""The backends that networks are exported for."""


@dataclass(frozen=True)
class Plan:
    """How a part is exported and run.

    ``recorded`` gives inputs that each part met in real work, for ranges of int8; it is called only when a backend
    needs them.
    """

    precision: str
    device: torch.device
    recorded: Callable[[], Mapping[PartName, Sequence[tuple[Tensor, ...]]]]


class Backend(Protocol):
    """A way to run networks that is not torch's own."""

    name: BackendName
    precisions: tuple[str, ...]
    """What it can compute in, :data:`FLOAT32` among them."""

    def version(self) -> str:
        """Of its libraries: an export of another version is made again.

        Raises
        ------
        SettingError
            They are not installed, or not made for this machine.
        """

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        """Write files that :meth:`load` opens into an empty ``folder``; raise whatever its library raises."""

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        """Open what :meth:`export` wrote."""
