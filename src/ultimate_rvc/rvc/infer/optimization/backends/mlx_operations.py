"""ATen's operations in MLX, those that the networks of a conversion consist of.

Tensors keep torch's order of axes. MLX convolves with channels last: for one item, moving the axis there and back
copies nothing, because the result of a convolution already lies in memory that way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from torch import fx

Array = Any
_WEIGHT_LAYOUTS = {
    "conv1d": (0, 2, 1),
    "conv2d": (0, 2, 3, 1),
    "conv_transpose1d": (1, 2, 0),
    "conv_transpose2d": (1, 2, 3, 0),
}
_TYPES = {"torch.float32": mx.float32, "torch.int64": mx.int64, "torch.bool": mx.bool_}


def weight_layout(node: fx.Node) -> tuple[int, ...] | None:
    """The order of axes in which MLX wants the weight of a convolution; None for other nodes."""
    packet = getattr(node.target, "overloadpacket", None)
    return _WEIGHT_LAYOUTS.get(getattr(packet, "__name__", ""))


def _last(signal: Array) -> Array:
    """Channels from the second place to the last."""
    return mx.moveaxis(signal, 1, -1)


def _second(signal: Array) -> Array:
    return mx.moveaxis(signal, -1, 1)


def _plain(value: Any) -> Any:
    """torch gives ``[3]`` where MLX wants 3, for one dimension."""
    return (
        value[0]
        if isinstance(value, list | tuple) and len(value) == 1
        else tuple(value)
        if isinstance(value, list)
        else value
    )


def _convolution(call: Callable[..., Array]) -> Callable[..., Array]:
    def convolve(
        signal: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Array:
        made = call(_last(signal), weight, _plain(stride), _plain(padding), _plain(dilation), groups)
        return _second(made if bias is None else made + bias)

    return convolve


def _transposed(call: Callable[..., Array]) -> Callable[..., Array]:
    def convolve(
        signal: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Array:
        made = call(
            _last(signal),
            weight,
            _plain(stride),
            _plain(padding),
            _plain(dilation),
            _plain(output_padding),
            groups,
        )
        return _second(made if bias is None else made + bias)

    return convolve


def _linear(signal: Array, weight: Array, bias: Array | None = None) -> Array:
    return signal @ weight.T if bias is None else mx.addmm(bias, signal, weight.T)


def _layer_norm(
    signal: Array, shape: Sequence[int], weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:  # fmt: skip
    return mx.fast.layer_norm(signal, weight, bias, eps)


def _group_norm(
    signal: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:  # fmt: skip
    shape = signal.shape
    normed = mx.fast.layer_norm(signal.reshape(shape[0], groups, -1), None, None, eps).reshape(shape)
    spread = (1, -1, *[1] * (len(shape) - 2))
    normed = normed if weight is None else normed * weight.reshape(spread)
    return normed if bias is None else normed + bias.reshape(spread)


def _batch_norm(
    signal: Array, weight: Array, bias: Array, mean: Array, variance: Array, momentum: float, eps: float
) -> tuple[Array, None, None]:  # fmt: skip
    """As in evaluation; the statistics that torch gives as well are nobody's need."""
    spread = (1, -1, *[1] * (signal.ndim - 2))
    scale = weight * mx.rsqrt(variance + eps)
    return signal * scale.reshape(spread) + (bias - mean * scale).reshape(spread), None, None


def _attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None, dropout: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Array:  # fmt: skip
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return mx.fast.scaled_dot_product_attention(query, key, value, scale=scale, mask=attn_mask)


def _gru(
    frames: Array, state: Array, weights: Sequence[Array], biases: bool, layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool,
) -> tuple[Array, None]:  # fmt: skip
    """One layer over ``(batch, time, width)``, both ways; the last state is not given, as nobody asks for it."""
    forth = _gru_direction(frames, state[0], *weights[:4])
    if not bidirectional:
        return forth, None
    back = _gru_direction(frames[:, ::-1], state[1], *weights[4:8])[:, ::-1]
    return mx.concatenate([forth, back], axis=-1), None


def _gru_direction(
    frames: Array, hidden: Array, weight_in: Array, weight_back: Array, bias_in: Array, bias_back: Array
) -> Array:
    given = mx.addmm(bias_in, frames, weight_in.T)
    outputs = []
    for time in range(frames.shape[1]):
        reset_in, update_in, new_in = mx.split(given[:, time], 3, axis=-1)
        reset_back, update_back, new_back = mx.split(mx.addmm(bias_back, hidden, weight_back.T), 3, axis=-1)
        update = mx.sigmoid(update_in + update_back)
        new = mx.tanh(new_in + mx.sigmoid(reset_in + reset_back) * new_back)
        hidden = (1 - update) * new + update * hidden
        outputs.append(hidden)
        if time % 64 == 63:
            mx.eval(hidden)  # a graph of thousands of steps would be deep
    return mx.stack(outputs, axis=1)


def _padded(signal: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Array:
    widths = [(0, 0)] * (signal.ndim - len(pad) // 2)
    widths += [(pad[place], pad[place + 1]) for place in range(len(pad) - 2, -1, -2)]
    return mx.pad(signal, widths, constant_values=value or 0)


def _slice(
    signal: Array, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    places = [slice(None)] * signal.ndim
    # torch writes the largest of all numbers where a slice goes to the end.
    places[axis] = slice(start, None if end is None else min(end, signal.shape[axis]), step)
    return signal[tuple(places)]


def _chunk(signal: Array, count: int, axis: int = 0) -> Any:
    return _split(signal, -(-signal.shape[axis] // count), axis)


def _split(signal: Array, size: int, axis: int = 0) -> Any:
    return mx.split(signal, range(size, signal.shape[axis], size), axis)


def _expand(signal: Array, shape: Sequence[int], *, implicit: bool = False) -> Array:
    own = (1,) * (len(shape) - signal.ndim) + tuple(signal.shape)
    return mx.broadcast_to(
        signal, [mine if wanted == -1 else wanted for wanted, mine in zip(shape, own, strict=True)]
    )


def _flip(signal: Array, axes: Sequence[int]) -> Array:
    for axis in axes:
        signal = _slice(signal, axis, None, None, -1)
    return signal


def _arange(*limits: int, dtype: Any = None, **_: Any) -> Array:
    return mx.arange(*limits, dtype=mx.int64)


def _scatter_add(signal: Array, axis: int, places: Array, source: Array) -> Array:
    where = list(mx.meshgrid(*(mx.arange(size) for size in places.shape), indexing="ij"))
    where[axis % signal.ndim] = places
    return signal.at[tuple(where)].add(source)


def _masked_fill(signal: Array, mask: Array, value: Any) -> Array:
    return mx.where(mask, mx.array(value, signal.dtype), signal)


def _average_pool(
    signal: Array, kernel: Sequence[int], stride: Sequence[int] | None = None, *_: Any
) -> Array:
    batch, channels, height, width = signal.shape
    rows, columns = kernel[0], kernel[-1]
    cut = signal[:, :, : height // rows * rows, : width // columns * columns]
    return cut.reshape(batch, channels, height // rows, rows, width // columns, columns).mean(axis=(3, 5))


def _upsampled_linearly(
    signal: Array, size: Any, align: bool, factors: Sequence[float] | None = None
) -> Array:
    """``(batch, channels, time)``, each place between the two nearest, the ends held."""
    length = signal.shape[-1]
    factor = int(factors[0]) if factors else size[0] // length
    place = mx.clip((mx.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
    low = mx.floor(place).astype(mx.int32)
    share = (place - low).astype(signal.dtype)
    below, above = signal[..., low], signal[..., mx.minimum(low + 1, length - 1)]
    return below + (above - below) * share


def _like(value: float) -> Callable[..., Array]:
    return lambda signal, **_: mx.full(signal.shape, value, signal.dtype)


def _gelu(signal: Array, approximate: str = "none") -> Array:
    return signal * (1 + mx.erf(signal / math.sqrt(2))) / 2


def _leaky_relu(signal: Array, slope: float = 0.01) -> Array:
    return mx.maximum(signal, signal * slope)


def _converted(signal: Array, dtype: Any = None, *_: Any, **__: Any) -> Array:
    return (
        signal.astype(_TYPES[str(dtype)])
        if str(dtype) in _TYPES and not _both_float(signal, dtype)
        else signal
    )


def _both_float(signal: Array, dtype: Any) -> bool:
    """Numbers keep the precision that the graph was opened for."""
    return mx.issubdtype(signal.dtype, mx.floating) and str(dtype) == "torch.float32"


def _same(signal: Array, *_: Any, **__: Any) -> Array:
    return signal


OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv1d": _convolution(mx.conv1d),
    "conv2d": _convolution(mx.conv2d),
    "conv_transpose1d": _transposed(mx.conv_transpose1d),
    "conv_transpose2d": _transposed(mx.conv_transpose2d),
    "linear": _linear,
    "matmul": mx.matmul,
    "bmm": mx.matmul,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "scaled_dot_product_attention": _attention,
    "gru": _gru,
    "softmax": lambda signal, axis, *_: mx.softmax(signal, axis=axis, precise=True),
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "relu": lambda signal: mx.maximum(signal, 0),
    "tanh": mx.tanh,
    "sigmoid": mx.sigmoid,
    "exp": mx.exp,
    "embedding": lambda table, places, *_: table[places],
    "add": lambda one, other, *, alpha=1: one + (other if alpha == 1 else other * alpha),
    "sub": lambda one, other, *, alpha=1: one - (other if alpha == 1 else other * alpha),
    "mul": lambda one, other: one * other,
    "div": lambda one, other, **_: one / other,
    "eq": lambda one, other: one == other,
    "ge": lambda one, other: one >= other,
    "avg_pool2d": _average_pool,
    "upsample_linear1d": _upsampled_linearly,
    "pad": _padded,
    "constant_pad_nd": lambda signal, pad, value=0: _padded(signal, pad, value=value),
    "cat": lambda parts, axis=0: mx.concatenate(parts, axis=axis),
    "stack": lambda parts, axis=0: mx.stack(parts, axis=axis),
    "chunk": _chunk,
    "split": _split,
    "slice": _slice,
    "unbind": lambda signal, axis=0: [mx.take(signal, place, axis=axis) for place in range(signal.shape[axis])],
    "select": lambda signal, axis, place: mx.take(signal, place, axis=axis),
    "gather": lambda signal, axis, places: mx.take_along_axis(signal, places, axis=axis),
    "scatter_add": _scatter_add,
    "masked_fill": _masked_fill,
    "expand": _expand,
    "flip": _flip,
    "permute": lambda signal, axes: mx.transpose(signal, axes),
    "transpose": lambda signal, one, other: mx.swapaxes(signal, one, other),
    "numpy_T": lambda signal: signal.T,
    "t": lambda signal: signal.T,
    "unsqueeze": lambda signal, axis: mx.expand_dims(signal, axis),
    "squeeze": lambda signal, axis=None: mx.squeeze(signal, axis),
    "view": lambda signal, shape: signal.reshape(shape),
    "reshape": lambda signal, shape: signal.reshape(shape),
    "_unsafe_view": lambda signal, shape: signal.reshape(shape),
    "unflatten": lambda signal, axis, sizes: mx.unflatten(signal, axis, sizes),
    "new_zeros": lambda signal, shape, **_: mx.zeros(shape, signal.dtype),
    "flatten": lambda signal, first=0, last=-1: mx.flatten(signal, first, last),
    "arange": _arange,
    "ones_like": _like(1.0),
    "zeros_like": _like(0.0),
    "zeros": lambda shape, **_: mx.zeros(shape),
    "full": lambda shape, value, **_: mx.full(shape, value),
    "to": _converted,
    "_to_copy": lambda signal, *, dtype=None, **_: _converted(signal, dtype),
    "contiguous": _same,
    "clone": _same,
    "dropout": _same,
    "sym_size": lambda signal, axis: signal.shape[axis],
}  # fmt: skip
