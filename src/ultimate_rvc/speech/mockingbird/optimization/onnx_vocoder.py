"""The vocoder in ONNX Runtime: in float32, in int8 with ranges measured beforehand, or by TensorRT."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ultimate_rvc.errors import SpeechError, first_line
from ultimate_rvc.files import atomic_path
from ultimate_rvc.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER, open_session
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import quantize_convolutions
from ultimate_rvc.speech.mockingbird.hifigan import HiFiGANSizes, PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.optimization.onnx_writer import INPUT, OUTPUT, imported_onnx, write_onnx

# The best first; CoreML is left out: it compiles anew for every length.
USUAL_PROVIDERS = (CUDA_PROVIDER, CPU_PROVIDER)


class OnnxVocoder:
    """As :class:`PlainHiFiGAN`, for one item at a time."""

    def __init__(self, path: Path, sizes: HiFiGANSizes, *, tensorrt: bool = False) -> None:
        self.sizes = sizes
        try:
            self._session = open_session(path, providers(tensorrt=tensorrt), threads=torch.get_num_threads())
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
    if tensorrt and TENSORRT_PROVIDER not in available:
        raise SpeechError(
            "This ONNX Runtime has no TensorRT: it needs an NVIDIA GPU, the package onnxruntime-gpu and TensorRT's "
            "libraries; optimize the model with the vocoder 'onnx' otherwise."
        )
    usual = [provider for provider in USUAL_PROVIDERS if provider in available]
    return [TENSORRT_PROVIDER, *usual] if tensorrt else usual


def write_static_int8(vocoder: PlainHiFiGAN, mels: Sequence[Tensor], path: Path) -> None:
    """Write ``vocoder`` with weights and activations in 8 bits; ranges are measured on ``mels`` (mels, frames)."""
    imported_onnx()
    with tempfile.TemporaryDirectory(prefix="urvc-") as folder, atomic_path(path) as unfinished:
        made = Path(folder, "vocoder.onnx")
        write_onnx(vocoder, made)
        quantize_convolutions(made, [{INPUT: mel[None].float().cpu().numpy()} for mel in mels])
        shutil.copyfile(made, unfinished)
