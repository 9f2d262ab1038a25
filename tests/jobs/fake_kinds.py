"""Kinds of jobs that do as tests want: wait for a file, write down their turn, fail, die, not listen."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.settings import check_range
from ultimate_rvc.work.kinds import Kind
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench

TABLE = "jobs.fake_kinds:KINDS"


@dataclass(frozen=True, kw_only=True)
class FakeJob:
    name: str = "fake"
    diary: Path | None = None
    """Every job writes a line with its name there when it begins."""
    gate: Path | None = None
    """It does not go on before this file is there."""
    level: int = 0
    optimization: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("level", self.level, 0, 10)


def _begin(job: FakeJob) -> None:
    if job.diary is not None:
        with job.diary.open("a") as diary:
            diary.write(f"{job.name} {os.getpid()}\n")


def work(job: FakeJob, bench: Workbench) -> WorkResult:
    """Three steps and a file, once the gate is open; looks at its progress all the time."""
    _begin(job)
    while job.gate is not None and not job.gate.exists():
        bench.progress.report("wait", 0.5, "for the gate")
        time.sleep(0.01)
    for step in ("wait", "one", "two"):
        with bench.step(step):
            bench.progress.report(step, 1.0)
    (bench.folder / "unfinished").write_text(job.name)
    made = bench.folder.parent.parent / f"made-{job.name}"
    (bench.folder / "unfinished").replace(made)
    facts = {"device": bench.device, "pid": os.getpid()}
    return WorkResult(
        (ResultFile("text", made),), tuple(bench.steps), ("A warning.",), "cpu", "float32", facts
    )


def ignore(job: FakeJob, bench: Workbench) -> WorkResult:
    """Never looks at its progress, and starts a process of its own."""
    (bench.folder / "unfinished").touch()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if job.diary is not None:
        job.diary.write_text(f"{os.getpid()} {child.pid}")
    while True:
        time.sleep(0.01)


def fail(job: FakeJob, bench: Workbench) -> WorkResult:
    errors = {
        "told": SettingError("This cannot be done; do that."),
        "bug": ZeroDivisionError("division by zero"),
        "memory": MemoryError(),
        "full": OSError(errno.ENOSPC, "No space left on device", "song.wav"),
    }
    raise errors[job.name]


def die(job: FakeJob, bench: Workbench) -> WorkResult:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def leave(job: FakeJob, bench: Workbench) -> WorkResult:
    os._exit(3)


def _check(job: FakeJob) -> None:
    if job.name == "absent":
        raise SettingError("There is no such thing.")


def _kind(function: str, *, uses_device: bool = True) -> Kind:
    shares = {"wait": 0.5, "one": 0.25, "two": 0.25}
    return Kind(
        settings=FakeJob,
        work=f"jobs.fake_kinds:{function}",
        title=lambda job: f"the job {job.name}",
        check=_check,
        shares=shares,
        uses_device=uses_device,
    )


KINDS = {name: _kind(name) for name in ("work", "ignore", "fail", "die", "leave")}
KINDS["errand"] = _kind("work", uses_device=False)
