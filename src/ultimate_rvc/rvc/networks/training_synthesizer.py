"""The synthesizer in the direction training needs: a recording through its latent and back.

VITS (Kim et al., 2021) as RVC trains it: the posterior encoder turns a recording's spectrogram into a
latent, the vocoder renders a short piece of it, and the flow carries all of it to where it must look
like what the text encoder makes of content features and pitch. Parts and layers are named as in
RVC's published ``G_*.pth`` files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.flow import Coupling, Flow
from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, ResidualPairs
from ultimate_rvc.rvc.networks.noise import BatchDraws, Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.posterior_encoder import PosteriorEncoder
from ultimate_rvc.rvc.networks.segments import draw_starts, slice_segments
from ultimate_rvc.rvc.networks.sine_source import SineSource
from ultimate_rvc.rvc.networks.text_encoder import RelativeAttention, TextEncoder
from ultimate_rvc.rvc.networks.training_state import load_training_state, norm_weights, paired_state
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, build_vocoder
from ultimate_rvc.rvc.networks.weight_norm_layers import is_weight_normed

if TYPE_CHECKING:
    from ultimate_rvc.rvc.train.batches import Batch

NARROW_LOG_DEVIATION = -3.0
TRAINING_ONLY = "enc_q."  # the posterior encoder, absent from voice files


@dataclass(frozen=True)
class TrainingOutput:
    """What the losses need of one step; every fraction is float32.

    ``waveform`` (batch, 1, segment_frames * hop_length) is the rendered piece, from frame ``slice_starts``
    (batch,) int64 on. The others have shape (batch, inter_channels, frames), but for ``mask``
    (batch, 1, frames), 1 inside each item: ``z_p`` is the posterior's sample carried to the prior's side, the
    rest mean and log standard deviation of prior (``p``) and posterior (``q``).
    """

    waveform: Tensor
    slice_starts: Tensor
    mask: Tensor
    z_p: Tensor
    mean_p: Tensor
    log_deviation_p: Tensor
    mean_q: Tensor
    log_deviation_q: Tensor


class TrainingSynthesizer(nn.Module):
    """A voice's network while it learns, with weight norm on the layers that RVC norms.

    ``config`` is that of the network as it is, and so of the voice it becomes: a dropout other than 0, which no
    RVC tool trains with, is not kept. ``gradient_checkpointing`` computes the vocoder's residual blocks again
    on the way back instead of keeping what they held: less memory, more time, the same gradients.

    Raises
    ------
    VoiceFileError
        When the vocoder needs f0 and the voice has none.
    """

    def __init__(self, config: SynthesizerConfig, *, has_f0: bool, vocoder: Vocoder) -> None:
        super().__init__()
        self.config = config = replace(config, dropout=0)
        self.has_f0 = has_f0
        self.gradient_checkpointing = False
        self.enc_p = TextEncoder(config, has_f0=has_f0)
        self.enc_q = PosteriorEncoder(config)
        self.flow = Flow(config)
        self.emb_g = nn.Embedding(config.speakers, config.speaker_channels)
        self.dec = build_vocoder(config, vocoder, has_f0=has_f0)
        _begin(self)
        norm_weights(self, lambda layer: is_weight_normed(layer, vocoder))

    @property
    def vocoder(self) -> VocoderNetwork:
        """The vocoder network (``dec``)."""
        return cast("VocoderNetwork", self.dec)

    def begin_with_a_narrow_prior(self) -> None:
        """Let the prior be nearly certain at first: noise of the latents' own size would drown them.

        With a posterior, the divergence from it soon teaches the prior its width; without, only the
        waveform does, slowly.
        """
        bias = cast("nn.Parameter", self.enc_p.proj.bias)
        with torch.no_grad():
            bias[self.config.inter_channels :] = NARROW_LOG_DEVIATION

    def forward(
        self,
        batch: Batch,
        *,
        segment_frames: int,
        generator: torch.Generator | BatchDraws | None = None,
        noise_scale: float = 1.0,
        from_prior: bool = False,
    ) -> TrainingOutput:
        """Encode a batch's recordings, carry them to the prior, and render a piece of each.

        Parameters
        ----------
        batch : Batch
            On the network's device.
        segment_frames : int
            Length of the rendered pieces; an item that is shorter is rendered with the padding behind it.
        generator : torch.Generator or BatchDraws, optional
            Where every random number comes from: first the places of the pieces, then the posterior's
            sample, then the vocoder's noises. They are drawn on its device, so that one on the CPU gives
            the same numbers on any device. ``BatchDraws`` give each item numbers of its own.
        noise_scale : float
            Strength of all noise; 0 switches it off, random phases included, for comparisons.
        from_prior : bool
            Render what the features' prior gives, as a conversion does; the recording's spectrogram is not
            encoded, and the prior takes the posterior's place in the output.

        Raises
        ------
        ValueError
            When the batch has pitch and the voice none, or the other way round, or the
            batch is shorter than ``segment_frames``.
        """
        self._check(batch, segment_frames)
        starts = draw_starts(batch.lengths, segment_frames, generator)
        noise = Noise(noise_scale, generator)
        mask = _inside(batch.lengths, batch.spectrogram)
        speaker = self.emb_g(batch.speaker)[..., None]
        mean_p, log_deviation_p = self.enc_p(batch.features, batch.pitch, mask)
        if from_prior:
            mean_q, log_deviation_q = mean_p.float(), log_deviation_p.float()
            drawn = noise.normal(tuple(mean_p.shape), mean_p, time_dim=2)
            z_p = mean_p if drawn is None else mean_p + torch.exp(log_deviation_p) * drawn * mask
            latent = self.flow(z_p, speaker, mask)
        else:
            latent, mean_q, log_deviation_q = self.enc_q(batch.spectrogram, speaker, mask, noise)
            z_p = self.flow.to_prior(latent, speaker, mask)
        piece = slice_segments(latent, starts, segment_frames)
        f0_hz = None if batch.f0_hz is None else slice_segments(batch.f0_hz, starts, segment_frames)
        waveform = self._render(piece, f0_hz, speaker, noise)
        return TrainingOutput(
            waveform=waveform.float(),
            slice_starts=starts,
            mask=mask,
            z_p=z_p.float(),
            mean_p=mean_p.float(),
            log_deviation_p=log_deviation_p.float(),
            mean_q=mean_q,
            log_deviation_q=log_deviation_q,
        )

    def _render(self, latent: Tensor, f0_hz: Tensor | None, speaker: Tensor, noise: Noise) -> Tensor:
        """The waveform (batch, 1, samples) of a piece of the latent; its source starts with the piece."""
        source = None if f0_hz is None else self.vocoder.excitation(f0_hz.float(), noise)
        layers = CHECKPOINTED_LAYERS if self.gradient_checkpointing else PLAIN_LAYERS
        return self.vocoder(latent, source, speaker, noise, layers=layers)

    def _check(self, batch: Batch, segment_frames: int) -> None:
        if (batch.pitch is not None, batch.f0_hz is not None) != (self.has_f0, self.has_f0):
            raise ValueError("pitch and f0_hz belong to a voice with f0, and to no other")
        frames = batch.spectrogram.shape[-1]
        if not 1 <= segment_frames <= frames:
            raise ValueError(
                f"segment_frames must be 1 to {frames}, the frames of the batch, not {segment_frames}"
            )

    def voice_state(self) -> dict[str, Tensor]:
        """The weights as voice files hold them, without ``enc_q`` and with ``weight_g``/``weight_v``.

        They are copies in float32, on the CPU.
        """
        pairs = paired_state(self.state_dict())
        return {
            key: tensor.detach().to("cpu", torch.float32, copy=True)
            for key, tensor in pairs.items()
            if not key.startswith(TRAINING_ONLY)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> list[str]:
        """Take the weights of an official ``G`` file (its ``model``) or of a voice file, which has no ``enc_q``.

        Either dialect of weight norm, or plain weights; any precision. Errors and what is returned are those
        of :func:`load_training_state`.
        """
        return load_training_state(self, state, optional=TRAINING_ONLY, by_rows="emb_g.weight")


class CheckpointedLayers:
    """``VocoderLayers`` that keep nothing inside a residual block for the way back: it is computed again.

    Chen et al., "Training deep nets with sublinear memory cost" (2016).
    """

    upsample = staticmethod(PLAIN_LAYERS.upsample)
    output = staticmethod(PLAIN_LAYERS.output)

    def mean_of_blocks(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        # Blocks draw no random numbers, so the generators' state need not be kept.
        again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
        recomputed = [partial(again, block) for block in blocks]
        return PLAIN_LAYERS.mean_of_blocks(hidden, cast("list[ResidualPairs]", recomputed), valid)


CHECKPOINTED_LAYERS = CheckpointedLayers()


def _begin(network: TrainingSynthesizer) -> None:
    """Weights to begin with, where RVC does not leave them to torch."""
    for coupling in network.flow.flows:
        if isinstance(coupling, Coupling):  # at first the flow changes nothing
            nn.init.zeros_(coupling.post.weight)
            nn.init.zeros_(cast("nn.Parameter", coupling.post.bias))
    for attention in network.enc_p.encoder.attn_layers:
        assert isinstance(attention, RelativeAttention)
        for projection in (attention.conv_q, attention.conv_k, attention.conv_v):
            nn.init.xavier_uniform_(projection.weight)
    for module in network.dec.modules():
        # One number is all that lets the sine in. Where RVC draws it near zero, as a seed may, the vocoder
        # learns to hum at the frame rate, and no step of its gradient leads back to the pitch.
        if isinstance(module, SineSource) and module.harmonics == 1:
            nn.init.ones_(module.l_linear.weight)
            nn.init.zeros_(module.l_linear.bias)


def _inside(lengths: Tensor, spectrogram: Tensor) -> Tensor:
    """1 on the frames inside each item and 0 behind, (batch, 1, frames)."""
    frames = torch.arange(spectrogram.shape[-1], device=lengths.device)
    return (frames < lengths[:, None])[:, None].to(torch.float32)
