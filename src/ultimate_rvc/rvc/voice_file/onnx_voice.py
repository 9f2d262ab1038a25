"""Voices as ONNX files: what RVC-WebUI and w-okada's voice-changer export.

=============  ==========================================  =========================================
..             RVC-WebUI                                   w-okada's voice-changer
=============  ==========================================  =========================================
features       ``phone``, ``phone_lengths``                ``feats``, ``p_len``
pitch          ``pitch``, ``pitchf`` or ``nsff0``          ``pitch``, ``pitchf``
speaker        ``ds``                                      ``sid``
prior's noise  ``rnd``                                     drawn inside, times RVC's own strength
told           nothing                                     JSON in the metadata, key ``metadata``
=============  ==========================================  =========================================

Other tools mix these names, which does no harm: each input is known by its own. Voices without f0 lack the two
of pitch. Everything else is seen in the graph: samples per frame are the product of the upsampling strides,
speakers the rows of the table that the speaker's number looks up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.choices import EmbedderModel, Vocoder
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.voice_file.describe import (
    Dialect,
    Speaker,
    VoiceMetadata,
    check_output_layer,
    version_of,
    webui_embedder,
)
from ultimate_rvc.rvc.voice_file.foreign import HEAD_BYTES, foreign_kind
from ultimate_rvc.rvc.voice_file.onnx_graph import (
    FLOAT,
    FLOAT16,
    INT32,
    INT64,
    ONNX_SUFFIX,
    DamagedGraphError,
    OnnxGraph,
    Port,
    is_onnx_head,
    read_onnx_graph,
)
from ultimate_rvc.rvc.voice_file.torch_file import map_file

FRAMES_PER_SECOND = 100
USUAL_LATENT = 192  # channels, where the graph does not tell them
USUAL_WIDTH = 512  # of the vocoder's first layer
SHOWN_NAMES = 6
MAX_STEPS = 8  # operations between an input, or a weight as stored, and where it is used
MAX_BYTES = 1 << 31  # of one message in this form
METADATA_KEY = "metadata"
VC_CLIENT = "VC_CLIENT"
# What is fed: its names, and the number of its sides.
ROLES = {
    "features": (("phone", "feats"), 3),
    "lengths": (("phone_lengths", "p_len"), 1),
    "pitch": (("pitch",), 2),
    "f0_hz": (("pitchf", "nsff0"), 2),
    "speaker": (("ds", "sid"), 1),
    "noise": (("rnd",), 3),
}
FRACTIONS, WHOLE_NUMBERS = (FLOAT, FLOAT16), (INT32, INT64)
ROLE_TYPES = {
    "features": FRACTIONS,
    "f0_hz": FRACTIONS,
    "noise": FRACTIONS,
    "lengths": WHOLE_NUMBERS,
    "pitch": WHOLE_NUMBERS,
    "speaker": WHOLE_NUMBERS,
}
TIME_SIDES = {"features": 1, "pitch": 1, "f0_hz": 1, "noise": 2}


@dataclass(frozen=True, kw_only=True)
class OnnxVoice:
    """A voice as an ONNX file: checked, but not run yet."""

    path: Path
    content: bytes = field(repr=False)
    """What was checked: the file may change meanwhile."""
    metadata: VoiceMetadata
    graph: OnnxGraph
    ports: dict[str, tuple[str, int]]
    """Name and type of the input for each of ``ROLES`` that it has."""
    output: str


def is_onnx_file(path: Path) -> bool:
    """Whether a file is to be read as ONNX: its bytes decide, the suffix only where they say nothing.

    Raises
    ------
    VoiceFileError
        The file is missing, empty or cannot be read.
    """
    with map_file(path) as data:
        head = data[:HEAD_BYTES]
    return is_onnx_head(head) or (path.suffix.lower() == ONNX_SUFFIX and not _is_other_voice(head))


def _is_other_voice(head: bytes) -> bool:
    return head[8:9] == b"{" or head.startswith((b"PK\3\4", b"\x80"))


def read_onnx_voice(path: Path) -> OnnxVoice:
    """Read a voice that RVC-WebUI or w-okada's voice-changer exported; nothing in it is run.

    Raises
    ------
    VoiceFileError
        The file is missing, damaged, no voice, or not safe to run: one sentence that names it.
    """
    with map_file(path) as data:
        if len(data) > MAX_BYTES:
            raise VoiceFileError(f"{path} is larger than any ONNX file; it is no voice.")
        content = bytes(data)
    try:
        graph = read_onnx_graph(content)
    except DamagedGraphError as error:
        kind = foreign_kind(content[:HEAD_BYTES])
        fault = f"{kind.what}, not a voice: {kind.way_out}" if kind else _DAMAGED
        raise VoiceFileError(f"{path} is {fault}.") from error
    try:
        _check_safe(graph)
        ports = _ports(graph)
        return OnnxVoice(
            path=path,
            content=content,
            metadata=_described(graph, ports),
            graph=graph,
            ports=ports,
            output=next(iter(graph.outputs), ""),
        )
    except VoiceFileError as error:
        raise VoiceFileError(f"{path} {error}") from error


_DAMAGED = "cut off, damaged or no ONNX file; fetch or export it again"
_WAY_OUT = "use the .pth that it was made of, or export that again"


def _check_safe(graph: OnnxGraph) -> None:
    if graph.foreign_domains:
        names = ", ".join(map(_shown, graph.foreign_domains[:SHOWN_NAMES]))
        raise VoiceFileError(
            f"uses operators of {names}, which are not ONNX's own; refused, nothing in the file was run: "
            f"{_WAY_OUT}."
        )
    if graph.has_outside_weights:
        raise VoiceFileError(
            "keeps weights in another file, which is refused: save it again with everything in one file."
        )


def _ports(graph: OnnxGraph) -> dict[str, tuple[str, int]]:
    """The input for each role, after a check that they are those of a voice."""
    role_of = {name: role for role, (names, _) in ROLES.items() for name in names}
    if "features" not in map(role_of.get, graph.inputs) or "speaker" not in map(role_of.get, graph.inputs):
        raise VoiceFileError(
            f"is an ONNX network but no RVC voice: it takes {_listed(graph.inputs)}, where a voice takes phone "
            f"and ds, or feats and sid{_what_it_seems(graph)}; choose another file."
        )
    unknown = [name for name in graph.inputs if name not in role_of]
    if unknown:
        raise VoiceFileError(
            f"takes {_listed(unknown)} besides what voices of RVC-WebUI and voice-changer take: {_WAY_OUT}."
        )
    found: dict[str, tuple[str, int]] = {}
    for name, port in graph.inputs.items():
        role = role_of[name]
        if role in found:
            raise VoiceFileError(f"takes both {found[role][0]} and {name}, which are the same: {_WAY_OUT}.")
        _check_port(name, role, port)
        found[role] = (name, port.type)
    if ("pitch" in found) != ("f0_hz" in found):
        raise VoiceFileError(f"takes only one of pitch and pitchf, which belong together: {_WAY_OUT}.")
    return found


def _check_port(name: str, role: str, port: Port) -> None:
    if port.type not in ROLE_TYPES[role] or len(port.shape) != ROLES[role][1]:
        raise VoiceFileError(f"takes {name} in another form than RVC's voices do: {_WAY_OUT}.")
    frames = port.shape[TIME_SIDES[role]] if role in TIME_SIDES else None
    if frames is not None:
        raise VoiceFileError(
            f"was exported for windows of exactly {frames} frames, but songs need windows of any length: "
            "export it again with a free time axis."
        )


def _described(graph: OnnxGraph, ports: dict[str, tuple[str, int]]) -> VoiceMetadata:
    told, warnings = _told(graph), list[str]()
    phone_dim = _phone_dim(graph, ports["features"][0], told)
    config = _sizes(graph, ports, told, phone_dim, warnings)
    has_f0 = "pitch" in ports
    if isinstance(told.get("f0"), int) and bool(told["f0"]) != has_f0:
        warnings.append(f"The file says f0 = {told['f0']!r}, but its inputs say {has_f0}; they decide.")
    if (width := told.get("embChannels")) not in (None, phone_dim):
        warnings.append(
            f"The file says {width!r} features per frame, but takes {phone_dim}; what it takes decides."
        )
    embedder = webui_embedder({"embedder_name": told.get("embedder")})
    try:
        check_output_layer(told.get("embOutputLayer"), embedder, phone_dim)
    except VoiceFileError as error:
        raise VoiceFileError(f"cannot be used: {error}") from error
    return VoiceMetadata(
        config=config,
        version=version_of(None, phone_dim, warnings),
        has_f0=has_f0,
        vocoder=Vocoder.HIFI_GAN,
        speakers=tuple(map(Speaker, range(config.speakers))),
        dialect=Dialect.VC_CLIENT_ONNX if told.get("application") == VC_CLIENT else Dialect.ONNX,
        embedder=embedder or EmbedderModel.CONTENTVEC,
        embedder_recorded=embedder is not None,
        warnings=tuple(warnings),
    )


def _told(graph: OnnxGraph) -> dict[str, Any]:
    """What w-okada's files tell of their voice."""
    try:
        told = json.loads(graph.metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _phone_dim(graph: OnnxGraph, name: str, told: dict[str, Any]) -> int:
    size = graph.inputs[name].shape[2]
    if size is None:
        size = told.get("embChannels")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise VoiceFileError(f"does not tell how many features per frame it takes: {_WAY_OUT}.")
    return size


def _sizes(
    graph: OnnxGraph,
    ports: dict[str, tuple[str, int]],
    told: dict[str, Any],
    phone_dim: int,
    warnings: list[str],
) -> SynthesizerConfig:
    """The sizes that a graph shows; the others are RVC's usual ones, for nothing is built of them."""
    rates, kernels, width = _upsampling(graph)
    speakers, speaker_channels = _speaker_table(graph, ports["speaker"][0]) or (0, 0)
    if not speakers:
        warnings.append("How many speakers the file has cannot be seen in it; only the first can be used.")
    hop_length = math.prod(rates)
    rate = told.get("samplingRate")
    is_told = isinstance(rate, int) and not isinstance(rate, bool) and rate > 0
    latent = graph.inputs["rnd"].shape[1] if "noise" in ports else None
    try:
        return SynthesizerConfig(
            spec_channels=1025,
            segment_size=32,
            inter_channels=latent or USUAL_LATENT,
            hidden_channels=192,
            filter_channels=768,
            heads=2,
            layers=6,
            kernel_size=3,
            dropout=0.0,
            resblock_kernel_sizes=(3, 7, 11),
            resblock_dilations=((1, 3, 5),) * 3,
            upsample_rates=rates,
            upsample_initial_channel=width,
            upsample_kernel_sizes=kernels,
            speakers=speakers or 1,
            speaker_channels=speaker_channels or 256,
            sample_rate=rate if is_told and rate else hop_length * FRAMES_PER_SECOND,
            phone_dim=phone_dim,
        )
    except VoiceFileError as error:
        raise VoiceFileError(f"is no RVC voice: {error}") from error


def _upsampling(graph: OnnxGraph) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Rates and kernels of the vocoder's upsampling, and how many channels enter it."""
    layers = [node for node in graph.nodes if node.operator == "ConvTranspose"]
    rates = [_first(node.attributes.get("strides")) for node in layers]
    if not layers or not all(rates):
        raise VoiceFileError(f"has no vocoder that upsamples as RVC's does: {_WAY_OUT}.")
    weights = [_stored_weight(graph, node.inputs[1]) if len(node.inputs) > 1 else None for node in layers]
    kernels = [
        _first(node.attributes.get("kernel_shape")) or (weight[2] if weight else 2 * rate)
        for node, weight, rate in zip(layers, weights, rates, strict=True)
    ]
    return tuple(rates), tuple(kernels), weights[0][0] if weights[0] else USUAL_WIDTH


def _first(value: object) -> int:
    """The only side of a one-dimensional layer's attribute; 0 for anything else."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else 0


def _stored_weight(graph: OnnxGraph, name: str) -> tuple[int, ...] | None:
    """The shape of a layer's weight; where weight norm is computed inside, that of its direction."""
    made_by = {output: node for node in graph.nodes for output in node.outputs}
    names: Sequence[str] = [name]
    for _ in range(MAX_STEPS):
        shapes = [graph.weights[each] for each in names if len(graph.weights.get(each, ())) == 3]
        if shapes:
            return max(shapes, key=lambda shape: shape[1] * shape[2])
        names = [given for each in names if each in made_by for given in made_by[each].inputs]
    return None


def _speaker_table(graph: OnnxGraph, speaker: str) -> tuple[int, int] | None:
    """Rows and columns of the table that the speaker's number looks up."""
    carriers = {speaker}
    for _ in range(MAX_STEPS):
        for node in graph.nodes:
            if node.operator == "Gather" and len(node.inputs) == 2 and node.inputs[1] in carriers:
                shape = graph.weights.get(_origin(graph, node.inputs[0]), ())
                if len(shape) == 2:
                    return shape[0], shape[1]
        passed_on = {
            output
            for node in graph.nodes
            if node.operator in ("Unsqueeze", "Cast", "Reshape", "Identity", "Squeeze")
            and node.inputs
            and node.inputs[0] in carriers
            for output in node.outputs
        }
        if passed_on <= carriers:
            return None
        carriers |= passed_on
    return None


def _origin(graph: OnnxGraph, name: str) -> str:
    """The weight behind a name that operations only hand on."""
    for node in graph.nodes:
        if node.operator == "Identity" and name in node.outputs:
            return node.inputs[0]
    return name


def _what_it_seems(graph: OnnxGraph) -> str:
    ports = list(graph.inputs.values())
    if len(ports) == 1 and len(ports[0].shape) == 4:
        return " (it seems to be a separation model such as MDX-Net)"
    if len(ports) == 1:
        return " (it seems to be a content encoder or a pitch model)"
    return ""


def _listed(names: Iterable[str]) -> str:
    shown = [_shown(name) for name in names]
    more = f" and {len(shown) - SHOWN_NAMES} more" if len(shown) > SHOWN_NAMES else ""
    return ", ".join(shown[:SHOWN_NAMES]) + more if shown else "nothing"


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:60])
