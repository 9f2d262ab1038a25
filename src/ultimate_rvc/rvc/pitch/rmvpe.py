"""RMVPE: the pitch method of choice for singing, once its weights (``rmvpe.pt``, 181 MB) are there."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard, cast

import torch
from torch import Tensor

from ultimate_rvc.errors import AssetMissingError
from ultimate_rvc.paths import models_dir
from ultimate_rvc.rvc.pitch.bins import CREPE_SCALE
from ultimate_rvc.rvc.pitch.mel import LogMel
from ultimate_rvc.rvc.pitch.rmvpe_network import FRAME_GRID, RMVPENetwork
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file

FILE_NAME = "rmvpe.pt"
SALIENCE_THRESHOLD = 0.03  # a frame whose highest salience is not above this is unvoiced
# On the safe side and not measured, because the trained weights were not at hand: the U-Net could see 15 s to
# each side, nearly all of it within 3 s, and the GRU has no limit.
CONTEXT_SECONDS = 5.12


def rmvpe_file() -> Path | None:
    """Where ``rmvpe.pt`` is, or None: the asset's own place, then the folders that other tools use."""
    from ultimate_rvc.assets.registry import locate

    elsewhere = (models_dir() / FILE_NAME, models_dir() / "rvc" / "predictors" / FILE_NAME)
    return locate("rmvpe") or next((path for path in elsewhere if path.is_file()), None)


class Rmvpe:
    """RMVPE with weights of the names and shapes of the official file, in any precision."""

    name = "rmvpe"
    context_seconds = CONTEXT_SECONDS

    def __init__(self, state: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        network = _empty_network()
        network.load_state_dict(state, assign=True)
        network.float().eval().requires_grad_(False)
        network.fold_batch_norms()
        if self._device.type == "cpu":
            _move_to_memory(network)
        self.network = network.to(self._device)
        self._log_mel = LogMel(f_min_hz=30, f_max_hz=8000, htk=True).to(self._device)

    def for_recording(self, waveform_16k: Tensor) -> Rmvpe:
        return self

    @torch.inference_mode()
    def salience(self, waveform_16k: Tensor) -> Tensor:
        """Salience of each pitch bin, shape ``(samples // 160 + 1, 360)``, 0 to 1, on the method's device."""
        log_mel = self._log_mel(waveform_16k.to(self._device, torch.float32))
        frames = log_mel.shape[1]
        log_mel = log_mel[:, _mirrored_frames(frames, self._device)]
        salience: Tensor = self.network(log_mel[None])[0, :frames]
        return salience

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        f0_hz = CREPE_SCALE.highest_peak_hz(self.salience(waveform_16k), SALIENCE_THRESHOLD)
        return f0_hz.to(waveform_16k.device)


def _empty_network() -> RMVPENetwork:
    """The network without memory for its 90 million weights, and without the second that filling it takes."""
    with torch.device("meta"):
        return RMVPENetwork()


def _move_to_memory(network: RMVPENetwork) -> None:
    """Copy what are views of the mapped file, with each position's channels beside each other.

    oneDNN is faster so and keeps the planes like that; docs/performance.md has the figures. One view left
    would keep all of the file in memory beside the folded weights.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
        tensor.data = tensor.data.clone(memory_format=layout)


def _mirrored_frames(frames: int, device: torch.device) -> Tensor:
    """Indices of ``frames`` frames, continued to a multiple of 32 by running back and forth."""
    period = max(1, 2 * (frames - 1))
    position = torch.arange(-(-frames // FRAME_GRID) * FRAME_GRID, device=device) % period
    return torch.minimum(position, period - position).clamp(max=frames - 1)


def load_rmvpe(device: torch.device | str) -> Rmvpe:
    """RMVPE with the official weights, downloaded first if there is a network.

    Raises
    ------
    AssetMissingError
        The file is absent and could not be fetched, or is something else.
    """
    from ultimate_rvc.assets.registry import require

    path = rmvpe_file() or require("rmvpe")
    return Rmvpe(_read_state(path), device)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The weights in ``path``, checked against what the network needs."""
    state = read_torch_file(path)
    shapes = {key: value.shape for key, value in state.items()} if _holds_tensors(state) else None
    if shapes != {key: value.shape for key, value in _empty_network().state_dict().items()}:
        raise AssetMissingError(
            f"{path} does not hold RMVPE's weights: delete it and fetch rmvpe.pt again, "
            "or choose fcpe as pitch method (f0_method)."
        )
    return cast("dict[str, Tensor]", state)


def _holds_tensors(state: object) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())
