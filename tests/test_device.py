"""Where the engine runs: known without torch if there is no GPU, asked of torch if there may be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ultimate_rvc import device
from ultimate_rvc.device import best_device_type, gpu_driver_present, resolve_device
from ultimate_rvc.errors import SettingError

SOURCE = Path(device.__file__).parents[1]
NO_GPU = "import sys, ultimate_rvc.device as d; d.gpu_driver_present = lambda: False;"


def in_a_new_python(code: str, *folders: Path) -> str:
    """What the code prints, in a Python that has imported nothing."""
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, (*folders, SOURCE)))}
    command = [sys.executable, "-c", NO_GPU + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_without_a_gpu_the_best_device_is_known_without_torch() -> None:
    code = "print(d.best_device_type(), 'torch' in sys.modules)"
    assert in_a_new_python(code).split() == ["cpu", "False"]


def test_with_torch_at_hand_torch_says_which_device_is_best() -> None:
    assert best_device_type() == resolve_device().type


@pytest.mark.parametrize(("cuda", "mps", "found"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_a_gpu_goes_before_the_cpu(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, found: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert best_device_type() == found


class Driver:
    """NVIDIA's driver, with so many GPUs, or one that does not start."""

    def __init__(self, gpus: int, error: int = 0) -> None:
        self._gpus, self._error = gpus, error

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self._error

    def cuDeviceGetCount(self, count) -> int:  # type: ignore[no-untyped-def]  # noqa: N802
        count._obj.value = self._gpus
        return 0


@pytest.mark.parametrize(
    ("driver", "present"),
    [(Driver(2), True), (Driver(0), False), (Driver(2, error=100), False), (None, False)],
)
def test_a_driver_with_a_gpu_is_a_reason_to_ask_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Driver | None, present: bool
) -> None:
    def load(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(device.ctypes, "CDLL", load)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device, "GPU_FILES", (tmp_path / "kfd",))
    assert gpu_driver_present() is present
    (tmp_path / "kfd").touch()
    assert gpu_driver_present()


def test_a_mac_may_always_have_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.sys, "platform", "darwin")
    assert gpu_driver_present()


@pytest.mark.skipif(sys.platform == "darwin", reason="torch is always asked there")
def test_the_libraries_of_torch_are_loaded_without_torch_and_serve_it_later() -> None:
    code = "d.load_torch_libraries(); print('torch' in sys.modules); import torch; print(len(torch.ones(3)))"
    assert in_a_new_python(code).split() == ["False", "3"]


def test_a_torch_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('made for another system')")
    (tmp_path / "torch" / "lib" / "libtorch_python.so").write_bytes(b"not a library")
    code = "from ultimate_rvc.doctor import examine; print(*examine().problems, sep='\\n')"
    problems = in_a_new_python(code, tmp_path)
    assert "torch cannot be loaded (made for another system): run ./urvc-macos.sh install." in problems


@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cuda:x", "mps:0"])
def test_an_unknown_device_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(SettingError, match="choose auto, mps, cuda, cuda:N or cpu"):
        resolve_device(name)
