"""The products of matrices of a short convolution: spectra times transformed weights.

On x86 they are compiled for the processor: a block of the result stays in registers while rows of both
matrices pass by. MKL reaches half to three quarters of what an AMD processor can do with these sizes, this
nearly all of it (docs/performance.md). Elsewhere torch's own library does them: Apple's uses a unit of the
processor that no compiler reaches.

Source: the register blocking of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
(2008); the matrices are small enough to need none of its other levels.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any, Protocol

import torch
from llvmlite import binding
from torch import Tensor

from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import (
    INT,
    LANES,
    POINTER,
    Program,
    Writer,
    constant,
)
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_transforms import PRODUCTS


class Products(Protocol):
    """Multiplies with the weights of one convolution, float ``(PRODUCTS, channels, channels)``: in, out."""

    least_tiles: int
    """Fewer tiles need as much memory; what is behind them is overwritten."""

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are; both contiguous."""
        ...


def products_with(weight: Tensor) -> Products:
    """The faster products on this processor; float ``weight`` ``(PRODUCTS, channels, channels)``.

    Channels are a multiple of ``LANES``.
    """
    on_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return CompiledProducts(weight) if on_x86 else TorchProducts(weight)


class TorchProducts:
    """The products as torch computes them; float ``weight`` ``(PRODUCTS, channels, channels)``."""

    least_tiles = 1

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.contiguous()

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are."""
        torch.bmm(spectra.transpose(0, 1), self._weight, out=products.transpose(0, 1))


class CompiledProducts:
    """The products in compiled code; float ``weight`` ``(PRODUCTS, channels, channels)``."""

    def __init__(self, weight: Tensor) -> None:
        self._channels = weight.shape[2]
        self.least_tiles, vectors = _block(self._channels)
        # The columns of a block lie together.
        panels = weight.view(PRODUCTS, self._channels, -1, vectors * LANES).transpose(1, 2)
        self._weight = panels.contiguous()
        self._multiply = _compiled(weight.dtype, self._channels)

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are."""
        tiles = len(spectra)
        # Compiled code checks nothing: a wrong shape would write into other memory.
        assert tiles >= self.least_tiles
        assert spectra.shape == products.shape == (tiles, PRODUCTS, self._channels)
        assert spectra.dtype == products.dtype == self._weight.dtype
        assert spectra.is_contiguous()
        assert products.is_contiguous()
        self._multiply(spectra.data_ptr(), self._weight.data_ptr(), products.data_ptr(), tiles)


def _block(channels: int) -> tuple[int, int]:
    """Rows and vectors of a block that fills the registers: 32 of 16 numbers, or 16 of 8."""
    if binding.get_host_cpu_features().get("avx512f") and channels % (2 * LANES) == 0:
        return 12, 2
    return 5, 1


@functools.cache
def _compiled(dtype: torch.dtype, channels: int) -> Callable[..., None]:
    return products_program(dtype, channels).compiled()["multiply"]


def products_program(dtype: torch.dtype, channels: int) -> Program:
    """Write the function ``multiply`` for so many channels, float32 or float64; not compiled yet."""
    # The channels are written into the code: distances between rows then need no registers.
    program = Program(dtype)
    with program.function("multiply", POINTER, POINTER, POINTER, INT) as write:
        _write_products(write, channels, *_block(channels))
    return program


def _write_products(write: Writer, channels: int, rows: int, vectors: int) -> None:
    spectra, weight, products, tiles = write.arguments
    code, columns, to_next_tile = write.code, vectors * LANES, PRODUCTS * channels
    with write.counted(constant(PRODUCTS)) as product, write.counted(constant(channels), columns) as column:
        of_product = code.mul(product, constant(channels * channels))
        panel = write.at(weight, code.add(of_product, code.mul(column, constant(channels))))
        with write.counted(tiles, rows) as wanted:
            # The last block begins earlier and computes some rows once more.
            last = code.sub(tiles, constant(rows))
            tile = code.select(code.icmp_signed("<", wanted, last), wanted, last)
            row = code.add(code.mul(tile, constant(to_next_tile)), code.mul(product, constant(channels)))
            sums = _write_block(write, write.at(spectra, row), panel, channels, (rows, vectors))
            block = write.at(products, code.add(row, column))
            for number, vector in enumerate(sums):
                place = number // vectors * to_next_tile + number % vectors * LANES
                write.store(vector, write.at(block, constant(place)))


def _write_block(
    write: Writer, rows_of_tiles: Any, panel: Any, channels: int, size: tuple[int, int]
) -> list[Any]:
    """Return the vectors of a block, row by row, after a loop over the channels of the input."""
    code, (rows, vectors) = write.code, size
    before, body, behind = code.block, code.append_basic_block(), code.append_basic_block()
    code.branch(body)
    code.position_at_end(body)
    channel = code.phi(INT)
    carried = [code.phi(write.vector) for _ in range(rows * vectors)]
    here = write.at(panel, code.mul(channel, constant(vectors * LANES)))
    weights = [write.load(write.at(here, constant(LANES * vector))) for vector in range(vectors)]
    of_channel = write.at(rows_of_tiles, channel)
    sums = []
    for row in range(rows):
        spread = write.load_spread(write.at(of_channel, constant(row * PRODUCTS * channels)))
        for vector in range(vectors):
            term = write.multiply(spread, weights[vector])
            sums.append(write.add(carried[row * vectors + vector], term))
    following = code.add(channel, constant(1))
    channel.add_incoming(constant(0), before)
    channel.add_incoming(following, body)
    for phi, total in zip(carried, sums, strict=True):
        phi.add_incoming(write.repeated(0.0), before)
        phi.add_incoming(total, body)
    code.cbranch(code.icmp_signed("<", following, constant(channels)), body, behind)
    code.position_at_end(behind)
    return sums
