"""The Python door: the same functions as the command line, on text and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.choices import Device, SpeechEngineName
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import nearest
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.settings import check_range, settings_of
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.documents import chapters_of
from ultimate_rvc.speech.reading import Reader, read_aloud
from ultimate_rvc.speech.script import joined
from ultimate_rvc.switches import OptimizationConfig, resolve_config
from ultimate_rvc.voices.library import find_voice

FloatArray = NDArray[np.float32]


def convert(
    source: str | Path | tuple[FloatArray, int],
    model: str | Path,
    *,
    index_path: str | Path | None = None,
    device: str = Device.AUTO,
    optimization: OptimizationConfig | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> tuple[FloatArray, int]:
    """Convert speech or singing to the voice ``model``.

    Parameters
    ----------
    source : path, or (waveform, sample_rate)
        Any file with audio, or float samples of shape (samples,) or (channels, samples) in [-1, 1].
    model : name or path
        A voice of the library, or a ``.pth`` or ``.safetensors`` file.
    index_path : path, optional
        An index file to use instead of the voice's own.
    device : str
        ``auto``, ``mps``, ``cuda``, ``cuda:N`` or ``cpu``.
    optimization : OptimizationConfig or mapping, optional
        How to compute: a whole configuration, taken as it is, or some of its fields, such as
        ``{"use_fp16": False}``, which go before environment, settings file and hardware.
    progress : Progress, optional
        Reports steps; its ``cancel`` ends the work.
    **settings
        Fields of :class:`~ultimate_rvc.rvc.infer.settings.ConversionSettings`,
        such as ``n_semitones=12`` or ``index_rate=0.5``; the voice's preset stands in for those left out.

    Returns
    -------
    waveform : float32, shape (samples,)
        As long as the source, within one sample.
    sample_rate : int
        The voice's, in Hz.

    Raises
    ------
    UltimateRVCError
        One of its kinds, with one sentence that names the file or setting and the way out.

    Examples
    --------
    >>> import ultimate_rvc
    >>> song, rate = ultimate_rvc.convert("speech.wav", "my voice", n_semitones=12)  # doctest: +SKIP
    """
    _check_names(settings)
    voice = find_voice(str(model))
    chosen = ConversionSettings(**voice.preset.fill(settings))
    waveform, sample_rate = decode(Path(source)) if isinstance(source, (str, Path)) else source
    pipeline = Pipeline.open(
        voice.model_path,
        chosen,
        index_path=Path(index_path) if index_path is not None else voice.index_path,
        device=device,
        optimization=_optimization(device, optimization),
    )
    return pipeline.convert(np.asarray(waveform, np.float32), sample_rate, chosen, progress)


def speak(
    text: str,
    voice: str | Path | None = None,
    *,
    engine: str = SpeechEngineName.AUTO,
    speaker: str | None = None,
    language: str | None = None,
    rate: float = 1.0,
    progress: Progress | None = None,
    **conversion: Any,
) -> tuple[FloatArray, int]:
    """Read ``text`` aloud and let ``voice`` say it.

    Parameters
    ----------
    text : str
        Plain text, SSML (it begins with ``<speak>``) or subtitles in SubRip or WebVTT, which are said at their times.
    voice : name or path, optional
        As ``model`` of :func:`convert`; left out: as the engine's speaker reads it.
    engine : str
        ``auto``, ``hibari`` or ``system``; ``urvc speech engines`` lists them.
    speaker : str, optional
        Who reads, by the engine's name; it decides the language.
    language : str, optional
        Such as ``en-GB``: the engine's first speaker of it reads.
    rate : float
        Pace, 0.5 to 2.
    **conversion
        What :func:`convert` takes, such as ``n_semitones`` or ``device``; its ``seed`` is the engine's as well.

    Returns
    -------
    waveform : float32, shape (samples,)
    sample_rate : int
        The voice's, or the engine's without a voice, in Hz.

    Raises
    ------
    UltimateRVCError
        One of its kinds, with one sentence that names the setting and the way out.

    Examples
    --------
    >>> import ultimate_rvc
    >>> speech, rate = ultimate_rvc.speak("Good morning!", "starter")  # doctest: +SKIP
    """
    check_range("rate", rate, 0.5, 2.0)
    if engine not in list(SpeechEngineName):
        raise SettingError(f"engine is {engine!r}; choose from {', '.join(SpeechEngineName)}.", "engine")
    progress = progress or Progress()
    seed = conversion.get("seed", ConversionSettings.seed)
    reader = Reader(choose(SpeechEngineName(engine), speaker, language), rate, seed)
    speech = read_aloud(joined(chapters_of(text)), reader, progress)
    spoken = speech.waveform, speech.sample_rate
    return spoken if voice is None else convert(spoken, voice, progress=progress, **conversion)


def _optimization(
    device: str, given: OptimizationConfig | Mapping[str, Any] | None
) -> OptimizationConfig | None:
    if not isinstance(given, Mapping):
        return given
    resolved = resolve_config({"device": device, **given})
    resolved.log_warnings()
    return resolved.config


def _check_names(settings: dict[str, Any]) -> None:
    known = settings_of(ConversionSettings)
    for name in settings:
        if name not in known:
            raise SettingError(f"There is no setting {name!r}; {nearest(name, known)}")
