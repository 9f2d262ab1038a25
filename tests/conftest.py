"""What every test can rely on: folders and settings of its own, no network, two threads, the same seed."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Read by torch, numba and the BLAS libraries when they are imported, hence before any of them is. Where several
# processes test side by side, more threads than cores would wait for each other.
THREADS = "1" if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1 else "2"
for thread_count in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(thread_count, THREADS)
# On some Intel processors MKL's products depend on where in memory their factors lie, by a rounding or two: what is
# computed again in one process would not be the same to the bit.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def _hear_ctrl_c() -> None:
    """Tests send it, and it must end a test at most, not the process of all.

    A shell starts what runs in its background deaf to it, and children inherit that. A library may leave it to the
    system, which ends the process.
    """
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):
        signal.signal(signal.SIGINT, signal.default_int_handler)


_hear_ctrl_c()

FOLDER_VARIABLES = {
    "URVC_MODELS_DIR": "models",
    "URVC_VOICE_MODELS_DIR": "voice_models",
    "URVC_AUDIO_DIR": "audio",
    "URVC_CONFIG_DIR": "configs",
    "URVC_TEMP_DIR": "temp",
    "URVC_LOGS_DIR": "logs",
    "URVC_TRAINING_DIR": "training",
}
PERSONAL_VARIABLES = (
    "URVC_CONFIG",
    "URVC_FEATURE_CACHE_MB",
    "URVC_HF_ENDPOINT",
    "HF_ENDPOINT",
    "YT_COOKIEFILE",
)
PERSONAL_PREFIX = "RVC_"  # of all that says how a conversion is computed
SEED = 20240229

# Examples are drawn the same way in every run, and a slow machine is not a failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _use_folders_below(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URVC_HOME", str(root))
    for variable, folder in FOLDER_VARIABLES.items():
        monkeypatch.setenv(variable, str(root / folder))
    switches = [variable for variable in os.environ if variable.startswith(PERSONAL_PREFIX)]
    for variable in (*PERSONAL_VARIABLES, *switches):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("URVC_OFFLINE", "1")
    _know_this_machine(root)


def _know_this_machine(root: Path) -> None:
    """As slow as where costs are measured: no test waits for a measurement, and none depends on one."""
    machines = [
        {
            "device": f"cpu: {platform.machine()}, {threads} threads",
            "slowness": {"matrices": 1.0, "convolutions": 1.0},
        }
        for threads in (1, 2)
    ]
    (root / "machine.json").write_text(json.dumps({"format": 1, "machines": machines}), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def _session_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that outlive one test; nothing is ever read from or written to the checkout."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _use_folders_below(tmp_path_factory.mktemp("session"), monkeypatch)
        yield


@pytest.fixture(autouse=True)
def _own_folders_and_seed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, _session_folders: None
) -> None:
    _use_folders_below(tmp_path_factory.mktemp("home"), monkeypatch)
    _hear_ctrl_c()
    random.seed(SEED)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A test that leaves more threads to torch would slow down all tests after it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else int(os.environ["OMP_NUM_THREADS"])
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(before)
