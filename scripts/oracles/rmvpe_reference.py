"""Make tests/data/pitch/rmvpe.npz: what another implementation of RMVPE gives for seeded random weights.

Run by hand, in an environment of its own that has rvc-next 0.2.16 (GPL-3.0: an oracle, never a dependency)
and torch::

    python scripts/oracles/rmvpe_reference.py tests/data/pitch/rmvpe.npz

The network has its full size (181 MB), so not its weights but their recipe is kept: ``seeded_state`` below
and in the test fills every tensor from one stream of numpy's frozen ``RandomState``, in the order of the
sorted names. A wrong name, shape or layer shows as another salience.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from rvc_next.engine.f0.rmvpe import E2E, RMVPE

SEED = 20
SAMPLE_RATE = 16_000
# 96 frames, a multiple of 32: for other numbers implementations fill the last frames differently.
SAMPLES = 95 * 160 + 80


def seeded_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Random weights for each name that keep the signal's size from layer to layer."""
    numbers = np.random.RandomState(SEED)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
            continue
        values = numbers.random_sample(shape).astype(np.float32)
        if name.endswith("running_var") or (name.endswith(".weight") and len(shape) == 1):
            values = 0.5 + values
        else:
            values = (2 * values - 1) * (3 / max(1, int(np.prod(shape[1:])))) ** 0.5
        if name == "fc.1.weight":
            values *= 12  # so that salience spreads over 0..1 instead of staying near one half
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def gliding_voice() -> np.ndarray:
    """A harmonic tone that glides from 120 to 480 Hz, in a little noise."""
    seconds = np.arange(SAMPLES) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 * 4 ** (seconds / seconds[-1])) / SAMPLE_RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 13))
    noise = np.random.RandomState(SEED + 1).standard_normal(SAMPLES)
    return np.round((0.2 * tone + 0.01 * noise) * 32767).astype(np.int16)


def main(target: Path) -> None:
    torch.manual_seed(0)
    own_state = E2E(4, 1, (2, 2)).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in own_state.items()}
    samples = gliding_voice()
    with tempfile.NamedTemporaryFile(suffix=".pt") as weights:
        torch.save(seeded_state(shapes), weights.name)
        rmvpe = RMVPE(weights.name, is_half=False, device="cpu")
    waveform = samples.astype(np.float32) / 32767
    with torch.no_grad():
        log_mel = rmvpe.extract_mel(waveform)
        salience = rmvpe.mel2hidden(log_mel)[0].numpy()
    f0_hz = rmvpe.decode(salience, thred=0.03)
    np.savez_compressed(
        target,
        samples=samples,
        salience=salience,
        f0_hz=f0_hz.astype(np.float32),
        names=np.array([f"{name} {shape}" for name, shape in sorted(shapes.items())]),
    )
    print(f"{target}: salience up to {salience.max():.3f}, f0 {f0_hz.min():.1f} to {f0_hz.max():.1f} Hz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
