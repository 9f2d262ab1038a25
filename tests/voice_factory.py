"""Voice files for tests: small, seeded, of every dialect, and some that must be refused.

Hop lengths and sample rates are those of real voices, channels are few: a file has well under 2 MB and
renders many times faster than real time. Weights are random, so a voice sounds like a voice of nobody,
but each follows the pitch, and none is silent or clipped.
"""

from __future__ import annotations

import enum
import io
import json
import math
import os
import re
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

# (version, sample rate): upsample rates, kernels, spec channels; rvc-facts 3.10.
STOCK_MODELS = {
    ("v1", 32000): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 513),
    ("v1", 40000): ((10, 10, 2, 2), (16, 16, 4, 4), 1025),
    ("v1", 48000): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 1025),
    ("v2", 24000): ((10, 6, 2, 2), (20, 12, 4, 4), 513),
    ("v2", 32000): ((10, 8, 2, 2), (20, 16, 4, 4), 513),
    ("v2", 40000): ((10, 10, 2, 2), (16, 16, 4, 4), 1025),
    ("v2", 48000): ((12, 10, 2, 2), (24, 20, 4, 4), 1025),
}
PHONE_DIMS = {"v1": 256, "v2": 768}
STARTER_PHONE_DIM = 384
DIALECTS = ("RVC", "rvc-webui", "Applio", "Ultimate RVC", "rvc-next", "training", "safetensors")

# Layers that RVC's own code builds with weight norm.
WEIGHT_NORMED = re.compile(
    r"(flow\.flows\.\d+\.enc\.(in_layers\.\d+|res_skip_layers\.\d+|cond_layer)"
    r"|dec\.(ups|upsamples)\.\d+"
    r"|dec\.resblocks\.\d+\.convs[12]\.\d+"
    r"|dec\.mrfs\.\d+\.\d+\.layers\.\d+\.conv[12]"
    r"|dec\.(pre_conv|mel_conv|downsample_blocks\.\d+)"
    r"|dec\.upsample_conv_blocks\.\d+\.blocks\.\d+\.1\.convs[12]\.\d+)\.weight"
)
# These are weight-normed in some vocoders only.
NORMED_ENDS = {
    Vocoder.HIFI_GAN: (),
    Vocoder.MRF_HIFI_GAN: ("dec.conv_pre.weight", "dec.conv_post.weight"),
    Vocoder.REFINE_GAN: ("dec.conv_post.weight",),
}


@dataclass(frozen=True, kw_only=True)
class VoiceSpec:
    """What a voice of the factory is like."""

    version: str = "v2"
    sample_rate: int = 40000
    has_f0: bool = True
    vocoder: Vocoder = Vocoder.HIFI_GAN
    embedder: str | None = None  # recorded when given; "starter" also sets the width of the features
    phone_dim: int | None = None
    speakers: int = 3
    speaker_names: tuple[str, ...] = ()
    f0_median_hz: float | None = None
    epoch: int = 7
    seed: int = 0
    initial_channels: int = 32
    layers: int = 2
    resblock_kernels: tuple[int, ...] = (3, 7, 11)

    @property
    def config(self) -> SynthesizerConfig:
        rates, kernels, spec_channels = STOCK_MODELS[self.version, self.sample_rate]
        by_encoder = STARTER_PHONE_DIM if self.embedder == "starter" else PHONE_DIMS[self.version]
        return SynthesizerConfig(
            spec_channels=spec_channels,
            segment_size=32,
            inter_channels=8,
            hidden_channels=16,
            filter_channels=32,
            heads=2,
            layers=self.layers,
            kernel_size=3,
            dropout=0,
            resblock_kernel_sizes=self.resblock_kernels,
            resblock_dilations=((1, 3, 5),) * len(self.resblock_kernels),
            upsample_rates=rates,
            upsample_initial_channel=self.initial_channels,
            upsample_kernel_sizes=kernels,
            speakers=self.speakers,
            speaker_channels=8,
            sample_rate=self.sample_rate,
            phone_dim=self.phone_dim or by_encoder,
        )


def write_voice(path: Path, dialect: str = "RVC", **spec: Any) -> Path:
    """Write a voice file of a dialect (one of :data:`DIALECTS`); ``spec`` are fields of VoiceSpec."""
    chosen = VoiceSpec(**spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    if dialect == "safetensors":
        state = {key: tensor.half() for key, tensor in voice_state(chosen).items()}
        metadata = {key: json.dumps(value) for key, value in _original_values(chosen).items()}
        path.write_bytes(safetensors.torch.save(state, {"format": "rvc-voice", **metadata}))
    elif dialect == "training":
        torch.save(training_checkpoint(chosen), path)
    else:
        with ultimate_rvc_enums():
            torch.save(voice_content(chosen, dialect), path)
    return path


def write_voice_folder(voices_dir: Path, name: str, *, with_index: bool = True, **spec: Any) -> Path:
    """Write ``<voices_dir>/<name>/<name>.pth`` and its index; returns the folder."""
    folder = voices_dir / name
    write_voice(folder / f"{name}.pth", **spec)
    if with_index:
        write_index(folder / f"{name}.index", dim=VoiceSpec(**spec).config.phone_dim)
    return folder


# --- contents ----------------------------------------------------------------------------------


def voice_state(spec: VoiceSpec) -> dict[str, Tensor]:
    """The weights of a voice in float32, with weight norm as RVC stores it and without ``enc_q``."""
    plain = plain_state(spec)
    state: dict[str, Tensor] = {}
    for key, weight in plain.items():
        if WEIGHT_NORMED.fullmatch(key) or key in NORMED_ENDS[spec.vocoder]:
            norm = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
            state[f"{key}_g"] = norm
            # The direction may have any length: another than 1 shows whether a reader divides by it.
            state[f"{key}_v"] = weight * 1.5
        else:
            state[key] = weight
    return state


def plain_state(spec: VoiceSpec) -> dict[str, Tensor]:
    """The same weights with weight norm folded: what a loaded synthesizer must hold."""
    return dict(_plain_state(spec))


@lru_cache(maxsize=64)
def _plain_state(spec: VoiceSpec) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        network = Synthesizer(spec.config, has_f0=spec.has_f0, vocoder=spec.vocoder)
    random = torch.Generator().manual_seed(1000 + spec.seed)
    shapes = sorted((key, tensor.shape) for key, tensor in network.state_dict().items())
    drawn = {key: _weights(key, torch.randn(shape, generator=random)) for key, shape in shapes}
    return {key: drawn[key] for key in network.state_dict()}


def _weights(name: str, random: Tensor) -> Tensor:
    """Random weights of about unit gain per layer, so that every layer can be heard."""
    if name.endswith("gamma"):
        return 1 + 0.1 * random
    if "m_source" in name:
        return 3 + random  # the sine that enters has an amplitude of 0.1
    if name.endswith("emb_phone.weight"):
        return random / math.sqrt(random.shape[1])
    if random.dim() == 3 and "emb_rel" not in name:
        # Residual branches add up: half the gain keeps what goes around them audible.
        gain = 0.4 if "convs" in name or ".layers." in name or ".post." in name else 0.8
        return random * gain * (2.0 / random[0].numel()) ** 0.5
    return random if name == "emb_g.weight" else 0.1 * random


def voice_content(spec: VoiceSpec, dialect: str) -> dict[str, Any]:
    """The dictionary that a tool of a dialect stores in a voice's ``.pth``."""
    weight = OrderedDict((key, tensor.half()) for key, tensor in voice_state(spec).items())
    content: dict[str, Any] = OrderedDict(weight=weight, **_original_values(spec))
    if dialect in ("Applio", "Ultimate RVC"):
        del content["info"]
        content |= {
            "epoch": spec.epoch,
            "step": 100 * spec.epoch,
            "sr": spec.sample_rate,
            "f0": spec.has_f0,
            "creation_date": "2025-01-02T03:04:05.678901",
            "model_hash": "0" * 64,
            "dataset_length": "00:01:40",
            "model_name": "factory voice",
            "author": None,
            "embedder_model": spec.embedder or "contentvec",
            "speakers_id": spec.speakers,
            "vocoder": str(spec.vocoder),
        }
    if dialect == "Ultimate RVC":
        content["sr"] = _training_sample_rate(spec.sample_rate)
        content["config"][-1] = content["sr"]
        content["vocoder"] = UltimateVocoder(str(spec.vocoder))
        content["overtrain_info"] = "Lowest generator loss: 20.5 at epoch 5, step 500"
    if dialect == "rvc-webui":
        names = [field.name for field in fields(spec.config) if field.name != "phone_dim"]
        content["config"].insert(17, spec.config.phone_dim)
        content["params"] = dict(
            zip([*names[:9], "resblock", *names[9:-1], "emb_channels", "sr"], content["config"], strict=True)
        )
        content.pop("embedder_model", None)
        content["embedder_name"] = spec.embedder or "contentvec"
        content["embedder_output_layer"] = 9 if spec.config.phone_dim == PHONE_DIMS["v1"] else 12
        if spec.speaker_names:
            content["speaker_info"] = {str(i): name for i, name in enumerate(spec.speaker_names)}
    if dialect == "rvc-next":
        content["speaker_info"] = [{"id": i, "name": name} for i, name in enumerate(spec.speaker_names)]
        content["f0_median"] = spec.f0_median_hz or 220.5
    return content


def _original_values(spec: VoiceSpec) -> dict[str, Any]:
    config = spec.config.to_list()
    config[15] = 109  # as files often say, whatever the true number of speakers
    values: dict[str, Any] = {
        "config": config,
        "info": f"{spec.epoch}epoch",
        "sr": f"{spec.sample_rate // 1000}k",
        "f0": int(spec.has_f0),
        "version": spec.version,
    }
    if spec.embedder:
        values["embedder_model"] = spec.embedder
    if spec.vocoder is not Vocoder.HIFI_GAN:
        values["vocoder"] = str(spec.vocoder)
    return values


def training_checkpoint(spec: VoiceSpec) -> dict[str, Any]:
    """A ``G_*.pth``: a module's state with the posterior encoder, and an optimizer's."""
    state = OrderedDict(voice_state(spec))
    config = spec.config
    random = torch.Generator().manual_seed(spec.seed)
    state["enc_q.pre.weight"] = torch.randn(16, config.spec_channels, 1, generator=random)
    state["enc_q.pre.bias"] = torch.randn(16, generator=random)
    state["enc_q.proj.weight"] = torch.randn(16, 16, 1, generator=random)
    state["enc_q.proj.bias"] = torch.randn(16, generator=random)
    # A module's own state dict carries this attribute into the pickle.
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    moments = {
        number: {"step": torch.tensor(1.0), "exp_avg": tensor * 0.1, "exp_avg_sq": tensor**2}
        for number, tensor in enumerate(list(state.values())[:4])
    }
    group = {"lr": 1e-4, "betas": (0.8, 0.99), "eps": 1e-9, "amsgrad": False, "params": list(moments)}
    return {
        "model": state,
        "iteration": spec.epoch,
        "lowest_value": {"value": np.float64(20.5), "epoch": 5},
        "consecutive_increases": 0,
        "optimizer": {"state": moments, "param_groups": [group]},
        "learning_rate": 1e-4,
        "scaler": {},
    }


def training_config_json(spec: VoiceSpec) -> str:
    """The ``config.json`` that trainers write beside their checkpoints."""
    config = spec.config
    data = {"sample_rate": spec.sample_rate, "filter_length": 2 * (config.spec_channels - 1)}
    model = {
        "resblock_dilation_sizes": config.resblock_dilations,
        "upsample_rates": config.upsample_rates,
        "upsample_kernel_sizes": config.upsample_kernel_sizes,
    }
    return json.dumps({"train": {}, "data": data, "model": model})


# --- the enumerations that Ultimate RVC pickles ------------------------------------------------


class UltimateSampleRate(enum.IntEnum):
    HZ_32K = 32000
    HZ_40K = 40000
    HZ_48K = 48000


class UltimateVocoder(enum.StrEnum):
    HIFI_GAN = "HiFi-GAN"
    MRF_HIFI_GAN = "MRF HiFi-GAN"
    REFINE_GAN = "RefineGAN"


def _training_sample_rate(sample_rate: int) -> int:
    known = [int(rate) for rate in UltimateSampleRate]
    return UltimateSampleRate(sample_rate) if sample_rate in known else sample_rate


@contextmanager
def ultimate_rvc_enums() -> Iterator[None]:
    """Let the two enumerations be pickled under the names they have in Ultimate RVC."""
    published = {"TrainingSampleRate": UltimateSampleRate, "Vocoder": UltimateVocoder}
    module = types.ModuleType("ultimate_rvc.typing_extra")
    own = {kind: (kind.__module__, kind.__qualname__) for kind in published.values()}
    for name, kind in published.items():
        kind.__module__, kind.__qualname__ = module.__name__, name
        setattr(module, name, kind)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]
        for kind, (module_name, qualified) in own.items():
            kind.__module__, kind.__qualname__ = module_name, qualified


# --- indexes -----------------------------------------------------------------------------------


def write_index(
    path: Path,
    features: np.ndarray | None = None,
    *,
    dim: int = 768,
    count: int = 400,
    cells: int = 4,
    seed: int = 0,
) -> Path:
    """Write a FAISS ``IVF{cells},Flat`` index of ``features`` (count, dim), random ones by default."""
    import faiss

    if features is None:
        features = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    features = np.ascontiguousarray(features, np.float32)
    index = faiss.index_factory(features.shape[1], f"IVF{cells},Flat")
    index.train(features)
    faiss.extract_index_ivf(index).nprobe = 1
    index.add(features)
    path.parent.mkdir(parents=True, exist_ok=True)
    # FAISS cannot open every name on every system, so its bytes are written by Python.
    path.write_bytes(faiss.serialize_index(index).tobytes())
    return path


def write_trained_only_index(path: Path, *, dim: int = 768, cells: int = 4, seed: int = 0) -> Path:
    """Write the ``trained_*`` half-product of RVC's index step: cells, but no vector in them."""
    import faiss

    index = faiss.index_factory(dim, f"IVF{cells},Flat")
    index.train(np.random.default_rng(seed).standard_normal((400, dim), dtype=np.float32))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(faiss.serialize_index(index).tobytes())
    return path


# --- files that must be refused ----------------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled by Python's own unpickler."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._marker}'",)


def write_executing_voice(path: Path, marker: Path, *, legacy: bool = False) -> Path:
    """A voice that creates the file ``marker`` when it is opened carelessly; complete otherwise."""
    content = voice_content(VoiceSpec(), "RVC")
    content["info"] = Payload(marker)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_discriminator(path: Path) -> Path:
    """A ``D_*.pth``."""
    state = {
        f"discriminators.{i}.convs.0.weight_{part}": torch.ones(2, 1, 3) for i in range(3) for part in "gv"
    }
    torch.save({"model": state, "iteration": 7, "optimizer": {}, "learning_rate": 1e-4}, path)
    return path


def rewrite_archive(source: Path, target: Path, rename: dict[str, str] | None = None, **extra: bytes) -> Path:
    """Copy a torch zip archive entry by entry with some entries renamed and others added."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for info in archive.infolist():
            copy.writestr((rename or {}).get(info.filename, info.filename), archive.read(info))
        for name, data in extra.items():
            copy.writestr(name, data)
    return target


def archive_of(pickled: bytes, storages: Sequence[bytes] = (), folder: str = "archive") -> bytes:
    """A torch zip archive around any pickle and storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/byteorder", b"little")
        for key, data in enumerate(storages):
            archive.writestr(f"{folder}/data/{key}", data)
        archive.writestr(f"{folder}/version", b"3\n")
    return buffer.getvalue()


def spec_like(spec: VoiceSpec, **changes: Any) -> VoiceSpec:
    """``spec`` with some fields changed."""
    return replace(spec, **changes)


def all_specs() -> list[VoiceSpec]:
    """One voice per stock architecture, with and without f0, and per vocoder."""
    plain = [
        VoiceSpec(version=version, sample_rate=sample_rate, has_f0=has_f0)
        for version, sample_rate in STOCK_MODELS
        for has_f0 in (True, False)
    ]
    others = [
        VoiceSpec(sample_rate=sample_rate, vocoder=vocoder)
        for vocoder in (Vocoder.MRF_HIFI_GAN, Vocoder.REFINE_GAN)
        for sample_rate in (24000, 32000, 40000, 48000)
    ]
    return plain + others
