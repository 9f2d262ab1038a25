"""The steps of a cover as commands of their own: audio file in, audio file out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

    from ultimate_rvc.progress import Progress

    FloatArray = NDArray[np.float32]

Track = Annotated[Path, typer.Argument(help="Audio file.")]
OutputFolder = Annotated[
    Path | None, typer.Option("--output", help="Folder to write to; left out: beside the input.")
]
OutputFile = Annotated[Path, typer.Option("--output", help="File to write; its suffix chooses the format.")]
SeparationName = Annotated[str, typer.Option("--model", help="Separation model; --list shows them.")]
ListModels = Annotated[bool, typer.Option("--list", help="List the models and end.")]
StemFormat = Annotated[AudioFormat, typer.Option("--output-format", help="Format of the stems.")]


def separate(
    track: Annotated[Path | None, typer.Argument(help="Song.", show_default=False)] = None,
    output: OutputFolder = None,
    model: SeparationName = AUTO_MODEL,
    output_format: StemFormat = AudioFormat.WAV,
    device: options.DeviceName = Device.AUTO.value,
    list_models: ListModels = False,
    as_json: options.AsJson = False,
) -> None:
    """Part a song into vocals and instruments."""
    _part(
        SeparationTask.VOCALS,
        track,
        output,
        model,
        output_format,
        device,
        list_models,
        as_json,
    )


def split_backing(
    track: Annotated[Path | None, typer.Argument(help="Vocals.", show_default=False)] = None,
    output: OutputFolder = None,
    model: SeparationName = AUTO_MODEL,
    output_format: StemFormat = AudioFormat.WAV,
    device: options.DeviceName = Device.AUTO.value,
    list_models: ListModels = False,
    as_json: options.AsJson = False,
) -> None:
    """Part vocals into the lead and the backing voices."""
    _part(SeparationTask.LEAD, track, output, model, output_format, device, list_models, as_json)


def dereverb(
    track: Annotated[Path | None, typer.Argument(help="Vocals.", show_default=False)] = None,
    output: OutputFolder = None,
    model: SeparationName = AUTO_MODEL,
    output_format: StemFormat = AudioFormat.WAV,
    device: options.DeviceName = Device.AUTO.value,
    list_models: ListModels = False,
    as_json: options.AsJson = False,
) -> None:
    """Part vocals into the dry voice and its reverb."""
    _part(SeparationTask.REVERB, track, output, model, output_format, device, list_models, as_json)


def _part(
    task: SeparationTask,
    track: Path | None,
    output: Path | None,
    model: str,
    output_format: AudioFormat,
    device: str,
    list_models: bool,
    as_json: bool,
) -> None:
    if list_models:
        _list_models(task, as_json)
        return
    if track is None:
        raise SettingError("The file to take apart is missing; --list shows the models.")
    from ultimate_rvc.audio.encode import encode

    with progress_bar() as progress:
        stems, sample_rate, used, warnings = _run(task, track, model, device, progress)
        folder = output or track.parent
        written = {}
        for name, waveform in stems.items():
            path = folder / f"{track.stem} ({name}).{output_format}"
            encode(path, waveform, sample_rate)
            written[name] = str(path)
    if as_json:
        show_json({"model": used, "files": written, "warnings": list(warnings)})
        return
    for file in written.values():
        show_line(file)


def _run(
    task: SeparationTask, track: Path, model: str, device: str, progress: Progress
) -> tuple[dict[str, FloatArray], int, str, tuple[str, ...]]:
    """The stems of one file by name, their rate, the model that was used and its warnings."""
    from ultimate_rvc.audio.decode import decode_stereo
    from ultimate_rvc.separation import remove_reverb, separate, split_lead_backing

    waveform, sample_rate = decode_stereo(track)
    if task is SeparationTask.VOCALS:
        song = separate(waveform, sample_rate, model=model, progress=progress, device=device)
        return (
            {"vocals": song.vocals, "instrumental": song.instrumental},
            sample_rate,
            song.model,
            song.warnings,
        )
    if task is SeparationTask.LEAD:
        voices = split_lead_backing(waveform, sample_rate, model=model, progress=progress, device=device)
        return {"lead": voices.lead, "backing": voices.backing}, sample_rate, voices.model, voices.warnings
    dried = remove_reverb(waveform, sample_rate, model=model, progress=progress, device=device)
    return {"dry": dried.dry, "reverb": dried.reverb}, sample_rate, dried.model, dried.warnings


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
