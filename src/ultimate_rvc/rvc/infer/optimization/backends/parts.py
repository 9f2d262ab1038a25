"""The networks of a conversion as parts, and how the path is made to call a runner instead of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.content.frames import FRAME_SAMPLES, RECEPTIVE_SAMPLES
from ultimate_rvc.rvc.content.starter import MEL_PER_FRAME, WINDOW_FRAMES
from ultimate_rvc.rvc.content.whisper_encoder import N_MELS, WhisperEncoder
from ultimate_rvc.rvc.infer.chunks import MAX_CHUNK_SAMPLES, PAD_SAMPLES
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Port, Runner
from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, VocoderLayers
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.refinegan import ParallelResidualBlock, RefineGAN
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.text_encoder import PITCH_BINS, RelativeAttention
from ultimate_rvc.rvc.pitch.bins import PITCH_BINS as SALIENCE_BINS
from ultimate_rvc.rvc.pitch.mel import N_MELS as PITCH_MELS
from ultimate_rvc.rvc.pitch.rmvpe_network import FRAME_GRID, RMVPENetwork

MOST_SAMPLES = MAX_CHUNK_SAMPLES + 2 * PAD_SAMPLES + RECEPTIVE_SAMPLES  # of a window
MOST_FRAMES = -(-MOST_SAMPLES // (FRAME_SAMPLES // 2))
FEWEST_FRAMES = 16
FEWEST_MEL_STEPS = 2
MOST_GRIDS = 256  # of 32 frames of 10 ms: 82 s, with the context of a piece of 25.6 s twice as much as is met
HUBERT_FEWEST = 4 * FRAME_SAMPLES + RECEPTIVE_SAMPLES


def synthesizer_parts(synthesizer: Synthesizer, tile_lengths: Sequence[int]) -> list[Part]:
    """Text encoder, flow and vocoder of a voice.

    ``tile_lengths`` are the only frames that the vocoder is called with, unless it draws random numbers of its own:
    these are inputs then, for whole windows of any length.
    """
    return [_text_encoder(synthesizer), _flow(synthesizer), _vocoder(synthesizer, tuple(tile_lengths))]


def content_parts(encoder: ContentEncoder, version: str) -> list[Part]:
    """The networks of a content encoder."""
    return [content_part(network) for network in encoder.networks(version)]


def content_part(network: nn.Module) -> Part:
    """The network of the starter encoder, or a ``HubertModel``."""
    return _whisper(network) if isinstance(network, WhisperEncoder) else _hubert(network)


def pitch_parts(method: object) -> list[Part]:
    """The networks of a pitch method that backends run; none of most methods."""
    networks = [getattr(each, "network", None) for each in getattr(method, "methods", [method])]
    return [_rmvpe(network) for network in networks if isinstance(network, RMVPENetwork)]


class _TextEncoder(nn.Module):
    """Without a mask, and with the attention in one piece: a loop over blocks would be of one length only."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        super().__init__()
        self.text_encoder = synthesizer.enc_p

    def forward(self, features: Tensor, pitch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        attentions = [each for each in self.modules() if isinstance(each, RelativeAttention)]
        for attention in attentions:
            attention.in_one_piece = True
        try:
            mean, log_deviation = self.text_encoder(features, pitch, None)
        finally:
            for attention in attentions:
                attention.in_one_piece = False
        return mean, log_deviation


class _Flow(nn.Module):
    def __init__(self, synthesizer: Synthesizer) -> None:
        super().__init__()
        self.flow = synthesizer.flow

    def forward(self, prior: Tensor, speaker: Tensor) -> Tensor:
        latent: Tensor = self.flow(prior, speaker, None)
        return latent


class _Draws:
    """Stands for :class:`Noise`: random numbers that were drawn before, in the order in which they are asked for."""

    def __init__(self, numbers: Sequence[Tensor]) -> None:
        self.scale = float(len(numbers))
        self._left = iter(numbers)

    def normal(self, shape: tuple[int, ...], like: Tensor, *, time_dim: int | None) -> Tensor | None:
        return next(self._left, None)


class _Vocoder(nn.Module):
    """Latent, source if it has one, speaker and random numbers if it draws any, to the waveform."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        super().__init__()
        self.vocoder = synthesizer.dec
        self.has_source = synthesizer.has_f0

    def forward(self, latent: Tensor, *others: Tensor) -> Tensor:
        source = others[0] if self.has_source else None
        speaker, *numbers = others[1:] if self.has_source else others
        waveform: Tensor = self.vocoder(latent, source, speaker, _Draws(numbers))
        return waveform


class _Hubert(nn.Module):
    def __init__(self, hubert: nn.Module) -> None:
        super().__init__()
        self.hubert = hubert

    def forward(self, waveform_16k: Tensor) -> Tensor:
        features: Tensor = self.hubert(waveform_16k).last_hidden_state
        return features


def _text_encoder(synthesizer: Synthesizer) -> Part:
    config, network = synthesizer.config, synthesizer.enc_p
    inputs = [Port("features", (1, None, config.phone_dim))]
    if synthesizer.has_f0:
        inputs.append(Port("pitch", (1, None), below=PITCH_BINS))
    stats = (1, config.inter_channels, None)

    def through(run: Runner) -> Callable[..., Any]:
        def forward(features: Tensor, pitch: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
            mean, log_deviation = run(features, *([] if pitch is None else [pitch]))
            return mean, log_deviation

        return forward

    return Part(
        PartName.TEXT, _TextEncoder(synthesizer), tuple(inputs),
        (Port("mean", stats), Port("log_deviation", stats)),
        FEWEST_FRAMES, MOST_FRAMES, _replacing(network, through),
    )  # fmt: skip


def _flow(synthesizer: Synthesizer) -> Part:
    config = synthesizer.config
    shape = (1, config.inter_channels, None)

    def through(run: Runner) -> Callable[..., Any]:
        def forward(prior: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
            return run(prior, speaker)[0]

        return forward

    return Part(
        PartName.FLOW, _Flow(synthesizer), (Port("prior", shape), _speaker(synthesizer)), (Port("latent", shape),),
        FEWEST_FRAMES, MOST_FRAMES, _replacing(synthesizer.flow, through),
    )  # fmt: skip


def _vocoder(synthesizer: Synthesizer, tile_lengths: tuple[int, ...]) -> Part:
    config, network = synthesizer.config, synthesizer.dec
    hop_length = config.hop_length
    inputs = [Port("latent", (1, config.inter_channels, None))]
    if synthesizer.has_f0:
        inputs.append(Port("source", (1, 1, None), hop_length))
    inputs.append(_speaker(synthesizer))
    draws = _draws(network) if isinstance(network, RefineGAN) else []
    inputs += draws

    def through(run: Runner) -> Callable[..., Any]:
        def forward(
            latent: Tensor,
            source: Tensor | None,
            speaker: Tensor,
            noise: Noise,
            valid: Valid = None,
            layers: VocoderLayers = PLAIN_LAYERS,
        ) -> Tensor:
            given = [latent, speaker] if source is None else [latent, source, speaker]
            return run(*given, *(_drawn(port, latent, noise) for port in draws))[0]

        return forward

    return Part(
        PartName.VOCODER, _Vocoder(synthesizer), tuple(inputs), (Port("waveform", (1, 1, None), hop_length),),
        FEWEST_FRAMES, MOST_FRAMES, _replacing(network, through), () if draws else tile_lengths,
    )  # fmt: skip


def _draws(network: RefineGAN) -> list[Port]:
    """The random numbers of a vocoder in the order in which it draws them."""
    ports, per_frame = [], 1
    for rate, block in zip(network.rates, network.upsample_conv_blocks, strict=True):
        per_frame *= rate
        assert isinstance(block, ParallelResidualBlock)
        channels = block.input_conv.out_channels
        ports += [
            Port(f"noise_{per_frame}_{number}", (1, channels, None), per_frame)
            for number in range(2 * len(block.blocks))
        ]
    return ports


def _drawn(port: Port, latent: Tensor, noise: Noise) -> Tensor:
    shape = (1, int(port.shape[1] or 1), latent.shape[-1] * port.per_step)
    drawn = noise.normal(shape, latent, time_dim=2)
    return latent.new_zeros(shape) if drawn is None else drawn


def _speaker(synthesizer: Synthesizer) -> Port:
    return Port("speaker", (1, synthesizer.config.speaker_channels, 1))


def _whisper(network: WhisperEncoder) -> Part:
    def through(run: Runner) -> Callable[..., Any]:
        def forward(log_mel: Tensor, valid: Valid = None) -> Tensor:
            return torch.cat([run(item)[0] for item in torch.split(log_mel, 1)])

        return forward

    width = network.positions.shape[1]
    return Part(
        PartName.CONTENT, network, (Port("log_mel", (1, N_MELS, None), MEL_PER_FRAME),),
        (Port("hidden", (1, None, width)),), FEWEST_MEL_STEPS, WINDOW_FRAMES, _replacing(network, through),
    )  # fmt: skip


def _hubert(network: nn.Module) -> Part:
    def through(run: Runner) -> Callable[..., Any]:
        from transformers.modeling_outputs import BaseModelOutput

        def forward(waveform_16k: Tensor) -> Any:
            return BaseModelOutput(last_hidden_state=cast(Any, run(waveform_16k)[0]))

        return forward

    width = int(cast(Any, network).config.hidden_size)
    return Part(
        PartName.CONTENT, _Hubert(network), (Port("waveform_16k", (1, None)),),
        (Port("features", (1, None, width), 0),), HUBERT_FEWEST, MOST_SAMPLES, _replacing(network, through),
    )  # fmt: skip


def _rmvpe(network: RMVPENetwork) -> Part:
    def through(run: Runner) -> Callable[..., Any]:
        return lambda log_mel: run(log_mel)[0]

    return Part(
        PartName.PITCH, network, (Port("log_mel", (1, PITCH_MELS, None), FRAME_GRID),),
        (Port("salience", (1, None, SALIENCE_BINS), FRAME_GRID),), 1, MOST_GRIDS, _replacing(network, through),
    )  # fmt: skip


def _replacing(
    network: nn.Module, through: Callable[[Runner], Callable[..., Any]]
) -> Callable[[Runner | None], None]:
    """What lets ``network`` be computed by a runner, whoever calls it, or by itself again."""

    def replace(run: Runner | None) -> None:
        if run is not None:
            network.forward = through(run)
        elif "forward" in vars(network):
            del network.forward

    return replace
