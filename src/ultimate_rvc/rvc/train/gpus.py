"""The GPUs of this machine that can train."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BYTES_PER_GB = 1e9


@dataclass(frozen=True)
class Gpu:
    """One GPU: what ``--device`` calls it, its name, and its memory in words."""

    device: str
    name: str
    memory: str


def list_gpus() -> list[Gpu]:
    """Every NVIDIA (or ROCm) GPU, or the one of an Apple computer; empty where there is none."""
    gpus = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        memory = f"{free / BYTES_PER_GB:.1f} of {total / BYTES_PER_GB:.1f} GB free"
        gpus.append(Gpu(f"cuda:{number}", properties.name, memory))
    if torch.backends.mps.is_available():
        shared = torch.mps.recommended_max_memory() / BYTES_PER_GB
        gpus.append(Gpu("mps", "Apple GPU", f"up to {shared:.1f} GB, shared"))
    return gpus
