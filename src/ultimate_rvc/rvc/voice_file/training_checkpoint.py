"""The sizes of a voice that does not record them: training checkpoints (``G_*.pth``) and bare weights.

Such files hold only tensors. Nearly every size is the length of some tensor's side; the upsampling
rates are not, and are found by their kernels in the table of stock models, by the strides that the
source's convolutions imply, by the ``config.json`` that trainers keep beside the checkpoint, or by a
sample rate in the file's or folder's name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import VoiceFileError

FRAMES_PER_SECOND = 100
SEGMENT_FRAMES = 32  # of training, recorded in every voice and used by none
STOCK_DILATIONS = [1, 3, 5]
MAX_CONFIG_JSON_BYTES = 1 << 20
_RATE_IN_NAME = re.compile(r"(?<!\d)(24|32|40|44\.1|44|48)k(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class StockRates:
    """One row of the table of stock models: what the kernels of a vocoder tell about its rates."""

    sample_rate: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    spec_channels: int


STOCK_RATES = (
    StockRates(32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 513),
    StockRates(40000, (10, 10, 2, 2), (16, 16, 4, 4), 1025),
    StockRates(48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 1025),
    StockRates(32000, (10, 8, 2, 2), (20, 16, 4, 4), 513),
    StockRates(48000, (12, 10, 2, 2), (24, 20, 4, 4), 1025),
    StockRates(24000, (10, 6, 2, 2), (20, 12, 4, 4), 513),
)


def infer_config(
    path: Path, state: Mapping[str, Tensor], vocoder: Vocoder, sample_rate: int | None
) -> list[object]:
    """The ``config`` list (18 values) that a voice with these weights would record.

    A ``config.json`` beside ``path`` and a rate such as ``40k`` in its name are clues. ``state`` has
    ``weight_g``/``weight_v`` or plain ``weight`` names, and ``enc_q`` if the file has; the ``vocoder`` is told
    from them. ``sample_rate`` is in Hz, where the caller knows it.

    Raises
    ------
    VoiceFileError
        When a layer is missing, or several sample rates fit and nothing tells which.
    """
    shapes = _Shapes(path, state)
    beside = _config_beside(path)
    upsampling = _recorded_upsampling(beside)
    upsampling = upsampling or _find_upsampling(shapes, vocoder, sample_rate, _rate_in_name(path))
    hidden = shapes.side("enc_p.emb_phone.weight", 0)
    if vocoder is Vocoder.REFINE_GAN:
        initial_channels = 2 * shapes.side("dec.mel_conv.weight", 0)
    else:
        initial_channels = shapes.side("dec.conv_pre.weight", 0)
    head_width = shapes.side("enc_p.encoder.attn_layers.0.emb_rel_k", 2)
    kernels, dilations = _resblocks(shapes, vocoder, len(upsampling.rates))
    return [
        upsampling.spec_channels,
        SEGMENT_FRAMES,
        shapes.side("enc_p.proj.weight", 0) // 2,
        hidden,
        shapes.side("enc_p.encoder.ffn_layers.0.conv_1.weight", 0),
        hidden // max(head_width, 1),
        shapes.count("enc_p.encoder.attn_layers.{}.emb_rel_k"),
        shapes.side("enc_p.encoder.ffn_layers.0.conv_1.weight", 2),
        0,
        "1",
        kernels,
        _recorded_dilations(beside) or dilations,
        list(upsampling.rates),
        initial_channels,
        list(upsampling.kernels),
        shapes.side("emb_g.weight", 0),
        shapes.side("emb_g.weight", 1),
        upsampling.sample_rate,
    ]


class _Shapes:
    """Sides of tensors by name, whether their layer is weight-normed or not."""

    def __init__(self, path: Path, state: Mapping[str, Tensor]) -> None:
        self._path = path
        self._shapes = {
            re.sub(r"\.(weight_v|parametrizations\.weight\.original1)$", ".weight", key): tuple(tensor.shape)
            for key, tensor in state.items()
        }

    def has(self, key: str) -> bool:
        return key in self._shapes

    def side(self, key: str, side: int) -> int:
        shape = self._shapes.get(key, ())
        if side >= len(shape):
            raise VoiceFileError(
                f"{self._path} lacks {key}, or has it in an impossible shape; it is damaged or no RVC voice."
            )
        return shape[side]

    def count(self, pattern: str) -> int:
        """How many keys ``pattern`` with 0, 1, 2, ... put in its place exist without a gap."""
        count = 0
        while pattern.format(count) in self._shapes:
            count += 1
        return count

    def refuse(self, reason: str) -> VoiceFileError:
        return VoiceFileError(f"{self._path} {reason}")


# --- upsampling --------------------------------------------------------------------------------


def _find_upsampling(
    shapes: _Shapes, vocoder: Vocoder, sample_rate: int | None, named_rate: int | None
) -> StockRates:
    """The one stock model that fits; a rate in the name only decides between several."""
    kernels = _upsample_kernels(shapes, vocoder)
    refinegan_stages = shapes.count("dec.upsample_conv_blocks.{}.input_conv.weight")
    strides = _source_strides(shapes, len(kernels or ()))
    spec_channels = shapes.side("enc_q.pre.weight", 1) if shapes.has("enc_q.pre.weight") else None
    fitting = [
        row
        for row in STOCK_RATES
        if (len(row.rates) == refinegan_stages if kernels is None else row.kernels == kernels)
        and (strides is None or strides == _strides_of(row.rates))
        and (spec_channels is None or spec_channels == row.spec_channels)
        and (sample_rate is None or sample_rate == row.sample_rate)
    ]
    named = [row for row in fitting if row.sample_rate == named_rate]
    for choice in (fitting, named):
        if len(choice) == 1:
            return choice[0]
    wanted = sample_rate or named_rate
    if kernels and strides and wanted and not fitting:
        return _unusual_upsampling(shapes, kernels, strides, wanted, spec_channels)
    rates = " or ".join(f"{row.sample_rate} Hz" for row in fitting) or "none of the usual ones"
    raise shapes.refuse(
        f"records no sample rate, and its weights fit {rates}; give it a name that ends in the right one "
        "(such as voice_40k.pth), or put the training's config.json beside it."
    )


def _upsample_kernels(shapes: _Shapes, vocoder: Vocoder) -> tuple[int, ...] | None:
    """Kernel sizes of the transposed convolutions; RefineGAN has none."""
    if vocoder is Vocoder.REFINE_GAN:
        return None
    pattern = ("dec.upsamples.{}" if vocoder is Vocoder.MRF_HIFI_GAN else "dec.ups.{}") + ".weight"
    stages = range(shapes.count(pattern))
    return tuple(shapes.side(pattern.format(stage), 2) for stage in stages)


def _source_strides(shapes: _Shapes, stages: int) -> tuple[int, ...] | None:
    """Output samples per sample of each stage, read off the source's convolutions: kernel = 2 * stride.

    A stride of 1 has a kernel of 1; odd strides have a kernel of 2 * stride - 1.
    """
    if not shapes.has("dec.noise_convs.0.weight"):
        return None
    kernels = [shapes.side(f"dec.noise_convs.{stage}.weight", 2) for stage in range(stages)]
    return tuple((kernel + 1) // 2 for kernel in kernels)


def _strides_of(rates: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(rates[stage + 1 :]) for stage in range(len(rates)))


def _unusual_upsampling(
    shapes: _Shapes,
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    sample_rate: int,
    spec_channels: int | None,
) -> StockRates:
    """Rates of a model outside the table: neighbouring strides differ by one stage's rate."""
    hop_length = sample_rate // FRAMES_PER_SECOND
    whole = (hop_length, *strides)
    rates = tuple(before // max(after, 1) for before, after in zip(whole, strides, strict=False))
    if math.prod(rates) != hop_length or _strides_of(rates) != strides:
        raise shapes.refuse(
            f"cannot be a voice of {sample_rate} Hz: its layers do not make {hop_length} samples per frame; "
            "name it after its true sample rate (such as voice_40k.pth), or put the training's config.json "
            "beside it."
        )
    fft_length = 1024 if sample_rate < 40000 else 2048
    return StockRates(sample_rate, rates, kernels, spec_channels or fft_length // 2 + 1)


def _rate_in_name(path: Path) -> int | None:
    """A rate such as ``40k`` in the file's name, else in its folder's."""
    for name in (path.stem, path.absolute().parent.name):
        if found := _RATE_IN_NAME.findall(name):
            written = found[-1]
            return 44100 if written.startswith("44") else int(written) * 1000
    return None


# --- the rest of the vocoder -------------------------------------------------------------------


def _resblocks(shapes: _Shapes, vocoder: Vocoder, stages: int) -> tuple[list[int], list[list[int]]]:
    """Kernel sizes of a stage's residual blocks and their dilations."""
    if vocoder is Vocoder.MRF_HIFI_GAN:
        blocks = shapes.count("dec.mrfs.0.{}.layers.0.conv1.weight")
        layer = "dec.mrfs.0.{}.layers.{{}}.conv1.weight"
    elif vocoder is Vocoder.REFINE_GAN:
        blocks = shapes.count("dec.upsample_conv_blocks.0.blocks.{}.1.convs1.0.weight")
        layer = "dec.upsample_conv_blocks.0.blocks.{}.1.convs1.{{}}.weight"
    else:
        blocks = shapes.count("dec.resblocks.{}.convs1.0.weight") // max(stages, 1)
        layer = "dec.resblocks.{}.convs1.{{}}.weight"
    kernels = [shapes.side(layer.format(block).format(0), 2) for block in range(blocks)]
    convolutions = [shapes.count(layer.format(block)) for block in range(blocks)]
    if any(count != len(STOCK_DILATIONS) for count in convolutions):
        raise shapes.refuse(
            "has residual blocks of an unusual depth, whose dilations it does not record; "
            "put the training's config.json beside it."
        )
    return kernels, [list(STOCK_DILATIONS) for _ in range(blocks)]


# --- config.json beside a checkpoint -----------------------------------------------------------


def _config_beside(path: Path) -> Mapping[str, object]:
    """Settings of the training, as RVC trainers write them beside their checkpoints; empty if none."""
    beside = path.with_name("config.json")
    try:
        if beside.stat().st_size > MAX_CONFIG_JSON_BYTES:
            return {}
        settings = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # absent, or another program's file
        return {}
    return settings if isinstance(settings, dict) else {}


def _recorded_upsampling(settings: Mapping[str, object]) -> StockRates | None:
    data, model = settings.get("data"), settings.get("model")
    if not (isinstance(data, dict) and isinstance(model, dict)):
        return None
    sample_rate = data.get("sample_rate", data.get("sampling_rate"))
    rates, kernels = model.get("upsample_rates"), model.get("upsample_kernel_sizes")
    fft_length = data.get("filter_length")
    if not isinstance(sample_rate, int) or not isinstance(fft_length, int):
        return None
    if not (_is_int_list(rates) and _is_int_list(kernels)):
        return None
    return StockRates(sample_rate, tuple(rates), tuple(kernels), fft_length // 2 + 1)


def _recorded_dilations(settings: Mapping[str, object]) -> list[object] | None:
    model = settings.get("model")
    dilations = model.get("resblock_dilation_sizes") if isinstance(model, dict) else None
    return dilations if isinstance(dilations, list) else None


def _is_int_list(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)
