"""Songs with known stems, tiny networks, and how separations are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from mdx_network import MdxShape
from ultimate_rvc.audio.decode import decode

FloatArray = NDArray[np.float32]

SONGS_DIR = Path(__file__).parent / "data" / "songs"
SONG_NAMES = ("water", "thunder", "evening")
SONG_RATE = 44_100

# A small MDX-Net in ONNX, and the YAML that says how it is to be run.
MDX_SHAPE = MdxShape(n_fft=2048, dim_f=1024, dim_t=32, growth=4, levels=2)
MDX_YAML = "n_fft: 2048\ndim_f: 1024\ndim_t: 32\ncompensate: 1.02\nstem: {stem}\n"

AUDIO = {"chunk_size": 44_100, "num_channels": 2, "sample_rate": 44_100, "n_fft": 512, "hop_length": 128}
ROFORMER = {
    "dim": 16, "depth": 1, "stereo": True, "num_stems": 1, "time_transformer_depth": 1,
    "freq_transformer_depth": 1, "dim_head": 8, "heads": 2, "stft_n_fft": 512, "stft_hop_length": 128,
    "stft_win_length": 512, "stft_normalized": False, "mask_estimator_depth": 1,
}  # fmt: skip
TINY_CONFIGS: dict[str, dict[str, Any]] = {
    "bs_roformer": {
        "audio": AUDIO,
        "model": {**ROFORMER, "freqs_per_bands": [8] * 32 + [1]},
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals", "use_amp": False},
        "inference": {"batch_size": 1, "overlap_size": 11_025},
    },
    "mel_band_roformer": {
        "audio": AUDIO,
        "model": {**ROFORMER, "num_bands": 12, "sample_rate": 44_100, "dim_freqs_in": 257},
        "training": {"instruments": ["dry", "reverb"], "target_instrument": "dry", "use_amp": False},
        "inference": {"batch_size": 1, "overlap_size": 11_025},
    },
    "mdx23c": {
        "audio": {**AUDIO, "chunk_size": 128 * 255, "dim_f": 256, "dim_t": 256},
        "model": {
            "act": "gelu", "bottleneck_factor": 4, "growth": 8, "norm": "InstanceNorm", "num_channels": 8,
            "num_blocks_per_scale": 1, "num_scales": 2, "num_subbands": 2, "scale": [2, 2],
        },
        "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None, "use_amp": False},
        "inference": {"batch_size": 1, "overlap_size": 8160},
    },
}  # fmt: skip


def load_stems(name: str) -> tuple[FloatArray, FloatArray]:
    """Vocals (1, samples) and instrumental (2, samples) of a test song."""
    vocals, rate = decode(SONGS_DIR / f"{name}_vocals.ogg")
    instrumental, _ = decode(SONGS_DIR / f"{name}_instrumental.ogg")
    assert rate == SONG_RATE
    return vocals, instrumental


def sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    """Plain signal-to-distortion ratio: 10 log10(|s|^2 / |s - estimate|^2), all channels together."""
    s, e = reference.astype(np.float64), estimate.astype(np.float64)
    return float(10 * np.log10((s**2).sum() / ((s - e) ** 2).sum()))


def write_tiny_model(architecture: str, checkpoint: Path) -> Path:
    """A small random network of an architecture as ``checkpoint``, its YAML beside it."""
    from pymss.utils import get_model_from_config

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    config = checkpoint.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(TINY_CONFIGS[architecture]), encoding="utf-8")
    torch.manual_seed(0)
    model, _ = get_model_from_config(architecture, str(config))
    torch.save(model.state_dict(), checkpoint)
    return checkpoint


def write_halving_model(checkpoint: Path) -> Path:
    """A BS-RoFormer whose mask is one half everywhere, so that its output is known exactly.

    Its mask is the GLU of a linear layer: with zero weights, values of 0.5 + 0i and open gates.
    """
    write_tiny_model("bs_roformer", checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    for name, tensor in state.items():
        if name.startswith("mask_estimators.") and name.endswith(".weight"):
            tensor.zero_()
        elif name.startswith("mask_estimators."):
            values = tensor.numel() // 2
            tensor[:values] = torch.tensor([0.5, 0.0]).repeat(values // 2)
            tensor[values:] = 30.0
    torch.save(state, checkpoint)
    return checkpoint
