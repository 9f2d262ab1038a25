"""RoFormers on a processor: a few sequences at a time, in bfloat16 where it multiplies that.

Nine tenths of a RoFormer's time are the linear layers and the attention of its transformers. What lies between two of
these layers is a hundred megabytes and more for all sequences; for a few of them it fits into the processor's cache.
So a few sequences go through a whole transformer before the next do. Rounded are the linear layers and the attention
alone: what runs from layer to layer, norms, bands and masks stay float32, which keeps the stems above 40 dB of those
of float32 (docs/separation.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pymss_core.modules.bs_roformer.transformer import Attention, FeedForward, Transformer
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_NORM = 1e-12
TOKENS_AT_ONCE = 2048  # 1024 and 4096 are as fast


def suit_processor(network: nn.Module, *, rounded: bool) -> None:
    """Let the transformers of ``network`` compute in small pieces, with ``rounded`` in bfloat16; in place.

    A layer of a kind that is not known here (PoPE instead of rotary embeddings) stays in float32, and so do
    conformers.
    """
    for module in network.modules():
        if not isinstance(module, Transformer):
            continue
        if rounded:
            for pair in module.layers:
                pair[0], pair[1] = _rounded(pair[0]), _rounded(pair[1])
        module.forward = _in_pieces(module)


def _rounded(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Attention) and not layer.use_pope:
        return RoundedAttention(layer)
    return RoundedFeedForward(layer) if isinstance(layer, FeedForward) else layer


def _in_pieces(transformer: Transformer) -> Callable[[Tensor], Tensor]:
    """The forward of ``transformer``, a few of its sequences at a time: they meet nowhere in it."""

    def forward(tokens: Tensor) -> Tensor:
        found = torch.empty(tokens.shape, dtype=tokens.dtype)
        at_once = max(1, TOKENS_AT_ONCE // tokens.shape[1])
        for start in range(0, len(tokens), at_once):
            answer = found[start : start + at_once].copy_(tokens[start : start + at_once])
            for attention, feed_forward in transformer.layers:
                answer += attention(answer)
                answer += feed_forward(answer)
            if not isinstance(transformer.norm, nn.Identity):
                answer.copy_(transformer.norm(answer))
        return found

    return forward


class RoundedAttention(nn.Module):
    """Attention with rotary embeddings and gated heads: float32 ``(batch, tokens, dim)`` in, bfloat16 out.

    Rotary embeddings turn the even numbers of a head against the odd ones (Su et al., RoFormer, 2021). Their rows of
    the weights are sorted here, even before odd: products of queries and keys stay the same, and what is turned lies
    side by side.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self._heads = attention.heads
        self._rotary = attention.rotary_embed
        self._scale = attention.norm.scale
        gamma = attention.norm.gamma.detach()
        bias = attention.to_qkv.bias
        self._weight = self._sorted(attention.to_qkv.weight.detach() * gamma)
        self._bias = None if bias is None else self._sorted(bias.detach())
        self._gate_weight = (attention.to_gates.weight.detach() * gamma).bfloat16()
        self._gate_bias = attention.to_gates.bias.detach().bfloat16()
        self._out = attention.to_out[0].bfloat16()
        self._turns: dict[int, tuple[Tensor, Tensor]] = {}

    def _sorted(self, rows: Tensor) -> Tensor:
        """Rows of queries, keys and values, those of the first two even before odd within each head."""
        if self._rotary is not None:
            apart = rows.reshape(3, self._heads, -1, 2, *rows.shape[1:])
            turned = apart[:2].transpose(2, 3).flatten(2, 3)
            rows = torch.cat([turned, apart[2:].flatten(2, 3)]).flatten(0, 2)
        return rows.bfloat16()

    def forward(self, tokens: Tensor) -> Tensor:
        heads, batch_and_count = self._heads, tokens.shape[:2]
        normalised = _normalised(tokens, self._scale)
        found = F.linear(normalised, self._weight, self._bias).view(*batch_and_count, 3 * heads, -1)
        queries_keys, values = found[:, :, : 2 * heads], found[:, :, 2 * heads :]
        if self._rotary is not None:
            queries_keys = self._turned(queries_keys)
        queries, keys = queries_keys.transpose(1, 2).chunk(2, dim=1)
        heard = F.scaled_dot_product_attention(queries, keys, values.transpose(1, 2)).transpose(1, 2)
        gates = F.linear(normalised, self._gate_weight, self._gate_bias).sigmoid().unsqueeze(-1)
        rounded: Tensor = self._out((heard * gates).reshape(*batch_and_count, -1))
        return rounded

    def _turned(self, heads: Tensor) -> Tensor:
        """Queries and keys ``(batch, tokens, heads, head_dim)``, turned by their place."""
        cos, sin = self._turn(heads.shape[1])
        first, second = heads.chunk(2, dim=-1)
        turned = torch.empty_like(heads, memory_format=torch.contiguous_format)
        left, right = turned.chunk(2, dim=-1)
        torch.mul(first, cos, out=left)
        left.addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=right)
        right.addcmul_(first, sin)
        return turned

    def _turn(self, count: int) -> tuple[Tensor, Tensor]:
        if count not in self._turns:
            places = torch.arange(count, dtype=torch.float32)
            angles = torch.outer(places, self._rotary.freqs.detach()).unsqueeze(1)
            self._turns[count] = angles.cos().bfloat16(), angles.sin().bfloat16()
        return self._turns[count]


class RoundedFeedForward(nn.Module):
    """Two linear layers with GELU between: float32 ``(batch, tokens, dim)`` in, bfloat16 out."""

    def __init__(self, feed_forward: FeedForward) -> None:
        super().__init__()
        norm, first, _, _, second, _ = feed_forward.net
        self._scale = norm.scale
        self._weight = (first.weight.detach() * norm.gamma.detach()).bfloat16()
        self._bias = first.bias.detach().bfloat16()
        self._second = second.bfloat16()

    def forward(self, tokens: Tensor) -> Tensor:
        wide = F.linear(_normalised(tokens, self._scale), self._weight, self._bias)
        rounded: Tensor = self._second(F.gelu(wide))
        return rounded


def _normalised(tokens: Tensor, scale: float) -> Tensor:
    """RMSNorm without its weights, in one pass from float32 to bfloat16."""
    lengths = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True, dtype=torch.float32)
    rounded = torch.empty(tokens.shape, dtype=torch.bfloat16)  # contiguous, whatever the layout of the tokens
    return torch.mul(tokens, scale / lengths.clamp_min_(SMALLEST_NORM), out=rounded)
