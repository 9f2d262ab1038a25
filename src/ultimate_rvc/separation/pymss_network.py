"""A separation network that pymss runs: RoFormers, MDX23C, SCNet, Demucs, VR."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.device import cpu_has_arithmetic
from ultimate_rvc.errors import SeparationError, first_line
from ultimate_rvc.separation.choose import ModelFiles
from ultimate_rvc.separation.models import ROFORMERS, Effort

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

# Networks that separate; pymss also knows restorers and others, which no step here can use.
ARCHITECTURES = frozenset(
    {
        "bs_roformer",
        "bs_conformer",
        "mel_band_roformer",
        "mel_band_conformer",
        "mdx23c",
        "scnet",
        "htdemucs",
        "vr",
    }
)
# pymss opens these checkpoints with the unrestricted unpickler, so they are checked here first.
PICKLED_ARCHITECTURES = frozenset({"htdemucs", "vr"})


class PymssNetwork:
    """An open network: a block of audio in, its stems by name out."""

    def __init__(self, files: ModelFiles, device: str, chunk_size: int | None, effort: Effort) -> None:
        from pymss import MSSeparator

        float32 = {"use_amp": False, "mps_model_compute_dtype": "float32"} if effort.exact else {}
        self._separator = MSSeparator(
            model_type=files.architecture,
            model_path=str(files.checkpoint),
            config_path=str(files.config) if files.config else None,
            device=str(device),
            store_dirs={},
            logger=_debug_logger(),
            inference_params={"chunk_size": chunk_size, "normalize": False, **float32},
            target_instrument_override=files.target,
        )
        self._apply(effort)
        if files.architecture in ROFORMERS and torch.device(self._separator.device).type == "cpu":
            rounded = not effort.exact and cpu_has_arithmetic(torch.bfloat16)
            suit_to_processor(self._separator.model, files.name, rounded=rounded)

    def _apply(self, effort: Effort) -> None:
        config = self._separator.config
        if effort.overlap is not None and (chunk := config.audio.get("chunk_size")):
            config.inference["overlap_size"] = round(effort.overlap * int(chunk))
        model = getattr(self._separator, "model", None)
        # MLX runs a model without its forward.
        if isinstance(model, torch.nn.Module) and getattr(model, "mps_model_backend", "torch") != "mlx_full":
            single = config.training.get("target_instrument") is not None
            _skip_silence(model, 1 if single else len(config.training.instruments), effort.silent_below)

    @property
    def sample_rate(self) -> int:
        return int(self._separator.config.audio.get("sample_rate", 44_100))

    def stems(self, block: FloatArray, done: Callable[[float], None]) -> dict[str, FloatArray]:
        """The stems of ``block`` ``(channels, samples)``, each ``(channels, samples)``, about as long."""
        self._separator.progress_callback = lambda part, total, _message: done(part / total if total else 0.0)
        stems = self._separator.separate(block, pbar=False)
        return {name: np.asarray(audio, dtype=np.float32).T for name, audio in stems.items()}

    def close(self) -> None:
        self._separator.close()


def suit_to_processor(model: torch.nn.Module, name: str, *, rounded: bool) -> None:
    """Make ``model`` fast on a processor; with a pymss whose layers are not known it stays as it is."""
    try:
        from ultimate_rvc.separation.cpu_roformer import suit_processor
    except ImportError as error:
        log.warning("%s runs as pymss has it, in float32, since that has other layers: %s", name, error)
        return
    suit_processor(model, rounded=rounded)


def _skip_silence(model: torch.nn.Module, stem_count: int, silent_below: float) -> None:
    """Let ``model`` answer chunks ``(batch, channels, samples)`` that are silent with silence."""
    compute = model.forward

    def forward(chunks: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if chunks.abs().amax() > silent_below:
            stems: Tensor = compute(chunks, *arguments, **options)
            return stems
        batch, channels, samples = chunks.shape
        return chunks.new_zeros(batch, stem_count, channels, samples)

    model.forward = forward


# --- safety -------------------------------------------------------------------------------------


def with_architecture(files: ModelFiles) -> ModelFiles:
    """``auto`` replaced by what the configuration describes; only networks that separate pass."""
    architecture = files.architecture
    if architecture == "auto":
        from pymss import detect_model_type
        from pymss.config import load_config

        try:
            architecture = str(detect_model_type(load_config(str(files.config))))
        except Exception as error:  # yaml's and pymss's own, all about this one file
            raise SeparationError(
                f"The configuration {files.config} does not describe a separation model: {first_line(error)}"
            ) from error
    if architecture not in ARCHITECTURES:
        raise SeparationError(
            f"The separation model '{files.name}' is of the kind '{architecture}', which separates no stems "
            f"here: choose one of the kinds {', '.join(sorted(ARCHITECTURES))}."
        )
    return replace(files, architecture=architecture)


def refuse_executable(files: ModelFiles) -> None:
    """Read a pickled checkpoint with the restricted unpickler; what that refuses could run code."""
    if files.architecture not in PICKLED_ARCHITECTURES:
        return  # pymss itself reads these restricted
    try:
        with torch.serialization.safe_globals(_harmless_classes()):
            torch.load(files.checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, not a checkpoint, or naming foreign code
        raise SeparationError(
            f"The separation model '{files.name}' ({files.checkpoint}) is refused: it is damaged, or loading "
            "it would run foreign code. Fetch it again from its author as plain weights."
        ) from error


def _harmless_classes() -> list[Any]:
    """What Demucs checkpoints name besides tensors: their own class (never built here) and fractions."""

    class Named:
        """Stands for a class that the checkpoint only mentions."""

    demucs = [f"demucs.{name}" for name in ("demucs.Demucs", "hdemucs.HDemucs", "htdemucs.HTDemucs")]
    return [Fraction, *((Named, name) for name in demucs)]


class _DebugHandler(logging.Handler):
    """Passes pymss's messages on as debug messages of ours: its advice is not for our users."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("pymss: %s", record.getMessage())


def _debug_logger() -> logging.Logger:
    logger = logging.Logger("pymss")  # not registered, so nothing else is changed
    logger.addHandler(_DebugHandler())
    return logger
