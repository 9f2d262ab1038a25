"""The short path: a voice converted while it speaks, block by block.

Each block comes with the context before it. Encoder and text encoder look at all of that, everything else only at
what is new: pitch is found for the newest frames, the index is searched for those that the flow looks at, and the
vocoder renders a block, the crossfade behind it and the room in which the crossfade may move.

What lies between blocks is an object's state, so that a frame that is rendered twice sounds the same both times: the
pitch found before, random numbers by the number of a frame (``live_noise``), the phase of the sines, and the end of
the block before (``audio/sola.py``). So a live conversion differs from that of the whole file by the context that
one sees and the other does not, and by a constant phase.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.audio.level import match_level
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.audio.sola import BlockJoiner
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.chunks import (
    ENCODER_TAIL,
    F0_HOP,
    SAMPLE_RATE,
    SILENCE_MARGIN_FRAMES,
    SILENT_BELOW,
)
from ultimate_rvc.rvc.infer.f0 import shift_and_tune
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.live_noise import FrameDraws
from ultimate_rvc.rvc.infer.live_settings import FRAME_MS, LiveSettings, check_live
from ultimate_rvc.rvc.infer.pipeline import FEATURE_REPEAT, Pipeline
from ultimate_rvc.rvc.infer.retrieval import blend_protected
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.flow import REACH_FRAMES as FLOW_REACH_FRAMES
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.pitch.curve import coarse_pitch
from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer

FRAMES_PER_SECOND = 1000 // FRAME_MS
SEARCH_FRAMES = 1  # the crossfade may move by half of it either way: 5 ms, as in RVC, finds f0 down to 100 Hz
PITCH_CONTEXT_FRAMES = (
    32  # before the frames whose pitch is found; twice as many bring it no closer to a file's
)
RESAMPLED_AGAIN_FRAMES = 10  # of the block before: its end was resampled without what comes after it
MEASURED_BLOCKS = 3
WARM_UP_LEVEL = 0.05
PRIOR, SOURCE, VOCODER = range(3)  # streams of random numbers

FloatArray = NDArray[np.float32]


class LiveConverter:
    """An open voice that converts one block after the other.

    Parameters
    ----------
    pipeline : Pipeline
        Not used by anything else meanwhile.
    settings : LiveSettings
        Its conversion can be changed later by :meth:`change`.
    input_rate, output_rate : int
        Of the blocks that come and go, in Hz: multiples of 100.

    Raises
    ------
    SettingError
        A rate is none, or the voice has no such speaker.
    """

    def __init__(
        self, pipeline: Pipeline, settings: LiveSettings, *, input_rate: int, output_rate: int
    ) -> None:
        for rate in (input_rate, output_rate):
            if rate < SAMPLE_RATE // 4 or rate % FRAMES_PER_SECOND:
                raise SettingError(
                    f"A sample rate of {rate} Hz cannot be converted live; use 44100 or 48000."
                )
        self.pipeline, self.settings = pipeline, settings
        self.input_rate, self.output_rate = input_rate, output_rate
        self._block = settings.block_ms // FRAME_MS
        self._crossfade = settings.crossfade_ms // FRAME_MS
        self._ahead = settings.ahead_ms // FRAME_MS
        self._rendered = self._block + self._crossfade + SEARCH_FRAMES
        self._fresh = self._rendered + self._ahead  # the newest frames, of which nothing is final yet
        context = max(settings.context_ms // FRAME_MS, self._reach + RESAMPLED_AGAIN_FRAMES)
        # Even, so that content frames lie where those of a file do.
        self._frames = -(-(context + self._fresh) // FEATURE_REPEAT) * FEATURE_REPEAT
        self._highpass = ScipyHighpass()
        self._joiner = BlockJoiner(
            *(
                frames * output_rate // FRAMES_PER_SECOND
                for frames in (self._block, self._crossfade, SEARCH_FRAMES)
            )
        )
        self.change(settings.conversion)
        self.reset()

    @property
    def block_samples(self) -> int:
        """Samples of a block that comes, at the input's rate."""
        return self._block * self.input_rate // FRAMES_PER_SECOND

    @property
    def block_seconds(self) -> float:
        return self._block / FRAMES_PER_SECOND

    @property
    def latency_seconds(self) -> float:
        """From a sample that comes to the same one that goes, without the time to compute.

        The block has to be complete, and what is behind it is waited for: the crossfade, half of the search and what
        was asked for as ``ahead_ms``.
        """
        return (self._block + self._crossfade + SEARCH_FRAMES / 2 + self._ahead) / FRAMES_PER_SECOND

    @property
    def conversion(self) -> ConversionSettings:
        """What blocks are converted with from now on."""
        return self._conversion

    def change(self, conversion: ConversionSettings) -> None:
        """Convert later blocks with other settings; pitch networks are loaded here, in the caller's thread.

        Raises
        ------
        SettingError
            A setting that needs a whole recording, or a speaker that the voice has not.
        """
        check_live(conversion)
        speakers = self.pipeline.voice.synthesizer.config.speakers
        if conversion.sid >= speakers:
            raise SettingError(
                f"sid is {conversion.sid}, but this voice has speakers 0 to {speakers - 1}.", "sid"
            )
        if self.pipeline.voice.has_f0:
            self.pipeline.f0_finder.load(conversion.f0_methods)
        self._conversion = conversion

    def reset(self) -> None:
        """Forget all that was heard: what comes next has silence before it."""
        self._received = self._frames  # frames since the beginning, the silence before it included
        self._waveform_16k = np.zeros(self._frames * F0_HOP, np.float32)
        again = 2 * RESAMPLED_AGAIN_FRAMES + self._block
        self._recent = np.zeros(again * self.input_rate // FRAMES_PER_SECOND, np.float32)
        self._f0_hz = torch.zeros(self._frames, device=self.pipeline.device)
        self._cycles = 0.0  # phase of the sines where the vocoder begins to look
        self._joiner.clear()

    def warm_up(self) -> None:
        """Wait now for what the first blocks load and compile, and begin anew.

        On a processor it is also found out whether a block is done sooner by one thread than by all, as is usual
        with two cores: its parts are small, and the threads wait for each other. From then on the whole process
        computes so.
        """
        self._block_of_noise()
        self._block_of_noise()
        if self.pipeline.device.type == "cpu" and (usual := torch.get_num_threads()) > 1:
            together = min(self._block_of_noise() for _ in range(MEASURED_BLOCKS))
            torch.set_num_threads(1)
            if min(self._block_of_noise() for _ in range(MEASURED_BLOCKS)) > together:
                torch.set_num_threads(usual)
        self.reset()

    def _block_of_noise(self) -> float:
        """Seconds to convert one."""
        random = np.random.default_rng(0)
        block = random.normal(0, WARM_UP_LEVEL, self.block_samples).astype(np.float32)
        began = time.perf_counter()
        self.convert_block(block)
        return time.perf_counter() - began

    @torch.inference_mode()
    def convert_block(self, block: FloatArray) -> FloatArray:
        """The next block of the converted voice.

        Parameters
        ----------
        block : float32, shape (block_samples,)
            Mono, at the input's rate.

        Returns
        -------
        float32, shape (samples,)
            As long in time, at the output's rate, in [-1, 1]; ``latency_seconds`` behind the input.

        Raises
        ------
        AudioError
            The block has another length, or holds numbers that are not finite.
        """
        self._take(block)
        with self.pipeline.stage("filter"):
            filtered = self._highpass.apply(torch.from_numpy(self._waveform_16k))
        rendered = self._render(filtered)
        voice_rate = self.pipeline.voice.sample_rate
        mix_rate = self._conversion.rms_mix_rate
        with self.pipeline.stage("level"):
            if mix_rate != 1:
                source = filtered[-self._fresh * F0_HOP :][: self._rendered * F0_HOP].numpy()
                rendered = match_level(source, rendered, voice_rate, mix_rate)
            # Both ends of what is rendered lie where a crossfade begins or has ended, and with them those effects
            # of resampling that an end has.
            resampled = resample(rendered, voice_rate, self.output_rate).clip(-1, 1)
            return self._joiner.join(resampled)

    def _take(self, block: FloatArray) -> None:
        """Put a block behind the audio that is held."""
        if block.shape != (self.block_samples,):
            raise AudioError(
                f"A block has the shape {block.shape}, but must be {self.block_samples} samples of one channel."
            )
        if not np.isfinite(block).all():
            raise AudioError("The audio holds samples that are not numbers (NaN or infinite).")
        with self.pipeline.stage("resample"):
            self._recent = np.concatenate((self._recent[len(block) :], block.astype(np.float32)))
            newest = (self._block + RESAMPLED_AGAIN_FRAMES) * F0_HOP
            resampled = resample(self._recent, self.input_rate, SAMPLE_RATE)[-newest:]
        moved = self._waveform_16k[self._block * F0_HOP :]
        self._waveform_16k = np.concatenate((moved, np.zeros(self._block * F0_HOP, np.float32)))
        self._waveform_16k[-newest:] = resampled
        self._received += self._block

    def _render(self, filtered: Tensor) -> FloatArray:
        """The newest block and what it overlaps with the next, float32 at the voice's rate."""
        heard = (self._fresh + SILENCE_MARGIN_FRAMES) * F0_HOP
        is_silent = bool(filtered[-heard:].abs().amax() < SILENT_BELOW)
        window = self._window(filtered)
        f0_hz = self._follow_pitch(window, is_silent=is_silent)
        if is_silent:
            return np.zeros(self._rendered * self._hop, np.float32)
        features = self._features(window, f0_hz)
        with self.pipeline.stage("synthesize"):
            if isinstance(self.pipeline.voice.synthesizer, OnnxSynthesizer):
                waveform = self._render_by_onnx(features, f0_hz)
            else:
                waveform = self._render_newest(features, f0_hz)
        return waveform.float().cpu().numpy()

    @property
    def _hop(self) -> int:
        return self.pipeline.voice.synthesizer.config.hop_length

    @property
    def _context_frames(self) -> int:
        """Frames before those that are rendered at which the vocoder looks."""
        synthesizer = self.pipeline.voice.synthesizer
        return 0 if isinstance(synthesizer, OnnxSynthesizer) else synthesizer.vocoder.context_frames

    @property
    def _reach(self) -> int:
        """Frames before those that are rendered at which flow and vocoder look."""
        return FLOW_REACH_FRAMES + self._context_frames

    def _window(self, filtered: Tensor) -> Tensor:
        """What is held, on the device, from the first content frame of the whole stream's grid on."""
        odd = (self._received - self._frames) % FEATURE_REPEAT
        return filtered[odd * F0_HOP :].to(self.pipeline.device)

    def _follow_pitch(self, window: Tensor, *, is_silent: bool) -> Tensor | None:
        """f0 of the window, float32 ``(frames,)`` in Hz, shifted and tuned: found anew for the newest frames."""
        frames = len(window) // F0_HOP
        if not self.pipeline.voice.has_f0:
            return None
        self._f0_hz = torch.roll(self._f0_hz, -self._block)
        before = min(PITCH_CONTEXT_FRAMES, frames - self._fresh)
        if is_silent:
            self._f0_hz[-self._fresh :] = 0
        else:
            newest = window[-(before + self._fresh) * F0_HOP :]
            with self.pipeline.stage("f0"):
                found = self.pipeline.f0_finder.find(newest, self._conversion.f0_methods, Progress())
            self._f0_hz[-self._fresh :] = found[before : before + self._fresh]
        return shift_and_tune(self._f0_hz[-frames:], self._conversion)[0]

    def _features(self, window: Tensor, f0_hz: Tensor | None) -> Tensor:
        """Content features of the window at 100 Hz, ``(frames, dim)``, moved to the index where the flow looks."""
        pipeline, settings = self.pipeline, self._conversion
        frames = len(window) // F0_HOP
        missing = frames % FEATURE_REPEAT * F0_HOP + ENCODER_TAIL
        padded = torch.cat((window, window[-missing - 1 : -1].flip(0)))
        with pipeline.stage("encode"):
            features = pipeline.encoder.encode(padded[None], pipeline.voice.version)[0]
        repeated = features.repeat_interleave(FEATURE_REPEAT, dim=0)[:frames]
        if pipeline.retriever is None or settings.index_rate == 0:
            return repeated
        first = (frames - self._fresh - self._reach) // FEATURE_REPEAT
        start = first * FEATURE_REPEAT
        with pipeline.stage("retrieve"):
            blended = pipeline.retriever.blend(features[first:], settings.index_rate, exact=True)
            blended = blended.repeat_interleave(FEATURE_REPEAT, dim=0)[: frames - start]
            newest_hz = None if f0_hz is None else f0_hz[start:]
            newest = blend_protected(blended, repeated[start:], newest_hz, settings.protect_rate)
        return torch.cat((repeated[:start], newest))

    def _render_newest(self, features: Tensor, f0_hz: Tensor | None) -> Tensor:
        """The frames to render, ``(samples,)``: flow and vocoder see no more than they need."""
        synthesizer = self.pipeline.voice.synthesizer
        assert not isinstance(synthesizer, OnnxSynthesizer)
        settings, context = self._conversion, self._context_frames
        visible = context + self._fresh  # frames that the vocoder sees
        speaker = synthesizer.speaker(torch.tensor([settings.sid], device=self.pipeline.device))
        latent = synthesizer.latent(
            features[None],
            None if f0_hz is None else coarse_pitch(f0_hz)[None],
            speaker,
            self._noise(settings.noise_scale, PRIOR, visible + FLOW_REACH_FRAMES),
            first=len(features) - visible - FLOW_REACH_FRAMES,
        )[..., FLOW_REACH_FRAMES:]
        source = None if f0_hz is None else self._excitation(f0_hz[-visible:])
        noise = self._noise(settings.source_noise_scale, VOCODER, visible)
        wanted = [[(context, context + self._rendered)]]
        with self.pipeline.profiler.stage("vocoder"):
            waveform = self.pipeline.backend.render(
                synthesizer.vocoder, latent.contiguous(), source, speaker, noise, None, wanted
            )
        return waveform[0, 0, context * self._hop : (context + self._rendered) * self._hop]

    def _excitation(self, f0_hz: Tensor) -> Tensor:
        """The vocoder's source for the newest frames, its sines going on where they were in the block before.

        A source begins at phase 0. One frame more before it, of as many Hz as there are frames per second, takes
        the sines once around; of a share of that, to where they have to begin.
        """
        lead_hz = torch.full_like(f0_hz[:1], FRAMES_PER_SECOND * (self._cycles or 1.0))
        synthesizer = self.pipeline.voice.synthesizer
        assert not isinstance(synthesizer, OnnxSynthesizer)
        noise = self._noise(self._conversion.source_noise_scale, SOURCE, len(f0_hz) + 1)
        source = synthesizer.vocoder.excitation(torch.cat((lead_hz, f0_hz)).float()[None], noise)
        passed = float(f0_hz[: self._block].double().sum()) / FRAMES_PER_SECOND
        self._cycles = (self._cycles + passed) % 1.0
        return source[..., self._hop :]

    def _render_by_onnx(self, features: Tensor, f0_hz: Tensor | None) -> Tensor:
        """The frames to render of a voice whose file renders everything, ``(samples,)``."""
        settings, frames = self._conversion, len(features)
        waveform = self.pipeline.voice.synthesizer.infer(
            features[None],
            None if f0_hz is None else coarse_pitch(f0_hz)[None],
            None if f0_hz is None else f0_hz[None],
            torch.tensor([settings.sid]),
            noise_scale=settings.noise_scale,
            source_noise_scale=settings.source_noise_scale,
            generator=FrameDraws(settings.seed, PRIOR, self._received - frames, frames),
        )[0]
        first = (frames - self._fresh) * self._hop
        return waveform[first : first + self._rendered * self._hop]

    def _noise(self, scale: float, stream: int, frames: int) -> Noise:
        """Random numbers of the newest ``frames``."""
        draws = FrameDraws(self._conversion.seed, stream, self._received - frames, frames)
        return Noise(scale, draws)
