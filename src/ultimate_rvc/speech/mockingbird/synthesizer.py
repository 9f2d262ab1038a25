"""MockingBird's synthesizer: text and a speaker's embedding to mel spectrograms.

Tacotron (Wang et al., 2017) with a speaker's embedding beside the text (Jia et al., "Transfer Learning from Speaker
Verification", 2018) and global style tokens. Names and shapes are those of MockingBird's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ultimate_rvc.speech.mockingbird.cbhg import CBHG
from ultimate_rvc.speech.mockingbird.decoder import (
    DRAWN_STEPS,
    MOST_FRAMES_A_STEP,
    Decoder,
    Dropout,
    Memory,
    PreNet,
)
from ultimate_rvc.speech.mockingbird.masks import valid_mask
from ultimate_rvc.speech.mockingbird.style_tokens import GlobalStyleTokens

END_LOGIT = 0.0  # MockingBird ends where the probability of the end is above 0.5
LEAST_FRAMES = 10  # and never before
# A symbol is a letter of a syllable and takes about 5 frames of 12.5 ms. Attention that has lost its way never ends.
MOST_FRAMES_A_SYMBOL, MORE_FRAMES = 12, 80


@dataclass(frozen=True)
class StyleSizes:
    """Of the global style tokens."""

    filters: tuple[int, ...] = (32, 32, 64, 64, 128, 128)
    reference: int = 256
    query: int = 512
    tokens: int = 10
    width: int = 512
    heads: int = 8


@dataclass(frozen=True)
class SynthesizerSizes:
    """Every size of a synthesizer; the defaults are those of the official checkpoints."""

    symbols: int = 75
    embedding: int = 512
    encoder: int = 256
    encoder_kernels: int = 5
    encoder_highways: int = 4
    decoder: int = 128
    lstm: int = 1024
    mels: int = 80
    postnet: int = 512
    postnet_kernels: int = 5
    postnet_highways: int = 4
    speaker: int = 256
    style: StyleSizes | None = StyleSizes()

    @property
    def memory(self) -> int:
        """Channels of the text as the decoder sees it."""
        return self.encoder + self.speaker + (self.style.width if self.style else 0)


class TextEncoder(nn.Module):
    """Symbols (batch, symbols) to (batch, symbols, channels)."""

    def __init__(self, sizes: SynthesizerSizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.symbols, sizes.embedding)
        self.pre_net = PreNet(sizes.embedding, sizes.encoder)
        self.cbhg = CBHG(
            kernels=sizes.encoder_kernels,
            inputs=sizes.encoder,
            channels=sizes.encoder,
            projections=(sizes.encoder, sizes.encoder),
            highways=sizes.encoder_highways,
        )

    def forward(self, symbols: Tensor, lengths: Sequence[int], dropout: Dropout) -> Tensor:
        embedded = self.embedding(symbols)
        factors = dropout.draw(lengths, self.pre_net.drawn_width, embedded)
        encoded: Tensor = self.cbhg(self.pre_net(embedded, factors).transpose(1, 2), lengths)
        return encoded


class Synthesizer(nn.Module):
    """Tacotron with a speaker; :meth:`read` is what is used of it."""

    step: Tensor
    stop_threshold: Tensor

    def __init__(self, sizes: SynthesizerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = TextEncoder(sizes)
        self.encoder_proj = nn.Linear(sizes.memory, sizes.decoder, bias=False)
        if (style := sizes.style) is not None:
            self.gst = GlobalStyleTokens(
                speaker_width=sizes.speaker,
                filters=style.filters,
                reference_width=style.reference,
                query_width=style.query,
                tokens=style.tokens,
                width=style.width,
                heads=style.heads,
            )
        self.decoder = Decoder(mels=sizes.mels, memory=sizes.memory, width=sizes.decoder, lstm=sizes.lstm)
        self.postnet = CBHG(
            kernels=sizes.postnet_kernels,
            inputs=sizes.mels,
            channels=sizes.postnet,
            projections=(sizes.postnet, sizes.mels),
            highways=sizes.postnet_highways,
        )
        self.post_proj = nn.Linear(sizes.postnet, sizes.mels, bias=False)
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))
        self.register_buffer("stop_threshold", torch.tensor(-3.4))

    @torch.inference_mode()
    def read(
        self, texts: Sequence[Sequence[int]], speaker: Tensor, seed: int, *, frames: int | None = None
    ) -> list[Tensor]:
        """Mel spectrograms (mels, frames) of ``texts``, each the same as if it were read alone.

        ``texts`` are sequences of symbols, ``speaker`` (speaker,) the embedding of who reads; the same ``seed``
        gives the same frames. ``frames`` makes all so long, whatever the network thinks of the end.
        """
        lengths = [len(text) for text in texts]
        device = self.device
        symbols = pad_sequence([torch.tensor(text) for text in texts], batch_first=True).to(device)
        dropout = Dropout([seed] * len(texts))
        memory = self._memory(symbols, lengths, speaker.to(device).expand(len(texts), -1), dropout)
        most = [frames or MORE_FRAMES + MOST_FRAMES_A_SYMBOL * length for length in lengths]
        coarse, ends = self._decode(memory, dropout, most, ends_itself=frames is None)
        mels: Tensor = self.post_proj(self.postnet(coarse, ends)).transpose(1, 2)
        return [
            self._trimmed(mel[:, :end]) if frames is None else mel[:, :end]
            for mel, end in zip(mels.float(), ends, strict=True)
        ]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.step.device

    def _memory(self, symbols: Tensor, lengths: Sequence[int], speaker: Tensor, dropout: Dropout) -> Memory:
        text = self.encoder(symbols, lengths, dropout)
        beside = [speaker]
        if self.sizes.style is not None:
            beside.append(self.gst(speaker))
        wide = torch.cat(beside, dim=1)[:, None].expand(-1, text.shape[1], -1)
        values = torch.cat([text, wide.to(text)], dim=2)
        mask = valid_mask(lengths, values.shape[1], values)
        return Memory(values, self.encoder_proj(values), None if mask is None else mask == 0)

    def _decode(
        self, memory: Memory, dropout: Dropout, most: Sequence[int], *, ends_itself: bool
    ) -> tuple[Tensor, list[int]]:
        """Frames (batch, mels, longest) before the post-net, and where each item ends."""
        state = self.decoder.start(memory)
        batch, step = len(most), max(1, int(self.decoder.r))
        frame = memory.values.new_zeros(batch, self.sizes.mels)
        made: list[Tensor] = []
        ends: list[int | None] = [None] * batch
        position, factors = 0, frame
        while None in ends:
            drawn = len(made) % DRAWN_STEPS
            if drawn == 0:
                factors = dropout.draw([DRAWN_STEPS] * batch, self.decoder.prenet.drawn_width, frame)
            frames, ending = self.decoder(frame, factors[:, drawn], memory, state, step)
            made.append(frames)
            frame = frames[..., -1]
            says_end = (
                (ending > END_LOGIT).tolist() if ends_itself and position > LEAST_FRAMES else [False] * batch
            )
            position += step
            for item, has_ended in enumerate(says_end):
                if ends[item] is None and (has_ended or position >= most[item]):
                    ends[item] = min(position, most[item])
        return torch.cat(made, dim=2)[..., : max(filter(None, ends))], [end or 0 for end in ends]

    def _trimmed(self, mel: Tensor) -> Tensor:
        """``mel`` without the silence at its end, as MockingBird does; one frame is always left."""
        loud = (mel.amax(dim=0) >= self.stop_threshold.float()).nonzero()
        return mel[:, : int(loud[-1]) + 1 if len(loud) else 1]


def without_unused_frames(network: Synthesizer, scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave the rows of the decoder's last layer out that make frames nobody uses, in place: 18 of 20 usually.

    ``scales`` are of rows in int8 (:func:`int8.float_state`); those that are left are returned.
    """
    frames = max(1, int(network.decoder.r))
    layer = network.decoder.mel_proj

    def used(rows: Tensor) -> Tensor:
        by_frame = rows.reshape(network.sizes.mels, MOST_FRAMES_A_STEP, *rows.shape[1:])
        return by_frame[:, :frames].reshape(-1, *rows.shape[1:]).clone()

    layer.weight = nn.Parameter(used(layer.weight.data), requires_grad=False)
    layer.out_features = len(layer.weight)
    name = "decoder.mel_proj.weight"
    return {each: used(scale) if each == name else scale for each, scale in scales.items()}
