"""The separation models offered, by name: what each does, how big it is, where its files come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ultimate_rvc.machine import Cost, Load

AUTO_MODEL = "auto"
DSP_MODEL = "dsp"
MDX_NET = "mdx_net"  # the architecture that ONNX Runtime runs; pymss runs the others

USUAL_OVERLAP = 0.25  # of a chunk with the next, as Ultimate Vocal Remover and most authors have it
SILENT_PEAK = 1e-3  # -60 dBFS: what a separator leaks where nobody sings


class SeparationTask(StrEnum):
    """What a model takes apart."""

    VOCALS = "vocals"
    LEAD = "lead"
    REVERB = "reverb"


@dataclass(frozen=True)
class Effort:
    """How much is computed for a separation."""

    overlap: float | None = None
    """Share of a chunk that the next one covers again; left out: as the model's author has it."""
    silent_below: float = SILENT_PEAK
    """A chunk whose samples all stay below is silent in the stem too, without being computed."""
    exact: bool = False
    """All in float32; else GPUs compute in float16, and processors that have bfloat16 round RoFormers to it."""

    @property
    def own_or_usual_overlap(self) -> float:
        """For what has no author's configuration."""
        return USUAL_OVERLAP if self.overlap is None else self.overlap


ROFORMERS = frozenset({"bs_roformer", "mel_band_roformer"})
ROFORMER_CHUNK_SECONDS = 8.0  # of all published ones

STEP_NAMES = {
    SeparationTask.VOCALS: "separate",
    SeparationTask.LEAD: "split lead and backing",
    SeparationTask.REVERB: "remove reverb",
}


@dataclass(frozen=True)
class SeparationModel:
    """One model of the table.

    ``asset`` is its name in the asset registry; ``architecture`` and ``config_name`` come with it. A model
    that has a file but no asset is downloaded by pymss itself, by the file's name in its catalog. The
    signal-processing model has neither.
    """

    name: str
    tasks: tuple[SeparationTask, ...]
    description: str
    cost: Cost
    """Without overlap, by a processor; docs/separation.md tells which were measured."""
    sdr: float | None = None
    """Of vocals, or of the lead, in dB, as published (docs/separation.md)."""
    bytes: int = 0
    file_name: str = ""
    architecture: str = ""
    config_name: str = ""

    @property
    def asset(self) -> str | None:
        return f"separation-{self.name}" if self.architecture else None

    @property
    def needs_download(self) -> bool:
        return bool(self.file_name)


_VOCALS, _LEAD, _REVERB = ((task,) for task in SeparationTask)
_BS_VOCALS = ("bs_roformer", "bs_roformer_vocals.yaml")
_MEL_KARAOKE = ("mel_band_roformer", "mel_band_roformer_karaoke.yaml")
_MEL_DEREVERB = ("mel_band_roformer", "mel_band_roformer_dereverb.yaml")
_BS, _MEL = Cost(Load.MATRICES, 5.1), Cost(Load.MATRICES, 2.3)
_DEMUCS = Cost(Load.BOTH, 0.5)
_MDX, _SMALL_MDX = (Cost(Load.CONVOLUTIONS, rate) for rate in (0.62, 0.37))
_LIGHT_MDX = Cost(Load.CONVOLUTIONS, 0.18)
_MDX23C, _VR, _DSP = (Cost(Load.CONVOLUTIONS, rate) for rate in (4.0, 0.5, 0.05))

# fmt: off
_TABLE = (
    SeparationModel(DSP_MODEL, tuple(SeparationTask),
        "signal processing: stereo position, melody and repetition; no download, rougher than a network", _DSP),
    SeparationModel("vocals", _VOCALS,
        "BS-RoFormer by viperx (epoch 368): vocals and instrumental, the best",
        _BS, 12.10, 319_821_424, "model_bs_roformer_ep_368_sdr_12.9628.ckpt", *_BS_VOCALS),
    SeparationModel("vocals-aggressive", _VOCALS,
        "BS-RoFormer by viperx (epoch 317): takes a little more into the vocals",
        _BS, 11.77, 319_821_424, "model_bs_roformer_ep_317_sdr_12.9755.ckpt", *_BS_VOCALS),
    SeparationModel("mdx23c", _VOCALS, "MDX23C 8K FFT InstVoc HQ: vocals and instrumental",
        _MDX23C, 10.56, 448_101_203, "MDX23C-8KFFT-InstVoc_HQ.ckpt"),
    SeparationModel("demucs", _VOCALS, "Demucs 4 (htdemucs, fine-tuned for vocals): a tenth of the time of the best",
        _DEMUCS, 10.79, 84_141_271, "HTDemucs4_FT_vocals_official.th", "htdemucs", "htdemucs_vocals.yaml"),
    SeparationModel("mdx-vocals", _VOCALS, "MDX-Net UVR-MDX-NET-Voc_FT: vocals, light, in ONNX",
        _MDX, 10.15, 66_762_490, "UVR-MDX-NET-Voc_FT.onnx", MDX_NET),
    SeparationModel("mdx-kim", _VOCALS, "MDX-Net Kim_Vocal_2: vocals, light, in ONNX",
        _MDX, 10.18, 66_759_214, "Kim_Vocal_2.onnx", MDX_NET),
    SeparationModel("mdx-light", _VOCALS, "MDX-Net UVR_MDXNET_1_9703: vocals, the lightest, in ONNX",
        _LIGHT_MDX, 9.57, 29_704_436, "UVR_MDXNET_1_9703.onnx", MDX_NET),
    SeparationModel("vr-vocals", _VOCALS, "Vocal Remover (VR) 3_HP-Vocal-UVR: older and light",
        _VR, 8.22, 126_792_647, "3_HP-Vocal-UVR.pth"),
    SeparationModel("karaoke", _LEAD,
        "Mel-RoFormer karaoke by aufr33 and viperx: lead and backing vocals, the best",
        _MEL, 8.45, 456_715_871, "model_mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956.ckpt", *_MEL_KARAOKE),
    SeparationModel("mdx-karaoke", _LEAD, "MDX-Net UVR_MDXNET_KARA_2: lead and backing vocals, light, in ONNX",
        _SMALL_MDX, 5.43, 52_786_726, "UVR_MDXNET_KARA_2.onnx", MDX_NET),
    SeparationModel("vr-karaoke", _LEAD,
        "Vocal Remover (VR) 5_HP-Karaoke-UVR: lead and backing vocals, older and light",
        _VR, 5.20, 126_782_699, "5_HP-Karaoke-UVR.pth"),
    SeparationModel("dereverb", _REVERB, "Mel-RoFormer de-reverb by anvuew (less aggressive): the best",
        _MEL, None, 456_754_215, "dereverb_mel_band_roformer_less_aggressive_anvuew_sdr_18.8050.ckpt",
        *_MEL_DEREVERB),
    SeparationModel("dereverb-aggressive", _REVERB,
        "Mel-RoFormer de-reverb by anvuew: drier, at some cost to the voice",
        _MEL, None, 456_706_759, "dereverb_mel_band_roformer_anvuew_sdr_19.1729.ckpt", *_MEL_DEREVERB),
    SeparationModel("mdx23c-dereverb", _REVERB, "MDX23C de-reverb by aufr33 and jarredou",
        _MDX23C, None, 448_098_867, "MDX23C-De-Reverb-aufr33-jarredou.ckpt"),
    SeparationModel("vr-dereverb", _REVERB,
        "Vocal Remover (VR) UVR-DeEcho-DeReverb: echo and reverb, older",
        _VR, None, 223_650_277, "UVR-DeEcho-DeReverb.pth"),
)
# fmt: on

SEPARATION_MODELS: dict[str, SeparationModel] = {model.name: model for model in _TABLE}
"""Every model offered, by name. ``auto`` stands for the best of a task, else ``dsp``."""

DEFAULT_MODELS: dict[SeparationTask, str] = {
    SeparationTask.VOCALS: "vocals",
    SeparationTask.LEAD: "karaoke",
    SeparationTask.REVERB: "dereverb",
}


def model_names(task: SeparationTask) -> list[str]:
    """Names to choose from for ``task``: ``auto`` first, then those of the table."""
    return [AUTO_MODEL, *(model.name for model in _TABLE if task in model.tasks)]
