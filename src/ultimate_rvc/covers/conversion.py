"""The converting step of a cover: vocals on disk to the voice's vocals on disk, loaded only if needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.audio.level import to_mono
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, Facts
from ultimate_rvc.covers.steps import Workshop
from ultimate_rvc.covers.wave_file import read_stem, write_stem
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.progress import Progress, ViewOfProgress
from ultimate_rvc.rvc.infer.identity import conversion_identity
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.stages import conversion_share
from ultimate_rvc.switches import TORCHS_OWN, OptimizationConfig
from ultimate_rvc.voices.library import find_voice

CONVERT_VERSION = 2
# Settings that the identity of the model files already tells, or that others below stand for.
TOLD_BY_IDENTITY = ("f0_methods", "embedder_model", "custom_embedder_model", "n_octaves", "n_semitones")


@dataclass(frozen=True)
class CoverVoice:
    """A voice with the settings it is to sing with, and the hashes of all that it depends on."""

    name: str
    model_path: Path
    index_path: Path | None
    conversion: ConversionSettings
    identity: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def choose_voice(name: str, conversion: ConversionSettings, index_path: Path | None = None) -> CoverVoice:
    """Find a voice and everything it needs, without loading it.

    Raises
    ------
    VoiceNotFoundError, VoiceFileError, EncoderMismatchError, AssetMissingError
        As the conversion itself would, but before hours of work.
    """
    found = find_voice(name)
    if index_path is not None and not index_path.is_file():
        raise VoiceFileError(f"There is no index file {index_path}; leave it out to use the voice's own.")
    index = index_path or found.index_path
    identity = conversion_identity(found.model_path, index, conversion)
    return CoverVoice(found.name, found.model_path, index, conversion, identity, found.warnings)


def open_pipeline(voice: CoverVoice, shop: Workshop) -> Pipeline:
    return shop.pipelines.open(
        voice.model_path, voice.conversion, index_path=voice.index_path, optimization=shop.optimization
    )


def warm_up(voice: CoverVoice, shop: Workshop) -> None:
    """Compile what ``voice`` needs in the background, if that is wanted.

    Only then is the voice opened before its turn: it takes memory that separation may need.
    """
    if shop.optimization.compiles:
        open_pipeline(voice, shop).warm_up()


def convert_vocals(
    vocals: CachedFile, voice: CoverVoice, shop: Workshop, step: str = "convert"
) -> CacheEntry:
    """Let ``voice`` sing ``vocals``: ``converted.wav``, mono at the voice's rate.

    The entry's facts tell ``shift_semitones``, by how much the voice was really shifted: with a
    proposed pitch that is known only now, and a voice without f0 cannot be shifted.
    """

    def make(folder: Path) -> Facts:
        shop.progress.report(step, 0.0, "loading the voice")
        pipeline = open_pipeline(voice, shop)
        waveform, sample_rate = read_stem(vocals.path)
        waveform = to_mono(waveform)
        progress = _ConvertProgress(shop.progress, step)
        converted, voice_rate = pipeline.convert(waveform, sample_rate, voice.conversion, progress)
        write_stem(folder / "converted.wav", converted, voice_rate)
        return {"device": str(pipeline.device), "shift_semitones": pipeline.shifts_semitones[0]}

    inputs = {
        "vocals": vocals.sha256,
        "models": dict(voice.identity),
        "settings": settings_that_matter(voice.conversion, has_index=voice.index_path is not None),
        "ways": ways_that_matter(shop.optimization, voice),
    }
    return shop.cache.get("convert", CONVERT_VERSION, inputs, make, shop.progress)


def settings_that_matter(conversion: ConversionSettings, *, has_index: bool) -> dict[str, Any]:
    """What of the settings decides the sound: one spelling for each sound, so that equals are found.

    An octave is twelve semitones, and the strength of something switched off is nothing.
    """
    settings: dict[str, Any] = asdict(conversion)
    for name in TOLD_BY_IDENTITY:
        del settings[name]
    settings["shift_semitones"] = conversion.shift_semitones
    if not conversion.autotune_voice:
        del settings["autotune_strength"]
    if not conversion.proposed_pitch:
        del settings["proposed_pitch_threshold"]
    if not conversion.clean_voice:
        del settings["clean_strength"]
    if not has_index or conversion.index_rate == 0:
        del settings["index_rate"], settings["protect_rate"]
    return settings


def ways_that_matter(optimization: OptimizationConfig, voice: CoverVoice) -> dict[str, Any]:
    """What of the optimisation changes the samples by more than the order of float32 operations does.

    The sound stays the same by its tolerances, but who asks for float32 must not be given what float16
    left in the cache. An exact search finds other neighbours than the cell an IVF index looks into.
    """
    searched = voice.index_path is not None and voice.conversion.index_rate > 0
    by = "" if optimization.backend in TORCHS_OWN else f" by {optimization.backend}"
    return {
        "precision": optimization.precision + (by if optimization.precision != "float32" else ""),
        "tf32": optimization.use_tf32,
        "rounded_features": optimization.feature_cache,
        "skip_silence": optimization.skip_silence,
        "exact_search": searched and optimization.use_gpu_retrieval,
    }


class _ConvertProgress(ViewOfProgress):
    """Shows the pipeline's stages, pitch and convert, as one step that only moves forward."""

    def __init__(self, parent: Progress, step: str) -> None:
        super().__init__(parent)
        self._step = step

    def report(self, step: str, fraction: float, text: str = "") -> None:
        self._parent.report(self._step, conversion_share(step, fraction), text or step)
