"""Taking a song apart, piece by piece: its lead, its instruments, its backing vocals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ultimate_rvc.choices import StepSwitch
from ultimate_rvc.covers.cache import CachedFile, CacheEntry
from ultimate_rvc.covers.diary import Diary
from ultimate_rvc.covers.forecast import work_name
from ultimate_rvc.covers.pieces import Piece, Span, cut_song
from ultimate_rvc.covers.settings import StemSettings
from ultimate_rvc.covers.sources import Song, SongParts
from ultimate_rvc.covers.steps import Workshop, dry_vocals, separate_song, split_backing
from ultimate_rvc.covers.wave_file import stem_seconds
from ultimate_rvc.separation import SeparationTask
from ultimate_rvc.separation.choose import Choice, check_name, choose
from ultimate_rvc.separation.models import AUTO_MODEL
from ultimate_rvc.separation.qualities import StemPlan

LeadIsDone = Mapping[SeparationTask, Callable[[CachedFile], None]]
"""Whom to tell that a lead is as it will be, by the last planned task."""


@dataclass(frozen=True)
class Stems:
    """The stems of one piece of a song; a short song is one piece."""

    lead: CachedFile
    instrumental: CachedFile
    backing: CachedFile | None

    @property
    def seconds(self) -> float:
        """The length of the longest."""
        stems = (self.lead, self.instrumental, self.backing)
        return max(stem_seconds(stem.path) for stem in stems if stem is not None)


@dataclass(frozen=True)
class SongStems:
    """What the rest of the recipe works on: the stems of every piece, and what parted them."""

    pieces: tuple[Stems, ...]
    spans: tuple[Span, ...]
    """Where each piece lies in the song."""
    model: str | None

    @property
    def seconds(self) -> float:
        """The song's length."""
        return self.pieces[0].seconds if len(self.pieces) == 1 else self.spans[-1].end


def check_models(settings: StemSettings) -> None:
    """Raise a SettingError unless the models that are named can be found."""
    for task, field in (
        (SeparationTask.VOCALS, "vocals_model"),
        (SeparationTask.LEAD, "backing_model"),
        (SeparationTask.REVERB, "reverb_model"),
    ):
        check_name(getattr(settings, field), task, field)


def take_apart(
    song: Song,
    settings: StemSettings,
    plan: StemPlan,
    diary: Diary,
    meanwhile: Callable[[], None],
    lead_is_done: Callable[[CachedFile], None] | None = None,
) -> SongStems:
    """The song's lead, instruments and backing, from a folder of stems or by separation.

    ``meanwhile`` is called when a separation begins, for work that can go on beside it; ``lead_is_done`` with the
    lead of each piece, as soon as no planned step changes it.
    """
    last = next(task for task in reversed(SeparationTask) if task in plan.models)
    done = {last: lead_is_done} if lead_is_done is not None else {}
    parts, spans, model = _separate(song, settings, plan, meanwhile, diary, done)
    skipped: list[str] = []
    vocals = [part.vocals for part in parts]
    backings = [part.backing for part in parts]
    if not any(backings):
        vocals, backings = _split(vocals, settings, plan, diary, skipped, done)
    leads = _dry(vocals, settings, plan, diary, skipped, done)
    if skipped:
        diary.warn(
            f"Left out for want of a model: {' and '.join(skipped)}; `urvc doctor` tells how to get one."
        )
    pieces = (
        Stems(lead, part.instrumental, backing)
        for lead, part, backing in zip(leads, parts, backings, strict=True)
    )
    return SongStems(tuple(pieces), tuple(spans), model)


def _separate(
    song: Song,
    settings: StemSettings,
    plan: StemPlan,
    meanwhile: Callable[[], None],
    diary: Diary,
    done: LeadIsDone,
) -> tuple[list[SongParts], list[Span], str | None]:
    file, shown_as = song.content, str(song.original or song.title)
    if isinstance(file, SongParts):
        return [file], [Span(0.0, stem_seconds(file.vocals.path))], None
    task, progress = SeparationTask.VOCALS, diary.shop.progress
    choice = choose(settings.vocals_model, task, progress, usual=plan.models[task])
    diary.warn(*choice.warnings)
    pieces = cut_song(file, shown_as, diary.shop)
    beside = [meanwhile, *([None] * (len(pieces) - 1))]

    def separate(each: tuple[Piece, Callable[[], None] | None], shop: Workshop) -> CacheEntry:
        entry = separate_song(each[0].file, choice, plan.effort, shop, shown_as, each[1])
        _tell(done, task, entry.files["vocals.wav"])
        return entry

    entries = diary.each(
        "separate", list(zip(pieces, beside, strict=True)), separate, work_name(task, choice.name, plan)
    )
    parts = [SongParts(entry.files["vocals.wav"], entry.files["instrumental.wav"], None) for entry in entries]
    return parts, [piece.span for piece in pieces], str(entries[0].facts["model"])


def _split(
    vocals: list[CachedFile],
    settings: StemSettings,
    plan: StemPlan,
    diary: Diary,
    skipped: list[str],
    done: LeadIsDone,
) -> tuple[list[CachedFile], list[CachedFile | None]]:
    """Lead and backing of each piece; without any backing where nothing is heard of it."""
    task, alone = SeparationTask.LEAD, [None] * len(vocals)
    if task not in plan.models:
        return vocals, [*alone]
    choice = _choose_if_at_hand(settings.split_backing, settings.backing_model, task, plan, diary)
    if choice is None:
        skipped.append("parting backing vocals from the lead")
        return vocals, [*alone]
    diary.warn(*choice.warnings)

    def lead_of(entry: CacheEntry, whole: CachedFile) -> CachedFile:
        return entry.files["lead.wav"] if entry.facts["has_backing"] else whole

    def split(whole: CachedFile, shop: Workshop) -> CacheEntry:
        entry = split_backing(whole, choice, plan.effort, shop)
        _tell(done, task, lead_of(entry, whole))
        return entry

    entries = diary.each("split backing", vocals, split, work_name(task, choice.name, plan))
    leads = [lead_of(entry, whole) for entry, whole in zip(entries, vocals, strict=True)]
    return leads, [entry.files["backing.wav"] if entry.facts["has_backing"] else None for entry in entries]


def _dry(
    vocals: list[CachedFile],
    settings: StemSettings,
    plan: StemPlan,
    diary: Diary,
    skipped: list[str],
    done: LeadIsDone,
) -> list[CachedFile]:
    task = SeparationTask.REVERB
    if task not in plan.models:
        return vocals
    choice = _choose_if_at_hand(settings.remove_reverb, settings.reverb_model, task, plan, diary)
    if choice is None:
        skipped.append("removing the reverb")
        return vocals
    diary.warn(*choice.warnings)

    def dry(wet: CachedFile, shop: Workshop) -> CacheEntry:
        entry = dry_vocals(wet, choice, plan.effort, shop)
        _tell(done, task, entry.files["dry.wav"])
        return entry

    entries = diary.each("remove reverb", vocals, dry, work_name(task, choice.name, plan))
    return [entry.files["dry.wav"] for entry in entries]


def _tell(done: LeadIsDone, task: SeparationTask, lead: CachedFile) -> None:
    if task in done:
        done[task](lead)


def _choose_if_at_hand(
    switch: StepSwitch, model: str, task: SeparationTask, plan: StemPlan, diary: Diary
) -> Choice | None:
    """The model of an optional step; ``None`` where the step is left to chance and no network is there.

    Signal processing does these steps too roughly to be done unasked.
    """
    choice = choose(model, task, diary.shop.progress, usual=plan.models[task])
    unasked = switch == StepSwitch.AUTO and model == AUTO_MODEL
    return None if unasked and choice.files is None else choice
