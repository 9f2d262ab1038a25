"""The steps of a cover as commands of their own: audio file in, audio file out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, Device
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_table, show_warning
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError, check_setting
from ultimate_rvc.separation import AUTO_MODEL, SEPARATION_MODELS, SeparationTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Track = Annotated[Path, typer.Argument(help="Audio file.")]
OutputFolder = Annotated[
    Path | None, typer.Option("--output", help="Folder to write to; left out: beside the input.")
]
OutputFile = Annotated[Path, typer.Option("--output", help="File to write; its suffix chooses the format.")]
SeparationName = Annotated[str, typer.Option("--model", help="Separation model; --list shows them.")]
ListModels = Annotated[bool, typer.Option("--list", help="List the models and end.")]
StemFormat = Annotated[AudioFormat, typer.Option("--output-format", help="Format of the stems.")]


def _parting_command(task: SeparationTask, summary: str) -> Callable[..., None]:
    """The command of one task; all of them have the same options."""

    def part(
        track: Annotated[Path | None, typer.Argument(help="Audio file.", show_default=False)] = None,
        output: OutputFolder = None,
        model: SeparationName = AUTO_MODEL,
        output_format: StemFormat = AudioFormat.WAV,
        device: options.DeviceName = Device.AUTO.value,
        list_models: ListModels = False,
        as_json: options.AsJson = False,
    ) -> None:
        if list_models:
            _list_models(task, as_json)
            return
        if track is None:
            raise SettingError("The file to take apart is missing; --list shows the models.")
        _part(task, track, output or track.parent, model, output_format, device, as_json)

    part.__doc__ = summary
    return part


separate = _parting_command(SeparationTask.VOCALS, "Part a song into vocals and instruments.")
split_backing = _parting_command(SeparationTask.LEAD, "Part vocals into the lead and the backing voices.")
dereverb = _parting_command(SeparationTask.REVERB, "Part vocals into the dry voice and its reverb.")


def _part(
    task: SeparationTask,
    track: Path,
    folder: Path,
    model: str,
    output_format: AudioFormat,
    device: str,
    as_json: bool,
) -> None:
    from ultimate_rvc import separation
    from ultimate_rvc.audio.decode import decode_stereo
    from ultimate_rvc.audio.encode import encode

    take_apart, names = {
        SeparationTask.VOCALS: (separation.separate, ("vocals", "instrumental")),
        SeparationTask.LEAD: (separation.split_lead_backing, ("lead", "backing")),
        SeparationTask.REVERB: (separation.remove_reverb, ("dry", "reverb")),
    }[task]
    waveform, sample_rate = decode_stereo(track)
    with progress_bar() as progress:
        parts: Any = take_apart(waveform, sample_rate, model=model, progress=progress, device=device)
        written = {name: folder / f"{track.stem} ({name}).{output_format}" for name in names}
        for name, path in written.items():
            encode(path, getattr(parts, name), sample_rate)
    if as_json:
        show_json({"model": parts.model, "files": written, "warnings": list(parts.warnings)})
        return
    for path in written.values():
        show_line(str(path))


def _list_models(task: SeparationTask, as_json: bool) -> None:
    models = [model for model in SEPARATION_MODELS.values() if task in model.tasks]
    if as_json:
        show_json([{"name": m.name, "description": m.description, "bytes": m.bytes} for m in models])
        return
    show_table(
        ["model", "download", "what it is"],
        [[m.name, f"{m.bytes / 1e6:.0f} MB" if m.needs_download else "-", m.description] for m in models],
    )


def effects(
    track: Track,
    output: OutputFile,
    room_size: Annotated[float, typer.Option(help="Size of the room, 0 to 1.")] = EffectSettings.room_size,
    wet_level: Annotated[float, typer.Option(help="Level of the room, 0 to 1.")] = EffectSettings.wet_level,
    dry_level: Annotated[float, typer.Option(help="Level of the voice, 0 to 1.")] = EffectSettings.dry_level,
    damping: Annotated[float, typer.Option(help="How dull the room is, 0 to 1.")] = EffectSettings.damping,
    bitrate: options.Bitrate = None,
) -> None:
    """Add high-pass, compressor and reverb to vocals; the reverb's tail is kept."""
    settings = EffectSettings(room_size=room_size, wet_level=wet_level, dry_level=dry_level, damping=damping)
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.effects import apply_effects

    waveform, sample_rate = decode(track)
    _write(output, apply_effects(waveform, sample_rate, settings), sample_rate, bitrate)


def transpose(
    track: Track,
    semitones: Annotated[float, typer.Argument(help="Semitones, -24 to 24.")],
    output: OutputFile,
    bitrate: options.Bitrate = None,
) -> None:
    """Shift the pitch of music; its length stays."""
    check_setting("semitones", semitones, -24, 24)
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.transpose import transpose as shift

    waveform, sample_rate = decode(track)
    _write(output, shift(waveform, sample_rate, semitones), sample_rate, bitrate)


def mix(
    tracks: Annotated[list[Path], typer.Argument(help="Audio files.")],
    output: OutputFile,
    gains: Annotated[
        list[float], typer.Option("--gain", help="Gain in dB of each track, in order; left out: 0.")
    ] = [],  # noqa: B006 (Typer copies it)
    output_sr: Annotated[int, typer.Option(help="Sample rate in Hz.")] = CoverSettings.output_sr,
    bitrate: options.Bitrate = None,
) -> None:
    """Mix files into one as long as the longest, with a true-peak-safe limiter instead of clipping."""
    if gains and len(gains) != len(tracks):
        raise SettingError(f"--gain is given {len(gains)} times for {len(tracks)} tracks; give one for each.")
    check_setting("output_sr", output_sr, 8_000, 192_000)
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.mix import Track as MixTrack
    from ultimate_rvc.audio.mix import mix as mix_tracks

    gains_db = gains or [0.0] * len(tracks)
    mixed = mix_tracks(
        [MixTrack(*decode(path), gain_db) for path, gain_db in zip(tracks, gains_db, strict=True)], output_sr
    )
    _write(output, mixed, output_sr, bitrate)


def wavify(
    track: Track,
    output: Annotated[Path | None, typer.Option(help="File to write; left out: beside the input.")] = None,
) -> None:
    """Turn any file with audio in it (video too) into a wav file."""
    from ultimate_rvc.audio.decode import decode

    target = output or track.with_suffix(".wav")
    if target.resolve() == track.resolve():
        raise SettingError(f"{track} is a wav file already; name another one with --output.")
    _write(target, *decode(track), None)


def _write(path: Path, waveform: FloatArray, sample_rate: int, bitrate_kbps: int | None) -> None:
    """Write a result and name it; louder than full scale is turned down, and said."""
    from ultimate_rvc.audio.encode import encode
    from ultimate_rvc.audio.level import peak

    if (loudest := peak(waveform)) > 1:
        show_warning(f"{path.name} was turned down to full scale; it peaked at {loudest:.2f}.")
        waveform = waveform / loudest
    encode(path, waveform, sample_rate, bitrate_kbps=bitrate_kbps)
    show_line(str(path))
