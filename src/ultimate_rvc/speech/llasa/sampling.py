"""The choice of the next token from the model's scores, in the order of transformers' own warpers."""

from __future__ import annotations

import torch
from torch import Tensor

from ultimate_rvc.speech.llasa.settings import LlasaSettings


class Sampler:
    """Chooses tokens for one generation; everything stays on the device of the scores.

    Parameters
    ----------
    prompt : Tensor
        ``(tokens,)``, whose tokens count as used.
    seed : int
        The same one gives the same tokens on the same device.
    """

    def __init__(self, settings: LlasaSettings, prompt: Tensor, vocabulary_size: int, seed: int) -> None:
        self._settings = settings
        self._generator = torch.Generator(prompt.device).manual_seed(seed)
        self._is_used: Tensor | None = None
        if settings.repetition_penalty != 1:
            self._is_used = torch.zeros(vocabulary_size, dtype=torch.bool, device=prompt.device)
            self._is_used[prompt] = True

    def next_token(self, scores: Tensor) -> Tensor:
        """The token ``(1,)`` that follows, from ``scores`` (vocabulary_size,)."""
        token = self._chosen(self._penalised(scores.float()))
        if self._is_used is not None:
            self._is_used[token] = True
        return token

    def _penalised(self, scores: Tensor) -> Tensor:
        """Scores of used tokens divided by the penalty, or multiplied where negative (Keskar et al., 2019)."""
        if self._is_used is None:
            return scores
        penalty = self._settings.repetition_penalty
        less = torch.where(scores < 0, scores * penalty, scores / penalty)
        return torch.where(self._is_used, less, scores)

    def _chosen(self, scores: Tensor) -> Tensor:
        if self._settings.temperature == 0:
            return scores.argmax(-1, keepdim=True)
        shares, tokens = likeliest(scores, self._settings)
        return tokens[torch.multinomial(shares, 1, generator=self._generator)]


def likeliest(scores: Tensor, settings: LlasaSettings) -> tuple[Tensor, Tensor]:
    """The tokens to choose among, likeliest first, and their shares, from ``scores`` (vocabulary_size,).

    Both are ``(count,)``; shares need not sum to 1. Above temperature 0 only.
    """
    count = min(settings.top_k or scores.shape[-1], scores.shape[-1])
    kept, tokens = (scores / settings.temperature).topk(count)
    shares = kept.softmax(-1)
    if settings.top_p < 1:
        before = shares.cumsum(-1) - shares  # so the first token always stays
        shares = torch.where(before < settings.top_p, shares, 0)
    return shares, tokens
