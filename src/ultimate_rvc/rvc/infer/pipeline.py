"""THE path: audio in, converted audio out.

high-pass -> chunks -> f0 -> content features -> retrieval -> synthesizer -> join -> level

Written to be read in one sitting; details live one call down. The algorithm is RVC's
(retrieval-based voice conversion); where this differs on purpose, a comment says so.

From the filter to the waveform everything stays on the device, which is never waited for: the audio goes
there once, the converted audio comes back once, and with it what the device has to say of its work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.audio.level import match_level, to_mono
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.choices import Device, F0Method
from ultimate_rvc.device import is_out_of_memory, release_cached_memory, resolve_device
from ultimate_rvc.errors import AudioError, OutOfMemoryError, SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.content.tiled_hubert import run_in_tiles
from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.opening import check_frame_rate, check_index, load_encoder, open_retriever
from ultimate_rvc.rvc.infer.optimization.batching import (
    BatchDriver,
    ItemGenerators,
    automatic_batch_size,
    bytes_per_frame,
    pad_batch,
)
from ultimate_rvc.rvc.infer.optimization.compilation import CompiledRender
from ultimate_rvc.rvc.infer.optimization.device_highpass import TorchHighpass
from ultimate_rvc.rvc.infer.optimization.feature_cache import audio_hash, open_feature_cache
from ultimate_rvc.rvc.infer.optimization.precision import FiniteWindows, Precision
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer, renderer_for
from ultimate_rvc.rvc.infer.retrieval import Retriever
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.vocal_features import VocalFeatures
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork
from ultimate_rvc.rvc.pitch import PitchMethod, extract_f0, load_pitch_methods
from ultimate_rvc.rvc.pitch.curve import autotune, coarse_pitch, proposed_shift, transpose_f0
from ultimate_rvc.rvc.voice_file.read import VoiceModel, load_voice_model
from ultimate_rvc.switches import AUTO_BATCH, OptimizationConfig, config_for

log = logging.getLogger(__name__)

INPUT_PEAK = 0.95  # louder input is turned down to this before anything else, as in RVC
OUTPUT_PEAK = 0.99
VOICED_ABOVE_HZ = 1.0  # "protect" takes frames below this as unvoiced
FEATURE_REPEAT = 2  # content frames come at 50 Hz, the synthesizer runs at 100 Hz
F0_CHUNK_SECONDS = 25.6  # with RMVPE's context 36 s, so that a song takes the memory of half a minute

FloatArray = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Source:
    """What is known of one input before its chunks are converted."""

    audio: str  # hash of its samples at 16 kHz
    waveform_16k: FloatArray  # high-passed, not padded, on the host: for cuts, gaps and level
    padded: torch.Tensor  # with context at both ends, on the device
    f0_hz: torch.Tensor | None  # of the padded audio, shifted; None for voices without f0
    shift_semitones: int  # by which it was shifted
    settings: ConversionSettings
    joiner: Joiner


@dataclass(frozen=True)
class _Window:
    """A chunk of one source and the frames of its window that will be heard."""

    source: _Source
    chunk: Chunk
    wanted: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> int:
        return self.chunk.window_frames


class Pipeline:
    """One voice with its encoder, index and pitch methods, loaded once for any number of inputs.

    ``optimization`` says how it is computed (left out: the plain reference), never what. ``profiler``
    holds the times of all conversions so far when the configuration asks for them. ``shifts_semitones``
    tells of each recording of the last conversion by how much it was shifted, a proposed pitch included.
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
        self.precision = Precision.for_config(self.optimization, device)
        self.precision.prepare(voice.synthesizer)
        for network in encoder.networks(voice.version):
            self.precision.prepare(network)
            if self.optimization.fast_vocoder and device.type == "cpu":
                run_in_tiles(network)
        self.shifts_semitones: tuple[int, ...] = ()
        self._render: VocoderRenderer | CompiledRender
        self._render = renderer_for(self.optimization, device, half=self.precision.is_half)
        if self.optimization.compile_model:
            self._render = CompiledRender(device, self._render)
        self._host_highpass = ScipyHighpass()
        self._device_highpass = TorchHighpass(device) if self.optimization.use_gpu_filter else None
        self._pitch_methods: dict[tuple[F0Method, ...], PitchMethod] = {}
        self._features = VocalFeatures(
            encoder,
            voice.version,
            open_feature_cache() if self.optimization.feature_cache else None,
            computation=f"{device.type} {self.precision.dtype}{' tf32' if self.precision.tf32 else ''}",
            device=device,
            stage=self._stage,
        )

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
        check_frame_rate(voice, model_path.name)
        encoder = load_encoder(voice, settings, torch_device, model_path.name)
        retriever = None
        if index_path is not None:
            search_device = torch_device if optimization.use_gpu_retrieval else None
            retriever = open_retriever(index_path, search_device)
            check_index(retriever, index_path, voice, model_path.name)
        return cls(voice, encoder, retriever=retriever, device=torch_device, optimization=optimization)

    def warm_up(self) -> None:
        """Compile in the background what will be compiled, while something else is done."""
        if isinstance(self._render, CompiledRender):
            self._render.warm_up(self.voice.synthesizer, self.precision.stage)

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
        (converted,) = self.convert_all([(waveform, sample_rate)], settings, progress)
        return converted, self.voice.sample_rate

    @torch.inference_mode()
    def convert_all(
        self,
        recordings: Sequence[tuple[FloatArray, int]],
        settings: ConversionSettings,
        progress: Progress | None = None,
    ) -> list[FloatArray]:
        """Convert several recordings at once: their chunks share batches.

        Parameters
        ----------
        recordings : sequence of (waveform, sample rate)
            As for :meth:`convert`; all are held in memory at once.

        Returns
        -------
        list of float32 arrays (samples,)
            At the voice's sample rate, each the same as :meth:`convert` gives for it alone.
        """
        progress = progress or Progress()
        self._check_speaker(settings)
        try:
            sources = [
                self._prepare(waveform, sample_rate, settings, progress)
                for waveform, sample_rate in recordings
            ]
            self.shifts_semitones = tuple(source.shift_semitones for source in sources)
            self._convert_windows([window for source in sources for window in self._plan(source)], progress)
            outputs = []
            for source, (waveform, sample_rate) in zip(sources, recordings, strict=True):
                samples = round(waveform.shape[-1] * self.voice.sample_rate / sample_rate)
                converted = source.joiner.waveform[:samples].cpu().numpy()
                with self._stage("level"):
                    outputs.append(self._finish(converted, source))
                self.profiler.audio_seconds += waveform.shape[-1] / sample_rate
            self._features.keep()
        finally:
            self._features.forget()
        self.profiler.log()
        return outputs

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
        with self._stage("resample"):
            mono = resample(to_mono(waveform), sample_rate, chunking.SAMPLE_RATE)
        if len(mono) == 0:
            raise AudioError(
                f"The audio is too short to convert: {waveform.shape[-1]} samples at {sample_rate} Hz."
            )
        mono = _limit_peak(mono, INPUT_PEAK)
        audio = audio_hash(mono) if self.optimization.feature_cache else ""
        with self._stage("filter"):
            if self._device_highpass is None:
                filtered = self._host_highpass.apply(torch.from_numpy(mono))
                padded = chunking.pad_for_windows(filtered.to(self.device))
            else:
                on_device = torch.from_numpy(mono).to(self.device)
                padded = chunking.pad_for_windows(self._device_highpass.apply(on_device))
        f0_hz, shift = None, 0
        if self.voice.has_f0:
            f0_hz, shift = self._find_f0(audio, padded, settings, progress)
        if self._device_highpass is not None:
            # Cuts, gaps and level are found on the host, from the same numbers in every configuration;
            # meanwhile a GPU is busy with f0.
            filtered = self._host_highpass.apply(torch.from_numpy(mono))
        joiner = Joiner(len(filtered), self.voice.sample_rate, self.device)
        return _Source(audio, filtered.numpy(), padded, f0_hz, shift, settings, joiner)

    def _find_f0(
        self, audio: str, padded: torch.Tensor, settings: ConversionSettings, progress: Progress
    ) -> tuple[torch.Tensor, int]:
        """f0 of the padded audio in Hz at 100 Hz, transposed and tuned; 0 where unvoiced. And the shift."""
        f0_hz = self._features.f0_hz(
            audio,
            settings.f0_methods,
            lambda: self._with_less_memory(
                lambda seconds: extract_f0(
                    self._pitch_method(settings.f0_methods), padded, chunk_seconds=seconds, progress=progress
                ),
                F0_CHUNK_SECONDS,
            ),
        )
        shift = settings.shift_semitones
        if settings.proposed_pitch:
            shift += proposed_shift(f0_hz, settings.proposed_pitch_threshold)
        f0_hz = transpose_f0(f0_hz, shift)
        # Autotune follows transposition; other tools do the one or the other.
        tuned = autotune(f0_hz, settings.autotune_strength) if settings.autotune_voice else f0_hz
        return tuned, shift

    def _pitch_method(self, names: tuple[F0Method, ...]) -> PitchMethod:
        if names not in self._pitch_methods:
            self._pitch_methods[names] = load_pitch_methods(names, self.device)
        return self._pitch_methods[names]

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

    def _plan(self, source: _Source) -> list[_Window]:
        """The windows to convert: none for a chunk in which nothing is heard."""
        waveform_16k = source.waveform_16k
        loudness = chunking.window_loudness(waveform_16k)
        parts = (
            chunking.sounding_parts(waveform_16k)
            if source.settings.split_voice
            else [chunking.whole(len(waveform_16k))]
        )
        return self._windows(source, [chunk for part in parts for chunk in chunking.cut(part, loudness)])

    def _windows(self, source: _Source, chunks: Sequence[Chunk]) -> list[_Window]:
        """The windows of those chunks in which anything is heard."""
        skip = self.optimization.skip_silence
        sounding = chunking.sounding_frames(source.waveform_16k) if skip else None
        windows = [_Window(source, chunk, tuple(chunking.wanted_spans(chunk, sounding))) for chunk in chunks]
        return [window for window in windows if window.wanted]

    def _convert_windows(self, windows: Sequence[_Window], progress: Progress) -> None:
        """Convert the windows into the joiners of their sources."""
        finite: FiniteWindows[_Window] = self.precision.finite_windows()
        if self.retriever is not None:
            self.retriever.forget_doubts()
        self._run_batches(windows, lambda batch: self._convert_batch(batch, finite), progress)
        if self.retriever is not None and self.retriever.needs_exact:
            # Nearly never: more vectors are closer together than rounding than a search looks at.
            log.info("The index holds near-duplicates; it is searched again, exactly.")
            for window in windows:
                window.source.joiner.clear()
            finite = self.precision.finite_windows()
            self._run_batches(windows, lambda batch: self._convert_batch(batch, finite, exact=True), progress)
        failed = finite.failed()
        if failed:
            with self.precision.float32():
                self._run_batches(
                    failed, lambda batch: self._convert_batch(batch, None, exact=True, anew=True), progress
                )

    def _run_batches(
        self,
        windows: Sequence[_Window],
        convert: Callable[[Sequence[_Window]], Sequence[torch.Tensor]],
        progress: Progress,
    ) -> None:
        """``convert`` windows in batches, and shorter ones once the device has no memory left."""
        total, done = max(sum(window.frames for window in windows), 1), 0
        driver = BatchDriver(self._batch_size(windows), self.device)
        progress.report("convert", 0.0)
        for window, converted in driver.run(
            windows, convert, frames=lambda window: window.frames, split=self._halved
        ):
            with self._stage("join"):
                window.source.joiner.add(window.chunk, converted)
            done += window.frames
            progress.report("convert", min(done / total, 1.0))
        progress.report("convert", 1.0)

    def _batch_size(self, windows: Sequence[_Window]) -> int:
        size = self.optimization.batch_size
        if size != AUTO_BATCH:
            return size
        synthesizer = self.voice.synthesizer
        longest = max((window.frames for window in windows), default=1)
        return automatic_batch_size(
            self.device, bytes_per_frame(synthesizer.config, self.voice.vocoder), longest
        )

    def _halved(self, window: _Window) -> list[_Window]:
        """The two halves of a window that does not fit into memory even alone."""
        waveform_16k, chunk = window.source.waveform_16k, window.chunk
        halves = chunking.halve(chunk, chunking.window_loudness(waveform_16k))
        if not halves:
            raise _out_of_memory(self.device)
        log.warning(
            "Out of memory on %s; halving a chunk of %.1f s.",
            self.device,
            chunk.length / chunking.SAMPLE_RATE,
        )
        return self._windows(window.source, halves)

    def _convert_batch(
        self,
        windows: Sequence[_Window],
        finite: FiniteWindows[_Window] | None,
        *,
        exact: bool = False,
        anew: bool = False,
    ) -> list[torch.Tensor]:
        """Encoder, retrieval, protect and synthesizer; the converted windows ``(samples,)``."""
        settings = windows[0].source.settings
        features = self._features.content(
            [window.source.audio for window in windows],
            [window.chunk for window in windows],
            [_samples_16k(window) for window in windows],
            anew=anew,
        )
        f0_hz = [_f0_of(window) for window in windows]
        with self._stage("retrieve"):
            features = [
                self._retrieve(item, f0, settings, exact) for item, f0 in zip(features, f0_hz, strict=True)
            ]
        with self._stage("synthesize"):
            rendered = self._synthesize(windows, features, f0_hz)
        converted = [
            row[: window.frames * self._hop_length] for row, window in zip(rendered, windows, strict=True)
        ]
        if self.optimization.skip_silence:
            for window, row in zip(windows, converted, strict=True):
                chunking.fade_at_gaps(row, window.chunk, window.wanted, self._hop_length)
        return converted if finite is None else finite.accept(windows, converted)

    def _synthesize(
        self,
        windows: Sequence[_Window],
        features: Sequence[torch.Tensor],
        f0_hz: Sequence[torch.Tensor | None],
    ) -> torch.Tensor:
        settings = windows[0].source.settings
        padded, lengths = pad_batch(features)
        curves = [curve for curve in f0_hz if curve is not None]
        f0_batch = pad_batch(curves)[0] if curves else None
        generators = [_chunk_generator(settings.seed, window.chunk, self.device) for window in windows]
        alone = len(windows) == 1
        wanted = [window.wanted for window in windows] if self.optimization.skip_silence else None

        def render(
            vocoder: VocoderNetwork,
            latent: torch.Tensor,
            source: torch.Tensor | None,
            speaker: torch.Tensor,
            noise: Noise,
            valid: Valid = None,
        ) -> torch.Tensor:
            with self.profiler.stage("vocoder"):  # as exact as the stage it is part of
                return self._render(vocoder, latent, source, speaker, noise, valid, wanted)

        return self.voice.synthesizer.infer(
            padded,
            None if f0_batch is None else coarse_pitch(f0_batch),
            f0_batch,
            torch.full((len(windows),), settings.sid, device=self.device),
            noise_scale=settings.noise_scale,
            source_noise_scale=settings.source_noise_scale,
            generator=generators[0] if alone else ItemGenerators(generators, lengths, padded.shape[1]),
            lengths=None if alone else lengths,
            render=render,
        )

    def _retrieve(
        self, features: torch.Tensor, f0_hz: torch.Tensor | None, settings: ConversionSettings, exact: bool
    ) -> torch.Tensor:
        """Move ``features`` ``(frames, dim)`` at 50 Hz towards the index and repeat them to 100 Hz.

        With ``protect_rate`` below 0.5 unvoiced frames keep that much less of the index: consonants and
        breath of the source stay themselves.
        """
        repeated = features.repeat_interleave(FEATURE_REPEAT, dim=0)
        if self.retriever is None or settings.index_rate == 0:
            return repeated
        blended = self.retriever.blend(features, settings.index_rate, exact=exact)
        blended = blended.repeat_interleave(FEATURE_REPEAT, dim=0)
        if settings.protect_rate >= 0.5 or f0_hz is None:
            return blended
        share = torch.where(f0_hz < VOICED_ABOVE_HZ, settings.protect_rate, 1.0)[:, None]
        return blended * share + repeated * (1 - share)

    @property
    def _hop_length(self) -> int:
        return self.voice.synthesizer.config.hop_length

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Measured, and as exact as the configuration says for it."""
        with self.profiler.stage(name), self.precision.stage(name):
            yield


def _samples_16k(window: _Window) -> torch.Tensor:
    start = window.chunk.start
    samples = window.chunk.length + 2 * chunking.PAD_SAMPLES + chunking.ENCODER_TAIL
    return window.source.padded[start : start + samples]


def _f0_of(window: _Window) -> torch.Tensor | None:
    if window.source.f0_hz is None:
        return None
    first = window.chunk.start // chunking.F0_HOP
    return window.source.f0_hz[first : first + window.frames]


def _chunk_generator(seed: int, chunk: Chunk, device: torch.device) -> torch.Generator:
    """Random numbers of one chunk: they depend on the seed and its place, not on what ran before it."""
    state = np.random.SeedSequence([seed, chunk.start]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 ^ int(state[1]))


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
