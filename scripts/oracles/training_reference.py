"""Make tests/data/training/*.npz: what an independent implementation computes in a training's step.

Run it in a scratch environment that holds ``rvc-next`` (GPL-3.0: never a dependency of this project,
and nothing of it is copied here; it is only asked for its output)::

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install rvc-next==0.2.16
    PYTHONPATH=tests /tmp/oracle/bin/python scripts/oracles/training_reference.py tests/data/training

Weights and inputs come from ``tests/training_recipe.py`` and are not kept. ``synthesizers.npz`` has, for
every architecture with and without f0: the forward pass with every random number set to zero (waveform,
latents), the divergence, and the norm of the gradient of each weight for the loss
mean(waveform^2) + divergence. ``judges.npz`` has the scores, parts of the layers' values and the losses of
the discriminators of v1 and v2 at full size, and log mel spectrograms. ``names.json`` has a checksum of the
names and shapes of all weights of each published size. rvc-next has no MRF HiFi-GAN and no RefineGAN.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from rvc_next.engine.models import synthesizer
from rvc_next.engine.train import losses, mel

from training_recipe import (
    ARCHITECTURES,
    FRAME_STEP,
    LENGTHS,
    MAP_STEP,
    PHONE_DIM,
    SEGMENT_FRAMES,
    WAVEFORM_STEP,
    drawn_batch,
    judged_waveforms,
    seeded_state,
    small_config,
)

SLICE_PLACE = 0.6  # where every item's segment starts, as a share of the places it has
MIN_RMS, MAX_RMS = 0.05, 0.7  # a waveform that is silent or saturated would prove nothing
MELS = {"32k": (32000, 1024, 320, 80), "40k": (40000, 2048, 400, 125), "48k": (48000, 2048, 480, 128)}
STOCK = dict(zip(range(2, 9), (192, 192, 768, 2, 6, 3, 0), strict=True)) | {13: 512, 15: 109, 16: 256}


def network(name: str, has_f0: bool, config: list) -> torch.nn.Module:
    kind = f"SynthesizerTrnMs{PHONE_DIM[ARCHITECTURES[name][0]]}NSFsid" + ("" if has_f0 else "_nono")
    return getattr(synthesizer, kind)(*config, is_half=False)


def load(model: torch.nn.Module) -> None:
    state = seeded_state({key: tuple(tensor.shape) for key, tensor in model.state_dict().items()})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=True)


def zeros_like(tensor: torch.Tensor, **_: object) -> torch.Tensor:
    return torch.zeros_like(tensor)


def places(*shape: object, **_: object) -> torch.Tensor:
    """Instead of random numbers: one place for every segment, and no phase."""
    sizes = shape[0] if isinstance(shape[0], list | tuple | torch.Size) else shape
    return torch.full(tuple(sizes), SLICE_PLACE if len(sizes) == 1 else 0.0)


def step(name: str, has_f0: bool) -> dict[str, np.ndarray]:
    model = network(name, has_f0, small_config(name))
    load(model)
    batch = {key: torch.from_numpy(np.asarray(value)) for key, value in drawn_batch(name).items()}
    batch = {key: value.float() if value.is_floating_point() else value for key, value in batch.items()}
    pitch = (batch["pitch"], batch["f0_hz"]) if has_f0 else ()
    with mock.patch("torch.randn_like", zeros_like), mock.patch("torch.rand", places):
        waveform, starts, _, mask, (_, z_p, mean_p, logs_p, mean_q, logs_q) = model(
            *(batch["features"], batch["lengths"], *pitch),
            *(batch["spectrogram"], batch["lengths"], batch["speaker"]),
        )
    divergence = losses.kl_loss(z_p, logs_q, mean_p, logs_p, mask)
    (waveform.square().mean() + divergence).backward()
    norms = {key: float(weight.grad.norm()) for key, weight in sorted(model.named_parameters())}
    rms = float(waveform.detach().square().mean().sqrt())
    if not MIN_RMS < rms < MAX_RMS:
        raise SystemExit(f"{name}: the waveform has rms {rms:.4f}; choose other weights")
    print(f"{name} {'f0' if has_f0 else 'no f0'}: rms {rms:.3f}, divergence {float(divergence.detach()):.3f}")
    latents = {"z_p": z_p, "mean_p": mean_p, "log_deviation_p": logs_p, "mean_q": mean_q}
    latents |= {"log_deviation_q": logs_q}
    return {
        "starts": starts.numpy(),
        "waveform": waveform.detach().numpy()[..., ::WAVEFORM_STEP],
        "divergence": divergence.detach().numpy(),
        "gradient_norms": np.array(list(norms.values()), np.float32),
        **{key: value.detach().numpy()[..., ::FRAME_STEP] for key, value in latents.items()},
    }


def judge(version: str) -> dict[str, np.ndarray]:
    judges = {"v1": synthesizer.MultiPeriodDiscriminator, "v2": synthesizer.MultiPeriodDiscriminatorV2}
    model = judges[version]()
    load(model)
    real, fake = map(torch.from_numpy, judged_waveforms())
    fake.requires_grad_()
    real_scores, fake_scores, real_maps, fake_maps = model(real, fake)
    of_generator = losses.generator_loss(fake_scores)[0] + losses.feature_loss(real_maps, fake_maps)
    of_generator.backward()
    return {
        "real_scores": np.concatenate([score.detach().numpy().ravel() for score in real_scores]),
        "fake_scores": np.concatenate([score.detach().numpy().ravel() for score in fake_scores]),
        "fake_maps": np.concatenate(
            [values.detach().numpy().ravel()[::MAP_STEP] for maps in fake_maps for values in maps]
        ),
        "discriminator_loss": losses.discriminator_loss(real_scores, fake_scores)[0].detach().numpy(),
        "generator_loss": losses.generator_loss(fake_scores)[0].detach().numpy(),
        "feature_loss": losses.feature_loss(real_maps, fake_maps).detach().numpy(),
        "fake_gradient": fake.grad.numpy()[..., ::WAVEFORM_STEP],
    }


def mels() -> dict[str, np.ndarray]:
    real = torch.from_numpy(judged_waveforms()[0])[:, 0]
    found = {}
    for name, (sample_rate, n_fft, hop, bands) in MELS.items():
        spectrogram = mel.spectrogram_torch(real, n_fft, sample_rate, hop, n_fft)
        found[f"{name}_spectrogram"] = spectrogram.numpy()[:1, ::20]
        mel.mel_basis.clear()  # kept by highest frequency alone, which None does not tell
        bands_of = mel.mel_spectrogram_torch(real, n_fft, bands, sample_rate, hop, n_fft, 0.0, None)
        found[f"{name}_mel"] = bands_of.numpy()[:1]
    return found


def names() -> dict[str, int]:
    """A checksum of the names and shapes of every network of the published sizes."""
    models = {
        f"{name}_{'f0' if has_f0 else 'no_f0'}": network(
            name, has_f0, [STOCK.get(place, value) for place, value in enumerate(small_config(name))]
        )
        for name in ARCHITECTURES
        for has_f0 in (True, False)
    }
    models["v1_judges"] = synthesizer.MultiPeriodDiscriminator()
    models["v2_judges"] = synthesizer.MultiPeriodDiscriminatorV2()
    return {name: shapes_checksum(model.state_dict()) for name, model in models.items()}


def shapes_checksum(state: dict[str, torch.Tensor]) -> int:
    return zlib.crc32(repr(sorted((key, tuple(tensor.shape)) for key, tensor in state.items())).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    assert min(LENGTHS) > SEGMENT_FRAMES
    steps = {
        f"{name}_{'f0' if has_f0 else 'no_f0'}/{key}": value
        for name in ARCHITECTURES
        for has_f0 in (True, False)
        for key, value in step(name, has_f0).items()
    }
    np.savez_compressed(folder / "synthesizers.npz", **steps)
    judged = {f"{version}/{key}": value for version in ("v1", "v2") for key, value in judge(version).items()}
    np.savez_compressed(folder / "judges.npz", **judged, **mels())
    (folder / "names.json").write_text(json.dumps(names(), indent=1) + "\n")
    for path in sorted(folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
