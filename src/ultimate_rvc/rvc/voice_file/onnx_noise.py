"""The random numbers of an ONNX voice as inputs, so that strength and seed hold for them too.

RVC-WebUI's files draw the noise of their harmonic source inside the graph, w-okada's that of the prior as well.
Numbers drawn there follow no seed. Here each such operation gives way to one that takes its numbers from a new
input. One number alone is repeated as often as the shape wants. Nothing else of the graph changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ultimate_rvc.rvc.voice_file.onnx_graph import (
    ATTRIBUTE_INT,
    ATTRIBUTE_NAME,
    DOUBLE,
    FLOAT,
    FLOAT16,
    GRAPH_INITIALIZER,
    GRAPH_INPUT,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    INT64,
    MODEL_GRAPH,
    NODE_ATTRIBUTE,
    NODE_INPUT,
    NODE_OP,
    NODE_OUTPUT,
    TENSOR_DIMS,
    TENSOR_NAME,
    TENSOR_RAW,
    TENSOR_TYPE,
    Node,
    OnnxGraph,
    field_bytes,
    walk,
)

RANDOM_OPERATORS = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
PREFIX = "ultimate_rvc_noise"
ATTRIBUTE_TYPE, ATTRIBUTE_TYPE_INT = 20, 2


@dataclass(frozen=True)
class DrawnInside:
    """An operation that drew random numbers, and the input that gives them now."""

    input: str
    """Takes the numbers as float32, in their shape, or one number for all."""
    shape_output: str
    """Tells their shape."""
    is_normal: bool
    offset: float
    """The mean of normal numbers, the least of uniform ones."""
    scale: float


def has_hidden_noise(graph: OnnxGraph) -> bool:
    """Whether random numbers are drawn where :func:`noise_as_inputs` does not reach: inside functions."""
    return any(node.operator in RANDOM_OPERATORS for node in graph.inner_nodes)


def noise_as_inputs(content: bytes, graph: OnnxGraph, default_type: int) -> tuple[bytes, list[DrawnInside]]:
    """The file with inputs in place of what draws random numbers, and those inputs.

    ``default_type`` is the type of elements where an operation does not say it.
    """
    random_nodes = [node for node in graph.nodes if node.operator in RANDOM_OPERATORS]
    if not random_nodes:
        return content, []
    drawn = [_drawn_by(node, number) for number, node in enumerate(random_nodes)]
    added = b"".join(
        part
        for each, node in zip(drawn, random_nodes, strict=True)
        for part in _added_parts(each, node, default_type)
    )
    rest, graph_parts = [], [added]
    for number, value in walk(content):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            graph_parts += _kept_parts(value)
        else:
            rest.append(field_bytes(number, value))
    return b"".join([*rest, field_bytes(MODEL_GRAPH, b"".join(graph_parts))]), drawn


def _drawn_by(node: Node, number: int) -> DrawnInside:
    name, is_normal = f"{PREFIX}_{number}", "Normal" in node.operator
    first, second = ("mean", "scale") if is_normal else ("low", "high")
    offset, other = _plain_number(node, first, 0.0), _plain_number(node, second, 1.0)
    return DrawnInside(name, f"{name}_shape", is_normal, offset, other if is_normal else other - offset)


def _plain_number(node: Node, name: str, default: float) -> float:
    value = node.attributes.get(name, default)
    return default if isinstance(value, tuple) else float(value)


def _added_parts(drawn: DrawnInside, node: Node, default_type: int) -> Iterator[bytes]:
    """The fields of a graph that take the place of ``node``."""
    yield field_bytes(GRAPH_INPUT, _port(drawn.input, FLOAT))
    yield field_bytes(GRAPH_OUTPUT, _port(drawn.shape_output, INT64))
    if node.inputs:  # as large as something else
        yield _node("Shape", node.inputs[:1], drawn.shape_output)
    else:
        sizes = node.attributes.get("shape", ())
        shape = sizes if isinstance(sizes, tuple) else ()
        constant = f"{drawn.shape_output}_constant"
        yield field_bytes(GRAPH_INITIALIZER, _whole_numbers(constant, shape))
        yield _node("Identity", [constant], drawn.shape_output)
    type_ = int(_plain_number(node, "dtype", default_type))
    shaped = node.outputs[0] if type_ == FLOAT else f"{drawn.input}_shaped"
    yield _node("Expand", [drawn.input, drawn.shape_output], shaped)
    if type_ in (FLOAT16, DOUBLE):
        yield _node("Cast", [shaped], node.outputs[0], to=type_)


def _kept_parts(graph: memoryview) -> Iterator[bytes]:
    for number, value in walk(graph):
        if number != GRAPH_NODE or not isinstance(value, memoryview) or not _is_random(value):
            yield field_bytes(number, value)


def _is_random(node: memoryview) -> bool:
    return any(
        number == NODE_OP and isinstance(value, memoryview) and str(value, "utf-8") in RANDOM_OPERATORS
        for number, value in walk(node)
    )


def _node(operator: str, inputs: Sequence[str], output: str, to: int | None = None) -> bytes:
    parts = [field_bytes(NODE_INPUT, name) for name in inputs]
    parts += [field_bytes(NODE_OUTPUT, output), field_bytes(NODE_OP, operator)]
    if to is not None:
        attribute = (
            field_bytes(ATTRIBUTE_NAME, "to")
            + field_bytes(ATTRIBUTE_INT, to)
            + field_bytes(ATTRIBUTE_TYPE, ATTRIBUTE_TYPE_INT)
        )
        parts.append(field_bytes(NODE_ATTRIBUTE, attribute))
    return field_bytes(GRAPH_NODE, b"".join(parts))


def _port(name: str, type_: int) -> bytes:
    """An input or output of any shape."""
    return field_bytes(1, name) + field_bytes(2, field_bytes(1, field_bytes(1, type_)))


def _whole_numbers(name: str, numbers: Sequence[int]) -> bytes:
    raw = b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    return (
        field_bytes(TENSOR_DIMS, len(numbers))
        + field_bytes(TENSOR_TYPE, INT64)
        + field_bytes(TENSOR_NAME, name)
        + field_bytes(TENSOR_RAW, raw)
    )
