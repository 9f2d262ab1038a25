"""How a model is optimized, and what its folder says of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from ultimate_rvc.errors import SpeechError

MOST_PRUNED = 0.95


class Precision(StrEnum):
    """In which numbers the synthesizer computes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"  # automatic mixed precision
    FLOAT16 = "float16"  # the same, for GPUs
    INT8 = "int8"  # weights in 8 bits, activations quantised as they come (dynamic)


class VocoderEngine(StrEnum):
    """What runs the vocoder."""

    COMPILED = "compiled"  # torch, with layers compiled for the processor; on GPUs plain torch
    TORCH = "torch"
    ONNX = "onnx"  # ONNX Runtime, on the best provider that it has
    ONNX_INT8 = "onnx-int8"  # the same in 8 bits, with ranges measured beforehand (static)
    TENSORRT = "tensorrt"  # ONNX Runtime's provider of that name


@dataclass(frozen=True)
class ModelOptimization:
    """Everything that can be switched on for a model.

    A vocoder that the compiled layers do not fit (WaveRNN, pruned channels, mixed precision) runs in plain torch.
    ``pruned_weights`` is the share of the synthesizer's weights that become zero, ``pruned_channels`` the share of
    the vocoder's inner channels that go, both in 0 to 0.95.
    """

    precision: Precision = Precision.FLOAT32
    vocoder: VocoderEngine = VocoderEngine.COMPILED
    pruned_weights: float = 0.0
    pruned_channels: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pruned_weights", "pruned_channels"):
            if not 0 <= (share := getattr(self, name)) <= MOST_PRUNED:
                raise SpeechError(f"{name} is {share}, but must be from 0 to {MOST_PRUNED}.", name)

    def to_dict(self) -> dict[str, object]:
        """As it stands in a JSON file."""
        return asdict(self)

    @property
    def vocoder_is_onnx(self) -> bool:
        """Whether the vocoder is an ONNX file."""
        return self.vocoder not in (VocoderEngine.COMPILED, VocoderEngine.TORCH)

    @classmethod
    def from_dict(cls, values: object) -> ModelOptimization:
        """What :meth:`to_dict` made; a :class:`SpeechError` for anything else, whose text follows a file's name."""
        try:
            assert isinstance(values, dict)
            return cls(
                Precision(values["precision"]), VocoderEngine(values["vocoder"]),
                float(values["pruned_weights"]), float(values["pruned_channels"]),
            )  # fmt: skip
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise SpeechError("it does not say how the model is optimized") from error
