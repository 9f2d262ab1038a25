"""FCPE, a light convolutional pitch network whose weights come with the package ``torchfcpe``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchfcpe
from torch import Tensor
from torchfcpe.models import CFNaiveMelPE

from ultimate_rvc.rvc.pitch.bins import REFERENCE_HZ, BinScale, refined_peak
from ultimate_rvc.rvc.pitch.chunked import CHUNK_SECONDS, pieces
from ultimate_rvc.rvc.pitch.mel import N_MELS, LogMel
from ultimate_rvc.rvc.pitch.method import within_range
from ultimate_rvc.rvc.torch_file import read_torch_file

WEIGHTS = Path(torchfcpe.__file__).parent / "assets" / "fcpe_c_v001.pt"
POWER_FLOOR = 1e-9  # torchfcpe adds this to the power spectrum
# FCPE was trained on windows that begin this many samples before the instant whose pitch they tell, so
# they reach 592 after it; with windows centred on it, every f0 would come 5 ms late.
SAMPLES_BEFORE = (1024 - 160) // 2
SALIENCE_THRESHOLD = 0.006
# Six convolutions of 31 frames and two of 3 reach 92 frames, the mel window 4 more.
CONTEXT_SECONDS = 0.96


@dataclass(frozen=True)
class GroupStatistics:
    """Mean and standard deviation of each group of channels over a whole recording, ``(groups, 1)``."""

    mean: Tensor
    deviation: Tensor


class Fcpe:
    """FCPE, decoded around the highest bin of each frame.

    Its only look at a whole recording is the group normalisation behind the first convolution, whose
    statistics run over all frames. :meth:`for_recording` takes them once, block by block, so that pieces
    give what the whole gives.

    Parameters
    ----------
    network
        A network of torchfcpe in evaluation mode.
    device
        Where it runs.
    statistics
        Those of the recording; by default they are taken from what :meth:`f0_hz` is given.
    """

    name = "fcpe"
    context_seconds = CONTEXT_SECONDS

    def __init__(
        self, network: CFNaiveMelPE, device: torch.device | str, statistics: GroupStatistics | None = None
    ) -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device)
        self._convolve, self._group_norm, self._activate, self._convolve_again = network.input_stack
        self._log_mel = LogMel(
            f_min_hz=0, f_max_hz=8000, htk=False, power_floor=POWER_FLOOR, samples_before=SAMPLES_BEFORE
        ).to(self._device)
        self._statistics = statistics
        lowest, highest = (1200 * math.log2(f0 / REFERENCE_HZ) for f0 in (network.f0_min, network.f0_max))
        self._scale = BinScale(lowest, (highest - lowest) / (network.out_dims - 1))

    @torch.inference_mode()
    def for_recording(self, waveform_16k: Tensor) -> Fcpe:
        groups = self._group_norm.num_groups
        count, mean, squares = 0, torch.zeros(groups).double(), torch.zeros(groups).double()
        for piece in pieces(waveform_16k.shape[0], CHUNK_SECONDS, CONTEXT_SECONDS):
            values = self._first_layer(waveform_16k[piece.samples])[:, piece.keep].reshape(groups, -1)
            block_variance, block_mean = torch.var_mean(values, dim=1, correction=0)
            block_count = values.shape[1]
            # Chan, Golub and LeVeque's rule for joining the moments of two sets.
            step = block_mean.cpu().double() - mean
            share = block_count / (count + block_count)
            squares += block_variance.cpu().double() * block_count + step.square() * count * share
            mean += step * share
            count += block_count
        deviation = (squares / count + self._group_norm.eps).sqrt()
        return Fcpe(self._network, self._device, GroupStatistics(self._column(mean), self._column(deviation)))

    def _column(self, values: Tensor) -> Tensor:
        return values.float().to(self._device)[:, None]

    def _first_layer(self, waveform_16k: Tensor) -> Tensor:
        """Samples to the channels that are normalised, ``(512, frames)``."""
        log_mel = self._log_mel(waveform_16k.to(self._device, torch.float32))
        channels: Tensor = self._convolve(log_mel[None])[0]
        return channels

    @torch.inference_mode()
    def salience(self, waveform_16k: Tensor) -> Tensor:
        """Salience of 360 pitches from 32.7 to 1975.5 Hz, ``(samples // 160 + 1, 360)``, 0 to 1."""
        channels = self._normalise(self._first_layer(waveform_16k))
        hidden = self._convolve_again(self._activate(channels)[None]).transpose(1, 2)
        network = self._network
        salience: Tensor = network.output_proj(network.norm(network.net(hidden))).sigmoid()[0]
        return salience

    def _normalise(self, channels: Tensor) -> Tensor:
        if self._statistics is None:
            normalised: Tensor = self._group_norm(channels[None])[0]
            return normalised
        groups = channels.reshape(self._group_norm.num_groups, -1)
        unit = ((groups - self._statistics.mean) / self._statistics.deviation).reshape(channels.shape)
        weighted: Tensor = unit * self._group_norm.weight[:, None] + self._group_norm.bias[:, None]
        return weighted

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        salience = self.salience(waveform_16k)
        highest, peak_bins = salience.max(dim=1)
        f0_hz = self._scale.hz(refined_peak(salience, peak_bins))
        return within_range(f0_hz * (highest > SALIENCE_THRESHOLD)).to(waveform_16k.device)


def load_fcpe(device: torch.device | str) -> Fcpe:
    """FCPE with the weights that ship inside ``torchfcpe``."""
    # Built here and not by torchfcpe's own loader, which prints and unpickles whatever the file holds.
    file: Any = read_torch_file(WEIGHTS)
    shape = file["config_dict"]["model"]
    network = CFNaiveMelPE(
        input_channels=N_MELS,
        out_dims=shape["out_dims"],
        hidden_dims=shape["hidden_dims"],
        n_layers=shape["n_layers"],
        n_heads=shape["n_heads"],
        f0_min=shape["f0_min"],
        f0_max=shape["f0_max"],
        use_fa_norm=shape["use_fa_norm"],
        conv_only=shape["conv_only"],
    )
    network.load_state_dict(file["model"])
    return Fcpe(network.eval(), device)
