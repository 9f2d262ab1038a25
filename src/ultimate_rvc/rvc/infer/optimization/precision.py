"""Half precision where nearly all the work is, float32 wherever rounding would be heard or add up.

Half are the residual blocks of the vocoder, which do 97 % of its multiplications, and the transformer and
convolution layers of HuBERT. Everything around them stays float32. What a random voice makes of singing,
against float32, with this much in bfloat16 or float16:

====================================  ========  =======
half precision                        bfloat16  float16
====================================  ========  =======
the whole vocoder                     18 dB     37 dB
all but its last convolution          20 dB     37 dB
... and the source's convolutions     26 dB     42 dB
... and the upsampling                36 dB     53 dB
====================================  ========  =======

Upsampling and source cost 3 % and carry what is never corrected afterwards; the residual blocks, with a way
around each pair of layers, forgive. (float16 then gives 11 dB back for half the memory traffic, see
``Precision.prepare``.) Of the rest:

- f0 and the phase of the harmonic source, which is the running sum of f0, stay float32: an error of a tenth
  of a cent is inaudible, but after ten seconds of a high note it has turned the phase by half a cycle;
- retrieval stays float32: its distances are small differences of large numbers;
- text encoder and flow stay float32: little work, and their error goes through everything behind them.

There is no memory format or attention kernel to choose. torch has no channels-last layout for
one-dimensional convolutions, and transformers' HuBERT calls torch's ``scaled_dot_product_attention``, which
takes a fused kernel for half precision by itself. ``cudnn.benchmark`` stays off: it measures again for
every length, and nearly every window has its own.

What it does to HuBERT's trained weights was not measured, for want of them; to random ones, 30 dB and more.
Run on CPUs only so far; the branches for CUDA and MPS are tested with stand-ins.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ultimate_rvc.device import cpu_has_arithmetic
from ultimate_rvc.switches import TORCHS_OWN, OptimizationConfig

log = logging.getLogger(__name__)

# By name, because transformers takes seconds to import and is there already when its layers are.
VOCODER_BLOCKS = frozenset({"ResidualBlock", "MRFBlock"})
ENCODER_BLOCKS = frozenset(
    {
        "HubertEncoderLayer",
        "HubertEncoderLayerStableLayerNorm",
        "HubertNoLayerNormConvLayer",
        "HubertLayerNormConvLayer",
    }
)
HALF_LAYERS = (nn.Linear, nn.Conv1d)
LAST_LAYER = "conv_post"  # of all vocoders
TF32_STAGES = frozenset({"encode", "synthesize"})
# Before Volta, CUDA devices have no float16 arithmetic, or (GeForce 10) one of a 64th of the speed.
FLOAT16_CAPABILITY = (7, 0)
BFLOAT16_CAPABILITY = (8, 0)

Key = TypeVar("Key")


def resolve_precision(config: OptimizationConfig, device: torch.device) -> torch.dtype:
    """The type of half-precision stages: bfloat16 or float16 if asked for and there, else float32.

    A backend that is not torch's own computes in its own types, so torch stays in float32 beside it.
    ``use_bf16`` goes before ``use_fp16``. Where a GPU has no bfloat16 arithmetic, float16 takes its place; a
    CPU uses float16 only when that is asked for. Each step down is logged in one sentence.
    """
    if config.backend not in TORCHS_OWN:
        return torch.float32
    wanted = [torch.bfloat16] if config.use_bf16 else []
    if config.use_fp16 or (config.use_bf16 and device.type != "cpu"):
        wanted.append(torch.float16)
    for dtype, instead in pairwise([*wanted, torch.float32]):
        if _has_arithmetic(device, dtype):
            return dtype
        log.warning("%s has no fast %s; using %s instead.", device, _name(dtype), _name(instead))
    return torch.float32


def _has_arithmetic(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type == "cuda":
        if torch.version.hip:
            return True  # every AMD GPU that torch supports has both; their numbering is another
        lowest = BFLOAT16_CAPABILITY if dtype is torch.bfloat16 else FLOAT16_CAPABILITY
        return torch.cuda.get_device_capability(device) >= lowest
    if device.type == "mps":
        return dtype is torch.float16 or _multiplies(device, dtype)
    return cpu_has_arithmetic(dtype)


def _multiplies(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a product can be computed: macOS before 14 has no bfloat16 for Apple GPUs."""
    try:
        one = torch.ones(1, 1, device=device, dtype=dtype)
        return bool((one @ one).float().isfinite().all())
    except (RuntimeError, TypeError):
        return False


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def all_finite(tensor: Tensor) -> Tensor:
    """Whether all numbers (any shape) are finite: a bool ``()`` on the device, which is not waited for."""
    return torch.isfinite(tensor).all()


@contextmanager
def float32_arithmetic(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Inside, float32 products on CUDA are exact, or TensorFloat-32 (10 bits instead of 23) if asked for.

    Left alone, torch uses TensorFloat-32 in convolutions but not in matrix products. The setting is the
    process's; it is put back at the end. Other devices have no such choice.
    """
    if device.type != "cuda":
        yield
        return
    owners: tuple[Any, ...] = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.cudnn.rnn,
    )
    before = [owner.fp32_precision for owner in owners]
    try:
        for owner in owners:
            owner.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for owner, precision in zip(owners, before, strict=True):
            owner.fp32_precision = precision


@dataclass(frozen=True)
class _HalfLayer:
    """A layer whose weights were made half, with both forms of them by name."""

    layer: nn.Module
    float32_on_host: dict[str, Tensor]
    half: dict[str, nn.Parameter]


class Precision:
    """How exactly a pipeline's networks compute on ``device``.

    ``dtype`` is bfloat16, float16, or float32, which leaves every network as it is; ``tf32`` says whether
    float32 products of encoder and synthesizer may use TensorFloat-32 (CUDA only).
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, *, tf32: bool = False) -> None:
        self.device = device
        self.dtype = dtype
        self.tf32 = tf32
        self._layers: list[_HalfLayer] = []
        self._in_float32 = False
        # What came to the last layers of vocoders so far. One tensor for good: compiled code writes to it.
        self._seen_finite = torch.ones((), dtype=torch.bool, device=device)

    @classmethod
    def for_config(cls, config: OptimizationConfig, device: torch.device) -> Precision:
        """The precision that a configuration asks for, as far as the device has it."""
        return cls(device, resolve_precision(config, device), tf32=config.use_tf32)

    @property
    def is_half(self) -> bool:
        return self.dtype is not torch.float32

    def prepare(self, network: nn.Module) -> int:
        """Let the blocks of ``network`` that bear it compute in half precision, whoever calls them.

        Their weights are made half once, instead of at every call, and their float32 weights are kept on the
        host for :meth:`float32`. A block takes and gives float32. Preparing a network again changes nothing.
        Returns how many blocks compute in half precision now and did not before: 0 in float32, and for
        networks that have none (RMVPE's).
        """
        if not self.is_half:
            return 0
        blocks = [
            module
            for module in network.modules()
            if type(module).__name__ in VOCODER_BLOCKS | ENCODER_BLOCKS and "forward" not in vars(module)
        ]
        for block in blocks:
            for layer in block.modules():
                if isinstance(layer, HALF_LAYERS):
                    self._make_half(layer)
            # What goes around the layers of a vocoder's block is half as well where that costs little: with
            # a random voice, 54 dB fall to 42 in float16, but 36 to 24 in bfloat16, which has 3 bits less.
            # It is half the memory to move.
            half_around = self.dtype is torch.float16 and type(block).__name__ in VOCODER_BLOCKS
            block.forward = self._half_forward(block.forward, half_around)
        if blocks:
            for name, layer in network.named_modules():
                if name.rpartition(".")[2] == LAST_LAYER:
                    layer.register_forward_pre_hook(self._note_whether_finite)
        return len(blocks)

    def _make_half(self, layer: nn.Module) -> None:
        weights = dict(layer.named_parameters(recurse=False))
        half = {name: _frozen(weight.detach().to(self.dtype)) for name, weight in weights.items()}
        on_host = {name: weight.detach().cpu() for name, weight in weights.items()}
        self._layers.append(_HalfLayer(layer, on_host, half))
        _set_weights(layer, half)

    def _half_forward(self, forward: Callable[..., Any], half_around: bool) -> Callable[..., Any]:
        def half_forward(hidden: Tensor, *arguments: Any, **keywords: Any) -> Any:
            if self._in_float32:
                return forward(hidden, *arguments, **keywords)
            if half_around:
                hidden = hidden.to(self.dtype)
            # autocast's cache would hold weights, which are cast already.
            with torch.autocast(self.device.type, self.dtype, cache_enabled=False):
                output = forward(hidden, *arguments, **keywords)
            if isinstance(output, tuple):  # of a layer of transformers before version 5
                return (output[0].float(), *output[1:])
            return output.float()

        return half_forward

    def _note_whether_finite(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Behind the last layer it would be too late: ``tanh`` makes a finite number of infinity."""
        self._seen_finite.logical_and_(all_finite(arguments[0]))

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Inside, float32 products on CUDA are exact, or TensorFloat-32 if asked for and ``name`` allows."""
        tf32 = self.tf32 and name in TF32_STAGES and not self._in_float32
        return float32_arithmetic(self.device, tf32=tf32)

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Inside, everything is float32: prepared networks have their float32 weights again.

        Compiled code is passed by: compiling it again for this would take longer than running without.
        """
        with ExitStack() as undo:
            self._in_float32 = True
            undo.callback(setattr, self, "_in_float32", False)
            if "torch._dynamo" in sys.modules:
                undo.enter_context(torch.compiler.set_stance("force_eager"))
            for entry in self._layers:
                undo.callback(_set_weights, entry.layer, entry.half)
                on_host = entry.float32_on_host
                _set_weights(entry.layer, {name: _frozen(on_host[name].to(self.device)) for name in on_host})
            yield

    def finite_windows(self) -> FiniteWindows[Any]:
        """Begin to keep book of one job's windows."""
        return FiniteWindows(self)

    def take_seen_finite(self) -> Tensor:
        """Whether vocoders' last layers got only finite numbers since the last call, a bool ``()``."""
        seen = self._seen_finite.clone()
        self._seen_finite.fill_(True)
        return seen


class FiniteWindows(Generic[Key]):
    """Which windows of a job came out finite: known on the device at once, on the host when asked for."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._keys: list[Key] = []
        self._flags: list[Tensor] = []

    def accept(self, keys: Sequence[Key], windows: Sequence[Tensor]) -> list[Tensor]:
        """Return ``windows``, silenced where half precision overflowed.

        Parameters
        ----------
        keys : sequence
            A name for each window, by which ``failed`` returns it.
        windows : sequence of Tensor (samples,)
            What was rendered since the last call; a batch is handed over together.
        """
        if not self._precision.is_half:
            return list(windows)
        inside = self._precision.take_seen_finite()
        silenced = []
        for key, window in zip(keys, windows, strict=True):
            finite = inside & all_finite(window)
            self._keys.append(key)
            self._flags.append(finite)
            silenced.append(torch.where(finite, window, 0.0))
        return silenced

    def failed(self) -> list[Key]:
        """Return the keys of silenced windows, to be rendered again within ``Precision.float32``.

        One transfer from the device, whatever their number.
        """
        if not self._flags:
            return []
        flags = torch.stack(self._flags).tolist()
        failed = [key for key, finite in zip(self._keys, flags, strict=True) if not finite]
        if failed:
            counts, dtype = (len(failed), len(flags)), _name(self._precision.dtype)
            log.warning("%d of %d windows overflowed in %s; computing them again in float32.", *counts, dtype)
        return failed


def _set_weights(layer: nn.Module, weights: dict[str, nn.Parameter]) -> None:
    for name, weight in weights.items():
        setattr(layer, name, weight)


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
