"""``urvc live``: a voice converted while it speaks, from a microphone to loudspeakers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_table, show_warning
from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.outputs import Outputs, Placed, Target
from ultimate_rvc.rvc.infer.live_recording import RECORDING_SUFFIX, LiveRecording
from ultimate_rvc.rvc.infer.live_settings import NOT_LIVE, LiveSettings, changed, live_settings

if TYPE_CHECKING:
    from ultimate_rvc.cli.live_sound import LiveState, LiveStates
    from ultimate_rvc.rvc.infer.live import LiveConverter

app = typer.Typer(add_completion=False)


@app.command()
@options.takes(LiveSettings, leave_out=[f"conversion.{name}" for name in NOT_LIVE])
@options.takes_optimization
def live(
    asked: Mapping[str, Any],
    switches: Mapping[str, Any],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            "--voice",
            help="Voice: a name in the library, or a .pth, .safetensors or .onnx file.",
        ),
    ] = None,
    input_device: Annotated[
        str | None, typer.Option(help="Microphone: a number or part of a name; left out: the system's.")
    ] = None,
    output_device: Annotated[
        str | None, typer.Option(help="Loudspeakers: a number or part of a name; left out: the system's.")
    ] = None,
    reserve_ms: Annotated[
        int,
        typer.Option(help="Sound kept back for blocks that take longer; part of the delay.", min=0, max=1000),
    ] = 50,
    from_file: Annotated[
        Path | None, typer.Option(help="Take a file instead of a microphone, and play nothing.")
    ] = None,
    real_time: Annotated[
        bool, typer.Option(help="Let a file come at its own pace, or else as fast as it can be converted.")
    ] = True,
    record: Annotated[Path | None, typer.Option(help="Write what the voice says to a new .wav file.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List sound devices and end.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Convert a voice while it speaks, until Ctrl-C. Use headphones: a microphone hears loudspeakers.

    While it runs, type the name of a setting and a value to change it, such as "index_rate 0.5" or "f0_methods fcpe".

    Example: urvc live --model "my voice" --n-semitones 12 --record take.wav
    """
    if list_devices:
        _show_devices(as_json)
        return
    from ultimate_rvc.cli.live_sound import DEVICE_RATE, SoundJob, from_devices, sound_library
    from ultimate_rvc.cli.live_sound import from_file as from_this_file
    from ultimate_rvc.switches import resolve_config
    from ultimate_rvc.voices.finding import find_voice
    from ultimate_rvc.voices.live import open_live
    from ultimate_rvc.work.settings_parts import conversion_for

    name = options.one_of("--model", model, None, "a voice's name, or a .pth, .safetensors or .onnx file")
    voice = find_voice(name)
    settings = live_settings(asked, conversion_for(name, asked.get("conversion", {})))
    resolved = resolve_config(switches, argument_names=options.SWITCH_FLAGS)
    resolved.log_warnings()
    target = None if record is None else _target(record, (voice.model_path, voice.index_path, from_file))
    if from_file is None:
        sound_library()  # before a voice is loaded for nothing
    converter = open_live(voice, settings, resolved.config, input_rate=DEVICE_RATE, output_rate=DEVICE_RATE)
    recording = None if target is None else LiveRecording(target, DEVICE_RATE)
    job = SoundJob(converter, None if recording is None else recording.write, reserve_ms)
    if from_file is None:
        states = from_devices(job, input_device, output_device)
    else:
        states = from_this_file(job, from_file, real_time=real_time)
    try:
        state = _watch(states, converter)
    finally:  # what was said until then is kept, whatever ended it
        placed = None if recording is None else recording.finish()
    _show_end(state, converter, placed, as_json)


def _target(record: Path, inputs: Iterable[Path | None]) -> Target:
    """Where a recording goes: a file that is not there yet."""
    if record.suffix.lower() != RECORDING_SUFFIX:
        raise SettingError(f"--record {record.name} should end in {RECORDING_SUFFIX}.")
    if record.exists():
        raise SettingError(f"--record {record} is there already; give another name.")
    return Outputs(inputs, overwrite=False).named_file(record, "--record")


def _watch(states: LiveStates, converter: LiveConverter) -> LiveState | None:
    """Show states until there are no more, or the user ends it; returns the last one."""
    state = None
    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_follow_keyboard, args=(converter,), daemon=True).start()
    is_terminal = sys.stderr.isatty()
    try:
        for state in states:
            if is_terminal:
                sys.stderr.write(f"\r{_status(state)}  ")
                sys.stderr.flush()
    except KeyboardInterrupt:
        pass
    finally:
        states.close()
        if is_terminal:
            sys.stderr.write("\n")
    return state


def _status(state: LiveState) -> str:
    return (
        f"delay {state.delay_seconds * 1000:.0f} ms, load {state.figures.load:.0%}, "
        f"drop-outs {state.drop_outs}"
    )


def _follow_keyboard(converter: LiveConverter) -> None:
    for line in sys.stdin:
        name, _, text = line.strip().replace("=", " ").partition(" ")
        if not name:
            continue
        try:
            converter.change(changed(converter.conversion, name.replace("-", "_"), text.strip()))
        except UltimateRVCError as error:
            show_warning(str(error))


def _show_devices(as_json: bool) -> None:
    from ultimate_rvc.cli.live_sound import devices

    found = devices()
    if as_json:
        show_json(found)
        return
    rows = [[str(device[key]) for key in ("number", "name", "inputs", "outputs")] for device in found]
    show_table(["number", "name", "inputs", "outputs"], rows)


def _show_end(
    state: LiveState | None, converter: LiveConverter, placed: Placed | None, as_json: bool
) -> None:
    if as_json:
        show_json(
            {
                "blocks": state.figures.blocks if state else 0,
                "load": state.figures.load if state else 0.0,
                "highest_load": state.figures.highest_load if state else 0.0,
                "drop_outs": state.drop_outs if state else 0,
                "skipped_blocks": state.figures.skipped if state else 0,
                "latency_seconds": converter.latency_seconds,
                "delay_seconds": state.delay_seconds if state else None,
                "recording": placed.path if placed else None,
            }
        )
        return
    if state is not None:
        show_line(_status(state))
    if placed is not None:
        show_line(f"recorded {placed.path}")
