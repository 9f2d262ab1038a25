"""The vocoder in ONNX Runtime: in float32, in int8 with ranges measured beforehand, or by TensorRT."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ultimate_rvc.errors import SpeechError, first_line
from ultimate_rvc.files import atomic_path
from ultimate_rvc.speech.mockingbird.hifigan import HiFiGANSizes, PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.optimization.onnx_writer import INPUT, OUTPUT, imported_onnx, write_onnx

TENSORRT = "TensorrtExecutionProvider"
# The best first; CoreML is left out: it compiles anew for every length.
USUAL_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
QUIET_LOGS = 3  # its warnings are about the graph, which no user can change


class OnnxVocoder:
    """As :class:`PlainHiFiGAN`, for one item at a time."""

    def __init__(self, path: Path, sizes: HiFiGANSizes, *, tensorrt: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = QUIET_LOGS
        self.sizes = sizes
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=providers(tensorrt=tensorrt)
            )
        except SpeechError:
            raise
        except Exception as error:  # onnxruntime's own, whose classes change
            raise SpeechError(
                f"The vocoder {path} is no network that ONNX Runtime can open ({first_line(error)}) Make it again."
            ) from error

    def __call__(self, mel: Tensor) -> Tensor:
        """``mel`` (1, mels, frames) to the waveform (1, 1, samples)."""
        made: np.ndarray = self._session.run([OUTPUT], {INPUT: mel.float().cpu().numpy()})[0]
        return torch.from_numpy(made)


def providers(*, tensorrt: bool) -> list[str]:
    """What runs the network, the best first.

    Raises
    ------
    SpeechError
        TensorRT is asked for, and this ONNX Runtime has it not.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if tensorrt and TENSORRT not in available:
        raise SpeechError(
            "This ONNX Runtime has no TensorRT: it needs an NVIDIA GPU, the package onnxruntime-gpu and TensorRT's "
            "libraries; optimize the model with the vocoder 'onnx' otherwise."
        )
    usual = [provider for provider in USUAL_PROVIDERS if provider in available]
    return [TENSORRT, *usual] if tensorrt else usual


def write_static_int8(vocoder: PlainHiFiGAN, mels: Sequence[Tensor], path: Path) -> None:
    """Write ``vocoder`` with weights and activations in 8 bits; ranges are measured on ``mels`` (mels, frames).

    The last convolution stays in float32: its output is the sound, whose quiet parts have no 8 bits to give.
    """
    imported_onnx()
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader:
        """One mel after another, as ONNX Runtime's calibration asks for them."""

        def __init__(self) -> None:
            self._left = iter(mels)

        def get_next(self) -> dict[str, np.ndarray] | None:
            mel = next(self._left, None)
            return None if mel is None else {INPUT: mel[None].float().cpu().numpy()}

    with tempfile.TemporaryDirectory(prefix="urvc-") as folder, atomic_path(path) as unfinished:
        plain, prepared = Path(folder, "vocoder.onnx"), Path(folder, "prepared.onnx")
        write_onnx(vocoder, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, unfinished, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_exclude=[_last_convolution(prepared)],
        )  # fmt: skip


def _last_convolution(path: Path) -> str:
    nodes = [node.name for node in imported_onnx().load(path).graph.node if node.op_type == "Conv"]
    return str(nodes[-1])
