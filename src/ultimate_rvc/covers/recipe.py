"""The recipe: a song in, its cover out.

retrieve -> separate -> split backing -> remove reverb -> convert -> effects -> transpose -> mix -> encode
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.choices import Quality, StepSwitch
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, open_step_cache
from ultimate_rvc.covers.conversion import CoverVoice, choose_voice, warm_up
from ultimate_rvc.covers.diary import Diary
from ultimate_rvc.covers.forecast import CONVERSION, Forecast, cover_forecast
from ultimate_rvc.covers.pieces import encode_pieces, sum_stems
from ultimate_rvc.covers.settings import CoverSettings, rest_semitones
from ultimate_rvc.covers.singing import Singer
from ultimate_rvc.covers.sources import Song, SongParts, fetch_song
from ultimate_rvc.covers.steps import MixTrack, Workshop, add_effects, encode_mix, mix_stems, transpose_stem
from ultimate_rvc.covers.taking_apart import SongStems, check_models, take_apart
from ultimate_rvc.covers.wave_file import stem_seconds
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.machine import this_machine
from ultimate_rvc.outputs import Outputs, Target, file_title, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.progress import Progress, StepTime
from ultimate_rvc.rvc.infer.warm import WarmPipelines
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
        A voice of the library, or a ``.pth``, ``.safetensors`` or ``.onnx`` file.
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
    device = resolve_device(optimization.devices[0])
    lead_voice, backing_voice = choose_voices(voice, settings)
    check_models(settings.stems)
    outputs = _outputs(source, settings, (lead_voice, backing_voice))
    target_for = _target(settings, outputs)
    progress = progress or Progress()
    shop = Workshop(open_step_cache(), progress, optimization, pipelines or WarmPipelines())
    diary = Diary(shop, this_machine(device))
    diary.warn(*lead_voice.warnings, *(backing_voice.warnings if backing_voice else ()))
    with shop.cache.use():
        song = _retrieve(source, settings, diary)
        looked_ahead = _look_ahead(song, settings, diary)
        plan = looked_ahead.plan
        with Singer(lead_voice, shop, "convert") as singer:
            # One device alone is busy enough: there it would only take more memory (docs/performance.md).
            ahead = singer.begin if len(optimization.devices) > 1 else None
            stems = take_apart(
                song, settings.stems, plan, diary, lambda: warm_up(lead_voice, shop), lead_is_done=ahead
            )
            sung = _sing(stems, lead_voice, singer, backing_voice, diary)
        tracks = _arrange(sung, stems, settings, diary)
        cover = _finish(tracks, stems, settings, diary)
        (file,) = cover.files.values()
        placed = place(file.path, target_for(song.title, lead_voice.name))
        diary.warn(*placed.warnings)
        diary.remember(plan, stems.seconds)
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


# ----------------------------------------------------------- looking ahead


def _retrieve(source: str, settings: CoverSettings, diary: Diary) -> Song:
    started = time.perf_counter()
    song = fetch_song(source, settings.source, diary.shop.cache, diary.shop.progress)
    diary.note("retrieve", started, [song.entry])
    diary.warn(*song.warnings)
    return song


def _look_ahead(song: Song, settings: CoverSettings, diary: Diary) -> Forecast:
    """Choose the quality, and say what was chosen and how long it takes."""
    content = song.content
    if isinstance(content, SongParts):  # nothing is separated, so nothing is said
        return cover_forecast(stem_seconds(content.vocals.path), settings, diary.machine)
    looked_ahead = cover_forecast(probe(content.path).duration_seconds, settings, diary.machine)
    diary.shop.progress.say(looked_ahead.sentence)
    return looked_ahead


# ------------------------------------------------- singing, mixing, writing


@dataclass(frozen=True)
class _Sung:
    """The stems after conversion, piece by piece, and what became known of the lead."""

    leads: list[CachedFile]
    backings: list[CachedFile | None]
    backing_is_converted: bool
    device: str
    shift_semitones: int


def _sing(
    stems: SongStems, voice: CoverVoice, singer: Singer, backing_voice: CoverVoice | None, diary: Diary
) -> _Sung:
    """Convert the lead and, if asked for, the backing, by one loaded voice if they share it."""
    # What was begun ahead is waited for: that time tells nothing of the work.
    remember_as = "" if singer.has_begun else CONVERSION
    leads, shift = _converted([piece.lead for piece in stems.pieces], singer, "convert", diary, remember_as)
    if shift != voice.conversion.shift_semitones and not voice.conversion.proposed_pitch:
        diary.warn(f"The voice {voice.name} was made without pitch, so it cannot be shifted.")
    backings = [piece.backing for piece in stems.pieces]
    there = [backing for backing in backings if backing is not None]
    if backing_voice is not None and there:
        with Singer(backing_voice, diary.shop, "convert backing") as backing_singer:
            entries, _ = _converted(there, backing_singer, "convert backing", diary)
        sung = iter(entries)
        backings = [backing and next(sung).files["converted.wav"] for backing in backings]
    elif backing_voice is not None:
        diary.warn("Backing vocals were not converted: they were not parted from the lead.")
    return _Sung(
        leads=[entry.files["converted.wav"] for entry in leads],
        backings=backings,
        backing_is_converted=backing_voice is not None,
        device=str(leads[0].facts["device"]),
        shift_semitones=shift,
    )


def _converted(
    vocals: list[CachedFile], singer: Singer, step: str, diary: Diary, remember_as: str = ""
) -> tuple[list[CacheEntry], int]:
    """Every piece as it is sung, and its shift in semitones."""
    entries = diary.each(step, vocals, singer.sing, remember_as)
    return entries, int(entries[0].facts["shift_semitones"])


def _arrange(sung: _Sung, stems: SongStems, settings: CoverSettings, diary: Diary) -> list[list[MixTrack]]:
    """The tracks of each piece's mix: effects on the lead, the rest shifted along with it."""
    rest = (
        rest_semitones(sung.shift_semitones) if settings.inst_semitones is None else settings.inst_semitones
    )
    leads = _with_effects(sung.leads, settings, diary)
    instrumentals = [piece.instrumental for piece in stems.pieces]
    instruments = _shifted(instrumentals, rest, "transpose instruments", diary)
    backings = sung.backings
    if not sung.backing_is_converted and any(backings):
        semitones = rest if settings.backup_semitones is None else settings.backup_semitones
        shifted = iter(_shifted([each for each in backings if each], semitones, "transpose backing", diary))
        backings = [backing and next(shifted) for backing in backings]
    return [
        [
            MixTrack(lead, settings.main_gain),
            MixTrack(instrument, settings.inst_gain),
            *([MixTrack(backing, settings.backup_gain)] if backing else []),
        ]
        for lead, instrument, backing in zip(leads, instruments, backings, strict=True)
    ]


def _with_effects(vocals: list[CachedFile], settings: CoverSettings, diary: Diary) -> list[CachedFile]:
    effects = settings.effects
    if effects is None:
        return vocals
    entries = diary.each("effects", vocals, lambda each, shop: add_effects(each, effects, shop))
    return [entry.files["effects.wav"] for entry in entries]


def _shifted(stems: list[CachedFile], semitones: int, name: str, diary: Diary) -> list[CachedFile]:
    if semitones == 0:
        return stems
    entries = diary.each(name, stems, lambda each, shop: transpose_stem(each, semitones, shop))
    return [entry.files["transposed.wav"] for entry in entries]


def _finish(
    pieces: list[list[MixTrack]], stems: SongStems, settings: CoverSettings, diary: Diary
) -> CacheEntry:
    sample_rate = settings.output_sr
    form = (settings.audio_format, settings.bitrate_kbps)
    if len(pieces) == 1:
        mixed = diary.step("mix", lambda: mix_stems(pieces[0], stems.seconds, sample_rate, diary.shop))
        return diary.step("encode", lambda: encode_mix(mixed.files["mix.wav"], *form, diary.shop))
    sums = diary.each(
        "mix",
        list(zip(pieces, stems.spans, strict=True)),
        lambda each, shop: sum_stems(each[0], each[1].end - each[1].start, sample_rate, shop),
    )
    return diary.step("encode", lambda: encode_pieces(sums, stems.spans, sample_rate, *form, diary.shop))
