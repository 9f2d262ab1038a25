"""The network of RMVPE: a U-Net over a log-mel spectrogram, a bidirectional GRU, 360 pitch bins.

Written from the names and shapes in the official ``rmvpe.pt`` and from the paper: Wei et al., "RMVPE: A
Robust Model for Vocal Pitch Estimation in Polyphonic Music", Interspeech 2023. Module names follow that
file, so that its state loads strictly.

Shapes: ``b`` batch, ``t`` frames, ``c`` channels, ``m`` mel bands (128, halved by each encoder level).
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ultimate_rvc.rvc.pitch.bins import PITCH_BINS
from ultimate_rvc.rvc.pitch.mel import N_MELS

ENCODER_LEVELS = 5
FRAME_GRID = 2**ENCODER_LEVELS  # each level halves the frames: their number must be a multiple of 32
INTERMEDIATE_LAYERS = 4
BLOCKS_PER_LAYER = 4
FIRST_CHANNELS = 16
GRU_PLANES = 3  # planes of the U-Net's output that the GRU sees
GRU_WIDTH = 256


class ConvBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (a 1x1 convolution where the channels change).

    ``(b, channels_in, t, m)`` to ``(b, channels_out, t, m)``.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )
        # Absent, not an identity, where the channels stay: the file has no entry there either way.
        self.shortcut = (
            nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        )

    def forward(self, planes: Tensor) -> Tensor:
        convolved: Tensor = self.conv(planes)
        beside: Tensor = self.shortcut(planes)
        return convolved.add_(beside)  # in place: these planes are large, and memory is what costs


def block_stack(channels_in: int, channels_out: int) -> nn.ModuleList:
    """The blocks of one layer; the first changes the number of channels."""
    rest = [ConvBlock(channels_out, channels_out) for _ in range(BLOCKS_PER_LAYER - 1)]
    return nn.ModuleList([ConvBlock(channels_in, channels_out), *rest])


class BlockLayer(nn.Module):
    """One level of the encoder, or one layer of the U-Net's floor; of ``(b, c, t, m)`` only ``c`` changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = block_stack(channels_in, channels_out)

    def forward(self, planes: Tensor) -> Tensor:
        for block in self.conv:
            planes = block(planes)
        return planes


class Encoder(nn.Module):
    """Five levels, each halving frames and bands and doubling the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(1)
        widths = [1, *(FIRST_CHANNELS << level for level in range(ENCODER_LEVELS))]
        self.layers = nn.ModuleList(BlockLayer(below, above) for below, above in itertools.pairwise(widths))
        self.pool = nn.AvgPool2d(2)

    def forward(self, planes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(b, 1, t, m)`` to ``(b, 256, t/32, m/32)`` and what each level gave before it was halved."""
        planes = self.bn(planes)
        skips = []
        for layer in self.layers:
            skips.append(layer(planes))
            planes = self.pool(skips[-1])
        return planes, skips


class Intermediate(nn.Module):
    """The floor of the U-Net, four layers: ``(b, 256, t/32, m/32)`` to ``(b, 512, t/32, m/32)``."""

    def __init__(self) -> None:
        super().__init__()
        top = FIRST_CHANNELS << ENCODER_LEVELS
        widths = [top // 2] + [top] * INTERMEDIATE_LAYERS
        self.layers = nn.ModuleList(BlockLayer(below, above) for below, above in itertools.pairwise(widths))

    def forward(self, planes: Tensor) -> Tensor:
        for layer in self.layers:
            planes = layer(planes)
        return planes


class DecoderLayer(nn.Module):
    """Doubles frames and bands, joins the encoder's planes of that level, and halves the channels.

    ``(b, c, t, m)`` and a skip ``(b, c/2, 2*t, 2*m)`` to ``(b, c/2, 2*t, 2*m)``.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.ConvTranspose2d(
                channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=False
            ),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )
        self.conv2 = block_stack(2 * channels_out, channels_out)

    def forward(self, planes: Tensor, skip: Tensor) -> Tensor:
        planes = torch.cat((self.conv1(planes), skip), dim=1)
        for block in self.conv2:
            planes = block(planes)
        return planes


class Decoder(nn.Module):
    """The way back up, mirroring the encoder: ``(b, 512, t/32, m/32)`` to ``(b, 16, t, m)``."""

    def __init__(self) -> None:
        super().__init__()
        widths = [FIRST_CHANNELS << level for level in range(ENCODER_LEVELS, -1, -1)]
        self.layers = nn.ModuleList(DecoderLayer(below, above) for below, above in itertools.pairwise(widths))

    def forward(self, planes: Tensor, skips: list[Tensor]) -> Tensor:
        for layer, skip in zip(self.layers, reversed(skips), strict=True):
            planes = layer(planes, skip)
        return planes


class UNet(nn.Module):
    """``(b, 1, t, 128)`` to ``(b, 16, t, 128)``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.intermediate = Intermediate()
        self.decoder = Decoder()

    def forward(self, planes: Tensor) -> Tensor:
        planes, skips = self.encoder(planes)
        decoded: Tensor = self.decoder(self.intermediate(planes), skips)
        return decoded


class BidirectionalGRU(nn.Module):
    """Both directions of a GRU side by side: ``(b, t, width_in)`` to ``(b, t, 2*width)``."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width_in, width, batch_first=True, bidirectional=True)

    def forward(self, frames: Tensor) -> Tensor:
        both: Tensor = self.gru(frames)[0]
        return both


class RMVPENetwork(nn.Module):
    """Salience of 360 pitches, 20 cents apart from C1, for each frame of a log-mel spectrogram."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet()
        self.cnn = nn.Conv2d(FIRST_CHANNELS, GRU_PLANES, 3, padding=1)
        self.fc = nn.Sequential(
            BidirectionalGRU(GRU_PLANES * N_MELS, GRU_WIDTH),
            nn.Linear(2 * GRU_WIDTH, PITCH_BINS),
            nn.Sigmoid(),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(b, 128, t)``, t a multiple of 32, to ``(b, t, 360)`` in 0..1."""
        planes = self.cnn(self.unet(log_mel.transpose(1, 2)[:, None]))  # (b, 3, t, 128)
        salience: Tensor = self.fc(planes.transpose(1, 2).flatten(2))
        return salience

    def fold_batch_norms(self) -> None:
        """Put the batch norms behind convolutions into their weights; for inference, once weights are loaded.

        The first one, before any convolution, stays: zeros are padded behind it. Afterwards the names are
        no longer those of the file.
        """
        for module in self.modules():
            if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d | nn.ConvTranspose2d):
                _fold_sequence(module)


def _fold_sequence(layers: nn.Sequential) -> None:
    """Replace each convolution and the norm behind it; the norm's place is taken by an identity."""
    for place, (layer, following) in enumerate(itertools.pairwise(list(layers))):
        if isinstance(following, nn.BatchNorm2d):
            is_transposed = isinstance(layer, nn.ConvTranspose2d)
            layers[place] = fuse_conv_bn_eval(cast(nn.Conv2d, layer), following, is_transposed)
            layers[place + 1] = nn.Identity()
