"""Write docs/settings.md: every setting with its option, its control, default, range and meaning.

python scripts/write_settings_tables.py

All of it comes from the settings themselves; a test fails when the page is older than they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.cli import options
from ultimate_rvc.covers.settings import BackingVoice, CoverSettings, SourceSettings, StemSettings
from ultimate_rvc.rvc.infer.live_settings import LiveSettings
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.settings import REQUIRED, Setting, settings_of
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.web.controls import is_local_only
from ultimate_rvc.work import requests

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
INTRODUCTION = """\
# All settings

`scripts/write_settings_tables.py` writes this page from the settings themselves, so that it never differs from them.
Python, settings files, jobs and the HTTP API use the names of the first column. The command line has the option, the
page a control: "local" stands for one that only the user of this machine sees, because it names files or replaces
them. Ranges include both ends. `/settings_schema` of the HTTP API gives the same as JSON Schema.
"""
LONGEST_CHOICES = 36  # letters; longer lists stand below the table


@dataclass(frozen=True)
class Section:
    """The table of one settings class."""

    kind: type[Any]
    title: str
    command: str
    """That has the options."""
    key: str | None = None
    """Where it stands in settings files, if it belongs there."""
    prefix: str = ""
    """What stands before the name in the class that the command takes."""
    is_on_page: bool = True
    not_on_page: tuple[str, ...] = ()
    """What the page says in another place: once for all work, or by an upload."""
    note: str = ""


SECTIONS = (
    Section(
        ConversionSettings,
        "Conversion",
        "generate convert-voice",
        "cover.conversion",
        "conversion.",
        note=" For `urvc generate song-cover` write `vocals` instead of `voice` in an option.",
    ),
    Section(CoverSettings, "Cover", "generate song-cover", "cover"),
    Section(StemSettings, "Stems of a cover", "generate song-cover", "cover.stems", "stems."),
    Section(BackingVoice, "Backing vocals of a cover", "generate song-cover", "cover.backing", "backing."),
    Section(EffectSettings, "Effects", "generate song-cover", "cover.effects", "effects."),
    Section(SourceSettings, "Fetching a song", "generate song-cover", "cover.source", "source."),
    Section(requests.ConvertRequest, "Conversion of files", "generate convert-voice"),
    Section(LiveSettings, "Live", "live"),
    Section(requests.SpeechRequest, "Speech", "generate speech", not_on_page=("document",)),
    Section(requests.SeparateRequest, "Separation", "generate separate"),
    Section(requests.EffectsRequest, "Effects on a file", "generate effects"),
    Section(requests.MixRequest, "Mix", "generate mix"),
    Section(requests.TransposeRequest, "Transposition", "generate transpose", is_on_page=False),
    Section(requests.WavifyRequest, "Wav files", "generate wavify", is_on_page=False),
    Section(PreprocessSettings, "Preparing recordings", "train voice", "train.preprocessing"),
    Section(
        ExtractSettings, "Features of recordings", "train voice", "train.extraction", not_on_page=("device",)
    ),
    Section(TrainingSettings, "Training", "train voice", "train.training", not_on_page=("device",)),
    Section(OptimizationConfig, "Optimisation", "generate song-cover", ""),
)
# The commands of the three tasks say it by their names.
SAID_BY_THE_COMMAND = {"separaterequest.task": "`separate`, `split-backing`, `dereverb`"}


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    return "\n".join([INTRODUCTION, *("\n".join(_lines(section)) for section in SECTIONS)])


def option(section: Section, entry: Setting) -> str:
    """What sets it at the command line."""
    if said := SAID_BY_THE_COMMAND.get(entry.words_key):
        return said
    if entry.default is REQUIRED:
        return f"`{options.ARGUMENTS[entry.name]}`" if entry.name in options.ARGUMENTS else "argument"
    if section.kind is OptimizationConfig:
        return f"`{options.SWITCH_FLAGS[entry.name]}`"
    return f"`{options.flag_of(section.prefix + entry.name)}`"


def on_page(section: Section, entry: Setting) -> str:
    """Whether the page has a control: ``yes``, ``local`` or ``-``."""
    if not section.is_on_page or entry.name in section.not_on_page:
        return "-"
    # What a job cannot do without is uploaded or chosen, by everybody.
    return "local" if is_local_only(entry) and entry.default is not REQUIRED else "yes"


def _lines(section: Section) -> Iterator[str]:
    yield f"## {section.title}\n"
    place = f"under `{section.key}`" if section.key else "at the top"
    key = "" if section.key is None else f"; in settings files {place}"
    yield f"`{section.kind.__name__}`; options of `urvc {section.command}`{key}.{section.note}\n"
    yield "| setting | option | page | default | range | meaning |"
    yield "|---|---|---|---|---|---|"
    long = []
    for name, entry in settings_of(section.kind).items():
        choices = ", ".join(map(str, entry.choices))
        choices += " or your own" if entry.is_open else ""
        if len(choices) > LONGEST_CHOICES:
            long.append(f"`{name}`: {choices}.")
            choices = "below"
        cells = (
            f"`{name}`",
            option(section, entry),
            on_page(section, entry),
            _default(section.kind, entry),
            choices or entry.range_text or "-",
            entry.help,
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for line in long:
        yield f"{line}\n"


def _default(kind: type[Any], entry: Setting) -> str:
    if entry.default is REQUIRED:
        return "needed"
    if next(each for each in fields(kind) if each.name == entry.name).default_factory is not MISSING:
        return (
            "of this machine"  # such as the number of cores, which must not change with who writes the page
        )
    if entry.default is None:
        return "-"
    if isinstance(entry.default, bool):
        return "on" if entry.default else "off"
    return ", ".join(map(str, entry.default)) or "-" if entry.is_list else str(entry.default)


if __name__ == "__main__":
    main()
