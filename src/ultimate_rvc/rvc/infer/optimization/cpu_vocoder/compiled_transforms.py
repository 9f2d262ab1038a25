"""Fourier transforms of 32 samples for many channels at once, compiled for this processor.

A short transform is a few dozen additions and multiplications. Written with one operation of torch each, it
would read and write memory for every one of them; as a matrix product it costs eight times the
multiplications. So it is written out once, over vectors of channels: a tile is read, transformed in
registers and written.

A transform of real samples is made of cosines and sines, and each of those, by the symmetry of its samples,
of two of half the length; what is left are products with at most eight constants.

Source: the symmetries are those of any fast cosine transform, as in Rao and Yip, "Discrete Cosine Transform"
(1990); Karatsuba's product of complex numbers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import (
    INT,
    LANES,
    NUMBER,
    POINTER,
    Program,
    Writer,
    constant,
    has_bfloat16,
)

POINTS = 32
HALF = POINTS // 2
PRODUCTS = 3 * HALF - 1
"""Real products of a tile: one for the constant, one for the highest frequency, three for each between."""


@dataclass(frozen=True)
class Tiles:
    """How a convolution cuts rows into overlapping tiles; a dilated one cuts each phase for itself."""

    samples: int
    taps: int
    dilation: int

    @property
    def step(self) -> int:
        """Samples that a tile gives."""
        return POINTS - self.taps + 1

    @property
    def in_phase(self) -> int:
        return -(-self.samples // (self.step * self.dilation))

    @property
    def count(self) -> int:
        return self.in_phase * self.dilation


class CompiledTransforms:
    """The transforms for one type of numbers; use :func:`compiled_transforms`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._functions = transforms_program(dtype).compiled()

    def forward(self, rows: Tensor, slope: float, tiles: Tiles, spectra: Tensor) -> None:
        """Transform leaky ReLU of the rows, zeros beyond both ends.

        Parameters
        ----------
        rows : float Tensor (samples, channels)
            Contiguous; channels are a multiple of ``LANES``.
        slope : float
            0 to 1, of the leaky ReLU for negative numbers.
        spectra : Tensor (tiles.count or more, PRODUCTS, channels)
            Contiguous; written: the sum of real and imaginary part, the real, the imaginary part of each
            frequency, between the constant and the highest frequency. bfloat16, where :func:`has_bfloat16`, gets
            them rounded.
        """
        rounded = spectra.dtype is torch.bfloat16
        self._check(rows, tiles, spectra, torch.bfloat16 if rounded else self._dtype)
        zeros = rows.new_zeros(rows.shape[1])
        pointers = rows.data_ptr(), slope, zeros.data_ptr(), spectra.data_ptr()
        self._functions[_forward(rounded=rounded)](
            *pointers, *_shape(rows, tiles, margin=tiles.dilation * (tiles.taps // 2))
        )

    def backward(self, products: Tensor, bias: Tensor, tiles: Tiles, rows: Tensor, *, add: bool) -> None:
        """Write to rows (samples, channels), or add, what spectra times weights stand for, and the bias.

        Parameters
        ----------
        products : float Tensor (tiles.count or more, PRODUCTS, channels)
            Spectra times what :func:`products_of_weight` made of the weight.
        bias : Tensor (channels,)
        """
        self._check(rows, tiles, products, self._dtype)
        nobody = torch.empty_like(bias)  # takes what a tile gives beyond its step, or beyond the end
        pointers = products.data_ptr(), bias.data_ptr(), nobody.data_ptr(), rows.data_ptr()
        self._functions[_backward(add=add)](*pointers, *_shape(rows, tiles, margin=0))

    def _check(self, rows: Tensor, tiles: Tiles, of_tiles: Tensor, dtype: torch.dtype) -> None:
        # Compiled code checks nothing: a wrong shape would write into other memory.
        samples, channels = rows.shape
        assert (rows.dtype, of_tiles.dtype) == (self._dtype, dtype)
        assert rows.is_contiguous()
        assert of_tiles.is_contiguous()
        assert samples == tiles.samples
        assert len(of_tiles) >= tiles.count
        assert of_tiles.shape[1:] == (PRODUCTS, channels)
        assert channels % LANES == 0


@functools.cache
def compiled_transforms(dtype: torch.dtype) -> CompiledTransforms:
    """Return the transforms for float32 or float64; compiled at the first call, half a second."""
    return CompiledTransforms(dtype)


def transforms_program(dtype: torch.dtype) -> Program:
    """Write ``forward``, ``backward`` and ``backward_add`` for float32 or float64; not compiled yet.

    And ``forward_rounded``, whose spectra are bfloat16, for float32 where the processor has it.
    """
    program = Program(dtype)
    shape = [INT] * len(_Shape.__dataclass_fields__)
    for rounded in (False, True) if dtype is torch.float32 and has_bfloat16() else (False,):
        with program.function(_forward(rounded=rounded), POINTER, NUMBER, POINTER, POINTER, *shape) as write:
            _write_forward(write, rounded=rounded)
    for add in (False, True):
        with program.function(_backward(add=add), *[POINTER] * 4, *shape) as write:
            _write_backward(write, add=add)
    return program


def products_of_weight(weight: Tensor) -> Tensor:
    """What spectra are multiplied with: ``(products, inputs, outputs)`` for a weight ``(outputs, inputs, taps)``.

    Notes
    -----
    The product of a frequency (a + bi)(c - di) is made of c(a + b), a(d - c) and b(c + d); their
    coefficients for the weight carry the sign of the imaginary part, and the factor of the way back.
    """
    taps = torch.arange(weight.shape[2], dtype=torch.float64)
    rows = [torch.ones_like(taps) / POINTS]
    for frequency in range(1, HALF):
        angle = 2 * math.pi * frequency / POINTS * taps
        cosine, sine = torch.cos(angle), torch.sin(angle)
        rows += [2 / POINTS * part for part in (cosine, sine - cosine, cosine + sine)]
    rows.append(torch.cos(math.pi * taps) / POINTS)
    of_weight = torch.stack(rows)
    products: Tensor = torch.tensordot(of_weight, weight.double().permute(2, 1, 0), dims=1)
    return products.to(weight.dtype).contiguous()


@dataclass(frozen=True)
class _Shape:
    """What the functions are told of rows and tiles, in this order; values of the code that is written."""

    samples: Any
    channels: Any
    dilation: Any
    margin: Any
    step: Any
    in_phase: Any
    tiles: Any


def _shape(rows: Tensor, tiles: Tiles, margin: int) -> tuple[int, ...]:
    return (*rows.shape, tiles.dilation, margin, tiles.step, tiles.in_phase, tiles.count)


def _write_forward(write: Writer, *, rounded: bool) -> None:
    rows, slope, zeros, spectra, *numbers = write.arguments
    shape = _Shape(*numbers)
    slopes = write.spread(slope)
    with write.counted(shape.tiles) as tile:
        table = _write_rows_of_tile(write, shape, tile, rows, constant(POINTS), zeros)
        with write.counted(shape.channels, LANES) as channel:
            signal = [write.load(_in_row(write, table, point, channel)) for point in range(POINTS)]
            activated = [write.leaky_relu(vector, slopes) for vector in signal]
            for number, vector in enumerate(_spectrum(write, activated)):
                place = _place_in_tile(write, shape, tile, number, channel)
                if rounded:
                    write.store_rounded(vector, write.at_rounded(spectra, place))
                else:
                    write.store(vector, write.at(spectra, place))


def _write_backward(write: Writer, *, add: bool) -> None:
    products, bias, nobody, rows, *numbers = write.arguments
    shape = _Shape(*numbers)
    with write.counted(shape.tiles) as tile:
        table = _write_rows_of_tile(write, shape, tile, rows, shape.step, nobody)
        with write.counted(shape.channels, LANES) as channel:
            vectors = [
                write.load(write.at(products, _place_in_tile(write, shape, tile, number, channel)))
                for number in range(PRODUCTS)
            ]
            # The constant part of a tile.
            vectors[0] = write.add(vectors[0], write.load(write.at(bias, channel)))
            for point, vector in enumerate(_signal(write, vectors)):
                place = _in_row(write, table, point, channel)
                write.store(write.add(vector, write.load(place)) if add else vector, place)


def _forward(*, rounded: bool) -> str:
    return "forward_rounded" if rounded else "forward"


def _backward(*, add: bool) -> str:
    return "backward_add" if add else "backward"


def _write_rows_of_tile(write: Writer, shape: _Shape, tile: Any, rows: Any, most: Any, instead: Any) -> Any:
    """Write a table of the ``POINTS`` addresses of a tile: every dilation-th row; tiles lie phase by phase.

    ``instead`` stands for rows outside of the signal, and for all from the ``most``-th on.
    """
    code = write.code
    with code.goto_entry_block():
        table = code.alloca(INT, POINTS)
    phase, in_phase = code.sdiv(tile, shape.in_phase), code.srem(tile, shape.in_phase)
    start = code.add(phase, code.mul(shape.dilation, code.mul(in_phase, shape.step)))
    first = code.sub(start, shape.margin)
    with write.counted(constant(POINTS)) as point:
        row = code.add(first, code.mul(point, shape.dilation))
        # Unsigned, so that rows before the first are outside as well.
        in_signal = code.icmp_unsigned("<", row, shape.samples)
        wanted = code.and_(in_signal, code.icmp_signed("<", point, most))
        address = code.select(wanted, write.at(rows, code.mul(row, shape.channels)), instead)
        place = code.gep(table, [point], source_etype=INT)
        code.store(code.ptrtoint(address, INT), place)
    return table


def _in_row(write: Writer, table: Any, point: int, channel: Any) -> Any:
    """The address of a channel in a row of the table."""
    address = write.code.load(write.code.gep(table, [constant(point)], source_etype=INT), typ=INT)
    return write.at(write.code.inttoptr(address, POINTER), channel)


def _place_in_tile(write: Writer, shape: _Shape, tile: Any, number: int, channel: Any) -> Any:
    """Where a channel of a product lies in tiles (tiles, PRODUCTS, channels)."""
    product = write.code.add(write.code.mul(tile, constant(PRODUCTS)), constant(number))
    return write.code.add(write.code.mul(product, shape.channels), channel)


def _spectrum(write: Writer, signal: list[Any]) -> list[Any]:
    """The ``PRODUCTS`` factors of ``POINTS`` samples."""
    pairs = [(signal[k], signal[POINTS - k]) for k in range(1, HALF)]
    real = _cosines(write, [signal[0], *(write.add(*pair) for pair in pairs), signal[HALF]])
    imaginary = _sines(write, [write.subtract(later, earlier) for earlier, later in pairs])
    factors = [real[0]]
    for a, b in zip(real[1:HALF], imaginary, strict=True):
        factors += [write.add(a, b), a, b]
    return [*factors, real[HALF]]


def _signal(write: Writer, products: list[Any]) -> list[Any]:
    """``POINTS`` samples of the ``PRODUCTS`` products."""
    triples = [products[k : k + 3] for k in range(1, PRODUCTS - 1, 3)]
    between = [write.subtract(one, three) for one, _, three in triples]
    cosines = _cosines(write, [products[0], *between, products[-1]])
    sines = _sines(write, [write.add(one, two) for one, two, _ in triples])
    pairs = list(zip(cosines[1:HALF], sines, strict=True))
    early = [write.subtract(*pair) for pair in pairs]
    late = [write.add(*pair) for pair in reversed(pairs)]
    return [cosines[0], *early, cosines[HALF], *late]


def _cosines(write: Writer, values: list[Any]) -> list[Any]:
    """``sum_k values[k] cos(pi j k / h)`` for j and k from 0 to h."""
    last = len(values) - 1
    if last % 2:
        return [_cosine_sum(write, values, j, last) for j in range(last + 1)]
    half = last // 2
    # Frequencies that are even see the second half as the first turned round, odd ones as its negative.
    same = [write.add(values[k], values[last - k]) for k in range(half)] + [values[half]]
    opposite = [write.subtract(values[k], values[last - k]) for k in range(half)]
    result: list[Any] = [None] * (last + 1)
    result[0::2] = _cosines(write, same)
    result[1::2] = [_cosine_sum(write, opposite, j, last) for j in range(1, last, 2)]
    return result


def _sines(write: Writer, values: list[Any]) -> list[Any]:
    """``sum_k values[k - 1] sin(pi j k / h)`` for j and k from 1 to h - 1."""
    last = len(values) + 1
    if last == 2:
        return values
    half = last // 2
    same = [write.add(values[k], values[-1 - k]) for k in range(half - 1)] + [values[half - 1]]
    opposite = [write.subtract(values[k], values[-1 - k]) for k in range(half - 1)]
    result: list[Any] = [None] * (last - 1)
    result[0::2] = [
        write.weighted_sum(same, [math.sin(math.pi * j * k / last) for k in range(1, half + 1)])
        for j in range(1, last, 2)
    ]
    result[1::2] = _sines(write, opposite)
    return result


def _cosine_sum(write: Writer, values: list[Any], frequency: int, last: int) -> Any:
    constants = [math.cos(math.pi * frequency * k / last) for k in range(len(values))]
    return write.weighted_sum(values, constants)
