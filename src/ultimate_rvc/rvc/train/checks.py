"""What is wrong with recordings, found before hours are spent on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_stereo
from ultimate_rvc.audio.level import peak, to_mono
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError, DatasetError
from ultimate_rvc.rvc.train.data_settings import PreprocessSettings, SplitMethod
from ultimate_rvc.rvc.train.dataset import Recording
from ultimate_rvc.rvc.train.slicing import FRAMES_PER_SECOND, sounding

LEAST_SECONDS = 10.0  # of sound: below it there is nothing to learn from
WANTED_SECONDS = 180.0  # below it a voice is learnt, but not all of its sounds
SILENT_PEAK = 10 ** (-60 / 20)  # nobody hears what stays below
CLIPPED_SHARE = 1e-4  # of the samples, in flat tops
FLAT_SAMPLES = 3  # equal samples at the peak, as no wave has them that was not cut off;
FLAT_SECONDS = 1 / 12_000  # at high sample rates more, since low tones turn slowly
FLAT_TOLERANCE = 4e-5  # of the peak: a step of 16 bits
QUIETEST_CLIPPED_PEAK = 0.05  # below it neighbouring samples are equal by rounding
LONGEST_PIECE_SECONDS = 30.0
LISTED_NAMES = 20
MOST_LASTING_PARTIALS = 2.0  # speech and dry singing stay below 1, music at -10 dB is above
LEAST_BANDWIDTH = 0.7  # of what the voice's sample rate can hold

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class RecordingMeasures:
    """What was found in one recording; ``fault`` says why it cannot be read, if so."""

    name: str
    sample_rate: int = 0
    seconds: float = 0.0
    sounding_seconds: float = 0.0
    peak: float = 0.0
    clipped_share: float = 0.0
    lasting_partials: float = 0.0
    bandwidth_hz: float = 0.0
    fault: str | None = None

    @property
    def is_silent(self) -> bool:
        return self.fault is None and self.peak < SILENT_PEAK


def measure_sound(name: str, waveform: FloatArray, sample_rate: int) -> RecordingMeasures:
    """How long, how loud, and how much of ``(samples,)`` sounds: what decides whether a voice can be trained."""
    loudest, seconds = peak(waveform), len(waveform) / sample_rate
    if loudest < SILENT_PEAK:
        return RecordingMeasures(name, sample_rate, seconds, peak=loudest)
    sounding_seconds = float(sounding(waveform, sample_rate).sum()) / FRAMES_PER_SECOND
    return RecordingMeasures(name, sample_rate, seconds, sounding_seconds, loudest)


def measure(name: str, waveform: FloatArray, sample_rate: int) -> RecordingMeasures:
    """Measure everything of one recording ``(samples,)``, mono and at the rate of its file."""
    # Loaded here, because scipy.signal takes longer than refusing recordings that are hopeless.
    from ultimate_rvc.rvc.train.bandwidth import bandwidth_hz
    from ultimate_rvc.rvc.train.music import SAMPLE_RATE, lasting_partials

    sound = measure_sound(name, waveform, sample_rate)
    if sound.is_silent:
        return sound
    flat_samples = max(FLAT_SAMPLES, round(FLAT_SECONDS * sample_rate))
    return replace(
        sound,
        clipped_share=_clipped_share(waveform, sound.peak, flat_samples),
        lasting_partials=lasting_partials(resample(waveform, sample_rate, SAMPLE_RATE)),
        bandwidth_hz=bandwidth_hz(waveform, sample_rate),
    )


def examine(
    recording: Recording, measured: Callable[[str, FloatArray, int], RecordingMeasures] = measure
) -> tuple[RecordingMeasures, FloatArray]:
    """The measures of a recording and its sound ``(samples,)``, of which an unreadable file has none."""
    try:
        waveform, sample_rate = decode_stereo(recording.path)
    except AudioError as error:
        return RecordingMeasures(recording.name, fault=str(error)), np.zeros(0, np.float32)
    mono = to_mono(waveform)
    return measured(recording.name, mono, sample_rate), mono


def refuse_hopeless(recordings: Sequence[Recording]) -> None:
    """Raise DatasetError where :func:`check_recordings` would refuse all of ``recordings``, but sooner.

    The shortest are listened to first, and only until there is enough sound.
    """
    measures: list[RecordingMeasures] = []
    for recording in sorted(recordings, key=Recording.seconds):
        measures.append(examine(recording, measure_sound)[0])
        if sum(found.sounding_seconds for found in measures) >= LEAST_SECONDS:
            return
    raise DatasetError(" ".join([_refusal(measures) or "", *_left_out(measures)]))


def _clipped_share(waveform: FloatArray, loudest: float, flat_samples: int) -> float:
    """Share of the samples that are part of a flat top, of at least so many samples."""
    if loudest < QUIETEST_CLIPPED_PEAK:
        return 0.0
    edge = loudest * (1 - FLAT_TOLERANCE)
    at_peak = (waveform >= edge) | (waveform <= -edge)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at_peak, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[0::2]
    return float(lengths[lengths >= flat_samples].sum() / len(waveform))


def check_recordings(measures: Sequence[RecordingMeasures], settings: PreprocessSettings) -> list[str]:
    """Warnings about recordings that are prepared with ``settings``, a sentence each.

    Raises
    ------
    DatasetError
        In sentences, when no voice can be trained on them.
    """
    warnings = _warnings(measures, settings)
    if refusal := _refusal(measures):
        raise DatasetError(" ".join([refusal, *warnings]))
    return warnings


def _refusal(measures: Sequence[RecordingMeasures]) -> str | None:
    readable = [found for found in measures if found.fault is None]
    if not readable:
        return "None of the recordings can be read."
    if all(found.is_silent for found in readable):
        return "All recordings that can be read are silent."
    seconds = sum(found.sounding_seconds for found in readable)
    if seconds < LEAST_SECONDS:
        return (
            f"The recordings hold {seconds:.1f} s of sound, too little for a voice: at least "
            f"{LEAST_SECONDS:.0f} s are needed, and 10 minutes are a good amount."
        )
    return None


def _left_out(measures: Sequence[RecordingMeasures]) -> list[str]:
    faults = [f"Left out: {found.fault}" for found in measures if found.fault is not None]
    return faults + _about([found for found in measures if found.is_silent], "silent and left out")


def _warnings(measures: Sequence[RecordingMeasures], settings: PreprocessSettings) -> list[str]:
    sample_rate = settings.sample_rate
    sound = [found for found in measures if found.fault is None and not found.is_silent]
    seconds = sum(found.sounding_seconds for found in sound)
    warnings = _left_out(measures)
    warnings += _about(
        [found for found in sound if found.clipped_share >= CLIPPED_SHARE],
        "clipped, and the voice will sound rough: record again at a lower level",
    )
    warnings += _about(
        [found for found in sound if found.lasting_partials > MOST_LASTING_PARTIALS],
        "not a voice alone, it seems: music, hum or strong reverb sounds on in the pauses, and would be "
        "learnt as part of the voice",
    )
    if LEAST_SECONDS <= seconds < WANTED_SECONDS:
        warnings.append(
            f"The recordings hold {seconds:.0f} s of sound; below {WANTED_SECONDS / 60:.0f} minutes a voice "
            "lacks many of its sounds, and 10 minutes are a good amount."
        )
    rates = sorted({found.sample_rate for found in sound})
    if len(rates) > 1:
        listed = ", ".join(f"{rate} Hz" for rate in rates)
        warnings.append(f"The recordings have different sample rates ({listed}).")
    if settings.split_method == SplitMethod.SKIP:
        warnings += _about(
            [found for found in sound if found.seconds > LONGEST_PIECE_SECONDS],
            f"longer than {LONGEST_PIECE_SECONDS:.0f} s, and will take much memory as a single piece: use "
            f"the split_method {SplitMethod.AUTOMATIC}",
        )
    narrow = [found for found in sound if found.bandwidth_hz < LEAST_BANDWIDTH * sample_rate / 2]
    if narrow:
        lowest = min(found.bandwidth_hz for found in narrow) / 1000
        warnings += _about(
            narrow,
            f"without sound above {lowest:.0f} kHz or little more, which a voice at {sample_rate} Hz will "
            "lack: use better recordings or a lower sample_rate",
        )
    return warnings


def _about(found: Sequence[RecordingMeasures], what: str) -> list[str]:
    """One sentence that names the recordings, or none."""
    if not found:
        return []
    names = ", ".join(f'"{one.name}"' for one in found[:LISTED_NAMES])
    more = f" and {len(found) - LISTED_NAMES} more" if len(found) > LISTED_NAMES else ""
    return [f"{names}{more} {'is' if len(found) == 1 else 'are'} {what}."]
