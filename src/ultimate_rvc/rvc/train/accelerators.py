"""The one place that chooses where training runs: on Hugging Face ``accelerate``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.devices import resolve_device
from ultimate_rvc.rvc.train.settings import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

_MIXED_PRECISION = {Precision.FP32: "no", Precision.FP16: "fp16", Precision.BF16: "bf16"}
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"


@contextmanager
def open_accelerator(device: str, precision: Precision) -> Iterator[Accelerator]:
    """The accelerator of this process: alone on ``device``, or one of those ``accelerate launch`` started.

    Raises
    ------
    SettingError
        The device is not there, or cannot work in this precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    launched = "LOCAL_RANK" in os.environ
    chosen = None if launched else resolve_device(device)
    if chosen is not None:
        check_precision(chosen, precision)
    # accelerate keeps its choices for the whole process: those of a training before this one must go.
    AcceleratorState._reset_state(reset_partial_state=not launched)
    with _device_in_environment(chosen):
        accelerator = Accelerator(
            cpu=device == Device.CPU,
            mixed_precision=_MIXED_PRECISION[precision],
        )
    check_precision(accelerator.device, precision)
    try:
        yield accelerator
    finally:
        accelerator.free_memory()


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raise SettingError where ``device`` cannot train in ``precision``."""
    if precision is Precision.FP16 and device.type == "cpu":
        raise SettingError("--precision fp16 needs a GPU; choose fp32 or bf16 on a processor.")
    if precision is Precision.BF16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingError("--precision bf16 needs an NVIDIA GPU of 2020 or later; choose fp16 or fp32.")


@contextmanager
def _device_in_environment(device: torch.device | None) -> Iterator[None]:
    """Let accelerate, which has no argument for it, take this very device."""
    before = os.environ.get(_DEVICE_VARIABLE)
    if device is not None and device.type != "cpu":
        os.environ[_DEVICE_VARIABLE] = str(device)
    try:
        yield
    finally:
        if device is not None and device.type != "cpu":
            os.environ.pop(_DEVICE_VARIABLE)
            if before is not None:
                os.environ[_DEVICE_VARIABLE] = before
