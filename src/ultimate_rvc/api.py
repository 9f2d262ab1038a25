"""The Python door: the same functions as the command line, on text and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from ultimate_rvc.speech.reading import Reader, nothing_to_read, read_aloud, read_pieces
from ultimate_rvc.speech.script import Chapter, joined
from ultimate_rvc.speech.streaming import portions
from ultimate_rvc.switches import OptimizationConfig, resolve_config
from ultimate_rvc.voices.library import find_voice

FloatArray = NDArray[np.float32]

WARM_UP_RATE = 16_000  # samples, so a second


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
        A voice of the library, or a ``.pth``, ``.safetensors`` or ``.onnx`` file.
    index_path : path, optional
        An index file to use instead of the voice's own.
    device : str
        ``auto``, ``mps``, ``cuda``, ``cuda:N``, ``cpu``, or several of one kind, such as ``cuda:0,cuda:1``.
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
    pipeline, chosen = _opened(model, index_path, device, optimization, settings)
    waveform, sample_rate = decode(Path(source)) if isinstance(source, (str, Path)) else source
    return pipeline.convert(np.asarray(waveform, np.float32), sample_rate, chosen, progress)


def speak(
    text: str,
    voice: str | Path | None = None,
    *,
    engine: str = SpeechEngineName.AUTO,
    speaker: str | None = None,
    language: str | None = None,
    rate: float = 1.0,
    consent: bool = False,
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
    consent : bool
        Say, once on a machine, that a person whose recording is the speaker has agreed.
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
    progress = progress or Progress()
    reader = _reader(engine, speaker, language, rate, consent, conversion)
    speech = read_aloud(joined(chapters_of(text)), reader, progress)
    spoken = speech.waveform, speech.sample_rate
    return spoken if voice is None else convert(spoken, voice, progress=progress, **conversion)


def speak_stream(
    text: str,
    voice: str | Path | None = None,
    *,
    engine: str = SpeechEngineName.AUTO,
    speaker: str | None = None,
    language: str | None = None,
    rate: float = 1.0,
    consent: bool = False,
    progress: Progress | None = None,
    **conversion: Any,
) -> Iterator[tuple[FloatArray, int]]:
    """As :func:`speak`, in portions to play one after the other: the first after a second or two of speech.

    The voice is loaded, and the settings are checked, when this is called; each portion is made when it is asked for.
    Portions grow up to 30 seconds, and end in pauses; the first ends in a gap between words where there is one. Times
    of subtitles are not kept.

    Yields
    ------
    waveform : float32, shape (samples,)
    sample_rate : int
        The same for all, in Hz.

    Raises
    ------
    UltimateRVCError
        As :func:`speak`; also while portions are made.

    Examples
    --------
    >>> for waveform, rate in ultimate_rvc.speak_stream("Good morning!", "starter"):  # doctest: +SKIP
    ...     play(waveform, rate)
    """
    progress = progress or Progress()
    reader = _reader(engine, speaker, language, rate, consent, conversion)
    chapter = joined(chapters_of(text))
    reader.check(chapter)
    opened = None
    if voice is not None:
        given = dict(conversion)
        place = {"index_path": None, "device": Device.AUTO, "optimization": None}
        chosen = {name: given.pop(name, usual) for name, usual in place.items()}
        opened = _opened(voice, **chosen, settings=given)
        _warm_up(*opened)
    return _portions(reader, chapter, opened, progress)


def _warm_up(pipeline: Pipeline, settings: ConversionSettings) -> None:
    """Wait now for what a first conversion loads and compiles, not before the first word."""
    noise = np.random.default_rng(0).normal(0, 0.05, WARM_UP_RATE)
    pipeline.convert(noise.astype(np.float32), WARM_UP_RATE, settings)


def _portions(
    reader: Reader, chapter: Chapter, opened: tuple[Pipeline, ConversionSettings] | None, progress: Progress
) -> Iterator[tuple[FloatArray, int]]:
    is_silent = True
    for portion in portions(read_pieces(chapter, reader, progress)):
        is_silent = False
        if opened is None:
            yield portion, reader.sample_rate
        else:
            pipeline, settings = opened
            yield pipeline.convert(portion, reader.sample_rate, settings, progress)
    if is_silent:
        raise nothing_to_read(reader)


def _reader(
    engine: str,
    speaker: str | None,
    language: str | None,
    rate: float,
    consent: bool,
    conversion: Mapping[str, Any],
) -> Reader:
    check_range("rate", rate, 0.5, 2.0)
    if engine not in list(SpeechEngineName):
        raise SettingError(f"engine is {engine!r}; choose from {', '.join(SpeechEngineName)}.", "engine")
    seed = conversion.get("seed", ConversionSettings.seed)
    cast = choose(SpeechEngineName(engine), speaker, language)
    return Reader(cast, rate, seed, has_consent=consent)


def _opened(
    model: str | Path,
    index_path: str | Path | None,
    device: str,
    optimization: OptimizationConfig | Mapping[str, Any] | None,
    settings: dict[str, Any],
) -> tuple[Pipeline, ConversionSettings]:
    """A voice, and the settings with what its preset adds."""
    _check_names(settings)
    voice = find_voice(str(model))
    chosen = ConversionSettings(**voice.preset.fill(settings))
    pipeline = Pipeline.open(
        voice.model_path,
        chosen,
        index_path=Path(index_path) if index_path is not None else voice.index_path,
        device=device,
        optimization=_optimization(device, optimization),
    )
    return pipeline, chosen


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
