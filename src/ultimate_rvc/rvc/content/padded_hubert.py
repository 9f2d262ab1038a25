"""HuBERT over a padded batch, so that each item has the features it has alone.

transformers' own attention mask does not give that: its first norm runs over the time of the whole batch,
padding included, and making the mask asks the device for numbers. Here the layers of its model are
run one by one, and what lies behind an item's end is kept out at the four places that look across time:
the first norm, the positional convolution, the attention and the result. The convolutions before them have
no padding of their own, so the frames of an item depend on its samples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.rvc.content.frames import frame_count
from ultimate_rvc.rvc.networks.padding import clear_tails


def padded_last_layer(network: Any, waveform_16k: Tensor, lengths: Sequence[int]) -> Tensor:
    """The last layer of a ``HubertModel`` in evaluation mode, ``(batch, (samples - 80) // 320, hidden_size)``.

    ``waveform_16k`` is ``(batch, samples)`` and may hold anything behind the items' ends, which ``lengths`` give
    in samples; so may the result.
    """
    valid = tuple(frame_count(length) for length in lengths)
    extracted = _extracted(network, waveform_16k, lengths)
    hidden: Tensor = network.feature_projection(extracted.transpose(1, 2))
    clear_tails(hidden.transpose(1, 2), valid)
    hidden = hidden + _positions(network.encoder.pos_conv_embed, hidden, valid)
    norm_first = network.config.do_stable_layer_norm
    if not norm_first:
        hidden = network.encoder.layer_norm(hidden)
    mask = _attention_mask(hidden, valid)
    for layer in network.encoder.layers:
        output = layer(hidden, attention_mask=mask)
        hidden = output[0] if isinstance(output, tuple) else output  # a tuple before transformers 5
    if norm_first:
        hidden = network.encoder.layer_norm(hidden)
    return hidden


def _extracted(network: Any, waveform_16k: Tensor, lengths: Sequence[int]) -> Tensor:
    """Output of the convolutions, ``(batch, channels, frames)``."""
    first, *others = network.feature_extractor.conv_layers
    hidden: Tensor = waveform_16k[:, None]
    if network.config.feat_extract_norm == "group":
        hidden = first.conv(hidden)
        kernel, stride = first.conv.kernel_size[0], first.conv.stride[0]
        for item, length in enumerate(lengths):
            if frame_count(length):
                # In place and item by item: no second tensor of this size, the largest of the network.
                own = hidden[item : item + 1, :, : (length - kernel) // stride + 1]
                own.copy_(first.layer_norm(own))
        hidden = first.activation(hidden)
    else:
        hidden = first(hidden)  # a norm over channels, which knows no time
    for layer in others:
        hidden = layer(hidden)
    return hidden


def _positions(embedding: Any, hidden: Tensor, valid: tuple[int, ...]) -> Tensor:
    """What the positional convolution adds; ``hidden`` is zero behind the ends, as is its own padding."""
    moved = hidden.transpose(1, 2)
    if getattr(embedding, "batch_norm", None) is not None:
        moved = clear_tails(embedding.batch_norm(moved), valid)
    positions: Tensor = embedding.activation(embedding.padding(embedding.conv(moved)))
    return positions.transpose(1, 2)


def _attention_mask(hidden: Tensor, valid: tuple[int, ...]) -> Tensor:
    """0 for frames that all may see and minus infinity behind the ends, ``(batch, 1, frames, frames)``."""
    batch, frames, _ = hidden.shape
    mask = hidden.new_zeros(batch, 1, 1, frames)
    for item, length in enumerate(valid):  # filled on the device: nothing is sent there
        mask[item, ..., length:] = -torch.inf
    return mask.expand(-1, -1, frames, -1)
