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
    """A random file is not in the table of hashes, so its parameters lie beside it."""
    write_network(shape, path, seed)
    path.with_suffix(".yaml").write_text(
        f"n_fft: {shape.n_fft}\ndim_f: {shape.dim_f}\ndim_t: {shape.dim_t}\ncompensate: 1.0\nstem: {stem}\n",
        encoding="utf-8",
    )
    return path
