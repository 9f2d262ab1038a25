"""What a worker process of the cluster does: one file at a time, with models that stay open between files."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ultimate_rvc import __version__
from ultimate_rvc.choices import Device
from ultimate_rvc.cluster.records import Records
from ultimate_rvc.cluster.shipping import ShippedVoice
from ultimate_rvc.errors import AudioError, ClusterError, OutOfMemoryError, UltimateRVCError
from ultimate_rvc.files import file_hash
from ultimate_rvc.jobs.sentences import sentence_of
from ultimate_rvc.jobs.worker import CACHE_LIMITS
from ultimate_rvc.outputs import Target
from ultimate_rvc.plain import to_plain
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.result import ResultFile
from ultimate_rvc.work.workbench import Workbench

if TYPE_CHECKING:
    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from ultimate_rvc.work.convert import Outcome, Task

KEY_LETTERS = 40  # hexadecimal digits of SHA-256, as in the other caches


class Pipelines(Protocol):
    """Voices that stay open, such as :class:`WarmPipelines`."""

    def open(
        self,
        model_path: Path,
        settings: ConversionSettings,
        *,
        index_path: Path | None,
        optimization: OptimizationConfig,
    ) -> Pipeline:
        """The pipeline of a voice, loaded if it is not open."""

    def close(self) -> None:
        """Give their memory back."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What all files of a run have in common."""

    request: ConvertRequest
    voice: ShippedVoice
    folder: Path
    """Of the results; all machines reach it under this path."""
    run: str
    pipelines: Callable[[], Pipelines]
    """Called once in each process."""
    version: str = __version__
    identity: Mapping[str, str] | None = None
    """Of the models on the first machine that was asked: the others must have the same."""


@dataclass(frozen=True)
class Answer:
    """What became of one file."""

    outcome: Outcome
    machine: str
    is_kept: bool = False
    """Whether an earlier run made it from the same content and settings."""
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was computed: ``device``, ``precision``, ``sample_rate``, ``optimization``."""


def identify(order: Order) -> Mapping[str, str]:
    """The hashes of all model files on this machine.

    Raises
    ------
    ClusterError
        Something is missing here, or the program is another version.
    """
    _bound_memory()
    if order.version != __version__:
        raise ClusterError(
            f"The machine {socket.gethostname()} has Ultimate RVC {__version__}, and whoever started the work "
            f"{order.version}; install the same on all machines."
        )
    try:
        return _identity(order.voice, order.request.conversion)
    except UltimateRVCError as error:
        raise ClusterError(f"On the machine {socket.gethostname()}: {error}") from error


def convert_file(order: Order, source: Path, target: Target) -> Answer:
    """Convert one file, unless that has been done: whole or not at all, whenever this process dies.

    Raises
    ------
    ClusterError
        This machine does not fit to the others; any other trouble is the file's, and in the answer.
    """
    _check_models(order)
    from ultimate_rvc.work.convert import Task

    task, records = Task(source, target), Records(order.folder)
    with records.workplace(order.run) as folder:
        bench = Workbench(Progress(), folder, Device.AUTO, _open_pipelines(order.pipelines))
        try:
            key = result_key(order, source)
            if (there := records.find(target, key)) is not None:
                return _kept(source, there)
            return _converted(order, task, bench, records, key)
        except Exception as error:
            return _failed(task, error, bench)


def result_key(order: Order, source: Path) -> str:
    """The hash of everything that decides the bytes of a result.

    Raises
    ------
    AudioError
        The source cannot be read.
    """
    try:
        content = file_hash(source)
    except OSError as error:
        raise AudioError(f"{source} cannot be read ({error.strerror}).") from error
    request = order.request
    everything = {
        "source": content,
        "models": dict(order.identity or {}),
        "conversion": to_plain(request.conversion),
        "format": request.output_format,
        "bitrate_kbps": request.bitrate_kbps,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:KEY_LETTERS]


def _converted(order: Order, task: Task, bench: Workbench, records: Records, key: str) -> Answer:
    from ultimate_rvc.work.convert import convert_group

    resolved = bench.optimization(order.request.optimization)
    model, index = order.voice.received()
    pipeline = bench.pipelines.open(
        model, order.request.conversion, index_path=index, optimization=resolved.config
    )
    (outcome,) = convert_group(
        pipeline, [task], order.request, bench, bench.progress,
        put=lambda finished, target: records.put(finished, target, key),
    )  # fmt: skip
    facts = {
        "device": str(pipeline.device),
        "precision": str(pipeline.precision.dtype).removeprefix("torch."),
        "sample_rate": pipeline.voice.sample_rate,
        "optimization": [asdict(switch) for switch in resolved.switches],
    }
    return Answer(outcome, socket.gethostname(), warnings=tuple(bench.warnings), facts=facts)


def _kept(source: Path, path: Path) -> Answer:
    from ultimate_rvc.work.convert import Outcome

    outcome = Outcome(source, ResultFile("converted", path, str(source)))
    return Answer(outcome, socket.gethostname(), is_kept=True)


def _failed(task: Task, error: Exception, bench: Workbench) -> Answer:
    from ultimate_rvc.work.convert import failed

    if isinstance(error, OutOfMemoryError | MemoryError):
        bench.pipelines.close()  # the next file finds what room there is
    outcome = failed(task, UltimateRVCError(sentence_of(error)), bench)
    return Answer(outcome, socket.gethostname(), warnings=tuple(bench.warnings))


def _check_models(order: Order) -> None:
    found, first = identify(order), order.identity or {}
    if other := sorted(name for name, value in found.items() if first.get(name) != value):
        raise ClusterError(
            f"The machine {socket.gethostname()} has other model files than the first one that was asked "
            f"({', '.join(other)}); bring them in line with `urvc assets`."
        )


# ------------------------------------------------------------------ once in each process


@functools.cache
def _bound_memory() -> None:
    for variable, limit in CACHE_LIMITS.items():  # before torch is loaded, which reads them then
        os.environ.setdefault(variable, limit)


@functools.cache
def _open_pipelines(kind: Callable[[], Any]) -> Any:
    return kind()


@functools.lru_cache(maxsize=2)
def _identity(voice: ShippedVoice, conversion: ConversionSettings) -> Mapping[str, str]:
    from ultimate_rvc.rvc.infer.identity import conversion_identity

    return conversion_identity(*voice.received(), conversion)
