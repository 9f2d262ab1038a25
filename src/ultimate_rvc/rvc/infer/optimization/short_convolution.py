"""Convolutions of many channels with long kernels, in fewer multiplications: short Fourier transforms.

A kernel of k taps over n samples of overlapping input gives n - k + 1 samples (overlap-save). Between a
transform of n points and back, a convolution of channels is one matrix product per frequency, and there
three real products make a complex one. So 32 points with 11 taps take 47 products for 22 samples, 2.1
for each instead of 11; 24 points with 7 taps take 1.9 instead of 7. Transforms this short are themselves
small matrix products, and well conditioned: the result is as exact as the plain convolution.

Signals are rows here, ``(samples, channels)``: a tile of input is then a matrix that needs no copying.

Source: overlap-save convolution (Oppenheim and Schafer, "Discrete-Time Signal Processing") with Karatsuba's
complex product; the same idea with real points is Winograd's minimal filtering (Lavin and Gray, 2015).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Measured in docs/performance.md: below, the transforms cost what the fewer products save.
LEAST_TAPS = 7
LEAST_PRODUCTS = 352  # channels times taps: 64 channels with 7 taps, 32 with 11


class RowConvolution(Protocol):
    """A convolution over rows that keeps channels and length, zeros beyond both ends."""

    dilation: int
    margin: int
    """Rows of zeros that it wants before the signal."""

    def rows_read(self, samples: int) -> int:
        """Rows of the padded input: margin, signal, and zeros behind."""
        ...

    def rows_written(self, samples: int) -> int:
        """Rows of the output, of which the first ``samples`` count; a multiple of the dilation."""
        ...

    def __call__(self, padded: Tensor, samples: int) -> Tensor:
        """Return the output as ``(rows_written / dilation, dilation, channels)``."""
        ...

    def add_to(self, hidden: Tensor, padded: Tensor, samples: int) -> None:
        """Add the output to the first rows of ``hidden``, which has at least ``rows_written``."""
        ...


def row_convolution(convolution: nn.Conv1d) -> RowConvolution:
    """Return the faster of the two forms of a ``same_convolution`` on a CPU."""
    taps, channels = convolution.kernel_size[0], convolution.out_channels
    if taps < LEAST_TAPS or taps * channels < LEAST_PRODUCTS:
        return DirectConvolution(convolution)
    return ShortConvolution(convolution, points=24 if taps <= 8 else 32)


class DirectConvolution:
    """The convolution as torch computes it, over rows."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        # Rows are an image of height 1 in torch's "channels last" layout.
        image = convolution.weight.detach()[:, :, None]
        self._weight = image.contiguous(memory_format=torch.channels_last)
        self._bias = convolution.bias
        self.dilation = 1  # of its output: rows come in order
        self._spread = convolution.dilation[0]
        self.margin = self._spread * (convolution.kernel_size[0] // 2)

    def rows_read(self, samples: int) -> int:
        return samples + 2 * self.margin

    def rows_written(self, samples: int) -> int:
        return samples

    def __call__(self, padded: Tensor, samples: int) -> Tensor:
        image = padded[: self.rows_read(samples)].T[None, :, None]
        output = F.conv2d(image, self._weight, self._bias, dilation=(1, self._spread))
        return output[0, :, 0].T[:, None]

    def add_to(self, hidden: Tensor, padded: Tensor, samples: int) -> None:
        hidden[:samples].add_(self(padded, samples)[:, 0])


class ShortConvolution:
    """The convolution by transforms of ``points`` points; a dilated one works on every d-th row.

    Parameters
    ----------
    convolution : nn.Conv1d
        Stride 1, one group, an odd kernel; its weights are transformed once.
    points : int
        Even, more than the taps.
    """

    def __init__(self, convolution: nn.Conv1d, points: int) -> None:
        weight = convolution.weight.detach()
        self.dilation = convolution.dilation[0]
        self._taps = convolution.kernel_size[0]
        self._points = points
        self._step = points - self._taps + 1  # samples that a tile gives
        self.margin = self.dilation * (self._taps // 2)
        self._forward, self._backward, of_weight = (
            matrix.to(weight) for matrix in transforms(points, self._taps)
        )
        self._products = len(self._forward)
        # One product whose result lies as it is used, (products, in, out).
        self._weight = torch.tensordot(of_weight, weight.permute(2, 1, 0).contiguous(), dims=1)
        # The constant part of a tile is product 0, divided by the points on the way back.
        assert convolution.bias is not None
        self._bias = convolution.bias.detach() * points

    def _tiles(self, samples: int) -> int:
        return -(-samples // (self._step * self.dilation))

    def rows_read(self, samples: int) -> int:
        return (self._tiles(samples) * self._step + self._taps - 1) * self.dilation

    def rows_written(self, samples: int) -> int:
        return self._tiles(samples) * self._step * self.dilation

    def __call__(self, padded: Tensor, samples: int) -> Tensor:
        products = self._multiply(padded, samples)
        tiles = torch.bmm(self._backward.expand(len(products), -1, -1), products)
        rows = tiles.view(self.dilation, -1, tiles.shape[2])
        return rows.transpose(0, 1)

    def add_to(self, hidden: Tensor, padded: Tensor, samples: int) -> None:
        if self.dilation > 1:
            rows = self.rows_written(samples)
            hidden[:rows].view(-1, self.dilation, hidden.shape[1]).add_(self(padded, samples))
            return
        products = self._multiply(padded, samples)
        tiles = hidden[: self.rows_written(samples)].view(len(products), self._step, -1)
        tiles.baddbmm_(self._backward.expand(len(products), -1, -1), products)

    def _multiply(self, padded: Tensor, samples: int) -> Tensor:
        """Return the products of all tiles, ``(tiles, products, channels)``."""
        tiles, channels, spread = self._tiles(samples), padded.shape[1], self.dilation
        forward = self._forward.expand(tiles, -1, -1)
        transformed = padded.new_empty(spread, tiles, self._products, channels)
        for phase in range(spread):
            overlapping = padded.as_strided(
                (tiles, self._points, channels),
                (self._step * spread * channels, spread * channels, 1),
                padded.storage_offset() + phase * channels,
            )
            torch.bmm(forward, overlapping, out=transformed[phase])
        products = torch.bmm(transformed.flatten(0, 1).transpose(0, 1), self._weight)
        products[0].add_(self._bias)
        return products.transpose(0, 1)


def transforms(points: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices of a correlation of ``points`` samples with ``taps`` weights.

    Returns
    -------
    forward : float64 Tensor (products, points)
    backward : float64 Tensor (points - taps + 1, products)
    of_weight : float64 Tensor (products, taps)
        ``backward @ ((forward @ x) * (of_weight @ w))`` is ``sum_t w[t] x[i + t]`` for every i.

    Notes
    -----
    A frequency's product (a + bi)(c - di) is made of c(a + b), a(d - c) and b(c + d), whose coefficients
    for the weight carry the sign of the imaginary part.
    """
    samples = torch.arange(points, dtype=torch.float64)
    outputs, weights = samples[: points - taps + 1], samples[:taps]
    forward, backward, of_weight = [], [], []
    for frequency in range(points // 2 + 1):
        angle = 2 * math.pi * frequency / points
        real, imaginary = torch.cos(angle * samples), -torch.sin(angle * samples)
        cosine, sine = torch.cos(angle * weights), torch.sin(angle * weights)
        if frequency in {0, points // 2}:
            forward.append(real)
            of_weight.append(cosine)
            backward.append(torch.cos(angle * outputs) / points)
            continue
        back_real, back_imaginary = (
            2 / points * torch.cos(angle * outputs),
            -2 / points * torch.sin(angle * outputs),
        )
        forward += [real + imaginary, real, imaginary]
        of_weight += [cosine, sine - cosine, cosine + sine]
        backward += [back_real + back_imaginary, back_imaginary, -back_real]
    return torch.stack(forward), torch.stack(backward, dim=1), torch.stack(of_weight)
