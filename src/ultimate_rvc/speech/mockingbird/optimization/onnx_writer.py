"""HiFi-GAN as an ONNX file, written node by node: torch's exporters change from version to version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.rvc.networks.hifigan import FINAL_SLOPE, SLOPE, ResidualBlock
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN, SingleBlock

OPSET = 17
INPUT, OUTPUT = "mel", "waveform"


def write_onnx(vocoder: PlainHiFiGAN, path: Path) -> None:
    """Write ``vocoder``: ``mel`` (batch, mels, frames) to ``waveform`` (batch, 1, samples), of any length."""
    onnx = imported_onnx()
    graph = _Graph(onnx.helper)
    signal = graph.convolution(INPUT, vocoder.conv_pre)
    count = len(vocoder.sizes.block_kernels)
    for stage, upsampler in enumerate(vocoder.ups):
        signal = graph.upsampled(graph.activated(signal, SLOPE), upsampler)
        blocks = vocoder.resblocks[stage * count : (stage + 1) * count]
        outputs = [graph.block(signal, block) for block in blocks]
        total = outputs[0] if count == 1 else graph.node("Sum", outputs)
        signal = graph.node("Mul", [total, graph.constant(np.float32(1 / count))])
    signal = graph.convolution(graph.activated(signal, FINAL_SLOPE), vocoder.conv_post)
    graph.nodes.append(onnx.helper.make_node("Tanh", [signal], [OUTPUT]))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "vocoder",
            [_value(onnx, INPUT, ["batch", vocoder.sizes.mels, "frames"])],
            [_value(onnx, OUTPUT, ["batch", 1, "samples"])],
            graph.weights,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=8,  # that of the opset: older runtimes read it
    )  # fmt: skip
    onnx.checker.check_model(model)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString())


def imported_onnx() -> Any:
    """The package onnx, or a sentence that says how to get it."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise SpeechError(
            "A vocoder for ONNX Runtime is written with the package onnx: install the extra mockingbird."
        ) from error
    return onnx


def _value(onnx: Any, name: str, shape: list[str | int]) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


class _Graph:
    """Nodes and weights so far; each method adds some and returns the name of what comes out."""

    def __init__(self, helper: Any) -> None:
        self._helper = helper
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Tensor | np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        array = value.detach().float().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def activated(self, signal: str, slope: float) -> str:
        return self.node("LeakyRelu", [signal], alpha=slope)

    def convolution(self, signal: str, layer: nn.Conv1d) -> str:
        inputs = [signal, self.constant(layer.weight)]
        if layer.bias is not None:
            inputs.append(self.constant(layer.bias))
        padding = int(layer.padding[0])
        return self.node("Conv", inputs, dilations=list(layer.dilation), pads=[padding, padding])

    def upsampled(self, signal: str, layer: nn.Module) -> str:
        if isinstance(layer, nn.ConvTranspose1d):
            assert layer.bias is not None
            inputs = [signal, self.constant(layer.weight), self.constant(layer.bias)]
            padding = int(layer.padding[0])
            return self.node(
                "ConvTranspose", inputs, strides=list(layer.stride), pads=[padding, padding],
                output_padding=list(layer.output_padding),
            )  # fmt: skip
        assert isinstance(layer, nn.Sequential)
        repeat, convolution = layer
        assert isinstance(convolution, nn.Conv1d)
        factors = self.constant(np.array([1, 1, repeat.scale_factor], np.float32))
        wide = self.node(
            "Resize", [signal, "", factors], mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip
        return self.convolution(wide, convolution)

    def block(self, signal: str, block: nn.Module) -> str:
        if isinstance(block, SingleBlock):
            for layer in block.convs:
                assert isinstance(layer, nn.Conv1d)
                signal = self.node("Add", [signal, self.convolution(self.activated(signal, SLOPE), layer)])
            return signal
        assert isinstance(block, ResidualBlock)
        for dilated, plain in block.pairs:
            branch = self.convolution(self.activated(signal, SLOPE), dilated)
            branch = self.convolution(self.activated(branch, SLOPE), plain)
            signal = self.node("Add", [signal, branch])
        return signal
