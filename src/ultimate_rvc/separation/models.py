"""The separation models offered, by name: what each does, how big it is, where its files come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

AUTO_MODEL = "auto"
DSP_MODEL = "dsp"


class SeparationTask(StrEnum):
    """What a model takes apart."""

    VOCALS = "vocals"
    LEAD = "lead"
    REVERB = "reverb"


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
    bytes: int = 0
    architecture: str = ""
    file_name: str = ""
    config_name: str = ""
    asset: str | None = None

    @property
    def needs_download(self) -> bool:
        return bool(self.file_name)


_TABLE = (
    SeparationModel(
        DSP_MODEL,
        tuple(SeparationTask),
        "signal processing: stereo position, melody and repetition; no download, rougher than a network",
    ),
    SeparationModel(
        "vocals",
        (SeparationTask.VOCALS,),
        "BS-RoFormer by viperx (epoch 368): vocals and instrumental, the default",
        bytes=319_821_424,
        architecture="bs_roformer",
        file_name="model_bs_roformer_ep_368_sdr_12.9628.ckpt",
        config_name="bs_roformer_vocals.yaml",
        asset="separation-vocals",
    ),
    SeparationModel(
        "vocals-aggressive",
        (SeparationTask.VOCALS,),
        "BS-RoFormer by viperx (epoch 317): takes a little more into the vocals",
        bytes=319_821_424,
        architecture="bs_roformer",
        file_name="model_bs_roformer_ep_317_sdr_12.9755.ckpt",
        config_name="bs_roformer_vocals.yaml",
        asset="separation-vocals-aggressive",
    ),
    SeparationModel(
        "mdx23c",
        (SeparationTask.VOCALS,),
        "MDX23C 8K FFT InstVoc HQ: vocals and instrumental",
        bytes=448_101_203,
        file_name="MDX23C-8KFFT-InstVoc_HQ.ckpt",
    ),
    SeparationModel(
        "demucs",
        (SeparationTask.VOCALS,),
        "Demucs 4 (htdemucs, fine-tuned for vocals): the smallest download",
        bytes=84_141_271,
        file_name="HTDemucs4_FT_vocals_official.th",
    ),
    SeparationModel(
        "vr-vocals",
        (SeparationTask.VOCALS,),
        "Vocal Remover (VR) 3_HP-Vocal-UVR: older and light",
        bytes=126_792_647,
        file_name="3_HP-Vocal-UVR.pth",
    ),
    SeparationModel(
        "karaoke",
        (SeparationTask.LEAD,),
        "Mel-RoFormer karaoke by aufr33 and viperx: lead and backing vocals, the default",
        bytes=456_715_871,
        architecture="mel_band_roformer",
        file_name="model_mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956.ckpt",
        config_name="mel_band_roformer_karaoke.yaml",
        asset="separation-karaoke",
    ),
    SeparationModel(
        "vr-karaoke",
        (SeparationTask.LEAD,),
        "Vocal Remover (VR) 5_HP-Karaoke-UVR: lead and backing vocals, older and light",
        bytes=126_782_699,
        file_name="5_HP-Karaoke-UVR.pth",
    ),
    SeparationModel(
        "dereverb",
        (SeparationTask.REVERB,),
        "Mel-RoFormer de-reverb by anvuew (less aggressive): the default",
        bytes=456_754_215,
        architecture="mel_band_roformer",
        file_name="dereverb_mel_band_roformer_less_aggressive_anvuew_sdr_18.8050.ckpt",
        config_name="mel_band_roformer_dereverb.yaml",
        asset="separation-dereverb",
    ),
    SeparationModel(
        "dereverb-aggressive",
        (SeparationTask.REVERB,),
        "Mel-RoFormer de-reverb by anvuew: drier, at some cost to the voice",
        bytes=456_706_759,
        architecture="mel_band_roformer",
        file_name="dereverb_mel_band_roformer_anvuew_sdr_19.1729.ckpt",
        config_name="mel_band_roformer_dereverb.yaml",
        asset="separation-dereverb-aggressive",
    ),
    SeparationModel(
        "mdx23c-dereverb",
        (SeparationTask.REVERB,),
        "MDX23C de-reverb by aufr33 and jarredou",
        bytes=448_098_867,
        file_name="MDX23C-De-Reverb-aufr33-jarredou.ckpt",
    ),
    SeparationModel(
        "vr-dereverb",
        (SeparationTask.REVERB,),
        "Vocal Remover (VR) UVR-DeEcho-DeReverb: echo and reverb, older",
        bytes=223_650_277,
        file_name="UVR-DeEcho-DeReverb.pth",
    ),
)

SEPARATION_MODELS: dict[str, SeparationModel] = {model.name: model for model in _TABLE}
"""Every model offered, by name. ``auto`` stands for the default of a task, else ``dsp``."""

DEFAULT_MODELS: dict[SeparationTask, str] = {
    SeparationTask.VOCALS: "vocals",
    SeparationTask.LEAD: "karaoke",
    SeparationTask.REVERB: "dereverb",
}


def model_names(task: SeparationTask) -> list[str]:
    """Names to choose from for ``task``: ``auto`` first, then those of the table."""
    return [AUTO_MODEL, *(model.name for model in _TABLE if task in model.tasks)]
