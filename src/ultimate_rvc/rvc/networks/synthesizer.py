"""The synthesizer of a voice: content features, pitch and speaker to a waveform.

The VITS-style model of RVC (Kim et al., "Conditional Variational Autoencoder with Adversarial
Learning for End-to-End Text-to-Speech", 2021) in the direction a conversion needs: text encoder,
inverted flow, vocoder. Layers are named as in voice files and hold plain weights;
``weight_norm.fold_weight_norm`` makes such a state of what a file holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import EncoderMismatchError, SettingError, VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.flow import Flow
from ultimate_rvc.rvc.networks.noise import BatchDraws, Noise
from ultimate_rvc.rvc.networks.padding import Valid, frame_mask
from ultimate_rvc.rvc.networks.text_encoder import TextEncoder
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, VocoderRender, build_vocoder, render_whole

NOISE_SCALE = 0.66666  # RVC's strength of the prior's noise
SHOWN_KEYS = 3  # names of missing layers an error lists


class Synthesizer(nn.Module):
    """A voice's network; VoiceFileError when the vocoder needs f0 and the voice has none."""

    def __init__(self, config: SynthesizerConfig, *, has_f0: bool, vocoder: Vocoder) -> None:
        super().__init__()
        self.config = config
        self.has_f0 = has_f0
        self.enc_p = TextEncoder(config, has_f0=has_f0)
        self.flow = Flow(config)
        self.emb_g = nn.Embedding(config.speakers, config.speaker_channels)
        self.dec = build_vocoder(config, vocoder, has_f0=has_f0)

    @classmethod
    def from_state(
        cls, config: SynthesizerConfig, state: Mapping[str, Tensor], *, has_f0: bool, vocoder: Vocoder
    ) -> Self:
        """Build the network from a state dict with folded weight norm, in float32, ready for use.

        Raises
        ------
        VoiceFileError
            When the state lacks a layer, has one too many, or one of another shape.
        """
        with torch.random.fork_rng(devices=[]):  # the first random weights are not a caller's business
            network = cls(config, has_f0=has_f0, vocoder=vocoder)
        network.check_shapes({key: tuple(tensor.shape) for key, tensor in state.items()})
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise VoiceFileError unless ``shapes`` are exactly those of this network's tensors."""
        expected = {key: tuple(tensor.shape) for key, tensor in self.state_dict().items()}
        problems = [f"{key} is missing" for key in expected if key not in shapes]
        problems += [f"{key} is unknown" for key in shapes if key not in expected]
        problems += [
            f"{key} has shape {shapes[key]} instead of {shape}"
            for key, shape in expected.items()
            if shapes.get(key, shape) != shape
        ]
        if problems:
            shown = "; ".join(problems[:SHOWN_KEYS])
            more = f"; and {len(problems) - SHOWN_KEYS} more" if len(problems) > SHOWN_KEYS else ""
            raise VoiceFileError(
                f"The voice's weights do not fit the model it says it is: {shown}{more}; "
                "the file is damaged or comes from an unknown variant."
            )

    @property
    def vocoder(self) -> VocoderNetwork:
        """The vocoder network (``dec``)."""
        return cast("VocoderNetwork", self.dec)

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
        """Render features to audio.

        Parameters
        ----------
        features : Tensor (batch, frames, phone_dim)
            Content features at 100 frames per second.
        pitch : int Tensor (batch, frames) or None
            Coarse pitch 1..255; None for a voice without f0.
        f0_hz : Tensor (batch, frames) or None
            Pitch in Hz, 0 = unvoiced; None for a voice without f0.
        speaker_id : int Tensor (batch,)
            0 to the number of speakers less one; only looked at on the CPU: elsewhere that would wait
            for the device.
        noise_scale : float
            Strength of the prior's noise; 0 switches it off.
        source_noise_scale : float
            Strength of every random number in the vocoder; 0 switches them off, random phases
            included. Both 0 make the output deterministic.
        generator : torch.Generator, optional
            Seeded, it makes renders repeatable; numbers are drawn on its device. A ``BatchDraws`` gives each
            item of a padded batch numbers of its own.
        lengths : int Tensor (batch,), optional
            Frames of each item in a padded batch. Each item then sounds as it does alone, and is
            silent behind its end.
        render : VocoderRender
            How the vocoder is run: over everything at once, or in a way that suits the device.

        Returns
        -------
        Tensor (batch, frames * hop_length)
            float32 in [-1, 1].

        Raises
        ------
        EncoderMismatchError
            When the features are not as wide as those the voice was trained with.
        SettingError
            When a speaker does not exist.
        """
        check_inputs(self.config, self.has_f0, features, pitch, f0_hz, speaker_id)
        valid = _valid_frames(lengths, features.shape[1])
        speaker = self.speaker(speaker_id)
        latent = self.latent(features, pitch, speaker, Noise(noise_scale, generator), valid)
        vocoder_noise = Noise(source_noise_scale, generator)
        source = None if f0_hz is None else self.vocoder.excitation(f0_hz.float(), vocoder_noise, valid)
        waveform = render(self.vocoder, latent, source, speaker, vocoder_noise, valid)
        return waveform[:, 0].float()

    def speaker(self, speaker_id: Tensor) -> Tensor:
        """Return the speakers' vectors (batch, speaker_channels, 1)."""
        vectors: Tensor = self.emb_g(speaker_id)
        return vectors[..., None]

    def latent(
        self,
        features: Tensor,
        pitch: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        first: int = 0,
    ) -> Tensor:
        """Return what the vocoder renders, (batch, inter_channels, frames - first).

        The ``first`` frames are context for the text encoder alone; ``valid`` may not be given with them.
        """
        mask = frame_mask(valid, features.shape[1], speaker)
        mean, log_deviation = self.enc_p(features.to(speaker.dtype), pitch, mask)
        prior = noise.sample(mean[..., first:], log_deviation[..., first:])
        latent: Tensor = self.flow(prior if mask is None else prior * mask, speaker, mask)
        return latent


def check_inputs(
    config: SynthesizerConfig,
    has_f0: bool,
    features: Tensor,
    pitch: Tensor | None,
    f0_hz: Tensor | None,
    speaker_id: Tensor,
) -> None:
    """Raise unless a voice can take these.

    ``features`` (batch, frames, phone_dim), ``pitch`` and ``f0_hz`` (batch, frames), ``speaker_id`` (batch,); errors
    as :meth:`Synthesizer.infer`.
    """
    if features.shape[-1] != config.phone_dim:
        raise EncoderMismatchError(
            f"The content encoder gives {features.shape[-1]} features per frame, but this voice was "
            f"trained with {config.phone_dim}; choose the encoder it was trained with."
        )
    if (pitch is not None, f0_hz is not None) != (has_f0, has_f0):
        raise ValueError("pitch and f0_hz belong to a voice with f0, and to no other")
    on_host = speaker_id.device.type == "cpu"
    if on_host and not 0 <= int(speaker_id.min()) <= int(speaker_id.max()) < config.speakers:
        raise SettingError(
            f"Speaker {int(speaker_id.max())} does not exist: this voice has speakers 0 to "
            f"{config.speakers - 1}."
        )


def _valid_frames(lengths: Sequence[int] | None, frames: int) -> Valid:
    """Return the lengths, or None when no item is shorter than the batch."""
    if lengths is None:
        return None
    valid = tuple(int(length) for length in lengths)
    if min(valid) < 1 or max(valid) > frames:
        raise ValueError(f"lengths must lie between 1 and {frames} frames, not {valid}")
    return None if min(valid) == frames else valid
