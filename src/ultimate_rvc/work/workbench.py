"""What a piece of work is given: progress, device, models that are open already, a folder of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.choices import Device
from ultimate_rvc.progress import Progress, StepTime
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.switches import ResolvedConfig, resolve_config
from ultimate_rvc.work.result import ResultFile, WorkResult


@dataclass
class Workbench:
    """For one piece of work."""

    progress: Progress
    folder: Path
    """For unfinished files: there and empty at the beginning, removed at the end, however it ends."""
    device: str
    """Of the slot; a request that names a device goes before."""
    pipelines: WarmPipelines
    switch_names: Mapping[str, str] = field(default_factory=dict)
    """What the door calls the switches, by field, for sentences."""
    is_heard: bool = False
    """Whether somebody may listen while it is done, to what lies in ``folder`` (``heard.py``)."""
    steps: list[StepTime] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What the user should know, each sentence once."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report and time a step."""
        self.progress.report(name, 0.0)
        started = time.perf_counter()
        yield
        self.steps.append(StepTime(name, time.perf_counter() - started))

    def warn(self, *sentences: str) -> None:
        self.warnings += [sentence for sentence in dict.fromkeys(sentences) if sentence not in self.warnings]

    def result(self, files: Iterable[ResultFile], **more: Any) -> WorkResult:
        """What came of it, with the steps and warnings so far."""
        return WorkResult(tuple(files), tuple(self.steps), tuple(self.warnings), **more)

    def optimization(self, given: Mapping[str, Any]) -> ResolvedConfig:
        """The configuration for a request: what it gives, the slot's device, then what is in force."""
        named = {name: value for name, value in given.items() if value not in (None, Device.AUTO)}
        resolved = resolve_config({"device": self.device, **named}, argument_names=self.switch_names)
        resolved.log_warnings()
        return resolved


@contextmanager
def own_workbench(progress: Progress, switch_names: Mapping[str, str] | None = None) -> Iterator[Workbench]:
    """A workbench for one piece of work in this process."""
    with tempfile.TemporaryDirectory(prefix="urvc-") as folder:
        yield Workbench(progress, Path(folder), Device.AUTO, WarmPipelines(), switch_names or {})
