"""MDX-Net networks of any size with random weights, as ONNX files: to measure and to test with.

The layout is that of KUIELab's TFC-TDF U-Net (Kim et al. 2021), which the published files hold: on each level
``CONVOLUTIONS`` convolutions of 3x3 and then two linear layers along the frequencies, added to what went in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

CONVOLUTIONS = 3
BOTTLENECK = 8  # the linear layers pass through an eighth of the frequencies
PLANES = 4


@dataclass(frozen=True)
class MdxShape:
    """Sizes of a network: bins, frames, channels of the first level and levels below it."""

    n_fft: int
    dim_f: int
    dim_t: int
    growth: int = 48
    levels: int = 5


VOC_FT = MdxShape(7680, 3072, 256)  # UVR-MDX-NET-Voc_FT and Kim_Vocal_2: 66.8 MB
LIGHT = MdxShape(6144, 2048, 256, growth=32)  # UVR_MDXNET_1_9703: 29.7 MB
KARA_2 = MdxShape(5120, 2048, 256)  # UVR_MDXNET_KARA_2: 52.8 MB
REVERB_HQ = MdxShape(6144, 3072, 512)  # Reverb_HQ_By_FoxJoy


class _Block(nn.Module):
    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for _ in range(CONVOLUTIONS):
            steps += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        self.convolutions = nn.Sequential(*steps)
        narrow = max(bins // BOTTLENECK, 1)
        self.frequencies = nn.Sequential(
            nn.Linear(bins, narrow, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Linear(narrow, bins, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x)
        return x + self.frequencies(x)


class MdxNetwork(nn.Module):
    """``(1, 4, dim_f, dim_t)`` in and out."""

    def __init__(self, shape: MdxShape) -> None:
        super().__init__()
        channels, bins = shape.growth, shape.dim_f
        self.first = nn.Sequential(nn.Conv2d(PLANES, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.down, self.narrower = nn.ModuleList(), nn.ModuleList()
        self.up, self.wider = nn.ModuleList(), nn.ModuleList()
        for _ in range(shape.levels):
            wide = channels + shape.growth
            self.down.append(_Block(channels, bins))
            self.narrower.append(
                nn.Sequential(nn.Conv2d(channels, wide, 2, stride=2), nn.BatchNorm2d(wide), nn.ReLU())
            )
            channels, bins = wide, bins // 2
        self.middle = _Block(channels, bins)
        for _ in range(shape.levels):
            narrow = channels - shape.growth
            self.wider.append(
                nn.Sequential(
                    nn.ConvTranspose2d(channels, narrow, 2, stride=2), nn.BatchNorm2d(narrow), nn.ReLU()
                )
            )
            channels, bins = narrow, bins * 2
            self.up.append(_Block(channels, bins))
        self.last = nn.Conv2d(channels, PLANES, 1)

    def forward(self, spectrum: Tensor) -> Tensor:
        x = self.first(spectrum.transpose(-1, -2))
        kept = []
        for block, narrower in zip(self.down, self.narrower, strict=True):
            x = block(x)
            kept.append(x)
            x = narrower(x)
        x = self.middle(x)
        for wider, block in zip(self.wider, self.up, strict=True):
            x = block(wider(x) * kept.pop())
        return self.last(x).transpose(-1, -2)


def write_network(shape: MdxShape, path: Path, seed: int = 0) -> Path:
    """Write a random network of ``shape`` to ``path``; any batch, dim_f and dim_t fixed, as published."""
    torch.manual_seed(seed)
    network = MdxNetwork(shape).eval()
    example = torch.zeros(1, PLANES, shape.dim_f, shape.dim_t)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network, (example,), path, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}}, dynamo=False, verbose=False,
    )  # fmt: skip
    return path
