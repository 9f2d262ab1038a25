"""Which device the engine runs on, and how its memory errors look."""

from __future__ import annotations

import torch

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import OutOfMemoryError, SettingError

_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def resolve_device(wanted: str = Device.AUTO) -> torch.device:
    """The torch device for ``auto``, ``mps``, ``cuda``, ``cuda:N`` or ``cpu``.

    Raises
    ------
    SettingError
        If the device is unknown, or asked for by name and not there.
    """
    if wanted == Device.AUTO:
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = wanted.partition(":")
    if kind not in {Device.CUDA, Device.MPS, Device.CPU} or (
        number and (kind != "cuda" or not number.isdecimal())
    ):
        raise SettingError(f"Device {wanted!r} is unknown; choose auto, mps, cuda, cuda:N or cpu.")
    if kind == Device.CUDA:
        index = int(number or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise SettingError(
                f"Device {wanted!r} is not there; choose auto or cpu, or check the NVIDIA driver."
            )
        return torch.device("cuda", index)
    if kind == Device.MPS and not torch.backends.mps.is_available():
        raise SettingError("Device 'mps' needs an Apple GPU and macOS 12.3 or later; choose auto or cpu.")
    return torch.device(kind)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device (or the host) had no memory left.

    CUDA has a class of its own; MPS and the CPU allocator raise plain ``RuntimeError``.
    """
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _MEMORY_MESSAGES)


def release_cached_memory(device: torch.device) -> None:
    """Hand the allocator's unused blocks back, so that a smaller attempt finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def out_of_memory_error(device: torch.device) -> OutOfMemoryError:
    """What to raise when even the smallest attempt found no room."""
    way_out = "close other programs" + ("" if device.type == "cpu" else " or set device to cpu")
    return OutOfMemoryError(f"{device} has too little free memory even for short chunks; {way_out}.")
