"""Lines of a dataset as a language model learns from them: the prompt, then the speech, then its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.llasa.lines import read_lines
from ultimate_rvc.speech.llasa.prompt import Vocabulary, prompt_tokens

NO_TARGET = -100  # what torch's cross entropy leaves out


@dataclass(frozen=True)
class Example:
    """Tokens ``(tokens,)``, of which the first ``prompt_length`` are given and the others are learnt."""

    tokens: Tensor
    prompt_length: int


@dataclass(frozen=True)
class Batch:
    """Examples side by side: tokens, whether each is one, and what follows each or NO_TARGET; all (batch, tokens)."""

    tokens: Tensor
    is_token: Tensor
    targets: Tensor


def read_examples(path: Path, tokenizer: Any, vocabulary: Vocabulary, most: int) -> tuple[list[Example], int]:
    """The examples in a dataset that have at most ``most`` tokens, and how many have more.

    Raises
    ------
    SpeechError
        The dataset cannot be read, is of another codec, or has no example of that length.
    """
    examples = []
    lines = read_lines(path)
    for line in lines:
        prompt = prompt_tokens(tokenizer, vocabulary, line.text, None)
        speech = vocabulary.tokens(np.array(line.code, np.int64))
        tokens = torch.cat([prompt, speech, torch.tensor([vocabulary.end])])
        if len(tokens) <= most:
            examples.append(Example(tokens, len(prompt)))
    if not examples:
        raise SpeechError(f"{path} has no line of at most {most} tokens to learn from.")
    return examples, len(lines) - len(examples)


def batch_of(examples: Sequence[Example]) -> Batch:
    """Examples side by side, filled up at their ends."""
    longest = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), longest, dtype=torch.long)
    is_token = torch.zeros(len(examples), longest, dtype=torch.long)
    targets = torch.full((len(examples), longest), NO_TARGET)
    for row, example in enumerate(examples):
        length = len(example.tokens)
        tokens[row, :length] = example.tokens
        is_token[row, :length] = 1
        targets[row, example.prompt_length - 1 : length - 1] = example.tokens[example.prompt_length :]
    return Batch(tokens, is_token, targets)


def order_of(count: int, epoch: int, seed: int) -> list[int]:
    """In which order an epoch goes through ``count`` examples: the same for the same epoch and seed."""
    key = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(key)).tolist()
    return order
