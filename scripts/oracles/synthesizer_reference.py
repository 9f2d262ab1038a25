"""Make the synthesizer's reference renders with an independent implementation.

Run it in a scratch environment that holds ``rvc-next`` (GPL-3.0: never a dependency of this project,
and nothing of it is copied here; it is only asked for its output)::

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install rvc-next==0.2.16
    /tmp/oracle/bin/python scripts/oracles/synthesizer_reference.py tests/data/networks

For every stock architecture, with and without f0, it writes one ``.npz`` file with the ``config`` list
of a voice file (JSON), a small random state dict in half precision as voice files hold it, the inputs
and the ``waveform`` that the reference renders from them with every random number set to zero. The
state stands in one row, ``state``, with ``state_shapes``, a JSON object of names and shapes in the same
order; weight norm is not folded. Rates and kernels are the real ones; channels are few.
rvc-next has no MRF HiFi-GAN and no RefineGAN.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from rvc_next.engine.models.loader import synthesizer_class

ARCHITECTURES = {  # name: (version, sample rate, spec channels, rates, kernels)
    "v1_32k": ("v1", 32000, 513, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v1_40k": ("v1", 40000, 1025, (10, 10, 2, 2), (16, 16, 4, 4)),
    "v1_48k": ("v1", 48000, 1025, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v2_32k": ("v2", 32000, 513, (10, 8, 2, 2), (20, 16, 4, 4)),
    "v2_40k": ("v2", 40000, 1025, (10, 10, 2, 2), (16, 16, 4, 4)),
    "v2_48k": ("v2", 48000, 1025, (12, 10, 2, 2), (24, 20, 4, 4)),
    "v2_24k": ("v2", 24000, 513, (10, 6, 2, 2), (20, 12, 4, 4)),
}
PHONE_DIM = {"v1": 256, "v2": 768}
FRAMES = 32  # more than the attention's window of 10 to either side
SPEAKERS = 3
SPEAKER = 1
# What no file may exceed or fall below: a render that is silent or saturated would prove nothing.
MIN_RMS, MAX_RMS = 0.05, 0.7


def small_config(
    sample_rate: int, spec_channels: int, rates: tuple[int, ...], kernels: tuple[int, ...]
) -> list:
    initial_channels = 2 ** len(rates)  # leaves one channel at the output rate
    return [
        spec_channels, 32, 8, 8, 16, 2, 3, 3, 0, "1",
        [3, 7, 11], [[1, 3, 5]] * 3, list(rates), initial_channels, list(kernels), SPEAKERS, 6, sample_rate,
    ]  # fmt: skip


def random_tensor(key: str, shape: tuple[int, ...], config: list, rng: np.random.RandomState) -> np.ndarray:
    """Draw weights whose layers neither die out nor explode, so that every layer is heard in the output.

    A weight with a fan-in of n has deviation 1/sqrt(n) times a gain that makes up for the leaky ReLU; a
    weight-normed magnitude is that gain itself. Transposed convolutions spread their power over ``rate``
    samples, which their magnitude makes up for. The sine (amplitude 0.1) is brought up to 0.5.
    """
    values = rng.standard_normal(shape)
    if key.endswith("gamma"):
        return 1 + 0.2 * values
    if key.endswith(("bias", "beta")):
        return 0.1 * values
    if key.endswith("weight_g"):
        gain = 1.0
        if key.startswith("dec.ups."):
            gain = math.sqrt(config[12][int(key.split(".")[2])] / 2)
        elif ".convs" in key:
            gain = 0.7
        return gain * (1 + 0.2 * values)
    if key.endswith("l_linear.weight"):
        return np.full(shape, 5.0)
    if key.startswith("emb_g") or key == "enc_p.emb_pitch.weight":
        return values
    if "emb_rel" in key:
        return 0.5 * values
    return values / math.sqrt(math.prod(shape[1:]))


def draw_state(shapes: dict[str, tuple[int, ...]], config: list, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(seed)
    return {key: random_tensor(key, shapes[key], config, rng).astype(np.float16) for key in sorted(shapes)}


def draw_inputs(phone_dim: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(seed)
    # Repeated columns keep the file small; the weights they meet all differ.
    features = np.tile(rng.standard_normal((FRAMES, 16)), (1, phone_dim // 16))
    f0_hz = 180 * 2 ** np.cumsum(rng.uniform(-0.15, 0.18, FRAMES))
    f0_hz[5:9] = 0  # unvoiced
    f0_hz[20] = 1050
    return {
        "features": features.astype(np.float16),
        "pitch": rng.randint(1, 256, FRAMES),
        "f0_hz": f0_hz.astype(np.float32),
    }


def zeros_like(tensor: torch.Tensor, **_: object) -> torch.Tensor:
    return torch.zeros_like(tensor)


def zeros(*shape: int, **options: object) -> torch.Tensor:
    return torch.zeros(*shape, device=options.get("device"))


def render(model: torch.nn.Module, inputs: dict[str, np.ndarray], has_f0: bool) -> np.ndarray:
    features = torch.from_numpy(inputs["features"]).float()[None]
    lengths, speaker = torch.tensor([FRAMES]), torch.tensor([SPEAKER])
    pitch = torch.from_numpy(inputs["pitch"])[None], torch.from_numpy(inputs["f0_hz"])[None]
    arguments = (features, lengths, *pitch, speaker) if has_f0 else (features, lengths, speaker)
    with torch.no_grad(), mock.patch("torch.randn_like", zeros_like), mock.patch("torch.rand", zeros):
        return model.infer(*arguments)[0][0, 0].numpy()


def write_case(folder: Path, name: str, has_f0: bool, seed: int) -> None:
    version, sample_rate, spec_channels, rates, kernels = ARCHITECTURES[name]
    config = small_config(sample_rate, spec_channels, rates, kernels)
    model = synthesizer_class(version, has_f0)(*config, is_half=False)
    del model.enc_q
    model.eval()
    state = draw_state({key: tuple(t.shape) for key, t in model.state_dict().items()}, config, seed)
    model.load_state_dict({key: torch.from_numpy(value).float() for key, value in state.items()}, strict=True)
    inputs = draw_inputs(PHONE_DIM[version], seed)
    waveform = render(model, inputs, has_f0)
    rms = float(np.sqrt(np.mean(waveform**2)))
    if not MIN_RMS < rms < MAX_RMS:
        raise SystemExit(f"{name}: the reference has rms {rms:.4f}; choose other weights")
    if not has_f0:
        del inputs["pitch"], inputs["f0_hz"]
    path = folder / f"{name}_{'f0' if has_f0 else 'no_f0'}.npz"
    np.savez_compressed(
        path,
        config=np.array(json.dumps(config)),
        speaker=np.array(SPEAKER),
        waveform=waveform,
        **inputs,
        state=np.concatenate([value.ravel() for value in state.values()]),
        state_shapes=np.array(json.dumps({key: value.shape for key, value in state.items()})),
    )
    print(
        f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, rms {rms:.3f}, peak {np.abs(waveform).max():.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the .npz files go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(ARCHITECTURES):
        for has_f0 in (True, False):
            write_case(folder, name, has_f0, seed)


if __name__ == "__main__":
    main()
