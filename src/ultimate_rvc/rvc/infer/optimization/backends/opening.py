"""From a configuration to what runs the networks of a pipeline, with torch in reserve for each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ultimate_rvc import machine
from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.device import is_out_of_memory
from ultimate_rvc.errors import SettingError, first_line
from ultimate_rvc.paths import exports_dir
from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.infer.optimization.backends.calibration import recorded_inputs
from ultimate_rvc.rvc.infer.optimization.backends.exports import export_key, made_or_found
from ultimate_rvc.rvc.infer.optimization.backends.finding import backend_named
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner
from ultimate_rvc.rvc.infer.optimization.backends.parts import content_parts, pitch_parts, synthesizer_parts
from ultimate_rvc.rvc.infer.optimization.backends.protocol import BFLOAT16, FLOAT32, Backend, Plan
from ultimate_rvc.rvc.infer.optimization.backends.torch_compile import CompiledRender
from ultimate_rvc.rvc.infer.optimization.fixed_tiles import TiledRenderer, tile_lengths_for
from ultimate_rvc.rvc.infer.optimization.precision import resolve_precision
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer, renderer_for
from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer
from ultimate_rvc.rvc.voice_file.read import VoiceModel
from ultimate_rvc.switches import AUTO_BATCH, INT8_BACKENDS, TORCHS_OWN, OptimizationConfig

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
WORDS = {
    PartName.CONTENT: "the content encoder",
    PartName.TEXT: "the text encoder",
    PartName.FLOW: "the flow",
    PartName.VOCODER: "the vocoder",
    PartName.PITCH: "the pitch network",
}


@dataclass(frozen=True)
class OpenBackend:
    """What runs the networks of a pipeline."""

    name: BackendName
    precision: str
    render: VocoderRenderer | TiledRenderer | CompiledRender
    batch_size: int | Literal["auto"]
    computation: str
    """What makes its numbers differ from torch's by more than rounding; empty where nothing does."""
    take_pitch: Callable[[object], None]
    """Lets it run a pitch method's networks too."""
    run_by_torch: Set[PartName] = frozenset()
    """What it cannot run, as far as is known."""


def with_backend_in_force(config: OptimizationConfig, device: torch.device) -> OptimizationConfig:
    """``config`` with a backend instead of ``auto``: the fastest exact one measured on ``device``, else torch.

    Only float32 is looked at: torch's own half precision was not compared with other backends. For int8 it is the
    first that has it; a SettingError where none is installed.
    """
    if config.backend is not BackendName.AUTO:
        return config
    if len(config.devices) > 1:  # which only torch shares work among
        return replace(config, backend=BackendName.TORCH)
    if config.use_int8:
        here = next(filter(_is_here, INT8_BACKENDS), INT8_BACKENDS[0])
        backend_named(here).version()
        return replace(config, backend=here)
    measured = (
        machine.fastest_backends(device) if config.precision == FLOAT32 and not config.compile_model else []
    )
    known = [BackendName(name) for name in measured if name in tuple(BackendName)]
    usable = (name for name in known if name in TORCHS_OWN or _is_here(name))
    return replace(config, backend=next(usable, BackendName.TORCH))


def open_backend(
    config: OptimizationConfig, voice: VoiceModel, encoder: ContentEncoder, device: torch.device
) -> OpenBackend:
    """Let the backend of ``config``, which is not ``auto``, run the networks of a voice and its encoder.

    Raises
    ------
    SettingError
        Its libraries are not here, or it does not compute in the precision asked for.
    """
    dtype = resolve_precision(config, device)
    plain = renderer_for(config, device, dtype)
    if config.backend in TORCHS_OWN:
        render = CompiledRender(device, plain) if config.compiles else plain
        precision = str(dtype).removeprefix("torch.")
        return OpenBackend(config.backend, precision, render, config.batch_size, "", lambda _: None)
    backend = backend_named(config.backend)
    check_precision(backend, config.precision)
    precision = _precision_here(config)
    networks, plan = planned(precision, voice, encoder, device)
    parts = Parts(backend, plan)
    parts.take(networks)
    if config.batch_size not in (1, AUTO_BATCH):
        log.warning("The backend %s converts one chunk at once; batch_size changes nothing.", backend.name)
    if config.compile_model:
        log.warning("The backend %s runs the networks; compile_model changes nothing.", backend.name)
    computation = "" if precision == FLOAT32 else f" {backend.name} {precision}"
    return OpenBackend(
        backend.name, precision, TiledRenderer(tile_lengths_for(device), plain), 1, computation,
        lambda method: parts.take(pitch_parts(method)), parts.run_by_torch,
    )  # fmt: skip


def planned(
    precision: str, voice: VoiceModel, encoder: ContentEncoder, device: torch.device
) -> tuple[list[Part], Plan]:
    """The parts of a voice and its encoder, and how they are exported and run."""
    parts = content_parts(encoder, voice.version)
    if not isinstance(voice.synthesizer, OnnxSynthesizer):  # which ONNX Runtime runs in any case
        parts += synthesizer_parts(voice.synthesizer, tile_lengths_for(device))
    return parts, Plan(precision, device, cache(lambda: recorded_inputs(parts, voice, encoder, device)))


def _precision_here(config: OptimizationConfig) -> str:
    """What was asked for, but float32, after one sentence, instead of bfloat16 on a processor that has none."""
    of_torch = replace(config, backend=BackendName.TORCH, use_int8=False)
    if config.precision == BFLOAT16 and resolve_precision(of_torch, CPU) is torch.float32:
        return FLOAT32
    return config.precision


def _is_here(name: BackendName) -> bool:
    try:
        backend_named(name).version()
    except SettingError:
        return False
    return True


def check_precision(backend: Backend, precision: str) -> None:
    """Raise a SettingError unless ``backend`` computes in ``precision``."""
    if precision not in backend.precisions:
        raise SettingError(
            f"backend {backend.name} computes in {', '.join(backend.precisions)}, not in {precision}; choose one of "
            "these, or another backend.",
            "backend",
        )


def export_folder(backend: Backend, part: Part, plan: Plan) -> Path:
    """Where ``part`` lies as ``backend`` opens it: exported now, unless that was done before.

    Raises
    ------
    Exception
        Whatever the backend's library raises.
    """
    version = backend.version()
    key = export_key(part.identity(), backend.name, plan.precision, version)
    facts = {"part": part.name, "backend": backend.name, "precision": plan.precision, "version": version}
    return made_or_found(exports_dir(), key, facts, lambda empty: backend.export(part, empty, plan))


class Parts:
    """The parts that a backend runs, each with torch in reserve.

    What cannot be exported, opened or run is run by torch from then on, after one warning.
    """

    def __init__(self, backend: Backend, plan: Plan) -> None:
        self._backend = backend
        self._plan = plan
        self.runners: dict[PartName, Runner] = {}
        self.run_by_torch: set[PartName] = set()

    def take(self, parts: Iterable[Part]) -> None:
        """Let the backend run ``parts`` from now on."""
        opened = []
        for part in parts:
            log.info("Preparing %s for %s ...", WORDS[part.name], self._backend.name)
            try:
                folder = export_folder(self._backend, part, self._plan)
                opened.append((part, self._backend.load(part, folder, self._plan)))
            except SettingError:
                raise
            except Exception as error:  # of many libraries, with types of their own
                self._give_up(part, error)
        # Only now: what one part is measured on for int8, torch computes with all others.
        for part, run in opened:
            self.runners[part.name] = guarded = self._guarded(part, run)
            part.replace(guarded)

    def _guarded(self, part: Part, run: Runner) -> Runner:
        """``run``, and torch instead where it fails or, in fewer bits than 32, its numbers overflow."""
        may_overflow = self._plan.precision != FLOAT32

        def guarded(*inputs: Tensor) -> tuple[Tensor, ...]:
            try:
                outputs = run(*inputs)
            except Exception as error:  # of many libraries, with types of their own
                if is_out_of_memory(error):
                    raise
                self._give_up(part, error)
                return part.run(*inputs)
            if may_overflow and not all(bool(output.isfinite().all()) for output in outputs):
                return part.run_once(guarded, *inputs)
            return outputs

        return guarded

    def _give_up(self, part: Part, error: Exception) -> None:
        part.replace(None)
        self.run_by_torch.add(part.name)
        words = self._backend.name, WORDS[part.name], first_line(error)
        log.warning("The backend %s cannot run %s here, so torch runs it: %s", *words)
