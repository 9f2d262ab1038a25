"""MockingBird's WaveRNN: mel spectrograms to a waveform, one sample after another.

Kalchbrenner et al., "Efficient Neural Audio Synthesis" (2018), in the form that fatchord gave it: an upsampling
network, two GRU layers and three linear ones. Names of layers are those of MockingBird's checkpoints. Pieces of
the sound are made side by side and joined with crossfades of equal power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIXTURE_CLASSES = 30  # "MOL": three numbers for each of ten logistic distributions; else 2 ** bits classes
MEL_RANGE = 4.0  # of the synthesizer's mels; the network learnt with [-1, 1]
PREEMPHASIS = 0.97
PIECE_SAMPLES, OVERLAP_SAMPLES = 8000, 800
LEAST_LOG_SCALE = -32.23619130191664  # log(1e-14): below, a distribution is a single value
CAREFUL = 1e-5  # uniform numbers keep so far from 0 and 1


@dataclass(frozen=True)
class WaveRNNSizes:
    """Every size of a network; the defaults are those of the official checkpoints."""

    sample_rate: int = 16_000
    mels: int = 80
    scales: tuple[int, ...] = (5, 5, 8)
    pad: int = 2
    compute: int = 128
    blocks: int = 10
    residual: int = 128
    rnn: int = 512
    fully_connected: int = 512
    classes: int = 512

    @property
    def hop_length(self) -> int:
        """Samples for one frame."""
        return math.prod(self.scales)

    @property
    def aux(self) -> int:
        """Channels of each of the four parts of the residual network's output."""
        return self.residual // 4


class _ResidualLayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv1d(channels, channels, 1, bias=False)
        self.batch_norm1 = nn.BatchNorm1d(channels)
        self.batch_norm2 = nn.BatchNorm1d(channels)

    def forward(self, hidden: Tensor) -> Tensor:
        branch = F.relu(self.batch_norm1(self.conv1(hidden)))
        output: Tensor = hidden + self.batch_norm2(self.conv2(branch))
        return output


class _MelResidual(nn.Module):
    def __init__(self, sizes: WaveRNNSizes) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(sizes.mels, sizes.compute, 2 * sizes.pad + 1, bias=False)
        self.batch_norm = nn.BatchNorm1d(sizes.compute)
        self.layers = nn.ModuleList(_ResidualLayer(sizes.compute) for _ in range(sizes.blocks))
        self.conv_out = nn.Conv1d(sizes.compute, sizes.residual, 1)

    def forward(self, mel: Tensor) -> Tensor:
        hidden = F.relu(self.batch_norm(self.conv_in(mel)))
        for layer in self.layers:
            hidden = layer(hidden)
        output: Tensor = self.conv_out(hidden)
        return output


class _Upsampling(nn.Module):
    """A mel with ``pad`` more frames on either side to (samples, mels) and (samples, residual)."""

    def __init__(self, sizes: WaveRNNSizes) -> None:
        super().__init__()
        self.resnet = _MelResidual(sizes)
        layers: list[nn.Module] = []
        for scale in sizes.scales:
            smooth = nn.Conv2d(1, 1, (1, 2 * scale + 1), padding=(0, scale), bias=False)
            layers += [nn.Upsample(scale_factor=(1, scale)), smooth]
        self.up_layers = nn.ModuleList(layers)
        self.hop_length, self.indent = sizes.hop_length, sizes.pad * sizes.hop_length

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        aux = self.resnet(mel).repeat_interleave(self.hop_length, dim=2)
        wide = mel[:, None]
        for layer in self.up_layers:
            wide = layer(wide)
        return wide[0, 0, :, self.indent : -self.indent].T, aux[0].T


class WaveRNN(nn.Module):
    """:meth:`render` makes (samples,) of a mel (mels, frames)."""

    step: Tensor

    def __init__(self, sizes: WaveRNNSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.upsample = _Upsampling(sizes)
        self.I = nn.Linear(sizes.mels + sizes.aux + 1, sizes.rnn)
        self.rnn1 = nn.GRU(sizes.rnn, sizes.rnn, batch_first=True)
        self.rnn2 = nn.GRU(sizes.rnn + sizes.aux, sizes.rnn, batch_first=True)
        self.fc1 = nn.Linear(sizes.rnn + sizes.aux, sizes.fully_connected)
        self.fc2 = nn.Linear(sizes.fully_connected + sizes.aux, sizes.fully_connected)
        self.fc3 = nn.Linear(sizes.fully_connected, sizes.classes)
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))

    @torch.inference_mode()
    def render(
        self, mel: Tensor, seed: int, *, piece: int = PIECE_SAMPLES, overlap: int = OVERLAP_SAMPLES
    ) -> Tensor:
        """The waveform (frames * hop_length,) of ``mel`` (mels, frames) in [-4, 4]; alike with the same seed.

        ``piece`` and ``overlap`` are samples: so many are made in one go, and crossfaded with the next.
        """
        padded = F.pad(mel[None] / MEL_RANGE, (self.sizes.pad, self.sizes.pad))
        mels, aux = self.upsample(padded)
        count = len(mels)
        starts = range(0, max(count - overlap, 1), piece + overlap)
        length = min(piece + 2 * overlap, count)  # one piece is no longer than the sound
        pieces = self._sample(_windows(mels, starts, length), _windows(aux, starts, length), seed)
        joined = _crossfaded(pieces, starts, overlap)[:count]
        if self.sizes.classes != MIXTURE_CLASSES:
            joined = _mu_law_decoded(joined, self.sizes.classes)
        return _deemphasized(joined)

    def _sample(self, mels: Tensor, aux: Tensor, seed: int) -> Tensor:
        """Samples (pieces, length) in [-1, 1] for features (pieces, length, channels)."""
        generator = torch.Generator(mels.device).manual_seed(seed)
        batch, length, _ = mels.shape
        first, second = mels.new_zeros(2, batch, self.sizes.rnn).unbind()
        sample = mels.new_zeros(batch)
        cells = [_cell(layer) for layer in (self.rnn1, self.rnn2)]
        # What depends on the features alone is computed at once.
        drive = self.I.weight[:, 1:] @ torch.cat([mels, aux[..., : self.sizes.aux]], 2).transpose(1, 2)
        drive = drive.transpose(1, 2) + self.I.bias
        _, second_aux, third_aux, fourth_aux = torch.split(aux, self.sizes.aux, dim=2)
        made = mels.new_zeros(length, batch)
        for position in range(length):
            hidden = drive[:, position] + sample[:, None] * self.I.weight[:, 0]
            first = torch.gru_cell(hidden, first, *cells[0])
            hidden = hidden + first
            second = torch.gru_cell(torch.cat([hidden, second_aux[:, position]], 1), second, *cells[1])
            hidden = hidden + second
            hidden = F.relu(self.fc1(torch.cat([hidden, third_aux[:, position]], 1)))
            hidden = F.relu(self.fc2(torch.cat([hidden, fourth_aux[:, position]], 1)))
            sample = self._drawn(self.fc3(hidden), generator)
            made[position] = sample
        return made.T

    def _drawn(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """One sample (pieces,) in [-1, 1] of what the network thinks likely, (pieces, classes)."""
        if logits.shape[1] == MIXTURE_CLASSES:
            return _mixture_sample(logits, generator)
        drawn = torch.multinomial(torch.softmax(logits.float(), 1), 1, generator=generator)[:, 0]
        return 2.0 * drawn / (logits.shape[1] - 1.0) - 1.0


def _cell(layer: nn.GRU) -> tuple[Tensor, ...]:
    weights: Sequence[Tensor] = layer._flat_weights  # type: ignore[assignment]
    return tuple(weights)


def _mixture_sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Salimans et al., "PixelCNN++" (2017): choose a logistic distribution, then a value of it."""
    choice, means, log_scales = logits.float().chunk(3, dim=1)

    def uniform(shape: torch.Size) -> Tensor:
        numbers = torch.rand(shape, generator=generator, device=logits.device)
        return numbers.clamp(CAREFUL, 1 - CAREFUL)

    chosen = (choice - torch.log(-torch.log(uniform(choice.shape)))).argmax(dim=1, keepdim=True)
    mean = means.gather(1, chosen)[:, 0]
    scale = log_scales.gather(1, chosen)[:, 0].clamp_min(LEAST_LOG_SCALE).exp()
    level = uniform(mean.shape)
    return (mean + scale * torch.log(level / (1 - level))).clamp(-1, 1)


def _windows(features: Tensor, starts: Sequence[int], length: int) -> Tensor:
    """``features`` (samples, channels) in pieces (pieces, length, channels), with zeros behind the end."""
    padded = F.pad(features, (0, 0, 0, starts[-1] + length - min(len(features), starts[-1] + length)))
    return torch.stack([padded[start : start + length] for start in starts])


def _crossfaded(pieces: Tensor, starts: Sequence[int], overlap: int) -> Tensor:
    """Pieces (pieces, length) one after another; half of each overlap is left to the network to warm up."""
    warm_up = overlap // 2
    ramp = torch.linspace(-1, 1, overlap - warm_up, device=pieces.device)
    rising = torch.cat([ramp.new_zeros(warm_up), torch.sqrt(0.5 * (1 + ramp))])
    falling = torch.cat([torch.sqrt(0.5 * (1 - ramp)), ramp.new_zeros(warm_up)])
    length = pieces.shape[1]
    joined = pieces.new_zeros(starts[-1] + length)
    for number, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        faded = piece.clone()
        if number > 0:
            faded[:overlap] *= rising
        if number < len(starts) - 1:
            faded[length - overlap :] *= falling
        joined[start : start + length] += faded
    return joined


def _mu_law_decoded(samples: Tensor, classes: int) -> Tensor:
    most = classes - 1.0
    return samples.sign() / most * ((1.0 + most) ** samples.abs() - 1.0)


def _deemphasized(samples: Tensor) -> Tensor:
    from scipy.signal import lfilter

    filtered = lfilter([1.0], [1.0, -PREEMPHASIS], samples.double().cpu().numpy())
    return torch.from_numpy(filtered).float().clamp(-1, 1)
