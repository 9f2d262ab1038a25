"""Taking a song apart, piece by piece: its lead, its instruments, its backing vocals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
    for task, name in (
        (SeparationTask.VOCALS, "vocals_model"),
        (SeparationTask.LEAD, "backing_model"),
        (SeparationTask.REVERB, "reverb_model"),
    ):
        check_name(getattr(settings, name), task, name)


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
    run = _Run(settings, plan, diary, done)
    parts, spans, model = _separate(song, meanwhile, run)
    vocals = [part.vocals for part in parts]
    backings = [part.backing for part in parts]
    if not any(backings):
        vocals, backings = _split(vocals, run)
    leads = _dry(vocals, run)
    if run.skipped:
        diary.warn(
            f"Left out for want of a model: {' and '.join(run.skipped)}; `urvc doctor` tells how to get one."
        )
    pieces = (
        Stems(lead, part.instrumental, backing)
        for lead, part, backing in zip(leads, parts, backings, strict=True)
    )
    return SongStems(tuple(pieces), tuple(spans), model)


@dataclass(frozen=True)
class _Run:
    """What every step of one song's taking apart works with."""

    settings: StemSettings
    plan: StemPlan
    diary: Diary
    done: Mapping[SeparationTask, Callable[[CachedFile], None]]
    """Whom to tell that a lead is as it will be, by the last planned task."""
    skipped: list[str] = field(default_factory=list)
    """Steps that were left out for want of a model, in words."""

    def tell(self, task: SeparationTask, lead: CachedFile) -> None:
        if task in self.done:
            self.done[task](lead)


def _separate(
    song: Song, meanwhile: Callable[[], None], run: _Run
) -> tuple[list[SongParts], list[Span], str | None]:
    plan, diary = run.plan, run.diary
    file, shown_as = song.content, str(song.original or song.title)
    if isinstance(file, SongParts):
        return [file], [Span(0.0, stem_seconds(file.vocals.path))], None
    task, progress = SeparationTask.VOCALS, diary.shop.progress
    choice = choose(run.settings.vocals_model, task, progress, usual=plan.models[task])
    diary.warn(*choice.warnings)
    pieces = cut_song(file, shown_as, diary.shop)
    beside = [meanwhile, *([None] * (len(pieces) - 1))]

    def separate(each: tuple[Piece, Callable[[], None] | None], shop: Workshop) -> CacheEntry:
        entry = separate_song(each[0].file, choice, plan.effort, shop, shown_as, each[1])
        run.tell(task, entry.files["vocals.wav"])
        return entry

    entries = diary.each(
        "separate", list(zip(pieces, beside, strict=True)), separate, work_name(task, choice.name, plan)
    )
    parts = [SongParts(entry.files["vocals.wav"], entry.files["instrumental.wav"], None) for entry in entries]
    return parts, [piece.span for piece in pieces], str(entries[0].facts["model"])


def _split(vocals: list[CachedFile], run: _Run) -> tuple[list[CachedFile], list[CachedFile | None]]:
    """Lead and backing of each piece; without any backing where nothing is heard of it."""
    task, settings, plan = SeparationTask.LEAD, run.settings, run.plan
    words = "parting backing vocals from the lead"
    choice = _choose_if_at_hand(settings.split_backing, settings.backing_model, task, words, run)
    if choice is None:
        return vocals, [None] * len(vocals)

    def lead_of(entry: CacheEntry, whole: CachedFile) -> CachedFile:
        return entry.files["lead.wav"] if entry.facts["has_backing"] else whole

    def split(whole: CachedFile, shop: Workshop) -> CacheEntry:
        entry = split_backing(whole, choice, plan.effort, shop)
        run.tell(task, lead_of(entry, whole))
        return entry

    entries = run.diary.each("split backing", vocals, split, work_name(task, choice.name, plan))
    leads = [lead_of(entry, whole) for entry, whole in zip(entries, vocals, strict=True)]
    return leads, [entry.files["backing.wav"] if entry.facts["has_backing"] else None for entry in entries]


def _dry(vocals: list[CachedFile], run: _Run) -> list[CachedFile]:
    task, settings, plan = SeparationTask.REVERB, run.settings, run.plan
    words = "removing the reverb"
    choice = _choose_if_at_hand(settings.remove_reverb, settings.reverb_model, task, words, run)
    if choice is None:
        return vocals

    def dry(wet: CachedFile, shop: Workshop) -> CacheEntry:
        entry = dry_vocals(wet, choice, plan.effort, shop)
        run.tell(task, entry.files["dry.wav"])
        return entry

    entries = run.diary.each("remove reverb", vocals, dry, work_name(task, choice.name, plan))
    return [entry.files["dry.wav"] for entry in entries]


def _choose_if_at_hand(
    switch: StepSwitch, model: str, task: SeparationTask, words: str, run: _Run
) -> Choice | None:
    """The model of an optional step; ``None`` where it is not planned, or left to chance and no network is there.

    Signal processing does these steps too roughly to be done unasked; ``words`` then say what was skipped.
    """
    if task not in run.plan.models:
        return None
    choice = choose(model, task, run.diary.shop.progress, usual=run.plan.models[task])
    unasked = switch == StepSwitch.AUTO and model == AUTO_MODEL
    if unasked and choice.files is None:
        run.skipped.append(words)
        return None
    run.diary.warn(*choice.warnings)
    return choice
