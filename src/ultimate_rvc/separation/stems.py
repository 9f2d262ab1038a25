"""Taking a song apart: vocals and instrumental, lead and backing, dry and reverb.

Each of the three functions takes a model by name (``SEPARATION_MODELS``); ``auto`` is the neural
default when it is present or can be downloaded, else signal processing, with a warning. What is
not extracted is the input minus the extracted part, so the parts always add up to the input.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import AudioError
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.checks import check_stems
from ultimate_rvc.separation.choose import Choice, choose
from ultimate_rvc.separation.models import AUTO_MODEL, STEP_NAMES, Effort, SeparationTask

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Stems:
    """A song's vocals and the rest, each of the song's shape ``(channels, samples)``.

    ``model`` names what separated them; ``warnings`` holds one sentence per doubt.
    """

    vocals: FloatArray
    instrumental: FloatArray
    sample_rate: int
    model: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeadBacking:
    """Lead and backing vocals, each of the shape of the vocals."""

    lead: FloatArray
    backing: FloatArray
    sample_rate: int
    model: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DryVocals:
    """Vocals without their reverb, and that reverb."""

    dry: FloatArray
    reverb: FloatArray
    sample_rate: int
    model: str
    warnings: tuple[str, ...] = ()


def separate(
    waveform: FloatArray,
    sample_rate: int,
    *,
    model: str = AUTO_MODEL,
    progress: Progress | None = None,
    device: str = "auto",
    effort: Effort | None = None,
) -> Stems:
    """Separate a song into vocals and instrumental.

    Parameters
    ----------
    waveform
        Shape ``(channels, samples)``, one or two channels.
    sample_rate
        In Hz; kept. Models that work at another rate are fed a resampled copy.
    model
        ``auto``, a name of ``SEPARATION_MODELS``, a name of pymss's catalog, or a checkpoint file
        (in ``models/separation`` or by path), with its YAML beside it unless it is a known MDX-Net.
    progress
        Receives the step ``separate``; may cancel.
    device
        ``auto``, ``mps``, ``cuda`` or ``cpu``; signal processing always runs on the CPU.
    effort
        How much a network computes; left out: its author's overlap.

    Returns
    -------
    Stems
        ``vocals + instrumental`` is the input.

    Raises
    ------
    SeparationError
        Unknown model, or one that cannot be loaded or run.
    AssetMissingError, DownloadError
        A model named explicitly whose file is absent and cannot be fetched.
    AudioError
        Audio that is empty, not finite, or has more than two channels.
    """
    song = _checked(waveform)
    vocals, choice = _extract(SeparationTask.VOCALS, song, sample_rate, model, progress, device, effort)
    instrumental = song - vocals
    problems = check_stems(song, vocals, instrumental, sample_rate)
    return Stems(vocals, instrumental, sample_rate, choice.name, _told(*choice.warnings, *problems))


def split_lead_backing(
    vocals: FloatArray,
    sample_rate: int,
    *,
    model: str = AUTO_MODEL,
    progress: Progress | None = None,
    device: str = "auto",
    effort: Effort | None = None,
) -> LeadBacking:
    """Split vocals ``(channels, samples)`` into the lead and the backing voices, which add up to them.

    Parameters, errors and the meaning of ``model`` are those of :func:`separate`. Signal processing
    takes the centre of the stereo picture as the lead; mono vocals are all lead, with a warning.
    """
    voices = _checked(vocals)
    lead, choice = _extract(SeparationTask.LEAD, voices, sample_rate, model, progress, device, effort)
    return LeadBacking(lead, voices - lead, sample_rate, choice.name, _told(*choice.warnings))


def remove_reverb(
    vocals: FloatArray,
    sample_rate: int,
    *,
    model: str = AUTO_MODEL,
    progress: Progress | None = None,
    device: str = "auto",
    effort: Effort | None = None,
) -> DryVocals:
    """Part vocals ``(channels, samples)`` into the dry voice and its late reverb, which add up to them.

    Parameters, errors and the meaning of ``model`` are those of :func:`separate`.
    """
    voices = _checked(vocals)
    dry, choice = _extract(SeparationTask.REVERB, voices, sample_rate, model, progress, device, effort)
    return DryVocals(dry, voices - dry, sample_rate, choice.name, _told(*choice.warnings))


def _extract(
    task: SeparationTask,
    waveform: FloatArray,
    sample_rate: int,
    model: str,
    progress: Progress | None,
    device: str,
    effort: Effort | None,
) -> tuple[FloatArray, Choice]:
    progress = progress or Progress()
    choice = choose(model, task, progress)
    if choice.files is not None:
        from ultimate_rvc.separation.neural import extract

        return extract(choice.files, task, waveform, sample_rate, progress, device, effort), choice
    if task is SeparationTask.LEAD and not _has_width(waveform):
        mono = "These vocals are mono, which signal processing cannot split: all of them count as lead."
        return waveform.copy(), replace(choice, warnings=(*choice.warnings, mono))
    from ultimate_rvc.separation.dsp import lead, reverb, spectrum, vocals

    extract_block = {
        SeparationTask.VOCALS: vocals.extract_vocals,
        SeparationTask.LEAD: lead.extract_lead,
        SeparationTask.REVERB: reverb.extract_dry,
    }[task]
    step_name = STEP_NAMES[task]
    return spectrum.extract_in_blocks(waveform, sample_rate, extract_block, progress, step_name), choice


def _checked(waveform: FloatArray) -> FloatArray:
    audio = np.atleast_2d(np.asarray(waveform, dtype=np.float32))
    if audio.ndim != 2 or audio.shape[-1] == 0 or audio.shape[0] == 0:
        raise AudioError("There is no audio to separate: the input is empty.")
    if audio.shape[0] > 2:
        raise AudioError(
            f"Separation takes mono or stereo, not {audio.shape[0]} channels: mix the song to stereo first."
        )
    if not np.isfinite(audio).all():
        raise AudioError("The audio to separate has samples that are not numbers: decode or export it again.")
    return audio


def _has_width(voices: FloatArray) -> bool:
    return voices.shape[0] == 2 and not np.array_equal(voices[0], voices[1])


def _told(*warnings: str) -> tuple[str, ...]:
    for warning in warnings:
        log.warning("%s", warning)
    return warnings
