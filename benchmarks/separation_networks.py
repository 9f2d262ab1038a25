"""Separation networks of the published sizes with random weights: their times do not depend on what weights say."""

from __future__ import annotations

from pathlib import Path

from mdx_network import KARA_2, LIGHT, REVERB_HQ, VOC_FT, MdxShape, write_network
from ultimate_rvc.separation.choose import CONFIGS_DIR
from ultimate_rvc.separation.models import MDX_NET, SEPARATION_MODELS

MDX_SHAPES: dict[str, MdxShape] = {
    "mdx-vocals": VOC_FT,
    "mdx-kim": VOC_FT,
    "mdx-karaoke": KARA_2,
    "mdx-light": LIGHT,
}
REVERB_FILE = "Reverb_HQ_By_FoxJoy.onnx"  # of no download here, so known by its file alone


def write_separation_model(name: str, folder: Path, seed: int = 0) -> Path:
    """Write the model ``name`` of the table, or REVERB_FILE, into ``folder`` with a YAML where it needs one."""
    if name == REVERB_FILE:
        return _write_mdx(REVERB_HQ, folder / name, "reverb", seed)
    model = SEPARATION_MODELS[name]
    path = folder / model.file_name
    if model.architecture == MDX_NET:
        stem = "instrumental" if name == "mdx-karaoke" else "vocals"
        return _write_mdx(MDX_SHAPES[name], path, stem, seed)
    import torch
    from pymss.utils import get_model_from_config

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network, _ = get_model_from_config(model.architecture, str(CONFIGS_DIR / model.config_name))
    torch.save(network.state_dict(), path)
    return path


def _write_mdx(shape: MdxShape, path: Path, stem: str, seed: int) -> Path:
    """A random file is not in the table of hashes, so its parameters lie beside it.

    Its output is brought to the level of its input: silence would be left out of all that follows.
    """
    from dataclasses import asdict

    import numpy as np

    from ultimate_rvc.separation.mdx_net import MdxNetwork, MdxParameters
    from ultimate_rvc.separation.models import Effort

    write_network(shape, path, seed)
    config = path.with_suffix(".yaml")

    def describe(compensate: float) -> None:
        parameters = MdxParameters(shape.n_fft, shape.dim_f, shape.dim_t, compensate, stem)
        config.write_text(
            "".join(f"{name}: {value}\n" for name, value in asdict(parameters).items()), encoding="utf-8"
        )

    describe(1.0)
    sound = (0.1 * np.random.default_rng(seed).standard_normal((2, 44_100))).astype(np.float32)
    found = MdxNetwork(path.name, path, config, "cpu", Effort()).stems(sound, lambda _: None)[stem]
    describe(float(sound.std() / found.std()))
    return path
