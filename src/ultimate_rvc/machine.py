"""How fast this machine is, measured once and kept, and what its earlier work took.

An estimate is a cost on the machine where costs were measured, times how much slower this one does a small piece of
the same kind of work. As soon as a kind of work has been done here, its own time goes before that.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.device import cpu_has_arithmetic, wait_for
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import home_dir

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FILE_NAME = "machine.json"
FORMAT = 3
REPEATS = 20  # over a second, so that a neighbour who is busy for half of it does not count
WEIGHT_OF_LATEST = 0.5  # of a new time among the earlier ones of the same work
SHORTEST_NOTED_SECONDS = 10.0  # of audio: shorter work is mostly loading and starting


class Load(StrEnum):
    """What a kind of work spends its time on."""

    MATRICES = "matrices"
    CONVOLUTIONS = "convolutions"
    BOTH = "both"
    """As much of one as of the other."""


@dataclass(frozen=True)
class Cost:
    """What a kind of work takes where costs are measured."""

    load: Load
    rate: float
    """Seconds for each second of audio."""


# Seconds of the pieces of work below where costs are measured: two cores of an Intel Xeon at 2.8 GHz (AVX-512). For
# convolutions it is what makes covers on an AMD EPYC last as long as their costs say.
REFERENCE_SECONDS = {Load.MATRICES: 0.037, Load.CONVOLUTIONS: 0.0104}
# The largest block whose return makes glibc keep blocks of this size for the next one.
KEPT_BYTES = 30 << 20


@dataclass
class Machine:
    """A device of this machine: how much slower than the reference it is, and the times of its earlier work."""

    device: str
    slowness: dict[str, float]
    """By :class:`Load` (but ``BOTH``): 2 takes twice as long as the reference."""
    rates: dict[str, float] = field(default_factory=dict)
    """Seconds for each second of audio that work took here, by the work's name."""
    backends: dict[str, float] = field(default_factory=dict)
    """Time of a conversion by backends that are exact, by name; that of the plain way is 1."""
    has_bfloat16: bool = False
    """Whether it is a processor that computes in bfloat16."""

    @property
    def is_cpu(self) -> bool:
        return self.device.startswith("cpu")

    def rate(self, work: str, cost: Cost) -> float:
        """Seconds for each second of audio: as this work took here before, else by its cost elsewhere."""
        measured = [Load.MATRICES, Load.CONVOLUTIONS] if cost.load is Load.BOTH else [cost.load]
        slowness = sum(self.slowness[load] for load in measured) / len(measured)
        return self.rates.get(work, cost.rate * slowness)

    def note_backends(self, times: dict[str, float]) -> None:
        """Remember what was measured of backends, instead of what was known of them."""
        self.backends = dict(times)
        _keep(self)

    def note(self, work: str, seconds: float, audio_seconds: float) -> None:
        """Remember what work took; short work says nothing of long work."""
        if audio_seconds < SHORTEST_NOTED_SECONDS:
            return
        latest = seconds / audio_seconds
        earlier = self.rates.get(work, latest)
        self.rates[work] = earlier + WEIGHT_OF_LATEST * (latest - earlier)
        _keep(self)


def this_machine(
    device: torch.device, measure: Callable[[torch.device], dict[str, float]] | None = None
) -> Machine:
    """What is known of ``device``: read from the data folder, else measured now, in about a second."""
    import torch

    kept = _read().get(_key(device))
    if kept is not None:
        return kept
    has_bfloat16 = device.type == "cpu" and cpu_has_arithmetic(torch.bfloat16)
    machine = Machine(_key(device), (measure or measured_slowness)(device), has_bfloat16=has_bfloat16)
    _keep(machine)
    return machine


def fastest_backends(device: torch.device) -> list[str]:
    """The backends that were measured on ``device``, fastest first; none where nothing was."""
    kept = _read().get(_key(device))
    return [] if kept is None else sorted(kept.backends, key=kept.backends.__getitem__)


def forget() -> None:
    """Forget all measurements: they are made again when they are needed."""
    _path().unlink(missing_ok=True)


def measured_slowness(device: torch.device) -> dict[str, float]:
    """How many times as long as the reference ``device`` takes, by :class:`Load`."""
    import torch

    pieces: dict[Load, Callable[[], Any]] = {}
    # Else it may be pages that are measured: fresh ones for each result can take as long as the convolution does.
    torch.empty(KEPT_BYTES, dtype=torch.uint8)
    with torch.inference_mode():
        # Of the sizes that separation networks have: a transformer's linear layers, a U-Net's convolutions.
        tokens, weights = torch.rand(2000, 512, device=device), torch.rand(512, 2048, device=device)
        image = torch.rand(1, 48, 256, 256, device=device)
        kernel = torch.rand(48, 48, 3, 3, device=device)
        pieces[Load.MATRICES] = lambda: torch.nn.functional.gelu(tokens @ weights) @ weights.T
        pieces[Load.CONVOLUTIONS] = lambda: torch.nn.functional.conv2d(image, kernel, padding=1)
        return {
            load.value: _least_seconds(piece, device) / REFERENCE_SECONDS[load]
            for load, piece in pieces.items()
        }


def _least_seconds(piece: Callable[[], Any], device: torch.device) -> float:
    """Of several times: what else the machine does only adds to them."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        piece()
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _key(device: torch.device) -> str:
    """What a measurement holds for: this device with as many threads."""
    import torch

    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.machine()}, {torch.get_num_threads()} threads"


def _path() -> Path:
    return home_dir() / FILE_NAME


def _read() -> dict[str, Machine]:
    """What was measured, by device; nothing where the file is missing or of another kind."""
    try:
        content = json.loads(_path().read_text("utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {machine["device"]: Machine(**machine) for machine in content["machines"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(machine: Machine) -> None:
    machines = _read() | {machine.device: machine}
    content = {"format": FORMAT, "machines": [asdict(each) for each in machines.values()]}
    try:
        _path().parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(_path()) as path:
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:  # a folder that cannot be written costs a second each time, no cover
        log.debug("What this machine does could not be kept: %s", error)
