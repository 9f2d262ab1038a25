"""Where the sound of ``urvc live`` comes from and goes to: a sound card, or a file at its own pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.errors import AudioError, first_line
from ultimate_rvc.rvc.infer.live import LiveConverter
from ultimate_rvc.rvc.infer.live_session import LiveFigures, LiveSession, LoadMeter, Outlet

DEVICE_RATE = 48_000  # what nearly all sound cards run at
DEVICE_BLOCK = DEVICE_RATE // 100  # in which a sound card gives and takes: small, as each adds to the delay
SHOW_SECONDS = 0.5
HOW_TO_GET_IT = "run pip install sounddevice, on Linux also apt install libportaudio2, or convert a file"

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class LiveState:
    """What a person sees while it runs, and at the end."""

    figures: LiveFigures
    delay_seconds: float
    """From a sound that comes to the same one that goes: algorithm, computing, and what is kept back."""
    drop_outs: int


LiveStates = Generator[LiveState, None, None]


@dataclass(frozen=True)
class SoundJob:
    """A conversion with somewhere for its sound to go."""

    converter: LiveConverter
    record: Callable[[FloatArray], None] | None
    reserve_ms: int
    """Sound kept back for blocks that take longer than usual."""

    def outlet(self) -> Outlet:
        block = round(self.converter.block_seconds * DEVICE_RATE)
        return Outlet(block, self.reserve_ms * DEVICE_RATE // 1000)

    def state(self, figures: LiveFigures, drop_outs: int, device_seconds: float = 0.0) -> LiveState:
        computing = figures.load * self.converter.block_seconds
        kept = self.reserve_ms / 1000 + device_seconds
        return LiveState(
            figures, self.converter.latency_seconds + computing + kept, drop_outs + figures.skipped
        )


def sound_library() -> Any:
    """The module ``sounddevice``.

    Raises
    ------
    AudioError
        It is not installed, or finds no PortAudio.
    """
    try:
        return import_module("sounddevice")
    except (ImportError, OSError) as error:  # the latter where PortAudio is missing
        missing = "sounddevice" if isinstance(error, ImportError) else "PortAudio"
        raise AudioError(
            f"{missing} is missing, without which no sound card can be used; {HOW_TO_GET_IT}."
        ) from None


def devices() -> list[dict[str, Any]]:
    """All devices: number, name, and how many channels come in and go out."""
    return [
        {
            "number": number,
            "name": device["name"],
            "inputs": device["max_input_channels"],
            "outputs": device["max_output_channels"],
        }
        for number, device in enumerate(sound_library().query_devices())
    ]


def from_devices(job: SoundJob, input_device: str | None, output_device: str | None) -> LiveStates:
    """From microphone to loudspeaker for as long as the states are asked for, twice a second.

    Raises
    ------
    AudioError
        There is no such device, or it cannot be opened.
    """
    sound = sound_library()
    outlet = job.outlet()
    session = LiveSession(job.converter, outlet.put, job.record)
    faults = 0

    def on_sound(heard: FloatArray, played: FloatArray, frames: int, times: Any, status: Any) -> None:
        nonlocal faults
        faults += bool(status)
        session.put(heard[:, 0].copy())
        played[:] = outlet.take(frames)[:, None]

    try:
        with sound.Stream(
            samplerate=DEVICE_RATE,
            blocksize=DEVICE_BLOCK,
            device=(_number_or_name(input_device), _number_or_name(output_device)),
            channels=1,
            dtype="float32",
            callback=on_sound,
        ) as stream:
            while True:
                session.check()
                time.sleep(SHOW_SECONDS)
                yield job.state(session.figures(), outlet.drop_outs + faults, sum(stream.latency))
    except (sound.PortAudioError, ValueError) as error:  # the latter for names of no device, or of several
        raise AudioError(f"The sound card cannot be used: {first_line(error)}") from error
    finally:
        session.close()


def _number_or_name(device: str | None) -> int | str | None:
    return int(device) if device is not None and device.isdecimal() else device


def from_file(job: SoundJob, path: Path, *, real_time: bool) -> LiveStates:
    """A file through the same path, and silence until its end has come out; a state now and then.

    In real time it goes through the same thread as a sound card, and what comes late is counted; else one block
    follows the other.

    Raises
    ------
    AudioError
        The file cannot be read.
    """
    waveform = decode_mono(path, job.converter.input_rate)
    size = job.converter.block_samples
    behind = round(job.converter.latency_seconds * job.converter.input_rate)
    padded = np.pad(waveform, (0, behind + -(len(waveform) + behind) % size))
    return _in_real_time(job, padded) if real_time else _as_fast_as_possible(job, padded)


def _as_fast_as_possible(job: SoundJob, waveform: FloatArray) -> LiveStates:
    meter = LoadMeter(job.converter.block_seconds)
    for block in waveform.reshape(-1, job.converter.block_samples):
        began = time.perf_counter()
        converted = job.converter.convert_block(block)
        meter.note(time.perf_counter() - began)
        if job.record is not None:
            job.record(converted)
        yield job.state(meter.figures(), 0)


def _in_real_time(job: SoundJob, waveform: FloatArray) -> LiveStates:
    outlet = job.outlet()
    session = LiveSession(job.converter, outlet.put, job.record)
    began = time.perf_counter()
    shown = 0.0
    try:
        for start in range(0, len(waveform), DEVICE_BLOCK):
            passed = start / DEVICE_RATE
            time.sleep(max(0.0, began + passed - time.perf_counter()))
            session.put(waveform[start : start + DEVICE_BLOCK])
            outlet.take(DEVICE_BLOCK)
            session.check()
            if passed - shown >= SHOW_SECONDS:
                shown = passed
                yield job.state(session.figures(), outlet.drop_outs)
    finally:
        session.close()
    session.check()
    yield job.state(session.figures(), outlet.drop_outs)
