"""Models to measure with, made on the spot: random weights, so that nothing has to be downloaded.

Times do not depend on what weights say. ``official`` has the sizes of the models people use: a ContentVec
encoder, RMVPE, a v2 voice at 40 kHz, an index of 50,000 vectors. ``small`` is for a quick try: the voice and
the encoder that ship with the package, FCPE for f0, a small index.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import F0Method, Vocoder
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.infer.settings import ConversionSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from ultimate_rvc.switches import OptimizationConfig

SAMPLE_RATE = 16_000
V1_WIDTH = 256
INDEX_VECTORS = 50_000
INDEX_CELLS = 2_000  # RVC takes min(16 * sqrt(n), n / 39), which is 1,282 to 3,577 here
SMALL_PHONE_DIM = 384  # of the starter encoder
SMALL_INDEX_VECTORS, SMALL_INDEX_CELLS = 1_000, 20
INDEX_FILE = "voice.index"
VOICE_FILE = "voice.pth"
PACKAGED_VOICE = Path("voices", "starter", "starter.pth")
# 10 s of the demo song's vocal as it was before it was mixed, pauses included.
VOCAL_FILE = Path(__file__).resolve().parent.parent / "tests" / "data" / "songs" / "water_vocals.ogg"


class ModelSize(StrEnum):
    OFFICIAL = "official"
    SMALL = "small"


def write_models(folder: Path, size: ModelSize, seed: int) -> None:
    """Write what :func:`open_pipeline` opens; ``folder`` must then be URVC_MODELS_DIR."""
    if size is ModelSize.SMALL:
        write_index(folder / INDEX_FILE, SMALL_INDEX_VECTORS, SMALL_PHONE_DIM, SMALL_INDEX_CELLS, seed)
        return
    import torch

    from vocoder import FULL_SIZE  # beside this file

    torch.manual_seed(seed)
    _write_encoder(folder / "embedders" / "contentvec")
    _write_rmvpe(folder / "rmvpe.pt")
    _write_voice(folder / VOICE_FILE)
    write_index(folder / INDEX_FILE, INDEX_VECTORS, FULL_SIZE.phone_dim, INDEX_CELLS, seed)


def open_pipeline(folder: Path, size: ModelSize, config: OptimizationConfig) -> Pipeline:
    """The pipeline over the models of ``folder``, computed as ``config`` says."""
    from ultimate_rvc.rvc.infer.pipeline import Pipeline

    voice = packaged_assets_dir() / PACKAGED_VOICE if size is ModelSize.SMALL else folder / VOICE_FILE
    settings = conversion_settings(size, seed=0)
    return Pipeline.open(voice, settings, index_path=folder / INDEX_FILE, optimization=config)


def conversion_settings(size: ModelSize, seed: int) -> ConversionSettings:
    """A usual conversion, without noise: two ways of computing it then differ only by rounding."""
    method = F0Method.FCPE if size is ModelSize.SMALL else F0Method.RMVPE
    return ConversionSettings(
        f0_methods=(method,), index_rate=0.75, seed=seed, noise_scale=0.0, source_noise_scale=0.0
    )


def vocal(seconds: float) -> NDArray[np.float32]:
    """A sung vocal of ``seconds`` at 16 kHz, mono, with the pauses of its song; repeated when longer."""
    import numpy as np

    from ultimate_rvc.audio.decode import decode_mono

    song = decode_mono(VOCAL_FILE, SAMPLE_RATE)
    return np.resize(song, round(seconds * SAMPLE_RATE))


def write_index(path: Path, vectors: int, dim: int, cells: int, seed: int) -> None:
    """Write an ``IVF{cells},Flat`` index of random vectors."""
    import faiss
    import numpy as np

    random = np.random.default_rng(seed).standard_normal((vectors, dim), np.float32)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, cells)
    index.cp.niter = 1  # random vectors have no clusters to find
    index.cp.min_points_per_centroid = index.cp.max_points_per_centroid = 5
    index.train(random[: 5 * cells])
    index.add(random)
    faiss.write_index(index, str(path))


def _write_encoder(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import HubertConfig, HubertModel

    from vocoder import FULL_SIZE

    config = HubertConfig()
    config.save_pretrained(folder)
    weights = HubertModel(config).state_dict()
    weights["final_proj.weight"] = torch.randn(V1_WIDTH, FULL_SIZE.phone_dim) / 30
    weights["final_proj.bias"] = torch.zeros(V1_WIDTH)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _write_rmvpe(path: Path) -> None:
    import torch

    from ultimate_rvc.rvc.pitch.rmvpe_network import RMVPENetwork

    # In half precision, as the published file is: 181 MB.
    torch.save({name: value.half() for name, value in RMVPENetwork().state_dict().items()}, path)


def _write_voice(path: Path) -> None:
    import torch

    from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
    from vocoder import FULL_SIZE

    voice: dict[str, Any] = {
        "weight": Synthesizer(FULL_SIZE, has_f0=True, vocoder=Vocoder.HIFI_GAN).state_dict(),
        "config": FULL_SIZE.to_list(),
        "f0": 1,
        "version": "v2",
        "sr": "40k",
        "info": "random weights",
    }
    torch.save(voice, path)
