"""Before the work: which quality a cover is made with, and how long each would take on this machine."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ultimate_rvc.assets import registry
from ultimate_rvc.choices import Quality, StepSwitch
from ultimate_rvc.covers.settings import CoverSettings, StemSettings
from ultimate_rvc.machine import Cost, Load, Machine
from ultimate_rvc.separation.choose import is_here
from ultimate_rvc.separation.models import (
    AUTO_MODEL,
    MDX_NET,
    ROFORMER_CHUNK_SECONDS,
    ROFORMERS,
    SEPARATION_MODELS,
    SeparationModel,
    SeparationTask,
)
from ultimate_rvc.separation.qualities import PLANS, StemPlan

# How much of the song's time an automatic quality may take.
CPU_SHARE, GPU_SHARE = 1.0, 1 / 3
SUNG_SHARE = 0.75  # of a song's chunks: lead, backing and reverb are only computed where somebody sings
ROUNDED_GAIN = 2.25  # of a RoFormer in bfloat16, on a processor that has it
CONVERSION, OTHER_STEPS = "convert", "other steps of a cover"
CONVERSION_COST, OTHER_COST = Cost(Load.CONVOLUTIONS, 0.45), Cost(Load.CONVOLUTIONS, 0.05)
FIXED_SECONDS = 5.0  # loading libraries and networks


@dataclass(frozen=True)
class Forecast:
    """The quality that was chosen, why, and the seconds of each."""

    asked: Quality
    quality: Quality
    plan: StemPlan
    seconds: Mapping[Quality, float]

    @property
    def sentence(self) -> str:
        """One line for a person: what is done, how long it takes, and which other choice there is."""
        why = " (auto)" if self.asked is Quality.AUTO else ""
        others = [
            f"{quality} would take {duration(seconds)}"
            for quality, seconds in self.seconds.items()
            if quality is not self.quality
        ]
        return (
            "; ".join([f"Quality {self.quality}{why}: {duration(self.seconds[self.quality])}", *others]) + "."
        )


def rounded(seconds: float) -> tuple[str, str]:
    """A count and its unit, as exact as a forecast is: ``40 seconds``, ``2 minutes``, ``1.5 hours``."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f}", "seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f}", "minutes"
    return f"{seconds / 3600:.1f}", "hours"


def duration(seconds: float) -> str:
    """About how long: ``about 40 seconds``, ``about 2 minutes``, ``about 1.5 hours``."""
    return f"about {' '.join(rounded(seconds))}"


def cover_forecast(song_seconds: float, cover: CoverSettings, machine: Machine) -> Forecast:
    """As :func:`forecast`, by the settings of a cover."""
    stems = cover.stems
    if cover.backing is not None and stems.split_backing is StepSwitch.AUTO:
        stems = replace(stems, split_backing=StepSwitch.ON)  # backing vocals are to be converted
    return forecast(song_seconds, cover.quality, stems, machine)


def forecast(song_seconds: float, asked: Quality, stems: StemSettings, machine: Machine) -> Forecast:
    """Choose the quality of a cover of ``song_seconds`` and say what each would take.

    A model or step that ``stems`` names is part of every quality.
    """
    plans = {quality: _with_own(quality, stems) for quality in PLANS}
    chosen = asked
    if asked is Quality.AUTO:
        # Not by the times of earlier work: what is chosen for a song must not change with them.
        measured = replace(machine, rates={})
        seconds = {quality: _seconds(plan, song_seconds, measured) for quality, plan in plans.items()}
        share = CPU_SHARE if machine.is_cpu else GPU_SHARE
        chosen = _automatic(plans, seconds, song_seconds * share)
    seconds = {quality: _seconds(plan, song_seconds, machine) for quality, plan in plans.items()}
    return Forecast(asked, chosen, plans[chosen], seconds)


def _automatic(
    plans: Mapping[Quality, StemPlan], seconds: Mapping[Quality, float], limit_seconds: float
) -> Quality:
    """The best in time whose vocals can be had; else the fastest whose vocals can be."""
    usable = [quality for quality in plans if _can_be_had(plans[quality].models[SeparationTask.VOCALS])]
    in_time = [quality for quality in usable if seconds[quality] <= limit_seconds]
    if in_time:
        return in_time[-1]
    return usable[0] if usable else Quality.FAST


def _with_own(quality: Quality, stems: StemSettings) -> StemPlan:
    """The plan of ``quality`` with the models and steps that ``stems`` decides by itself."""
    plan = PLANS[quality]
    models = dict(plan.models)
    # A step that a quality leaves out is done as the next better one does it.
    better = [PLANS[each].models for each in list(PLANS)[list(PLANS).index(quality) :]]
    if stems.vocals_model != AUTO_MODEL:
        models[SeparationTask.VOCALS] = stems.vocals_model
    for task, switch, model in (
        (SeparationTask.LEAD, stems.split_backing, stems.backing_model),
        (SeparationTask.REVERB, stems.remove_reverb, stems.reverb_model),
    ):
        if switch is StepSwitch.OFF:
            models.pop(task, None)
        elif model != AUTO_MODEL:
            models[task] = model
        elif switch is StepSwitch.ON:
            models.setdefault(task, next(each[task] for each in better if task in each))
    overlap = plan.effort.overlap if stems.overlap is None else stems.overlap
    return StemPlan(models, replace(plan.effort, overlap=overlap, exact=stems.exact_stems))


def _can_be_had(model: str) -> bool:
    """Whether a model's file is here or may be downloaded, and its library is installed."""
    known = SEPARATION_MODELS.get(model)
    by_pymss = known is not None and known.needs_download and known.architecture != MDX_NET
    if by_pymss and importlib.util.find_spec("pymss") is None:
        return False
    return is_here(model) or not registry.is_offline()


def _seconds(plan: StemPlan, song_seconds: float, machine: Machine) -> float:
    rate = machine.rate(CONVERSION, CONVERSION_COST) + machine.rate(OTHER_STEPS, OTHER_COST)
    seconds = FIXED_SECONDS + rate * song_seconds
    for task, model in plan.models.items():
        seconds += _model_rate(task, model, plan, machine) * _computed_seconds(
            task, model, plan, song_seconds
        )
    return seconds


def _model_rate(task: SeparationTask, model: str, plan: StemPlan, machine: Machine) -> float:
    """Seconds a second of audio that it computes."""
    known = _known(task, model)
    cost = known.cost
    if machine.has_bfloat16 and known.architecture in ROFORMERS and not plan.effort.exact:
        cost = replace(cost, rate=cost.rate / ROUNDED_GAIN)
    return machine.rate(work_name(task, model, plan), cost)


def _computed_seconds(task: SeparationTask, model: str, plan: StemPlan, song_seconds: float) -> float:
    """Seconds of audio that a network computes: where somebody sings, in chunks that overlap."""
    sung = 1.0 if task is SeparationTask.VOCALS else SUNG_SHARE
    overlap = plan.effort.own_or_usual_overlap
    computed = song_seconds / (1 - overlap)
    if _known(task, model).architecture in ROFORMERS:
        # Their chunks are whole, and so long that it matters; a song is padded at both ends.
        step = ROFORMER_CHUNK_SECONDS * (1 - overlap)
        computed = ROFORMER_CHUNK_SECONDS * math.ceil(song_seconds / step + 2 * overlap / (1 - overlap))
    return sung * computed


def _known(task: SeparationTask, model: str) -> SeparationModel:
    """A model of the table; one that is not in it counts as the best."""
    return SEPARATION_MODELS.get(model) or SEPARATION_MODELS[PLANS[Quality.BEST].models[task]]


def work_name(task: SeparationTask, model: str, plan: StemPlan) -> str:
    """What a separation is called among the machine's times."""
    return f"{task} by {model}{', exact' if plan.effort.exact else ''}"


def comparable_seconds(work: str, seconds: float, plan: StemPlan, song_seconds: float) -> float:
    """What ``work`` would have taken for ``song_seconds`` of audio without overlap and sung throughout."""
    models = {work_name(task, model, plan): (task, model) for task, model in plan.models.items()}
    if work not in models:
        return seconds
    task, model = models[work]
    return seconds * song_seconds / _computed_seconds(task, model, plan, song_seconds)
