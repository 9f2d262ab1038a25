"""THE path: audio in, converted audio out.

high-pass -> chunks -> f0 -> content features -> retrieval -> synthesizer -> join -> level

Written to be read in one sitting; details live one call down. The algorithm is RVC's
(retrieval-based voice conversion); where this differs on purpose, a comment says so.

From the filter to the waveform everything stays on the device, which is never waited for: the audio goes
there once, the converted audio comes back once, and with it what the device has to say of its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.choices import Backend, Device
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.content.tiled_hubert import run_in_tiles
from ultimate_rvc.rvc.infer.chunks import Joiner, fade_at_gaps, pad_for_windows
from ultimate_rvc.rvc.infer.driver import Lane, WindowDriver
from ultimate_rvc.rvc.infer.f0 import F0Finder, shift_and_tune, warn_of_ignored_pitch
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.level import finish_level, mono_16k
from ultimate_rvc.rvc.infer.opening import check_frame_rate, check_index, load_encoder, open_retriever
from ultimate_rvc.rvc.infer.optimization.backends.opening import open_backend, with_backend_in_force
from ultimate_rvc.rvc.infer.optimization.backends.torch_compile import CompiledRender
from ultimate_rvc.rvc.infer.optimization.batching import ItemGenerators, bytes_per_frame, pad_batch
from ultimate_rvc.rvc.infer.optimization.device_highpass import TorchHighpass
from ultimate_rvc.rvc.infer.optimization.feature_cache import audio_hash, open_feature_cache
from ultimate_rvc.rvc.infer.optimization.precision import Precision
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.optimization.rendering import rounds_products
from ultimate_rvc.rvc.infer.retrieval import Retriever, blend_protected
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.vocal_features import VocalFeatures
from ultimate_rvc.rvc.infer.windows import Recording, Window, plan_windows
from ultimate_rvc.rvc.pitch.curve import coarse_pitch
from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer
from ultimate_rvc.rvc.voice_file.read import VoiceModel, load_voice_model
from ultimate_rvc.switches import TORCHS_OWN, OptimizationConfig, config_for

LONG_SAMPLES = 60 * 16_000  # from here on the time to load a pitch network does not matter
FEATURE_REPEAT = 2  # content frames come at 50 Hz, the synthesizer runs at 100 Hz

FloatArray = NDArray[np.float32]


class Pipeline:
    """One voice with its encoder, index and pitch methods, loaded once for any number of inputs.

    ``optimization`` says how it is computed (left out: the plain reference), never what. ``profiler``
    holds the times of all conversions so far when the configuration asks for them. ``shifts_semitones``
    tells of each recording of the last conversion by how much it was shifted, a proposed pitch included.
    ``open_helpers`` open the same voice on further devices, once there is work for them.
    """

    def __init__(
        self,
        voice: VoiceModel,
        encoder: ContentEncoder,
        *,
        retriever: Retriever | None = None,
        device: torch.device,
        optimization: OptimizationConfig | None = None,
        open_helpers: Sequence[Callable[[], Pipeline]] = (),
    ) -> None:
        self.voice, self.encoder, self.retriever, self.device = voice, encoder, retriever, device
        self.optimization = with_backend_in_force(optimization or OptimizationConfig(), device)
        self.profiler = PerformanceProfiler(self.optimization.enable_profiling, device)
        self.precision = Precision.for_config(self.optimization, device)
        # A voice in ONNX computes in its file's own precision.
        if not isinstance(voice.synthesizer, OnnxSynthesizer) and not rounds_products(
            self.optimization, device, self.precision.dtype
        ):
            self.precision.prepare(voice.synthesizer)
        for network in encoder.networks(voice.version):
            self.precision.prepare(network)
            if (
                self.optimization.fast_vocoder
                and device.type == "cpu"
                and self.optimization.backend in TORCHS_OWN
            ):
                run_in_tiles(network)
        self.shifts_semitones: tuple[int, ...] = ()
        self._host_highpass = ScipyHighpass()
        self._device_highpass = TorchHighpass(device) if self.optimization.use_gpu_filter else None
        self.backend = open_backend(self.optimization, voice, encoder, device)
        self.f0_finder = F0Finder(
            device, skip_silence=self.optimization.skip_silence, prepare=self.backend.take_pitch
        )
        self._features = VocalFeatures(
            encoder,
            voice.version,
            open_feature_cache() if self.optimization.feature_cache else None,
            computation=f"{device.type} {self.precision.dtype}{' tf32' if self.precision.tf32 else ''}"
            + self.backend.computation,
            device=device,
            stage=self.stage,
        )
        self.lane = Lane(device, self._convert_batch, self.precision, retriever)
        self._open_helpers = open_helpers
        self._helpers: list[Pipeline] = []
        self._driver = WindowDriver(
            self.lane,
            self._helping_lanes,
            stage=self.stage,
            batch_size=self.backend.batch_size,
            frame_bytes=bytes_per_frame(voice.synthesizer.config, voice.vocoder),
            skip_silence=self.optimization.skip_silence,
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
        torch_device, *others = map(resolve_device, optimization.devices)
        voice = load_voice_model(model_path, torch_device)
        if others and isinstance(voice.synthesizer, OnnxSynthesizer):
            raise SettingError(f"{model_path.name} is a voice in ONNX, which runs on one device.", "device")
        check_frame_rate(voice, model_path.name)
        encoder = load_encoder(voice, settings, torch_device, model_path.name)
        retriever = None
        if index_path is not None:
            search_device = torch_device if optimization.use_gpu_retrieval else None
            retriever = open_retriever(index_path, search_device)
            check_index(retriever, index_path, voice, model_path.name)
        helpers = [
            partial(
                cls.open,
                model_path,
                settings,
                index_path=index_path,
                optimization=replace(optimization, device=str(each), backend=Backend.TORCH),
            )
            for each in others
        ]
        return cls(
            voice,
            encoder,
            retriever=retriever,
            device=torch_device,
            optimization=optimization,
            open_helpers=helpers,
        )

    def _helping_lanes(self) -> list[Lane]:
        """What further devices there are, with the voice opened on them."""
        if len(self._helpers) < len(self._open_helpers):
            self._helpers = [open_helper() for open_helper in self._open_helpers]
        return [helper.lane for helper in self._helpers]

    def warm_up(self) -> None:
        """Compile in the background what will be compiled, while something else is done."""
        synthesizer = self.voice.synthesizer
        if isinstance(self.backend.render, CompiledRender) and not isinstance(synthesizer, OnnxSynthesizer):
            self.backend.render.warm_up(synthesizer, self.precision.stage)

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

        Each is (waveform, sample rate) as for :meth:`convert`; all are held in memory at once. Returns float32
        ``(samples,)`` at the voice's sample rate, each the same as :meth:`convert` gives for it alone.
        """
        progress = progress or Progress()
        self._check_settings(settings)
        try:
            prepared = [self._prepare(*recording, settings, progress) for recording in recordings]
            if sum(len(each.waveform_16k) for each in prepared) > LONG_SAMPLES and self.device.type == "cpu":
                self.f0_finder.forget()  # to load them again takes a second, and their room is needed now
            self.shifts_semitones = tuple(each.shift_semitones for each in prepared)
            skip_silence = self.optimization.skip_silence
            windows = [w for each in prepared for w in plan_windows(each, skip_silence=skip_silence)]
            self._driver.run(windows, progress)
            outputs = []
            for recording, (waveform, sample_rate) in zip(prepared, recordings, strict=True):
                samples = round(waveform.shape[-1] * self.voice.sample_rate / sample_rate)
                converted = recording.joiner.waveform[:samples].cpu().numpy()
                with self.stage("level"):
                    outputs.append(
                        finish_level(converted, recording.waveform_16k, self.voice.sample_rate, settings)
                    )
                self.profiler.audio_seconds += waveform.shape[-1] / sample_rate
            for each in (self, *self._helpers):
                each._features.keep()
        finally:
            for each in (self, *self._helpers):
                each._features.forget()
        self.profiler.log()
        return outputs

    def _check_settings(self, settings: ConversionSettings) -> None:
        speakers = self.voice.synthesizer.config.speakers
        if settings.sid >= speakers:
            raise SettingError(
                f"sid is {settings.sid}, but this voice has speakers 0 to {speakers - 1}.", "sid"
            )
        if not self.voice.has_f0:
            warn_of_ignored_pitch(settings)

    def _prepare(
        self, waveform: FloatArray, sample_rate: int, settings: ConversionSettings, progress: Progress
    ) -> Recording:
        """Filter, pad, move to the device, find f0."""
        with self.stage("resample"):
            mono = mono_16k(waveform, sample_rate)
        audio = audio_hash(mono) if self.optimization.feature_cache else ""
        with self.stage("filter"):
            if self._device_highpass is None:
                filtered = self._host_highpass.apply(torch.from_numpy(mono))
                padded = pad_for_windows(filtered.to(self.device))
            else:
                on_device = torch.from_numpy(mono).to(self.device)
                padded = pad_for_windows(self._device_highpass.apply(on_device))
        f0_hz, shift = None, 0
        if self.voice.has_f0:
            methods = settings.f0_methods
            found = self._features.f0_hz(
                audio, methods, lambda: self.f0_finder.find(padded, methods, progress)
            )
            f0_hz, shift = shift_and_tune(found, settings)
        if self._device_highpass is not None:
            # Cuts, gaps and level are found on the host, from the same numbers in every configuration;
            # meanwhile a GPU is busy with f0.
            filtered = self._host_highpass.apply(torch.from_numpy(mono))
        joiner = Joiner(len(filtered), self.voice.sample_rate, self.device)
        return Recording(audio, filtered.numpy(), padded, f0_hz, shift, settings, joiner)

    def _convert_batch(
        self, windows: Sequence[Window], *, exact: bool = False, recompute: bool = False
    ) -> list[Tensor]:
        """Encoder, retrieval, protect and synthesizer: see :class:`ConvertBatch`."""
        features = self._features.content(
            [window.recording.audio for window in windows],
            [window.chunk for window in windows],
            [window.samples_16k for window in windows],
            recompute=recompute,
        )
        with self.stage("retrieve"):
            blended = [
                self._retrieve(own, window, exact) for own, window in zip(features, windows, strict=True)
            ]
        with self.stage("synthesize"):
            rendered = self._synthesize(windows, blended)
        hop_length = self.voice.synthesizer.config.hop_length
        converted = [row[: window.frames * hop_length] for row, window in zip(rendered, windows, strict=True)]
        if self.optimization.skip_silence:
            for window, row in zip(windows, converted, strict=True):
                fade_at_gaps(row, window.chunk, window.wanted, hop_length)
        return converted

    def _retrieve(self, features: Tensor, window: Window, exact: bool) -> Tensor:
        """Move ``features`` ``(frames, dim)`` at 50 Hz towards the index and repeat them to 100 Hz."""
        repeated = features.repeat_interleave(FEATURE_REPEAT, dim=0)
        settings = window.recording.settings
        if self.retriever is None or settings.index_rate == 0:
            return repeated
        blended = self.retriever.blend(features, settings.index_rate, exact=exact)
        blended = blended.repeat_interleave(FEATURE_REPEAT, dim=0)
        return blend_protected(blended, repeated, window.f0_hz, settings.protect_rate)

    def _synthesize(self, windows: Sequence[Window], features: Sequence[Tensor]) -> Tensor:
        """The waveforms ``(batch, samples)`` of features ``(frames, dim)`` at 100 Hz."""
        settings = windows[0].recording.settings
        padded, lengths = pad_batch(features)
        curves = [window.f0_hz for window in windows if window.f0_hz is not None]
        f0_hz = pad_batch(curves)[0] if curves else None
        generators = [window.generator for window in windows]
        alone = len(windows) == 1
        wanted = [window.wanted for window in windows] if self.optimization.skip_silence else None

        def render(*inputs: Any, **options: Any) -> Tensor:
            with self.profiler.stage("vocoder"):  # as exact as the stage it is part of
                return self.backend.render(*inputs, **options | {"wanted": wanted})

        return self.voice.synthesizer.infer(
            padded,
            None if f0_hz is None else coarse_pitch(f0_hz),
            f0_hz,
            torch.full((len(windows),), settings.sid, device=self.device),
            noise_scale=settings.noise_scale,
            source_noise_scale=settings.source_noise_scale,
            generator=generators[0] if alone else ItemGenerators(generators, lengths, padded.shape[1]),
            lengths=None if alone else lengths,
            render=render,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done under ``name``, and let it be as exact as the configuration says."""
        with self.profiler.stage(name), self.precision.stage(name):
            yield
