"""Which device the engine runs on, and how its memory errors look.

torch takes seconds to import. So it is imported where it is used, and where no driver offers a GPU, the
best device is known without it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import OutOfMemoryError, SettingError

if TYPE_CHECKING:
    import torch

NVIDIA_DRIVER = "libcuda.so.1"
GPU_FILES = (Path("/dev/kfd"), Path("/dev/dxg"))  # of AMD's driver, and of any GPU inside of Windows
CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
CPU_FLOAT16 = ("avx512_fp16", "amx_fp16")
_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def resolve_device(wanted: str = Device.AUTO) -> torch.device:
    """The torch device for ``auto``, ``mps``, ``cuda``, ``cuda:N`` or ``cpu``.

    Raises
    ------
    SettingError
        If the device is unknown, or asked for by name and not there.
    """
    import torch

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


def cpu_has_arithmetic(dtype: torch.dtype) -> bool:
    """Whether this processor computes in float16 or bfloat16 itself instead of in float32 with conversions."""
    import torch

    # Absent in torch 2.2, the last for Intel Macs, none of which has such instructions.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = CPU_BFLOAT16 if dtype is torch.bfloat16 else CPU_FLOAT16
    return any(capabilities.get(name, False) for name in names)


def best_device_type() -> str:
    """The type of the device that ``auto`` stands for: ``cuda``, ``mps`` or ``cpu``."""
    if "torch" not in sys.modules and not gpu_driver_present():
        return Device.CPU.value
    return resolve_device(Device.AUTO).type


def gpu_driver_present() -> bool:
    """Whether this system has a GPU that torch may be able to use; only torch knows whether it can."""
    return sys.platform == "darwin" or any(path.exists() for path in GPU_FILES) or _nvidia_gpus() > 0


def _nvidia_gpus() -> int:
    """GPUs that the NVIDIA driver shows to this process."""
    try:
        driver = ctypes.CDLL(NVIDIA_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    usable = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if usable else 0


def load_torch_libraries() -> None:
    """Load the compiled part of torch, which takes a quarter of the time of ``import torch``.

    Raises
    ------
    ImportError, OSError
        torch is not installed, or is not made for this system.
    """
    if "torch" in sys.modules:
        return
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'torch'")
    try:
        ctypes.CDLL(str(Path(found.origin).parent / "lib" / "libtorch_python.so"))
    except OSError:
        import torch  # noqa: F401 - finds libraries in more places, or says what is wrong


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device (or the host) had no memory left.

    CUDA has a class of its own; MPS and the CPU allocator raise plain ``RuntimeError``.
    """
    import torch

    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _MEMORY_MESSAGES)


def release_cached_memory(device: torch.device) -> None:
    """Hand the allocator's unused blocks back, so that a smaller attempt, or the next network, finds room."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif device.type == "cpu" and sys.platform == "linux":
        # glibc keeps what a network freed: 160 MB after a separation.
        with suppress(OSError, AttributeError):  # another C library has no such function
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def wait_for(device: torch.device) -> None:
    """Return when ``device`` has done all that it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def out_of_memory_error(device: torch.device) -> OutOfMemoryError:
    """What to raise when even the smallest attempt found no room."""
    way_out = "close other programs" + ("" if device.type == "cpu" else " or set device to cpu")
    return OutOfMemoryError(f"{device} has too little free memory even for short chunks; {way_out}.")
