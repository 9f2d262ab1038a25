"""What the work of a job is given: progress, device, models that are open already, a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.choices import Device
from ultimate_rvc.progress import Progress
from ultimate_rvc.switches import ResolvedConfig, resolve_config
from ultimate_rvc.work.result import StepTime
from ultimate_rvc.work.warm import WarmPipelines


@dataclass
class Workbench:
    """For one job."""

    progress: Progress
    folder: Path
    """For unfinished files: there and empty when the job begins, removed when it ended, however it did."""
    device: str
    """Of the slot; a job that names a device goes before."""
    pipelines: WarmPipelines
    steps: list[StepTime] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report and time a step."""
        self.progress.report(name, 0.0)
        started = time.perf_counter()
        yield
        self.steps.append(StepTime(name, time.perf_counter() - started))

    def optimization(self, given: Mapping[str, Any]) -> ResolvedConfig:
        """The configuration for a job: what it gives, the slot's device, then what is in force."""
        named = {name: value for name, value in given.items() if value not in (None, Device.AUTO)}
        resolved = resolve_config({"device": self.device, **named})
        resolved.log_warnings()
        return resolved
