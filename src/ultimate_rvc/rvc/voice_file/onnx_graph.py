"""What an ONNX file says of its network, read from its bytes: nothing is built, nothing is run.

An ONNX file is one protobuf message: fields one after the other, each a number, a kind and a value. The few
fields that matter here are walked by hand, so that a file can be judged before ONNX Runtime sees it, and read
without the ``onnx`` package. Numbers of fields are those of ``onnx.proto``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

ONNX_SUFFIX = ".onnx"
START = b"\x08"  # of the version of the format, field 1, which every writer puts first
NEWEST_VERSION = 32  # it is at 13
FLOAT, INT32, INT64, FLOAT16, DOUBLE = 1, 6, 7, 10, 11  # types of elements
OWN_DOMAINS = ("", "ai.onnx")  # of the operators that the format itself defines
MAX_DEPTH = 16  # of graphs within graphs
MAX_VARINT_BYTES = 10
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # kinds of values

# Fields by message.
MODEL_GRAPH, MODEL_METADATA, MODEL_FUNCTIONS = 7, 14, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_SPARSE = 1, 5, 11, 12, 15
FUNCTION_NODE, FUNCTION_DOMAIN = 7, 10
NODE_INPUT, NODE_OUTPUT, NODE_OP, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS = 1, 2, 3, 8
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
SPARSE_TENSORS = (1, 2)

Value = int | memoryview


class DamagedGraphError(ValueError):
    """The bytes are no ONNX file, or not all of one."""


@dataclass(frozen=True)
class Port:
    """An input or output: its type of elements, and its sides, None where they are free."""

    type: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int | float | tuple[int, ...]]
    """The numbers among them."""


@dataclass
class OnnxGraph:
    """What a file says of its network, besides the weights themselves."""

    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes by name."""
    nodes: list[Node] = field(default_factory=list)
    inner_nodes: list[Node] = field(default_factory=list)
    """Those of functions and of graphs within nodes."""
    metadata: dict[str, str] = field(default_factory=dict)
    function_domains: set[str] = field(default_factory=set)
    has_outside_weights: bool = False
    """Whether any tensor lies in another file."""

    @property
    def foreign_domains(self) -> list[str]:
        """Where operators come from that are neither the format's nor defined in the file."""
        used = {node.domain for node in (*self.nodes, *self.inner_nodes)}
        return sorted(used - set(OWN_DOMAINS) - self.function_domains)


def is_onnx_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 9 or more, is ONNX; safetensors files may begin alike."""
    return head[:1] == START and 0 < int.from_bytes(head[1:2]) <= NEWEST_VERSION and head[8:9] != b"{"


def read_onnx_graph(content: bytes) -> OnnxGraph:
    """Walk the bytes of an ONNX file.

    Raises
    ------
    DamagedGraphError
        They are cut off, or no ONNX file.
    """
    graph = OnnxGraph()
    try:
        for number, value in walk(content):
            if number == MODEL_GRAPH:
                _read_graph(_message(value), graph)
            elif number == MODEL_METADATA:
                entry = {key: _text(part) for key, part in walk(_message(value)) if key in (1, 2)}
                graph.metadata[entry.get(1, "")] = entry.get(2, "")
            elif number == MODEL_FUNCTIONS:
                _read_function(_message(value), graph)
    except (UnicodeDecodeError, struct.error) as error:
        raise DamagedGraphError(str(error)) from error
    if not graph.nodes:
        raise DamagedGraphError("there is no graph in it")
    for name in graph.weights:  # in old files every weight is listed as an input too
        graph.inputs.pop(name, None)
    return graph


def walk(message: bytes | memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message: their numbers, and their values as a number or as bytes."""
    view, place = memoryview(message), 0
    while place < len(view):
        key, place = _varint(view, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(view, place)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length, place = _varint(view, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise DamagedGraphError(f"a field of kind {kind}")
        if length > len(view) - place:
            raise DamagedGraphError("a field that reaches beyond its end")
        yield key >> 3, view[place : place + length]
        place += length


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for index, byte in enumerate(view[place : place + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise DamagedGraphError("a number that does not end")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise DamagedGraphError("a number where a part is expected")
    return value


def _text(value: Value) -> str:
    return str(_message(value), "utf-8")


def _number(value: Value) -> int:
    """A whole number, which may be negative."""
    if not isinstance(value, int):
        raise DamagedGraphError("a part where a number is expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(value: Value) -> list[int]:
    """One number, or several that are packed into one field."""
    if isinstance(value, int):
        return [_number(value)]
    numbers, place = [], 0
    while place < len(value):
        number, place = _varint(value, place)
        numbers.append(_number(number))
    return numbers


def _read_graph(message: memoryview, graph: OnnxGraph) -> None:
    for number, value in walk(message):
        if number == GRAPH_NODE:
            graph.nodes.append(_read_node(_message(value), graph, 0))
        elif number == GRAPH_INITIALIZER:
            name, shape = _read_tensor(_message(value), graph)
            graph.weights[name] = shape
        elif number == GRAPH_SPARSE:
            _read_sparse(_message(value), graph)
        elif number in (GRAPH_INPUT, GRAPH_OUTPUT):
            name, port = _read_port(_message(value))
            (graph.inputs if number == GRAPH_INPUT else graph.outputs)[name] = port


def _read_inner_graph(message: memoryview, graph: OnnxGraph, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DamagedGraphError("graphs within graphs without end")
    for number, value in walk(message):
        if number == GRAPH_NODE:
            graph.inner_nodes.append(_read_node(_message(value), graph, depth))
        elif number == GRAPH_INITIALIZER:
            _read_tensor(_message(value), graph)
        elif number == GRAPH_SPARSE:
            _read_sparse(_message(value), graph)


def _read_function(message: memoryview, graph: OnnxGraph) -> None:
    for number, value in walk(message):
        if number == FUNCTION_NODE:
            graph.inner_nodes.append(_read_node(_message(value), graph, 1))
        elif number == FUNCTION_DOMAIN:
            graph.function_domains.add(_text(value))


def _read_node(message: memoryview, graph: OnnxGraph, depth: int) -> Node:
    texts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OP: [""], NODE_DOMAIN: [""]}
    attributes: dict[str, int | float | tuple[int, ...]] = {}
    for number, value in walk(message):
        if number in texts:
            texts[number].append(_text(value))
        elif number == NODE_ATTRIBUTE:
            attributes |= _read_attribute(_message(value), graph, depth)
    return Node(
        texts[NODE_OP][-1],
        texts[NODE_DOMAIN][-1],
        tuple(texts[NODE_INPUT]),
        tuple(texts[NODE_OUTPUT]),
        attributes,
    )


def _read_attribute(
    message: memoryview, graph: OnnxGraph, depth: int
) -> dict[str, int | float | tuple[int, ...]]:
    name, found, several = "", None, list[int]()
    for number, value in walk(message):
        if number == ATTRIBUTE_NAME:
            name = _text(value)
        elif number == ATTRIBUTE_FLOAT:
            (found,) = struct.unpack("<f", _message(value))
        elif number == ATTRIBUTE_INT:
            found = _number(value)
        elif number == ATTRIBUTE_INTS:
            several += _numbers(value)
        elif number in ATTRIBUTE_TENSORS:
            _read_tensor(_message(value), graph)
        elif number in ATTRIBUTE_SPARSE:
            _read_sparse(_message(value), graph)
        elif number in ATTRIBUTE_GRAPHS:
            _read_inner_graph(_message(value), graph, depth + 1)
    if several:
        return {name: tuple(several)}
    return {} if found is None else {name: found}


def _read_tensor(message: memoryview, graph: OnnxGraph) -> tuple[str, tuple[int, ...]]:
    """Its name and shape."""
    name, shape = "", list[int]()
    for number, value in walk(message):
        if number == TENSOR_NAME:
            name = _text(value)
        elif number == TENSOR_DIMS:
            shape += _numbers(value)
        elif number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value != 0):
            graph.has_outside_weights = True
    return name, tuple(shape)


def _read_sparse(message: memoryview, graph: OnnxGraph) -> None:
    for number, value in walk(message):
        if number in SPARSE_TENSORS:
            _read_tensor(_message(value), graph)


def _read_port(message: memoryview) -> tuple[str, Port]:
    """An input's or output's name and type; no sides where it is no tensor, or its shape is not told."""
    name, type_, shape = "", 0, list[int | None]()
    for number, value in walk(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            tensors = [_message(part) for kind, part in walk(_message(value)) if kind == 1]
            for kind, part in (each for tensor in tensors for each in walk(tensor)):
                if kind == 1:
                    type_ = _number(part)
                elif kind == 2:
                    shape = [_side(_message(side)) for key, side in walk(_message(part)) if key == 1]
    return name, Port(type_, tuple(shape))


def _side(message: memoryview) -> int | None:
    sizes = [_number(value) for number, value in walk(message) if number == 1]
    return sizes[0] if sizes and sizes[0] > 0 else None


# --- writing a part ----------------------------------------------------------------------------


def field_bytes(number: int, value: int | str | bytes | memoryview) -> bytes:
    """A field as it stands in a file."""
    if isinstance(value, int):
        return _varint_bytes(number << 3 | VARINT) + _varint_bytes(value)
    content = value.encode() if isinstance(value, str) else bytes(value)
    return _varint_bytes(number << 3 | BYTES) + _varint_bytes(len(content)) + content


def _varint_bytes(value: int) -> bytes:
    groups = max(math.ceil(value.bit_length() / 7), 1)
    return bytes(value >> 7 * index & 0x7F | (0x80 if index < groups - 1 else 0) for index in range(groups))
