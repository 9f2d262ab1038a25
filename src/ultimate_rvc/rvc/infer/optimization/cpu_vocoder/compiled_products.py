"""The products of matrices of a short convolution: spectra times transformed weights.

On x86 they are compiled for the processor: a block of the result stays in registers while rows of both
matrices pass by. MKL reaches half to three quarters of what an AMD processor can do with these sizes, this
nearly all of it (docs/performance.md). Elsewhere torch's own library does them: Apple's uses a unit of the
processor that no compiler reaches.

On processors that multiply pairs of bfloat16 (AVX512-BF16), factors may be rounded to it: nearly twice as many
products in the same time. Sums, and all between products, stay float32.

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
    has_bfloat16,
)
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_transforms import PRODUCTS


class Products(Protocol):
    """Multiplies with the weights of one convolution, float ``(PRODUCTS, channels, channels)``: in, out."""

    least_tiles: int
    """Fewer tiles need as much memory; what is behind them is overwritten."""
    takes: torch.dtype
    """Of the spectra; products have that of the weights."""

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are; both contiguous."""
        ...


def products_with(weight: Tensor, *, rounded: bool = False) -> Products:
    """The faster products on this processor; float ``weight`` ``(PRODUCTS, channels, channels)``.

    Channels are a multiple of ``LANES``. ``rounded``: factors may be bfloat16, where the processor multiplies it.
    """
    on_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    if not on_x86:
        return TorchProducts(weight)
    return CompiledProducts(weight, rounded=rounded and weight.dtype is torch.float32 and has_bfloat16())


class TorchProducts:
    """The products as torch computes them; float ``weight`` ``(PRODUCTS, channels, channels)``."""

    least_tiles = 1

    def __init__(self, weight: Tensor) -> None:
        self._weight, self.takes = weight.contiguous(), weight.dtype

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are."""
        torch.bmm(spectra.transpose(0, 1), self._weight, out=products.transpose(0, 1))


class CompiledProducts:
    """The products in compiled code; float ``weight`` ``(PRODUCTS, channels, channels)``.

    ``rounded``: of float32, by factors in bfloat16; only where :func:`has_bfloat16`.
    """

    def __init__(self, weight: Tensor, *, rounded: bool = False) -> None:
        self._channels, self._gives = weight.shape[2], weight.dtype
        self.takes = torch.bfloat16 if rounded else weight.dtype
        self.least_tiles, vectors = _block(self._channels)
        # The columns of a block lie together, and of each the inputs whose products are added at once.
        together = 2 if rounded else 1
        panels = weight.view(PRODUCTS, -1, together, self._channels // (vectors * LANES), vectors * LANES)
        self._weight = panels.permute(0, 3, 1, 4, 2).to(self.takes).contiguous()
        self._multiply = _compiled(weight.dtype, self._channels, rounded)

    def __call__(self, spectra: Tensor, products: Tensor) -> None:
        """Write float ``products`` ``(tiles, PRODUCTS, channels)``, as ``spectra`` are."""
        tiles = len(spectra)
        # Compiled code checks nothing: a wrong shape would write into other memory.
        assert tiles >= self.least_tiles
        assert spectra.shape == products.shape == (tiles, PRODUCTS, self._channels)
        assert (spectra.dtype, products.dtype) == (self.takes, self._gives)
        assert spectra.is_contiguous()
        assert products.is_contiguous()
        self._multiply(spectra.data_ptr(), self._weight.data_ptr(), products.data_ptr(), tiles)


def _block(channels: int) -> tuple[int, int]:
    """Rows and vectors of a block that fills the registers: 32 of 16 numbers, or 16 of 8."""
    if binding.get_host_cpu_features().get("avx512f") and channels % (2 * LANES) == 0:
        return 12, 2
    return 5, 1


@functools.cache
def _compiled(dtype: torch.dtype, channels: int, rounded: bool) -> Callable[..., None]:
    return products_program(dtype, channels, rounded=rounded).compiled()["multiply"]


def products_program(dtype: torch.dtype, channels: int, *, rounded: bool = False) -> Program:
    """Write the function ``multiply`` for so many channels, float32 or float64; not compiled yet."""
    # The channels are written into the code: distances between rows then need no registers.
    program = Program(dtype)
    with program.function("multiply", POINTER, POINTER, POINTER, INT) as write:
        _write_products(write, channels, *_block(channels), rounded=rounded)
    return program


def _write_products(write: Writer, channels: int, rows: int, vectors: int, *, rounded: bool) -> None:
    spectra, weight, products, tiles = write.arguments
    code, columns, to_next_tile = write.code, vectors * LANES, PRODUCTS * channels
    inputs = channels // 2 if rounded else channels  # a pair of bfloat16 takes the room of one float32
    with write.counted(constant(PRODUCTS)) as product, write.counted(constant(channels), columns) as column:
        of_product = code.mul(product, constant(inputs * channels))
        panel = write.at(weight, code.add(of_product, code.mul(column, constant(inputs))))
        with write.counted(tiles, rows) as wanted:
            # The last block begins earlier and computes some rows once more.
            last = code.sub(tiles, constant(rows))
            tile = code.select(code.icmp_signed("<", wanted, last), wanted, last)
            row = code.add(code.mul(tile, constant(PRODUCTS)), product)
            of_row = write.at(spectra, code.mul(row, constant(inputs)))
            sums = _write_block(write, of_row, panel, inputs, (rows, vectors), rounded=rounded)
            block = write.at(products, code.add(code.mul(row, constant(channels)), column))
            for number, vector in enumerate(sums):
                place = number // vectors * to_next_tile + number % vectors * LANES
                write.store(vector, write.at(block, constant(place)))


def _write_block(
    write: Writer, rows_of_tiles: Any, panel: Any, inputs: int, size: tuple[int, int], *, rounded: bool
) -> list[Any]:
    """Return the vectors of a block, row by row, after a loop over the channels of the input, or pairs of them."""
    code, (rows, vectors) = write.code, size
    before, body, behind = code.block, code.append_basic_block(), code.append_basic_block()
    code.branch(body)
    code.position_at_end(body)
    place = code.phi(INT)
    carried = [code.phi(write.vector) for _ in range(rows * vectors)]
    here = write.at(panel, code.mul(place, constant(vectors * LANES)))
    weights = [write.load(write.at(here, constant(LANES * vector))) for vector in range(vectors)]
    of_place = write.at(rows_of_tiles, place)
    sums = []
    for row in range(rows):
        spread = write.load_spread(write.at(of_place, constant(row * PRODUCTS * inputs)))
        for vector in range(vectors):
            total = carried[row * vectors + vector]
            if rounded:
                sums.append(write.add_pairs(total, spread, weights[vector]))
            else:
                sums.append(write.add(total, write.multiply(spread, weights[vector])))
    following = code.add(place, constant(1))
    place.add_incoming(constant(0), before)
    place.add_incoming(following, body)
    for phi, total in zip(carried, sums, strict=True):
        phi.add_incoming(write.repeated(0.0), before)
        phi.add_incoming(total, body)
    code.cbranch(code.icmp_signed("<", following, constant(inputs)), body, behind)
    code.position_at_end(behind)
    return sums
