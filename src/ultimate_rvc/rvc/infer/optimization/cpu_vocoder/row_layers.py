"""A vocoder's layers between its residual blocks, over rows ``(samples, channels)``, as matrix products.

In rows, the ``rate`` samples that a transposed convolution makes of one input row lie side by side: one
product of matrices writes them where they belong, and a second one adds the part of the kernel that
reaches into the next. torch's own transposed convolution on a CPU makes columns, sums them up and copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RowUpsampling:
    """A transposed convolution and the source's convolution that is added to it."""

    def __init__(self, upsampler: nn.ConvTranspose1d, source_conv: nn.Conv1d | None) -> None:
        self._rate, self._padding = upsampler.stride[0], int(upsampler.padding[0])
        weight = upsampler.weight.detach()
        channels_in, self._channels, taps = weight.shape
        parts = -(-taps // self._rate)  # input rows that an output sample is made of
        weight = F.pad(weight, (0, parts * self._rate - taps))
        # For each part (in, rate, out): a row of the product is `rate` rows of the output.
        split = weight.view(channels_in, self._channels, parts, self._rate).permute(2, 0, 3, 1)
        self._weights = split.reshape(parts, channels_in, -1).contiguous()
        assert upsampler.bias is not None
        bias = upsampler.bias.detach()
        self._source = None if source_conv is None else _RowSource(source_conv)
        if self._source is not None:
            bias = bias + self._source.bias
        self._bias = bias.repeat(self._rate)

    def __call__(self, rows: Tensor, source: Tensor | None) -> Tensor:
        """Float rows ``(samples, channels)`` and source ``(n,)`` as ``(samples * rate, channels)``."""
        samples, parts = len(rows), len(self._weights)
        product = rows.new_empty(samples + parts - 1, self._rate * self._channels)
        torch.addmm(self._bias, rows, self._weights[0], out=product[:samples])
        product[samples:] = self._bias
        for part in range(1, parts):
            product[part : part + samples].addmm_(rows, self._weights[part])
        upsampled = product.view(-1, self._channels)[self._padding : self._padding + samples * self._rate]
        if self._source is not None and source is not None:
            self._source.add_to(upsampled, source)
        return upsampled


class _RowSource:
    """A convolution of one channel with a stride, as products of runs of ``stride`` samples."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        self._stride, self._padding = convolution.stride[0], int(convolution.padding[0])
        weight = convolution.weight.detach()[:, 0]
        self._parts = -(-weight.shape[1] // self._stride)
        padded = F.pad(weight, (0, self._parts * self._stride - weight.shape[1]))
        self._weights = padded.view(len(weight), self._parts, self._stride).permute(1, 2, 0).contiguous()
        assert convolution.bias is not None
        self.bias = convolution.bias.detach()

    def add_to(self, rows: Tensor, source: Tensor) -> None:
        """Add the convolution of ``source`` ``(samples,)`` without its bias to ``rows``."""
        runs = len(rows) + self._parts - 1
        behind = runs * self._stride - self._padding - len(source)
        # What lies behind the last run is beyond every kernel.
        padded = F.pad(source, (self._padding, behind)).view(runs, self._stride)
        for part in range(self._parts):
            rows.addmm_(padded[part : part + len(rows)], self._weights[part])


class RowOutput:
    """The last convolution, of all channels into one."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        self._taps = convolution.kernel_size[0]
        self._weight = convolution.weight.detach()[0].contiguous()  # (channels, taps)
        self._bias = None if convolution.bias is None else convolution.bias.detach()

    def __call__(self, rows: Tensor) -> Tensor:
        """Float ``(samples,)`` of rows ``(samples, channels)``, with zeros beyond both ends."""
        samples, taps = len(rows), self._taps
        products = rows.new_zeros(samples + taps - 1, taps)
        torch.mm(rows, self._weight, out=products[taps // 2 : taps // 2 + samples])
        # Tap t of sample i is in row i + t: one diagonal per sample.
        waveform = products.as_strided((samples, taps), (taps, taps + 1)).sum(dim=1)
        return waveform if self._bias is None else waveform + self._bias
