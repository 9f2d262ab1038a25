"""THE path: audio in, converted audio out.

high-pass -> chunks -> f0 -> content features -> retrieval -> synthesizer -> join -> level

Written to be read in one sitting; details live one call down. The algorithm is RVC's
(retrieval-based voice conversion); where this differs on purpose, a comment says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.audio.level import match_level, to_mono
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.choices import Device, F0Method
from ultimate_rvc.errors import (
    AudioError,
    EncoderMismatchError,
    OutOfMemoryError,
    SettingError,
    VoiceFileError,
)
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.checkpoint import VoiceModel, load_voice_model
from ultimate_rvc.rvc.content import ContentEncoder, load_content_encoder
from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner
from ultimate_rvc.rvc.infer.devices import is_out_of_memory, release_cached_memory, resolve_device
from ultimate_rvc.rvc.infer.encoder_choice import choose_encoder
from ultimate_rvc.rvc.infer.optimization.config import OptimizationConfig, config_for
from ultimate_rvc.rvc.infer.optimization.filters import ScipyHighpass, TorchHighpass, ZeroPhaseFilter
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.optimization.retrieval import Retriever, open_retriever
from ultimate_rvc.rvc.infer.optimization.vocoder_tiles import render_for_device
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.pitch import PitchMethod, extract_f0, load_pitch_methods
from ultimate_rvc.rvc.pitch.curve import autotune, coarse_pitch, proposed_shift, transpose_f0

log = logging.getLogger(__name__)

INPUT_PEAK = 0.95  # louder input is turned down to this before anything else, as in RVC
OUTPUT_PEAK = 0.99
VOICED_ABOVE_HZ = 1.0  # "protect" takes frames below this as unvoiced
FEATURE_REPEAT = 2  # content frames come at 50 Hz, the synthesizer runs at 100 Hz
F0_CHUNK_SECONDS = 60.0

FloatArray = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class _Source:
    """What is known of one input before its chunks are converted."""

    waveform_16k: FloatArray  # high-passed, not padded
    padded: torch.Tensor  # with context at both ends, on the device
    f0_hz: torch.Tensor | None  # of the padded audio, shifted; None for voices without f0
    settings: ConversionSettings


class Pipeline:
    """One voice with its encoder, index and pitch methods, loaded once for any number of inputs.

    ``optimization`` says how it is computed (left out: the plain reference), never what. ``profiler``
    holds the times of all conversions so far when the configuration asks for them.
    """

    def __init__(
        self,
        voice: VoiceModel,
        encoder: ContentEncoder,
        *,
        retriever: Retriever | None = None,
        device: torch.device,
        optimization: OptimizationConfig | None = None,
    ) -> None:
        self.voice = voice
        self.encoder = encoder
        self.retriever = retriever
        self.device = device
        self.optimization = optimization or OptimizationConfig()
        self.profiler = PerformanceProfiler(self.optimization.enable_profiling, device)
        self._highpass: ZeroPhaseFilter = (
            TorchHighpass(device) if self.optimization.use_gpu_filter else ScipyHighpass()
        )
        self._pitch_methods: dict[tuple[F0Method, ...], PitchMethod] = {}

    @classmethod
    def open(
        cls,
        model_path: Path,
        settings: ConversionSettings,
        *,
        index_path: Path | None = None,
        device: str = Device.AUTO,
        optimization: OptimizationConfig | None = None,
    ) -> Pipeline:
        """Load a voice file, its index if given, and the content encoder it was trained with.

        Without ``optimization`` the one that environment, settings file and hardware ask for is in force.

        Raises
        ------
        VoiceFileError, EncoderMismatchError, AssetMissingError, SettingError
            For a file that is no voice, an encoder the voice was not trained with, an encoder that
            is not on this machine, a device that is not there.
        """
        optimization = config_for(device, optimization)
        torch_device = resolve_device(optimization.device)
        voice = load_voice_model(model_path, torch_device)
        _check_frame_rate(voice, model_path.name)
        encoder = _load_encoder(voice, settings, torch_device, model_path.name)
        retriever = None
        if index_path is not None:
            search_device = torch_device if optimization.use_gpu_retrieval else None
            retriever = open_retriever(index_path, search_device)
            _check_index(retriever, index_path, voice, model_path.name)
        return cls(voice, encoder, retriever=retriever, device=torch_device, optimization=optimization)

    @torch.inference_mode()
    def convert(
        self,
        waveform: FloatArray,
        sample_rate: int,
        settings: ConversionSettings,
        progress: Progress | None = None,
    ) -> tuple[FloatArray, int]:
        """Convert ``waveform`` to the voice.

        Parameters
        ----------
        waveform : float32, shape (samples,) or (channels, samples)
            Channels are averaged.
        sample_rate : int
            Of ``waveform``, in Hz.

        Returns
        -------
        waveform : float32, shape (samples,)
            As long as the input, within one sample.
        sample_rate : int
            The voice's.

        Raises
        ------
        AudioError
            If the input is empty or holds numbers that are not finite.
        """
        progress = progress or Progress()
        self._check_speaker(settings)
        output_samples = round(waveform.shape[-1] * self.voice.sample_rate / sample_rate)
        source = self._prepare(waveform, sample_rate, settings, progress)
        converted = self._convert_chunks(source, progress)[:output_samples].cpu().numpy()
        with self.profiler.stage("level"):
            converted = self._finish(converted, source)
        self.profiler.audio_seconds += waveform.shape[-1] / sample_rate
        self.profiler.log()
        return converted, self.voice.sample_rate

    def _finish(self, converted: FloatArray, source: _Source) -> FloatArray:
        """Noise, level curve and peak of the converted waveform."""
        settings = source.settings
        if settings.clean_voice:
            converted = _reduce_noise(converted, self.voice.sample_rate, settings.clean_strength)
        if settings.rms_mix_rate != 1:
            converted = match_level(
                source.waveform_16k, converted, self.voice.sample_rate, settings.rms_mix_rate, out=converted
            )
        return _limit_peak(converted, OUTPUT_PEAK, out=converted)

    def _check_speaker(self, settings: ConversionSettings) -> None:
        speakers = self.voice.synthesizer.config.speakers
        if settings.sid >= speakers:
            raise SettingError(f"--sid is {settings.sid}, but this voice has speakers 0 to {speakers - 1}.")

    def _prepare(
        self, waveform: FloatArray, sample_rate: int, settings: ConversionSettings, progress: Progress
    ) -> _Source:
        """Filter, pad, move to the device, find f0."""
        if waveform.shape[-1] == 0:
            raise AudioError("There is no audio to convert: it has no samples.")
        if not np.isfinite(waveform).all():
            raise AudioError(
                "The audio holds samples that are not numbers (NaN or infinite); export it again."
            )
        with self.profiler.stage("resample"):
            mono = resample(to_mono(waveform), sample_rate, chunking.SAMPLE_RATE)
        if len(mono) == 0:
            raise AudioError(
                f"The audio is too short to convert: {waveform.shape[-1]} samples at {sample_rate} Hz."
            )
        with self.profiler.stage("filter"):
            filtered = self._highpass.apply(torch.from_numpy(_limit_peak(mono, INPUT_PEAK)).to(self.device))
            padded = chunking.pad_for_windows(filtered)
        with self.profiler.stage("f0"):
            f0_hz = self._find_f0(padded, settings, progress) if self.voice.has_f0 else None
        # Cuts and level are found on the host.
        return _Source(filtered.cpu().numpy(), padded, f0_hz, settings)

    def _find_f0(
        self, padded: torch.Tensor, settings: ConversionSettings, progress: Progress
    ) -> torch.Tensor:
        """f0 of the padded audio in Hz at 100 Hz, transposed and tuned; 0 where unvoiced."""
        method = self._pitch_methods.get(settings.f0_methods)
        if method is None:
            method = self._pitch_methods[settings.f0_methods] = load_pitch_methods(
                settings.f0_methods, self.device
            )
        f0_hz = self._with_less_memory(
            lambda seconds: extract_f0(method, padded, chunk_seconds=seconds, progress=progress),
            F0_CHUNK_SECONDS,
        )
        shift = float(settings.shift_semitones)
        if settings.proposed_pitch:
            shift += proposed_shift(f0_hz, settings.proposed_pitch_threshold)
        f0_hz = transpose_f0(f0_hz, shift)
        # Autotune follows transposition; other tools do the one or the other.
        return autotune(f0_hz, settings.autotune_strength) if settings.autotune_voice else f0_hz

    def _with_less_memory(self, attempt: Callable[[float], T], seconds: float) -> T:
        """Run ``attempt(chunk_seconds)``, halving the chunk each time the device has no memory left."""
        while True:
            try:
                return attempt(seconds)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or seconds < 2:
                    raise _out_of_memory(self.device) if is_out_of_memory(error) else error from error
            seconds /= 2
            release_cached_memory(self.device)
            log.warning(
                "Out of memory on %s while finding f0; trying chunks of %.0f s.", self.device, seconds
            )

    def _convert_chunks(self, source: _Source, progress: Progress) -> torch.Tensor:
        loudness = chunking.window_loudness(source.waveform_16k)
        parts = (
            chunking.sounding_parts(source.waveform_16k)
            if source.settings.split_voice
            else [chunking.whole(len(source.waveform_16k))]
        )
        waiting = [chunk for part in parts for chunk in chunking.cut(part, loudness)]
        total, done = max(chunking.total_length(waiting), 1), 0
        joiner = Joiner(len(source.waveform_16k), self.voice.sample_rate, self.device)
        while waiting:
            chunk = waiting.pop(0)
            progress.report("convert", done / total)
            window = self._try_chunk(source, chunk)
            if window is None:
                release_cached_memory(self.device)
                halves = chunking.halve(chunk, loudness)
                if not halves:
                    raise _out_of_memory(self.device)
                log.warning(
                    "Out of memory on %s; halving a chunk of %.1f s.",
                    self.device,
                    chunk.length / chunking.SAMPLE_RATE,
                )
                waiting[:0] = halves
                continue
            with self.profiler.stage("join"):
                joiner.add(chunk, window)
            done += chunk.length
        progress.report("convert", 1.0)
        return joiner.waveform

    def _try_chunk(self, source: _Source, chunk: Chunk) -> torch.Tensor | None:
        """The chunk's converted window, or ``None`` when the device has no memory left for it."""
        try:
            return self._convert_window(source, chunk)
        except (RuntimeError, MemoryError) as error:
            # Leaving the handler frees the traceback, and with it the tensors of the failed attempt.
            if not is_out_of_memory(error):
                raise
            return None

    def _convert_window(self, source: _Source, chunk: Chunk) -> torch.Tensor:
        """Encoder, retrieval, protect and synthesizer over one chunk with its context; ``(samples,)``."""
        settings = source.settings
        frames = chunk.window_frames
        window_samples = chunk.length + 2 * chunking.PAD_SAMPLES + chunking.ENCODER_TAIL
        window_16k = source.padded[chunk.start : chunk.start + window_samples]
        f0_hz = pitch = None
        if source.f0_hz is not None:
            first = chunk.start // chunking.F0_HOP
            f0_hz = source.f0_hz[first : first + frames][None]
            pitch = coarse_pitch(f0_hz)
        with self.profiler.stage("encode"):
            features = self.encoder.encode(window_16k[None], self.voice.version)
        with self.profiler.stage("retrieve"):
            features = self._retrieve(features, f0_hz, settings)
        with self.profiler.stage("synthesize"):
            return self.voice.synthesizer.infer(
                features,
                pitch,
                f0_hz,
                torch.tensor([settings.sid], device=self.device),
                noise_scale=settings.noise_scale,
                source_noise_scale=settings.source_noise_scale,
                generator=_chunk_generator(settings.seed, chunk),
                render=render_for_device,
            )[0]

    def _retrieve(
        self, features: torch.Tensor, f0_hz: torch.Tensor | None, settings: ConversionSettings
    ) -> torch.Tensor:
        """Move ``features`` ``(1, frames, dim)`` at 50 Hz towards the index and repeat them to 100 Hz.

        With ``protect_rate`` below 0.5 unvoiced frames keep that much less of the index: consonants and
        breath of the source stay themselves.
        """
        repeated = features.repeat_interleave(FEATURE_REPEAT, dim=1)
        if self.retriever is None or settings.index_rate == 0:
            return repeated
        blended = self.retriever.blend(features[0], settings.index_rate)[None]
        blended = blended.repeat_interleave(FEATURE_REPEAT, dim=1)
        if settings.protect_rate >= 0.5 or f0_hz is None:
            return blended
        share = torch.where(f0_hz < VOICED_ABOVE_HZ, settings.protect_rate, 1.0)[..., None]
        return blended * share + repeated * (1 - share)


def _check_frame_rate(voice: VoiceModel, voice_name: str) -> None:
    hop_length = voice.synthesizer.config.hop_length
    if hop_length * 100 != voice.sample_rate:
        raise VoiceFileError(
            f"{voice_name} makes {hop_length} samples per frame at {voice.sample_rate} Hz; "
            "only voices with 100 frames per second are supported."
        )


def _load_encoder(
    voice: VoiceModel, settings: ConversionSettings, device: torch.device, voice_name: str
) -> ContentEncoder:
    """The encoder the voice was trained with, as wide as the voice expects."""
    name, folder = choose_encoder(voice.embedder, voice.metadata.embedder_recorded, settings, voice_name)
    encoder = load_content_encoder(name, device, folder=folder)
    expected, given = voice.synthesizer.config.phone_dim, encoder.feature_dim(voice.version)
    if given != expected:
        raise EncoderMismatchError(
            f"{voice_name} expects {expected} features per frame, but the encoder '{name}' gives {given}; "
            "choose the encoder it was trained with (--embedder-model)."
        )
    return encoder


def _check_index(retriever: Retriever, index_path: Path, voice: VoiceModel, voice_name: str) -> None:
    expected = voice.synthesizer.config.phone_dim
    if retriever.dim != expected:
        raise VoiceFileError(
            f"The index {index_path} holds vectors of {retriever.dim} numbers, but {voice_name} works "
            f"with {expected}; it belongs to another voice."
        )


def _chunk_generator(seed: int, chunk: Chunk) -> torch.Generator:
    """Random numbers of one chunk: they depend on the seed and its place, not on what ran before it."""
    state = np.random.SeedSequence([seed, chunk.start]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def _limit_peak(waveform: FloatArray, ceiling: float, *, out: FloatArray | None = None) -> FloatArray:
    """Turn ``waveform`` down to ``ceiling`` if it is louder; ``out`` may be ``waveform`` itself."""
    peak = float(max(waveform.max(initial=0.0), -waveform.min(initial=0.0)))
    return np.multiply(waveform, np.float32(ceiling / peak), out=out) if peak > ceiling else waveform


def _reduce_noise(waveform: FloatArray, sample_rate: int, strength: float) -> FloatArray:
    import noisereduce

    cleaned = noisereduce.reduce_noise(y=waveform, sr=sample_rate, prop_decrease=strength)
    return np.asarray(cleaned, np.float32)


def _out_of_memory(device: torch.device) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"{device} has too little free memory even for short chunks; "
        "close other programs or use --device cpu."
    )
