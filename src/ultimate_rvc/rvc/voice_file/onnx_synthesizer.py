"""A voice's network run by ONNX Runtime, used as a :class:`~ultimate_rvc.rvc.networks.synthesizer.Synthesizer`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory
from ultimate_rvc.errors import VoiceFileError, first_line
from ultimate_rvc.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, FATAL, open_session
from ultimate_rvc.rvc.networks.noise import BatchDraws, Noise
from ultimate_rvc.rvc.networks.synthesizer import NOISE_SCALE, check_inputs
from ultimate_rvc.rvc.networks.vocoder import VocoderRender, render_whole
from ultimate_rvc.rvc.voice_file.onnx_graph import FLOAT, FLOAT16, INT32, INT64
from ultimate_rvc.rvc.voice_file.onnx_noise import DrawnInside, has_hidden_noise, noise_as_inputs
from ultimate_rvc.rvc.voice_file.onnx_voice import OnnxVoice

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

ARRAY_TYPES = {FLOAT: np.float32, FLOAT16: np.float16, INT32: np.int32, INT64: np.int64}
# A prime: whichever side of a tensor is a multiple of it is time.
TRIAL_FRAMES = 61
TRIAL_F0_HZ = 200.0

Array = NDArray[Any]


@dataclass(frozen=True)
class _InsideNoise:
    """Numbers that the graph drew: their shape, where ``sides[time_dim]`` is what each frame has of them."""

    drawn: DrawnInside
    sides: tuple[int, ...]
    time_dim: int | None
    is_prior: bool

    def shape(self, batch: int, frames: int) -> tuple[int, ...]:
        """Of a whole batch; one item's comes first."""
        sides = (batch, *self.sides[1:])
        return tuple(side * (frames if place == self.time_dim else 1) for place, side in enumerate(sides))

    def of_item(self, numbers: Tensor, item: int, frames: int) -> Array:
        """The numbers of one item, as the graph takes them."""
        own = numbers[item : item + 1]
        if self.time_dim is not None:
            own = own.narrow(self.time_dim, 0, self.sides[self.time_dim] * frames)
        return _array(own * self.drawn.scale + self.drawn.offset)


class OnnxSynthesizer:
    """A voice of an ONNX file; VoiceFileError when ONNX Runtime cannot run it.

    On CUDA where an ONNX Runtime for CUDA is installed, else on the processor.
    """

    def __init__(self, voice: OnnxVoice, device: torch.device | str = "cpu") -> None:
        self.config = voice.metadata.config
        self.has_f0 = voice.metadata.has_f0
        self._path, self._ports, self._output = voice.path, voice.ports, voice.output
        content, drawn = noise_as_inputs(voice.content, voice.graph, voice.ports["features"][1])
        if has_hidden_noise(voice.graph):
            log.warning(
                "%s draws random numbers where they cannot be steered: seed and strength of the noise do "
                "not hold for all of it.", voice.path.name,
            )  # fmt: skip
        self._session = self._open(content, torch.device(device))
        self._noises: list[_InsideNoise] = []
        self._try_out(drawn)

    @torch.inference_mode()
    def infer(
        self,
        features: Tensor,
        pitch: Tensor | None,
        f0_hz: Tensor | None,
        speaker_id: Tensor,
        noise_scale: float = NOISE_SCALE,
        source_noise_scale: float = 1.0,
        generator: torch.Generator | BatchDraws | None = None,
        lengths: Sequence[int] | None = None,
        render: VocoderRender = render_whole,
    ) -> Tensor:
        """Render features to audio, items of a batch one after the other.

        All is as for :meth:`Synthesizer.infer`, but ``render`` has no effect: ``features`` (batch, frames,
        phone_dim), ``pitch`` and ``f0_hz`` (batch, frames) or None, ``speaker_id`` (batch,). Returns float32 (batch,
        frames * hop_length).
        """
        check_inputs(self.config, self.has_f0, features, pitch, f0_hz, speaker_id)
        batch, frames, _ = features.shape
        rnd, inside = self._draw(batch, frames, features, noise_scale, source_noise_scale, generator)
        speakers = speaker_id.tolist()
        waveform = torch.zeros(batch, frames * self.config.hop_length)
        for item in range(batch):
            own = slice(0, frames if lengths is None else int(lengths[item]))
            feeds: dict[str, Array] = {
                "features": _array(features[item : item + 1, own]),
                "lengths": np.array([own.stop]),
                "speaker": np.array([speakers[item]]),
            }
            if pitch is not None and f0_hz is not None:
                feeds["pitch"] = _array(pitch[item : item + 1, own])
                feeds["f0_hz"] = _array(f0_hz[item : item + 1, own])
            if rnd is not None:
                feeds["noise"] = _array(rnd[item : item + 1, :, own])
            own_noise = {
                noise.drawn.input: noise.of_item(numbers, item, own.stop)
                for noise, numbers in zip(self._noises, inside, strict=True)
            }
            (audio,) = self._run(feeds, own_noise)
            waveform[item, : audio.size] = torch.from_numpy(audio.astype(np.float32).reshape(-1))
        return waveform.to(features.device)

    def _draw(
        self,
        batch: int,
        frames: int,
        like: Tensor,
        noise_scale: float,
        source_noise_scale: float,
        generator: torch.Generator | BatchDraws | None,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """What ``rnd`` and the noises inside get for a batch, in the order that a Synthesizer draws in."""
        like = like[:0].float()
        prior, source = Noise(noise_scale, generator), Noise(source_noise_scale, generator)
        # The file multiplies what it draws for the prior by RVC's own strength.
        prior_inside = Noise(noise_scale / NOISE_SCALE, generator)

        def normal(noise: Noise, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
            drawn = noise.normal(shape, like, time_dim=time_dim)
            return torch.zeros(shape) if drawn is None else drawn

        rnd = None
        if "noise" in self._ports:
            rnd = normal(prior, (batch, self.config.inter_channels, frames), 2)
        inside = []
        for noise in self._noises:
            shape = noise.shape(batch, frames)
            if noise.drawn.is_normal:
                inside.append(normal(prior_inside if noise.is_prior else source, shape, noise.time_dim))
            else:
                phases = source.phases(shape, like)
                inside.append(torch.zeros(shape) if phases is None else phases)
        return rnd, inside

    def _open(self, content: bytes, device: torch.device) -> InferenceSession:
        import onnxruntime

        providers: list[Any] = [CPU_PROVIDER]
        if device.type == "cuda":
            if CUDA_PROVIDER in onnxruntime.get_available_providers():
                providers.insert(0, (CUDA_PROVIDER, {"device_id": device.index or 0}))
            else:
                log.warning(
                    "%s is computed on the processor: the ONNX Runtime that is installed knows no CUDA; install "
                    "onnxruntime-gpu in its place.", self._path.name,
                )  # fmt: skip
        try:
            return open_session(content, providers, threads=torch.get_num_threads(), told_from=FATAL)
        except Exception as error:  # onnxruntime's own, whose classes change
            raise VoiceFileError(
                f"{self._path} is no network that ONNX Runtime can open ({first_line(error)}) "
                "Fetch or export it again."
            ) from error

    def _try_out(self, drawn: Sequence[DrawnInside]) -> None:
        """Render a short tone: does the network what its file says, and how many numbers does it draw?"""
        frames, latent = TRIAL_FRAMES, self.config.inter_channels
        feeds: dict[str, Array] = {
            "features": np.zeros((1, frames, self.config.phone_dim)),
            "lengths": np.array([frames]),
            "pitch": np.ones((1, frames)),
            "f0_hz": np.full((1, frames), TRIAL_F0_HZ),
            "speaker": np.array([0]),
            "noise": np.zeros((1, latent, frames)),
        }
        silent = {each.input: np.zeros(1, np.float32) for each in drawn}
        rendered, *shapes = self._run(feeds, silent, [each.shape_output for each in drawn])
        expected = frames * self.config.hop_length
        if rendered.size != expected:
            raise VoiceFileError(
                f"{self._path} makes {rendered.size} samples of {frames} frames where its layers say "
                f"{expected}; it is no RVC voice."
            )
        if not np.isfinite(rendered).all():
            raise VoiceFileError(
                f"{self._path} makes values that are no numbers; its training failed or it is damaged."
            )
        noises = [self._inside_noise(each, shape.tolist()) for each, shape in zip(drawn, shapes, strict=True)]
        # In the order that a Synthesizer draws in, which has no phases for one harmonic.
        self._noises = sorted(noises, key=lambda noise: (not noise.is_prior, not noise.drawn.is_normal))

    def _inside_noise(self, drawn: DrawnInside, shape: list[int]) -> _InsideNoise:
        if not shape or shape[0] != 1:
            raise VoiceFileError(
                f"{self._path} draws random numbers in a form that RVC's voices do not have; use the "
                ".pth that it was made of."
            )
        time_dim = next((place for place, side in enumerate(shape) if side % TRIAL_FRAMES == 0), None)
        sides = tuple(side // TRIAL_FRAMES if place == time_dim else side for place, side in enumerate(shape))
        # One number per frame and channel of the latent; the source has many for each frame.
        is_prior = drawn.is_normal and time_dim is not None and sides[time_dim] == 1
        return _InsideNoise(drawn, sides, time_dim, is_prior)

    def _run(
        self, feeds: dict[str, Array], noises: dict[str, Array], outputs: Sequence[str] = ()
    ) -> list[Array]:
        """The audio, and more outputs by name; ``feeds`` go by their roles, and not all may be wanted."""
        named = {name: feeds[role].astype(ARRAY_TYPES[type_]) for role, (name, type_) in self._ports.items()}
        try:
            fetched: list[Array] = self._session.run([self._output, *outputs], named | noises)
        except Exception as error:  # onnxruntime's own, whose classes change
            if is_out_of_memory(error):
                raise
            raise VoiceFileError(f"ONNX Runtime cannot run {self._path}: {first_line(error)}") from error
        return fetched


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.cpu().numpy()
    return array
