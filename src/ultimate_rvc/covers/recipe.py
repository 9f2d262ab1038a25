"""The recipe: a song in, its cover out.

retrieve -> separate -> split backing -> remove reverb -> convert -> effects -> transpose -> mix -> encode
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.choices import Quality, StepSwitch
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, StepCache
from ultimate_rvc.covers.conversion import CoverVoice, choose_voice, convert_vocals, warm_up
from ultimate_rvc.covers.forecast import CONVERSION, Forecast, comparable_seconds, cover_forecast, work_name
from ultimate_rvc.covers.settings import CoverSettings, StemSettings, rest_semitones
from ultimate_rvc.covers.sources import Song, SongParts, fetch_song
from ultimate_rvc.covers.steps import (
    MixTrack,
    Workshop,
    add_effects,
    dry_vocals,
    encode_mix,
    mix_stems,
    separate_song,
    split_backing,
    transpose_stem,
)
from ultimate_rvc.covers.wave_file import stem_seconds
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.machine import Machine, this_machine
from ultimate_rvc.outputs import Outputs, Target, file_title, place
from ultimate_rvc.paths import cache_dir, output_dir
from ultimate_rvc.progress import Progress, StepTime
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.separation import SeparationTask
from ultimate_rvc.separation.choose import Choice, choose
from ultimate_rvc.separation.models import AUTO_MODEL
from ultimate_rvc.separation.qualities import StemPlan
from ultimate_rvc.switches import config_for


@dataclass(frozen=True)
class CoverResult:
    """A finished cover and how it came to be."""

    path: Path
    song: str
    voice: str
    sample_rate: int
    duration_seconds: float
    elapsed_seconds: float
    steps: tuple[StepTime, ...]
    warnings: tuple[str, ...]
    device: str
    quality: Quality
    """What was chosen where it was left to the program."""
    estimate_seconds: float
    """How long the cover was said to take before."""
    separation_model: str | None
    """What parted the song; ``None`` when it came as stems."""
    shift_semitones: int
    """By how much the lead was shifted, a proposed pitch included."""


@dataclass(frozen=True)
class SongStems:
    """The stems that the rest of the recipe works on."""

    lead: CachedFile
    instrumental: CachedFile
    backing: CachedFile | None
    model: str | None

    @property
    def seconds(self) -> float:
        """The song's length: that of its longest stem."""
        stems = (self.lead, self.instrumental, self.backing)
        return max(stem_seconds(stem.path) for stem in stems if stem is not None)


@dataclass
class _Diary:
    """What one run works with, and what happened in it."""

    shop: Workshop
    machine: Machine
    steps: list[StepTime] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    """Seconds that work took which the machine is to remember, by its name there."""

    def step(self, name: str, work: Callable[[], CacheEntry], remember_as: str = "") -> CacheEntry:
        started = time.perf_counter()
        entry = work()
        self.note(name, started, entry)
        if remember_as and not entry.cached:
            self.times[remember_as] = self.steps[-1].seconds
        return entry

    def note(self, name: str, started: float, entry: CacheEntry) -> None:
        files = tuple(file.path for file in entry.files.values())
        self.steps.append(StepTime(name, time.perf_counter() - started, entry.cached, files))
        self.warn(*entry.facts.get("warnings", ()))

    def warn(self, *warnings: str) -> None:
        self.warnings.extend(warning for warning in warnings if warning not in self.warnings)


def make_cover(
    source: str,
    voice: str,
    settings: CoverSettings | None = None,
    progress: Progress | None = None,
    *,
    pipelines: WarmPipelines | None = None,
) -> CoverResult:
    """Make a cover of ``source`` sung by ``voice``.

    Parameters
    ----------
    source : str
        A file with audio in it, a folder of stems, an http or https link, or ``demo``.
    voice : str
        A voice of the library, or a ``.pth`` or ``.safetensors`` file.
    progress : Progress, optional
        Told the steps of docs/covers.md by name; its ``cancel`` ends the work. What was finished stays
        in the cache.
    pipelines : WarmPipelines, optional
        For who keeps voices open between covers.

    Returns
    -------
    CoverResult
        The cover is as long as the song, with a true peak of at most 0 dBTP. The same song, voice,
        settings and seed on the same device give the same bytes, interrupted or not.

    Raises
    ------
    UltimateRVCError
        One of its kinds, with one sentence that names the file or setting and the way out.
    """
    started = time.perf_counter()
    settings = settings or CoverSettings()
    # All that can be found out before hours of work.
    optimization = config_for(settings.device, settings.optimization)
    device = resolve_device(optimization.device)
    lead_voice, backing_voice = choose_voices(voice, settings)
    outputs = _outputs(source, settings, (lead_voice, backing_voice))
    target_for = _target(settings, outputs)
    progress = progress or Progress()
    shop = Workshop(StepCache(cache_dir()), progress, optimization, pipelines or WarmPipelines())
    diary = _Diary(shop, this_machine(device))
    diary.warn(*lead_voice.warnings, *(backing_voice.warnings if backing_voice else ()))
    with shop.cache.use():
        song = _retrieve(source, settings, diary)
        looked_ahead = _look_ahead(song, settings, diary)
        plan = looked_ahead.plan
        stems = _take_apart(song, settings.stems, plan, lambda: warm_up(lead_voice, shop), diary)
        sung = _sing(stems, lead_voice, backing_voice, diary)
        tracks = _arrange(sung, stems.instrumental, settings, diary)
        cover = _finish(tracks, stems.seconds, settings, diary)
        (file,) = cover.files.values()
        placed = place(file.path, target_for(song.title, lead_voice.name))
        diary.warn(*placed.warnings)
        _remember(diary, plan, stems.seconds)
        return CoverResult(
            path=placed.path,
            song=song.title,
            voice=lead_voice.name,
            sample_rate=int(cover.facts["sample_rate"]),
            duration_seconds=stems.seconds,
            elapsed_seconds=time.perf_counter() - started,
            steps=tuple(diary.steps),
            warnings=tuple(diary.warnings),
            device=sung.device,
            quality=looked_ahead.quality,
            estimate_seconds=looked_ahead.seconds[looked_ahead.quality],
            separation_model=stems.model,
            shift_semitones=sung.shift_semitones,
        )


def choose_voices(voice: str, settings: CoverSettings) -> tuple[CoverVoice, CoverVoice | None]:
    """The voices of the lead and, if it is to be converted, of the backing."""
    lead = choose_voice(voice, settings.conversion, settings.index_path)
    if settings.backing is None:
        return lead, None
    if settings.stems.split_backing == StepSwitch.OFF:
        raise SettingError(
            "backing needs backing vocals apart from the lead; leave out split_backing off.",
            *("backing", "split_backing"),
        )
    own_voice = settings.backing.voice
    return lead, choose_voice(
        own_voice or voice,
        settings.backing.conversion(settings.conversion),
        None if own_voice else settings.index_path,
    )


def _remember(diary: _Diary, plan: StemPlan, song_seconds: float) -> None:
    """Let the machine remember what the work of this cover took, once it is whole."""
    for work, seconds in diary.times.items():
        diary.machine.note(work, comparable_seconds(work, seconds, plan), song_seconds)


# ------------------------------------------------------------ where it goes


def _outputs(source: str, settings: CoverSettings, voices: Iterable[CoverVoice | None]) -> Outputs:
    """All files that a cover reads: the song or its stems, the voices, cookies."""
    song = Path(source)
    inputs = [*song.iterdir()] if song.is_dir() else [song]
    files = [path for voice in voices if voice is not None for path in (voice.model_path, voice.index_path)]
    return Outputs([*inputs, *files, settings.source.cookiefile], settings.overwrite)


def _target(settings: CoverSettings, outputs: Outputs) -> Callable[[str, str], Target]:
    """Check before hours of work that the cover can be written; where it goes, by song and voice."""
    suffix = f".{settings.audio_format}"
    if settings.output_path is not None:
        named = outputs.named_file(settings.output_path, "output_path")
        return lambda song, voice: named
    folder = outputs.folder(None, output_dir())

    def made(song: str, voice: str) -> Target:
        """``<song> (<voice> Ver)``, or the name asked for."""
        asked = settings.output_name
        stem, tail = (file_title(asked), "") if asked else (file_title(song), f" ({file_title(voice)} Ver)")
        return outputs.made(folder, stem, tail, suffix, ours=False)

    return made


# ------------------------------------------------------------ taking apart


def _retrieve(source: str, settings: CoverSettings, diary: _Diary) -> Song:
    started = time.perf_counter()
    song = fetch_song(source, settings.source, diary.shop.cache, diary.shop.progress)
    diary.note("retrieve", started, song.entry)
    diary.warn(*song.warnings)
    return song


def _look_ahead(song: Song, settings: CoverSettings, diary: _Diary) -> Forecast:
    """Choose the quality, and say what was chosen and how long it takes."""
    content = song.content
    if isinstance(content, SongParts):  # nothing is separated, so nothing is said
        return cover_forecast(stem_seconds(content.vocals.path), settings, diary.machine)
    looked_ahead = cover_forecast(probe(content.path).duration_seconds, settings, diary.machine)
    diary.shop.progress.say(looked_ahead.sentence)
    return looked_ahead


def _take_apart(
    song: Song, settings: StemSettings, plan: StemPlan, meanwhile: Callable[[], None], diary: _Diary
) -> SongStems:
    """The song's lead, instruments and backing, from a folder of stems or by separation.

    ``meanwhile`` is called when a separation begins, for work that can go on beside it.
    """
    parts, model = _separate(song, settings, plan, meanwhile, diary)
    skipped: list[str] = []
    vocals, backing = parts.vocals, parts.backing
    if backing is None:
        vocals, backing = _split(vocals, settings, plan, diary, skipped)
    lead = _dry(vocals, settings, plan, diary, skipped)
    if skipped:
        diary.warn(
            f"Left out for want of a model: {' and '.join(skipped)}; `urvc doctor` tells how to get one."
        )
    return SongStems(lead, parts.instrumental, backing, model)


def _separate(
    song: Song, settings: StemSettings, plan: StemPlan, meanwhile: Callable[[], None], diary: _Diary
) -> tuple[SongParts, str | None]:
    file, shown_as = song.content, str(song.original or song.title)
    if isinstance(file, SongParts):
        return file, None
    task, progress = SeparationTask.VOCALS, diary.shop.progress
    choice = choose(settings.vocals_model, task, progress, usual=plan.models[task])
    diary.warn(*choice.warnings)
    entry = diary.step(
        "separate",
        lambda: separate_song(file, choice, plan.effort, diary.shop, shown_as, meanwhile),
        work_name(task, choice.name),
    )
    parts = SongParts(entry.files["vocals.wav"], entry.files["instrumental.wav"], None)
    return parts, str(entry.facts["model"])


def _split(
    vocals: CachedFile, settings: StemSettings, plan: StemPlan, diary: _Diary, skipped: list[str]
) -> tuple[CachedFile, CachedFile | None]:
    task = SeparationTask.LEAD
    if task not in plan.models:
        return vocals, None
    choice = _choose_if_at_hand(settings.split_backing, settings.backing_model, task, plan, diary)
    if choice is None:
        skipped.append("parting backing vocals from the lead")
        return vocals, None
    diary.warn(*choice.warnings)
    entry = diary.step(
        "split backing",
        lambda: split_backing(vocals, choice, plan.effort, diary.shop),
        work_name(task, choice.name),
    )
    if not entry.facts["has_backing"]:
        return vocals, None
    return entry.files["lead.wav"], entry.files["backing.wav"]


def _dry(
    vocals: CachedFile, settings: StemSettings, plan: StemPlan, diary: _Diary, skipped: list[str]
) -> CachedFile:
    task = SeparationTask.REVERB
    if task not in plan.models:
        return vocals
    choice = _choose_if_at_hand(settings.remove_reverb, settings.reverb_model, task, plan, diary)
    if choice is None:
        skipped.append("removing the reverb")
        return vocals
    diary.warn(*choice.warnings)
    entry = diary.step(
        "remove reverb",
        lambda: dry_vocals(vocals, choice, plan.effort, diary.shop),
        work_name(task, choice.name),
    )
    return entry.files["dry.wav"]


def _choose_if_at_hand(
    switch: StepSwitch, model: str, task: SeparationTask, plan: StemPlan, diary: _Diary
) -> Choice | None:
    """The model of an optional step; ``None`` where the step is left to chance and no network is there.

    Signal processing does these steps too roughly to be done unasked.
    """
    choice = choose(model, task, diary.shop.progress, usual=plan.models[task])
    unasked = switch == StepSwitch.AUTO and model == AUTO_MODEL
    return None if unasked and choice.files is None else choice


# ------------------------------------------------- singing, mixing, writing


@dataclass(frozen=True)
class _Sung:
    """The stems after conversion, and what became known of the lead."""

    lead: CachedFile
    backing: CachedFile | None
    backing_is_converted: bool
    device: str
    shift_semitones: int


def _sing(
    stems: SongStems,
    voice: CoverVoice,
    backing_voice: CoverVoice | None,
    diary: _Diary,
) -> _Sung:
    """Convert the lead and, if asked for, the backing, by one loaded voice if they share it."""
    lead = diary.step("convert", lambda: convert_vocals(stems.lead, voice, diary.shop), CONVERSION)
    shift = int(lead.facts["shift_semitones"])
    if shift != voice.conversion.shift_semitones and not voice.conversion.proposed_pitch:
        diary.warn(f"The voice {voice.name} was made without pitch, so it cannot be shifted.")
    backing = own_backing = stems.backing
    if backing_voice is not None and own_backing is not None:
        name = "convert backing"
        entry = diary.step(name, lambda: convert_vocals(own_backing, backing_voice, diary.shop, name))
        backing = entry.files["converted.wav"]
    elif backing_voice is not None:
        diary.warn("Backing vocals were not converted: they were not parted from the lead.")
    return _Sung(
        lead=lead.files["converted.wav"],
        backing=backing,
        backing_is_converted=backing_voice is not None,
        device=str(lead.facts["device"]),
        shift_semitones=shift,
    )


def _arrange(sung: _Sung, instrumental: CachedFile, settings: CoverSettings, diary: _Diary) -> list[MixTrack]:
    """The tracks of the mix: effects on the lead, the rest shifted along with it."""
    rest = (
        rest_semitones(sung.shift_semitones) if settings.inst_semitones is None else settings.inst_semitones
    )
    lead = _with_effects(sung.lead, settings, diary)
    instruments = _shifted(instrumental, rest, "transpose instruments", diary)
    tracks = [MixTrack(lead, settings.main_gain), MixTrack(instruments, settings.inst_gain)]
    backing = sung.backing
    if backing is None:
        return tracks
    if not sung.backing_is_converted:
        semitones = rest if settings.backup_semitones is None else settings.backup_semitones
        backing = _shifted(backing, semitones, "transpose backing", diary)
    return [*tracks, MixTrack(backing, settings.backup_gain)]


def _with_effects(vocals: CachedFile, settings: CoverSettings, diary: _Diary) -> CachedFile:
    effects = settings.effects
    if effects is None:
        return vocals
    return diary.step("effects", lambda: add_effects(vocals, effects, diary.shop)).files["effects.wav"]


def _shifted(stem: CachedFile, semitones: int, name: str, diary: _Diary) -> CachedFile:
    if semitones == 0:
        return stem
    return diary.step(name, lambda: transpose_stem(stem, semitones, diary.shop)).files["transposed.wav"]


def _finish(tracks: list[MixTrack], seconds: float, settings: CoverSettings, diary: _Diary) -> CacheEntry:
    mixed = diary.step("mix", lambda: mix_stems(tracks, seconds, settings.output_sr, diary.shop))
    form = (settings.audio_format, settings.bitrate_kbps)
    return diary.step("encode", lambda: encode_mix(mixed.files["mix.wav"], *form, diary.shop))
