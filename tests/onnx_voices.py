"""Voices as the ONNX files that RVC-WebUI and w-okada's voice-changer export, made of small synthesizers."""

from __future__ import annotations

import json
import math
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ultimate_rvc.rvc.networks import text_encoder
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.synthesizer import NOISE_SCALE, Synthesizer
from ultimate_rvc.rvc.voice_file.read import load_voice_model

Form = Literal["RVC-WebUI", "w-okada"]
TRACED_FRAMES = 64
OPSET = 17
FEATURES = {"RVC-WebUI": "phone", "w-okada": "feats"}


class _TracedNoise(Noise):
    """Numbers that a trace sees being drawn, as the graphs of both tools do."""

    def normal(self, shape: tuple[int, ...], like: Tensor, *, time_dim: int | None) -> Tensor | None:
        return torch.randn_like(like) * self.scale


class _Exported(nn.Module):
    """A synthesizer with the inputs of one of the forms."""

    def __init__(self, synthesizer: Synthesizer, form: Form) -> None:
        super().__init__()
        self.synthesizer, self.form, self.has_f0 = synthesizer, form, synthesizer.has_f0

    def forward(self, features: Tensor, lengths: Tensor, *others: Tensor) -> Tensor:
        pitch, f0_hz = others[:2] if self.has_f0 else (None, None)
        speaker, *rnd = others[2:] if self.has_f0 else others
        network, noise = self.synthesizer, _TracedNoise(NOISE_SCALE)
        vector = network.emb_g(speaker)[..., None]
        mean, log_deviation = network.enc_p(features, pitch, None)
        # The lengths must stay an input, as they do in the real ones.
        mean = mean * (torch.arange(features.shape[1])[None, None] < lengths)
        drawn = rnd[0] if rnd else torch.randn_like(mean) * NOISE_SCALE
        latent = network.flow(mean + torch.exp(log_deviation) * drawn, vector, None)
        source = None if f0_hz is None else _source(network, f0_hz)
        waveform: Tensor = network.dec(latent, source, vector, noise)
        return waveform


def _source(network: Synthesizer, f0_hz: Tensor) -> Tensor:
    """RVC draws the phases of all harmonics, and then sets that of the first, the only one, to 0."""
    unused = 0 * torch.rand(f0_hz.shape[0], 1)
    source: Tensor = network.dec.excitation(f0_hz + unused, _TracedNoise(1.0))  # type: ignore[operator]
    return source


def write_onnx_voice(
    path: Path, voice: Path, form: Form = "RVC-WebUI", *, told: dict[str, Any] | None = None
) -> Path:
    """Export a voice file as one of the tools does; ``told`` changes what the metadata of w-okada's says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_exported(voice.read_bytes(), form))
    loaded = load_voice_model(voice)
    if form == "w-okada":
        metadata = {
            "application": "VC_CLIENT",
            "version": "2.1",
            "modelType": "pyTorchRVCv2" if loaded.has_f0 else "pyTorchRVCv2Nono",
            "samplingRate": loaded.sample_rate,
            "f0": loaded.has_f0,
            "embChannels": loaded.metadata.config.phone_dim,
            "embedder": "hubert_base",
            "embOutputLayer": 12 if loaded.version == "v2" else 9,
            "useFinalProj": loaded.version == "v1",
        }
        change(path, metadata=metadata | (told or {}))
    return path


@cache  # it takes a second, and tests have few voices
def _exported(voice: bytes, form: Form) -> bytes:
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "voice.pth"
        copy.write_bytes(voice)
        synthesizer = load_voice_model(copy).synthesizer
        assert isinstance(synthesizer, Synthesizer)
        return export(copy.with_suffix(".onnx"), synthesizer, form).read_bytes()


def export(path: Path, synthesizer: Synthesizer, form: Form) -> Path:
    """Write a synthesizer in one of the forms, with nothing told about it."""
    frames, config = TRACED_FRAMES, synthesizer.config
    names = [FEATURES[form], "phone_lengths" if form == "RVC-WebUI" else "p_len"]
    inputs = [torch.randn(1, frames, config.phone_dim), torch.tensor([frames])]
    if synthesizer.has_f0:
        names += ["pitch", "pitchf"]
        inputs += [torch.full((1, frames), 100), torch.full((1, frames), 200.0)]
    names.append("ds" if form == "RVC-WebUI" else "sid")
    inputs.append(torch.tensor([0]))
    free = {name: {1: "frames"} for name in names if name in (FEATURES[form], "pitch", "pitchf")}
    if form == "RVC-WebUI":
        names.append("rnd")
        inputs.append(torch.randn(1, config.inter_channels, frames))
        free["rnd"] = {2: "frames"}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = text_encoder.QUERY_BLOCK
    text_encoder.QUERY_BLOCK = 1 << 20  # a trace would keep the number of blocks
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a trace, and of the exporter that both tools use
            torch.onnx.export(
                _Exported(synthesizer, form), tuple(inputs), path, input_names=names, output_names=["audio"],
                dynamic_axes=free, opset_version=OPSET, dynamo=False, do_constant_folding=False,
            )  # fmt: skip
    finally:
        text_encoder.QUERY_BLOCK = whole
    return path


def change(
    path: Path,
    *,
    metadata: dict[str, Any] | None = None,
    rename: dict[str, str] | None = None,
    without: str | None = None,
    domain: str | None = None,
    outside: str | None = None,
    frames: int | None = None,
) -> Path:
    """Change a file: its metadata, names of inputs, an operator's domain, a weight's place, its time axis."""
    model = onnx.load(path)
    graph = model.graph
    if metadata is not None:
        helper.set_model_props(model, {"metadata": json.dumps(metadata)})
    for old, new in (rename or {}).items():
        for port in (port for port in graph.input if port.name == old):
            port.name = new
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
    for port in [port for port in graph.input if port.name == without]:
        graph.input.remove(port)
    if domain is not None:
        graph.node[0].domain = domain
        model.opset_import.append(helper.make_opsetid(domain, 1))
    if outside is not None:
        weight = max(graph.initializer, key=lambda weight: math.prod(weight.dims))
        size = len(weight.raw_data)
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", outside), ("offset", "0"), ("length", str(size))):
            weight.external_data.add(key=key, value=value)
    if frames is not None:
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = frames
    path.write_bytes(model.SerializeToString())
    return path


def take_half(path: Path) -> Path:
    """Let a file take and give half precision, as w-okada's exports from a GPU do."""
    model = onnx.load(path)
    graph = model.graph
    for port in (port for port in graph.input if port.type.tensor_type.elem_type == TensorProto.FLOAT):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
        single = f"{port.name}_single"
        for node in graph.node:
            node.input[:] = [single if name == port.name else name for name in node.input]
        graph.node.insert(0, helper.make_node("Cast", [port.name], [single], to=TensorProto.FLOAT))
    (audio,) = graph.output
    for node in graph.node:
        node.output[:] = ["audio_single" if name == audio.name else name for name in node.output]
    graph.node.append(helper.make_node("Cast", ["audio_single"], [audio.name], to=TensorProto.FLOAT16))
    audio.type.tensor_type.elem_type = TensorProto.FLOAT16
    path.write_bytes(model.SerializeToString())
    return path


def write_mdx_net(path: Path) -> Path:
    """A network of another kind: one spectrogram in, one out."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("input", "output")
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "mdx", ports[:1], ports[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])
    path.write_bytes(model.SerializeToString())
    return path
