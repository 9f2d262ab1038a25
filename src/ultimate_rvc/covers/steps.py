"""The steps of a cover, each from stems on disk to stems on disk, kept in the cache by content.

Every step can be called alone. What decides a step's bytes is in the inputs it gives the cache;
when the algorithm of a step changes its output, its version here is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_in_blocks, decode_sides, probe
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.audio.effects import apply_effects
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import db_to_gain, gain_to_db, peak
from ultimate_rvc.audio.mix import Track, mix
from ultimate_rvc.audio.transpose import transpose
from ultimate_rvc.audio.true_peak import true_peak_of_blocks
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, Facts, StepCache
from ultimate_rvc.covers.wave_file import read_stem, write_stem
from ultimate_rvc.files import file_hash
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.separation import remove_reverb, separate, split_lead_backing
from ultimate_rvc.separation.choose import Choice
from ultimate_rvc.separation.models import MDX_NET, Effort
from ultimate_rvc.switches import OptimizationConfig

SEPARATE_VERSION = 2
SPLIT_VERSION = 2
DRY_VERSION = 2
EFFECTS_VERSION = 1
TRANSPOSE_VERSION = 1
MIX_VERSION = 1
ENCODE_VERSION = 1

SILENT_DBFS = -60.0  # a backing whose peak is below this is what a separator leaks, not a singer
END_FADE_SECONDS = 0.03  # of what is cut at the song's end: short, but no click
LOSSY_CEILING_DBTP = 0.0
# Taken off beyond the overshoot, since a quieter signal is coded a little differently: the first time
# this, then twice as much each time, so that even a coder that overshoots at random comes to an end.
LOSSY_MARGIN_DB = 0.1
LOSSY_ATTEMPTS = 8

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Workshop:
    """What every step works with."""

    cache: StepCache
    progress: Progress = field(default_factory=Progress)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    pipelines: WarmPipelines = field(default_factory=WarmPipelines)


@dataclass(frozen=True)
class MixTrack:
    """A stem in the mix and its gain."""

    stem: CachedFile
    gain_db: float


# -------------------------------------------------------------------- stems


def separate_song(
    song: CachedFile,
    choice: Choice,
    effort: Effort,
    shop: Workshop,
    shown_as: str | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> CacheEntry:
    """Part a song of any format into ``vocals.wav`` and ``instrumental.wav``.

    Songs of more than two channels are brought to stereo first; the rate is kept. Errors call the
    song ``shown_as``. ``meanwhile`` is called before, unless the stems are in the cache.
    """

    def make(folder: Path) -> Facts:
        sound = decode_sides(song.path, shown_as)
        if meanwhile is not None:
            meanwhile()
        stems = separate(*sound, **_way("separate", choice, effort, shop))
        return _write_parts(folder, stems, "vocals", "instrumental")

    inputs = {"song": song.sha256, "model": model_identity(choice, effort)}
    return shop.cache.get("separate", SEPARATE_VERSION, inputs, make, shop.progress)


def split_backing(vocals: CachedFile, choice: Choice, effort: Effort, shop: Workshop) -> CacheEntry:
    """Part vocals into ``lead.wav`` and ``backing.wav``; the facts tell whether there is any backing."""

    def make(folder: Path) -> Facts:
        voices = split_lead_backing(*read_stem(vocals.path), **_way("split backing", choice, effort, shop))
        has_backing = gain_to_db(peak(voices.backing)) > SILENT_DBFS
        return _write_parts(folder, voices, "lead", "backing") | {"has_backing": has_backing}

    inputs = {"vocals": vocals.sha256, "model": model_identity(choice, effort)}
    return shop.cache.get("split-backing", SPLIT_VERSION, inputs, make, shop.progress)


def dry_vocals(vocals: CachedFile, choice: Choice, effort: Effort, shop: Workshop) -> CacheEntry:
    """Part vocals into ``dry.wav`` and ``reverb.wav``."""

    def make(folder: Path) -> Facts:
        parts = remove_reverb(*read_stem(vocals.path), **_way("remove reverb", choice, effort, shop))
        return _write_parts(folder, parts, "dry", "reverb")

    inputs = {"vocals": vocals.sha256, "model": model_identity(choice, effort)}
    return shop.cache.get("remove-reverb", DRY_VERSION, inputs, make, shop.progress)


def _way(step: str, choice: Choice, effort: Effort, shop: Workshop) -> dict[str, Any]:
    return {
        "model": choice.name,
        "effort": effort,
        "progress": shop.progress.part(step, 0, 1),
        "device": shop.optimization.devices[0],
    }


def _write_parts(folder: Path, parts: Any, *names: str) -> Facts:
    """Write what a separation gave, each part in a file of its name; what it says of itself."""
    for name in names:
        write_stem(folder / f"{name}.wav", getattr(parts, name), parts.sample_rate)
    return {"model": parts.model, "warnings": list(parts.warnings)}


def model_identity(choice: Choice, effort: Effort) -> dict[str, Any]:
    """What a separation depends on: the model's files by content and its effort, or the algorithm's name."""
    if choice.files is None:
        return {"name": choice.name}
    files = choice.files
    return {
        "library": version("onnxruntime" if files.architecture == MDX_NET else "pymss"),
        "effort": asdict(effort),
        "architecture": files.architecture,
        "checkpoint": file_hash(files.checkpoint),
        "config": file_hash(files.config) if files.config else "none",
        "target": files.target or "none",
    }


# ---------------------------------------------------- effects and transposition


def add_effects(vocals: CachedFile, settings: EffectSettings, shop: Workshop) -> CacheEntry:
    """Put vocals into a room: ``effects.wav``, stereo, longer than the vocals by the reverb's tail."""

    def make(folder: Path) -> Facts:
        shop.progress.report("effects", 0.0)
        waveform, sample_rate = read_stem(vocals.path)
        write_stem(folder / "effects.wav", apply_effects(waveform, sample_rate, settings), sample_rate)
        shop.progress.report("effects", 1.0)
        return {}

    inputs = {"vocals": vocals.sha256, "settings": asdict(settings)}
    return shop.cache.get("effects", EFFECTS_VERSION, inputs, make, shop.progress)


def transpose_stem(stem: CachedFile, semitones: int, shop: Workshop) -> CacheEntry:
    """Shift the pitch of a stem, keeping its length: ``transposed.wav``."""

    def make(folder: Path) -> Facts:
        shop.progress.report("transpose", 0.0)
        waveform, sample_rate = read_stem(stem.path)
        write_stem(folder / "transposed.wav", transpose(waveform, sample_rate, semitones), sample_rate)
        shop.progress.report("transpose", 1.0)
        return {}

    inputs = {"stem": stem.sha256, "semitones": semitones}
    return shop.cache.get("transpose", TRANSPOSE_VERSION, inputs, make, shop.progress)


# ---------------------------------------------------------- mixing and writing


def mix_stems(
    tracks: Sequence[MixTrack], song_seconds: float, sample_rate: int, shop: Workshop
) -> CacheEntry:
    """Mix stems to ``mix.wav``, exactly ``song_seconds`` long.

    A reverb's tail that outlasts the song is faded out at its end: a cover is as long as its song.
    """

    def make(folder: Path) -> Facts:
        shop.progress.report("mix", 0.0)
        mixed = mix([mix_track(track, song_seconds) for track in tracks], sample_rate)
        write_stem(folder / "mix.wav", fitted(mixed, sample_rate, song_seconds), sample_rate)
        shop.progress.report("mix", 1.0)
        return {}

    inputs = mix_inputs(tracks, song_seconds, sample_rate)
    return shop.cache.get("mix", MIX_VERSION, inputs, make, shop.progress)


def mix_inputs(tracks: Sequence[MixTrack], seconds: float, sample_rate: int) -> dict[str, Any]:
    """What a mix depends on."""
    return {
        "tracks": [[track.stem.sha256, track.gain_db] for track in tracks],
        "seconds": seconds,
        "sample_rate": sample_rate,
    }


def mix_track(track: MixTrack, song_seconds: float) -> Track:
    """A track with its samples, no longer than the song."""
    waveform, sample_rate = read_stem(track.stem.path)
    return Track(fit_to_song(waveform, sample_rate, song_seconds), sample_rate, track.gain_db)


def fit_to_song(waveform: FloatArray, sample_rate: int, song_seconds: float) -> FloatArray:
    """Cut ``waveform`` (channels, samples) at the song's end, fading out what is cut off there."""
    length = round(song_seconds * sample_rate)
    if waveform.shape[-1] <= length:
        return waveform
    fade_length = min(round(END_FADE_SECONDS * sample_rate), length)
    cut = waveform[..., :length].copy()
    cut[..., length - fade_length :] *= np.linspace(1, 0, fade_length, dtype=np.float32)
    return cut


def fitted(mixed: FloatArray, sample_rate: int, song_seconds: float) -> FloatArray:
    """``mixed`` ``(channels, samples)`` with exactly the song's samples: rates that do not divide leave one over."""
    length = round(song_seconds * sample_rate)
    mixed = mixed[..., :length]
    return np.pad(mixed, ((0, 0), (0, length - mixed.shape[-1])))


def encode_mix(
    mixed: CachedFile, audio_format: AudioFormat, bitrate_kbps: int | None, shop: Workshop
) -> CacheEntry:
    """Write the mix as ``cover.<format>``, with a true peak of at most 0 dBTP once decoded."""
    waveform, sample_rate = read_stem(mixed.path)

    def write(path: Path, gain_db: float) -> None:
        quieter = waveform * np.float32(db_to_gain(gain_db)) if gain_db else waveform
        encode(path, quieter, sample_rate, audio_format=audio_format, bitrate_kbps=bitrate_kbps)

    return encoded({"mix": mixed.sha256}, write, audio_format, bitrate_kbps, shop)


def encoded(
    inputs: Mapping[str, Any],
    write: Callable[[Path, float], None],
    audio_format: AudioFormat,
    bitrate_kbps: int | None,
    shop: Workshop,
) -> CacheEntry:
    """What ``write`` writes to the path that it is given, at a gain in dB, with a true peak of at most 0 dBTP.

    Lossy coding adds overshoots that the sound does not have, so the file is decoded again and, where it is over,
    written anew that much quieter.
    """

    def make(folder: Path) -> Facts:
        shop.progress.report("encode", 0.0)
        path = folder / f"cover.{audio_format}"
        gain_db = 0.0
        for attempt in range(LOSSY_ATTEMPTS):
            write(path, gain_db)
            shop.progress.report("encode", (attempt + 1) / LOSSY_ATTEMPTS)
            over_db = gain_to_db(true_peak_of_blocks(decode_in_blocks(path), probe(path).sample_rate))
            over_db -= LOSSY_CEILING_DBTP
            if over_db <= 0:
                break
            gain_db -= over_db + LOSSY_MARGIN_DB * 2**attempt
        shop.progress.report("encode", 1.0)
        # Opus, which ogg may hold, knows but one rate: what was asked for is not always what is written.
        return {"gain_db": gain_db, "sample_rate": probe(path).sample_rate}

    form = {"format": audio_format.value, "bitrate_kbps": bitrate_kbps}
    return shop.cache.get("encode", ENCODE_VERSION, {**inputs, **form}, make, shop.progress)
