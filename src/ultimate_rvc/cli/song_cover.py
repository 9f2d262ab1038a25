"""``urvc generate song-cover``: a song in, its cover out."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import StepSwitch
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import (
    progress_bar,
    show_json,
    show_line,
    show_optimization,
    show_table,
    show_warning,
)
from ultimate_rvc.cli.profiling import profile_shown
from ultimate_rvc.cli.settings_file import with_file
from ultimate_rvc.covers.settings import AUTO_MODEL, BackingVoice, CoverSettings, SourceSettings, StemSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.settings import ConversionSettings

if TYPE_CHECKING:
    from ultimate_rvc.covers.recipe import CoverResult

STEMS, EFFECTS, MIX, BACKING = "Stems", "Effects", "Mix", "Backing vocals"


def one_of(option: str, given: str | None, positional: str | None, what: str) -> str:
    """The value given as an option or as an argument; both (differing) or none is a usage error."""
    if given is not None and positional is not None and given != positional:
        raise SettingError(f"{option} is given twice: {given!r} and {positional!r}; leave one out.")
    if (value := given or positional) is None:
        raise SettingError(f"{option} is missing: {what}.")
    return value


@options.takes_conversion("vocals")
@options.takes_optimization
def song_cover(
    asked: Mapping[str, Any],
    switches: Mapping[str, object],
    decided: Set[str],
    source_argument: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="The same as --source.", show_default=False)
    ] = None,
    model_argument: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="The same as --model.", show_default=False)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Song: a file, a folder of stems, a URL, or 'demo'.", show_default=False),
    ] = None,
    model: options.Model = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; its suffix chooses the format.", rich_help_panel=options.OUTPUT),
    ] = None,
    index: options.Index = None,
    separation_model: Annotated[
        str,
        typer.Option(
            help="Parts vocals from instruments; see 'urvc generate separate --list'.", rich_help_panel=STEMS
        ),
    ] = AUTO_MODEL,
    split_backing: Annotated[
        StepSwitch, typer.Option(help="Part the lead from backing vocals.", rich_help_panel=STEMS)
    ] = StepSwitch.AUTO,
    backing_separation_model: Annotated[
        str, typer.Option(help="Parts the lead from backing vocals.", rich_help_panel=STEMS)
    ] = AUTO_MODEL,
    dereverb: Annotated[
        StepSwitch, typer.Option(help="Dry the lead before conversion.", rich_help_panel=STEMS)
    ] = StepSwitch.AUTO,
    dereverb_model: Annotated[
        str, typer.Option(help="Removes the reverb.", rich_help_panel=STEMS)
    ] = AUTO_MODEL,
    convert_backing: Annotated[
        bool,
        typer.Option(
            "--convert-backing/--no-convert-backing",
            help="Convert backing vocals too.",
            rich_help_panel=BACKING,
        ),
    ] = False,
    backing_model: Annotated[
        str | None,
        typer.Option(help="Voice of the backing vocals; left out: the lead's.", rich_help_panel=BACKING),
    ] = None,
    backing_octaves: Annotated[
        int | None, typer.Option(help="Octaves for them; left out: the lead's.", rich_help_panel=BACKING)
    ] = None,
    backing_semitones: Annotated[
        int | None, typer.Option(help="Semitones for them; left out: the lead's.", rich_help_panel=BACKING)
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects/--no-effects", help="Effects on the new lead.", rich_help_panel=EFFECTS)
    ] = True,
    room_size: Annotated[
        float, typer.Option(help="Reverb: size of the room, 0 to 1.", rich_help_panel=EFFECTS)
    ] = EffectSettings.room_size,
    wet_level: Annotated[
        float, typer.Option(help="Reverb: level of the room, 0 to 1.", rich_help_panel=EFFECTS)
    ] = EffectSettings.wet_level,
    dry_level: Annotated[
        float, typer.Option(help="Level of the voice itself, 0 to 1.", rich_help_panel=EFFECTS)
    ] = EffectSettings.dry_level,
    damping: Annotated[
        float, typer.Option(help="Reverb: how dull the room is, 0 to 1.", rich_help_panel=EFFECTS)
    ] = EffectSettings.damping,
    inst_semitones: Annotated[
        int | None,
        typer.Option(help="Shift of the instruments; left out: what keeps them in key.", rich_help_panel=MIX),
    ] = None,
    backup_semitones: Annotated[
        int | None,
        typer.Option(
            help="Shift of unconverted backing vocals; left out: the instruments'.", rich_help_panel=MIX
        ),
    ] = None,
    main_gain: Annotated[
        float, typer.Option(help="Gain of the lead, -60 to 20 dB.", rich_help_panel=MIX)
    ] = CoverSettings.main_gain,
    inst_gain: Annotated[
        float, typer.Option(help="Gain of the instruments, -60 to 20 dB.", rich_help_panel=MIX)
    ] = CoverSettings.inst_gain,
    backup_gain: Annotated[
        float, typer.Option(help="Gain of the backing vocals, -60 to 20 dB.", rich_help_panel=MIX)
    ] = CoverSettings.backup_gain,
    output_sr: Annotated[
        int, typer.Option(help="16000, 44100, 48000, 96000 or 192000 Hz.", rich_help_panel=options.OUTPUT)
    ] = CoverSettings.output_sr,
    output_format: options.OutputFormat = None,
    bitrate: options.Bitrate = None,
    output_name: Annotated[
        str | None,
        typer.Option(help="Name of the cover, without folder and suffix.", rich_help_panel=options.OUTPUT),
    ] = None,
    cookiefile: Annotated[
        Path | None, typer.Option(help="Cookies (Netscape format) for URLs that need a sign-in.")
    ] = None,
    max_minutes: Annotated[
        float, typer.Option(help="Longest song taken, 0.1 to 600.")
    ] = SourceSettings.max_minutes,
    as_json: options.AsJson = False,
) -> None:
    """Make a cover: separate the song, convert its vocals to a voice, mix them back.

    Example: urvc generate song-cover --source song.mp3 --model "my voice" --n-octaves 1
    """
    song = one_of("--source", source, source_argument, "a file, a folder of stems, a URL, or 'demo'")
    voice = one_of("--model", model, model_argument, "a voice's name, or a .pth or .safetensors file")
    optimization = options.optimization_in_force(switches)
    from ultimate_rvc.voices.library import find_voice

    conversion = ConversionSettings(**find_voice(voice).preset.fill(asked))
    settings = CoverSettings(
        conversion=conversion,
        index_path=index,
        backing=_backing(convert_backing, backing_model, backing_octaves, backing_semitones, conversion),
        source=SourceSettings(cookiefile=cookiefile, max_minutes=max_minutes),
        stems=StemSettings(
            vocals_model=separation_model,
            split_backing=split_backing,
            backing_model=backing_separation_model,
            remove_reverb=dereverb,
            reverb_model=dereverb_model,
        ),
        effects=EffectSettings(room_size=room_size, wet_level=wet_level, dry_level=dry_level, damping=damping)
        if effects
        else None,
        inst_semitones=inst_semitones,
        backup_semitones=backup_semitones,
        main_gain=main_gain,
        inst_gain=inst_gain,
        backup_gain=backup_gain,
        output_sr=output_sr,
        output_format=output_format,
        bitrate_kbps=bitrate,
        output_name=output_name,
        output_path=output,
        optimization=optimization.config,
    )
    settings = with_file(settings, decided)
    from ultimate_rvc.covers.recipe import make_cover

    with profile_shown(optimization.config.enable_profiling), progress_bar() as progress:
        result = make_cover(song, voice, settings, progress)
    if as_json:
        show_json(asdict(result) | {"optimization": [asdict(switch) for switch in optimization.switches]})
        return
    _show(result)
    show_optimization(optimization)


def _backing(
    convert: bool, voice: str | None, n_octaves: int | None, n_semitones: int | None, lead: ConversionSettings
) -> BackingVoice | None:
    if not convert:
        if voice is not None or n_octaves is not None or n_semitones is not None:
            raise SettingError(
                "--backing-model, --backing-octaves and --backing-semitones need --convert-backing."
            )
        return None
    return BackingVoice(voice=voice, conversion=options.with_pitch(lead, n_octaves, n_semitones))


def _show(result: CoverResult) -> None:
    rows = [
        [step.name, "cached" if step.cached else f"{step.seconds:.1f} s", file]
        for step in result.steps
        for file in map(str, step.files)
    ]
    for warning in result.warnings:
        show_warning(warning)
    show_table(["step", "took", "file"], rows)
    show_line(
        f"elapsed: {result.elapsed_seconds:.1f} s for {result.duration_seconds:.1f} s on {result.device}"
    )
    show_line(f"cover: {result.path}")
