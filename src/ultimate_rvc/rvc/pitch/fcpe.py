"""FCPE, a light convolutional pitch network whose weights come with the package ``torchfcpe``.

What it finds is made exact by the phase of the harmonics (``refine``).
"""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ultimate_rvc.errors import AssetMissingError
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.pitch.bins import REFERENCE_HZ, BinScale
from ultimate_rvc.rvc.pitch.chunked import CHUNK_SECONDS, pieces
from ultimate_rvc.rvc.pitch.fcpe_network import FCPENetwork
from ultimate_rvc.rvc.pitch.mel import N_MELS, LogMel
from ultimate_rvc.rvc.pitch.method import within_range
from ultimate_rvc.rvc.pitch.refine import refined
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file

PACKAGE = "torchfcpe"
WEIGHTS = Path("assets", "fcpe_c_v001.pt")  # inside the package
# Of the file but not of the network: the scale, and norms of an attention that it does without.
UNUSED_WEIGHTS = re.compile(r"cent_table|gaussian_blurred_cent_mask|net\.encoder_layers\.\d+\.norm\..+")
POWER_FLOOR = 1e-9  # torchfcpe adds this to the power spectrum
# FCPE was trained on windows that begin this many samples before the instant whose pitch they give, so
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
    give what the whole gives; without, ``statistics`` are those of what :meth:`f0_hz` is given. ``scale`` says
    what the bins stand for.
    """

    name = "fcpe"
    context_seconds = CONTEXT_SECONDS

    def __init__(
        self,
        network: FCPENetwork,
        scale: BinScale,
        device: torch.device | str,
        statistics: GroupStatistics | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device)
        self._convolve, group_norm, self._activate, self._convolve_again = network.input_stack
        self._group_norm = cast(nn.GroupNorm, group_norm)
        self._log_mel = LogMel(
            f_min_hz=0, f_max_hz=8000, htk=False, power_floor=POWER_FLOOR, samples_before=SAMPLES_BEFORE
        ).to(self._device)
        self._statistics = statistics
        self._scale = scale

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
        statistics = GroupStatistics(self._column(mean), self._column(deviation))
        return Fcpe(self._network, self._scale, self._device, statistics)

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
        return self._network.salience(hidden)[0]

    def _normalise(self, channels: Tensor) -> Tensor:
        if self._statistics is None:
            normalised: Tensor = self._group_norm(channels[None])[0]
            return normalised
        groups = channels.reshape(self._group_norm.num_groups, -1)
        unit = ((groups - self._statistics.mean) / self._statistics.deviation).reshape(channels.shape)
        weighted: Tensor = unit * self._group_norm.weight[:, None] + self._group_norm.bias[:, None]
        return weighted

    def network_f0_hz(self, waveform_16k: Tensor) -> Tensor:
        """What the network alone says of ``(samples,)``, on its device: ``(samples // 160 + 1,)`` in Hz."""
        return self._scale.highest_peak_hz(self.salience(waveform_16k), SALIENCE_THRESHOLD)

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        exact_hz = refined(self.network_f0_hz(waveform_16k), waveform_16k.to(self._device))
        return within_range(exact_hz).to(waveform_16k.device)


def load_fcpe(device: torch.device | str) -> Fcpe:
    """FCPE with the weights that ship inside ``torchfcpe``; no code of that package runs.

    Raises
    ------
    AssetMissingError
        The package, or its file of weights, is not there.
    """
    path = _weights_file()
    file: Any = read_torch_file(path)
    shape = file["config_dict"]["model"]
    network = FCPENetwork(N_MELS, shape["hidden_dims"], shape["n_layers"], shape["out_dims"])
    stored = {key: value for key, value in file["model"].items() if not UNUSED_WEIGHTS.fullmatch(key)}
    network.load_state_dict(fold_weight_norm(stored))
    return Fcpe(network.eval(), _scale(shape["f0_min"], shape["f0_max"], shape["out_dims"]), device)


def _weights_file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / WEIGHTS if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise AssetMissingError(
            f"The weights of fcpe are missing: they come with the package {PACKAGE}; install it again, "
            "or choose rmvpe as pitch method (f0_method)."
        )
    return path


def _scale(f0_min_hz: float, f0_max_hz: float, bins: int) -> BinScale:
    """Bins evenly spaced in cents, the first and the last at the ends of the range."""
    lowest, highest = (1200 * math.log2(f0_hz / REFERENCE_HZ) for f0_hz in (f0_min_hz, f0_max_hz))
    return BinScale(lowest, (highest - lowest) / (bins - 1))
