"""Convolutions of many channels in fewer multiplications: short Fourier transforms.

A kernel of k taps over 32 samples of overlapping input gives 33 - k samples (overlap-save). Between a
transform and back, a convolution of channels is one matrix product per frequency, and there three real
products make a complex one: 47 products for a tile. So 3, 7 and 11 taps take 1.6, 1.8 and 2.1 products a
sample. Transforms this short are well conditioned: the result is as exact as the plain convolution.

Signals are rows here, ``(samples, channels)``.

Source: overlap-save convolution (Oppenheim and Schafer, "Discrete-Time Signal Processing") with Karatsuba's
complex product; the same idea with real points is Winograd's minimal filtering (Lavin and Gray, 2015).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import LANES
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_products import products_with
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_transforms import (
    PRODUCTS,
    Tiles,
    compiled_transforms,
    products_of_weight,
)

MOST_TAPS = 17
"""Beyond, a tile of 32 samples gives too few."""


class RowConvolution(Protocol):
    """A convolution over rows that keeps channels and length, zeros beyond both ends."""

    reach: int
    """Samples that it looks to either side."""

    def space(self, samples: int) -> int:
        """Numbers of working memory that so many samples take."""
        ...

    def __call__(self, rows: Tensor, slope: float, output: Tensor, space: Tensor, *, add: bool) -> None:
        """Write the convolution of leaky ReLU of ``rows`` to ``output``, or add it.

        Parameters
        ----------
        rows, output : float Tensor (samples, channels)
            Contiguous, and not the same memory.
        slope : float
            0 to 1, of the leaky ReLU.
        space : Tensor (at least ``space(samples)``,)
            Overwritten.
        """
        ...


def row_convolution(convolution: nn.Conv1d, *, rounded: bool = False) -> RowConvolution:
    """Return the faster form of a ``same_convolution`` on a CPU: short wherever its code can be used.

    ``rounded``: factors may be bfloat16.
    """
    weight = convolution.weight
    fits = weight.shape[0] % LANES == 0 and weight.shape[2] <= MOST_TAPS
    if fits and weight.dtype in {torch.float32, torch.float64}:
        return ShortConvolution(convolution, rounded=rounded)
    return DirectConvolution(convolution)


class DirectConvolution:
    """The convolution as torch computes it, over rows."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        # Rows are an image of height 1 in torch's "channels last" layout.
        image = convolution.weight.detach()[:, :, None]
        self._weight = image.contiguous(memory_format=torch.channels_last)
        self._bias = convolution.bias
        self._dilation = convolution.dilation[0]
        self.reach = _reach(convolution)

    def space(self, samples: int) -> int:
        return 0

    def __call__(self, rows: Tensor, slope: float, output: Tensor, space: Tensor, *, add: bool) -> None:
        """Write or add float ``(samples, channels)``: see :class:`RowConvolution`."""
        image = F.leaky_relu(rows, slope).T[None, :, None]
        convolved = F.conv2d(
            image, self._weight, self._bias, padding=(0, self.reach), dilation=(1, self._dilation)
        )
        if add:
            output.add_(convolved[0, :, 0].T)
        else:
            output.copy_(convolved[0, :, 0].T)


class ShortConvolution:
    """The convolution by transforms of 32 samples; a dilated one works on every d-th row.

    Parameters
    ----------
    convolution : nn.Conv1d
        Stride 1, one group, an odd kernel, a multiple of ``LANES`` channels; float32 or float64. Its
        weights are transformed once.
    rounded : bool
        Whether factors may be bfloat16, where the processor has products of it.
    """

    def __init__(self, convolution: nn.Conv1d, *, rounded: bool = False) -> None:
        weight = convolution.weight.detach()
        assert convolution.bias is not None
        self._bias = convolution.bias.detach().contiguous()
        self._channels, self._taps = weight.shape[0], weight.shape[2]
        self._dilation = convolution.dilation[0]
        self._multiply = products_with(products_of_weight(weight), rounded=rounded)
        self._transforms = compiled_transforms(weight.dtype)
        self.reach = _reach(convolution)

    def space(self, samples: int) -> int:
        return sum(self._sizes(samples))

    def __call__(self, rows: Tensor, slope: float, output: Tensor, space: Tensor, *, add: bool) -> None:
        """Write or add float ``(samples, channels)``: see :class:`RowConvolution`."""
        tiles = self._tiles(len(rows))
        products, spectra = torch.split(space[: self.space(len(rows))], self._sizes(len(rows)))
        products = products.view(-1, PRODUCTS, self._channels)
        spectra = spectra.view(self._multiply.takes).view_as(products)
        self._transforms.forward(rows, slope, tiles, spectra)
        self._multiply(spectra, products)
        self._transforms.backward(products, self._bias, tiles, output, add=add)

    def _sizes(self, samples: int) -> list[int]:
        """Numbers of the convolution's type that products and spectra take."""
        numbers = self._room(samples) * PRODUCTS * self._channels
        return [numbers, numbers * self._multiply.takes.itemsize // self._bias.itemsize]

    def _room(self, samples: int) -> int:
        """Tiles that there is room for."""
        return max(self._tiles(samples).count, self._multiply.least_tiles)

    def _tiles(self, samples: int) -> Tiles:
        return Tiles(samples, self._taps, self._dilation)


def _reach(convolution: nn.Conv1d) -> int:
    return convolution.dilation[0] * (convolution.kernel_size[0] // 2)
