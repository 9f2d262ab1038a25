"""The one place that chooses where training runs: on Hugging Face ``accelerate``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.train.settings import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

_MIXED_PRECISION = {Precision.FP32: "no", Precision.FP16: "fp16", Precision.BF16: "bf16"}
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"


@contextmanager
def open_accelerator(device: str, precision: Precision) -> Iterator[Accelerator]:
    """The accelerator of this process: alone on ``device``, or one of several that were launched together.

    Several GPUs or machines are the business of ``accelerate launch``, several processes on processors that
    of ``torchrun``; both tell each process its place through the environment.

    Raises
    ------
    SettingError
        The device is not there, cannot work in this precision, or is none that processes can share.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = resolve_device(device)
    check_precision(chosen, precision)
    # accelerate keeps its choices for the whole process: those of a training before this one must go.
    AcceleratorState._reset_state(reset_partial_state=True)
    with _device_in_environment(chosen if processes == 1 else None):
        try:
            accelerator = Accelerator(cpu=chosen.type == "cpu", mixed_precision=_MIXED_PRECISION[precision])
        except ValueError as error:  # of what this version of torch cannot do on this device
            raise SettingError(f"precision {precision} does not work on {chosen.type}: {error}") from error
    if accelerator.num_processes != processes:
        raise SettingError(
            f"{processes} processes were launched, but {chosen.type} devices cannot train together: launch "
            "one, or choose the device cpu or cuda."
        )
    yield accelerator
    # Not after an error: the other processes may be waiting for this one, which has to end to end them.
    accelerator.end_training()


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raise SettingError where ``device`` cannot train in ``precision``."""
    if precision is Precision.FP16 and device.type == "cpu":
        raise SettingError("precision fp16 needs a GPU; choose fp32 or bf16 on a processor.")
    if precision is Precision.BF16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingError("precision bf16 needs an NVIDIA GPU of 2020 or later; choose fp16 or fp32.")


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
