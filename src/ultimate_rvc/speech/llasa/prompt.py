"""What LLASA is asked, as tokens, and the codes in what it answers.

The model continues a chat: the user's message has the text, the assistant's begins with the codes of a
reference, if there is one, whose words then stand before the text. So the model goes on in the same voice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.errors import SpeechError

CodeArray = NDArray[np.int64]

REQUEST = "Convert the text to speech:<|TEXT_UNDERSTANDING_START|>{}<|TEXT_UNDERSTANDING_END|>"
SPEECH_START, SPEECH_END = "<|SPEECH_GENERATION_START|>", "<|SPEECH_GENERATION_END|>"
SPEECH_TOKEN = re.compile(r"<\|s_(\d+)\|>")
# Llama's chat template writes the date of today unless it is told one, and the same seed must give the same
# samples tomorrow; this is the day that the template itself falls back to.
FIXED_DATE = "26 Jul 2024"
# After these no space is written between sentences.
UNSPACED = re.compile(r"[\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]")


@dataclass(frozen=True)
class Vocabulary:
    """Where speech is among a model's tokens: ``<|s_0|>`` and the ``count - 1`` behind it, and the end."""

    first: int
    count: int
    end: int

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Of a tokenizer of transformers.

        Raises
        ------
        SpeechError
            It has no speech tokens, or not in a row.
        """
        known = tokenizer.get_vocab()
        count = sum(SPEECH_TOKEN.fullmatch(token) is not None for token in known)
        first, end = known.get("<|s_0|>"), known.get(SPEECH_END)
        is_row = count and first is not None and known.get(f"<|s_{count - 1}|>") == first + count - 1
        if not is_row or end is None or SPEECH_START not in known:
            raise SpeechError(
                f"{tokenizer.name_or_path} is no model of LLASA: its tokenizer has no row of speech tokens."
            )
        return cls(first, count, end)

    def codes(self, tokens: Tensor) -> CodeArray:
        """The codes ``(codes,)`` among ``tokens`` (tokens,), in one selection and one transfer to the host.

        Whatever is no speech token is left out.
        """
        is_speech = (tokens >= self.first) & (tokens < self.first + self.count)
        found: CodeArray = (tokens[is_speech] - self.first).cpu().numpy().astype(np.int64)
        return found

    def tokens(self, codes: CodeArray) -> Tensor:
        """The tokens ``(codes,)`` that stand for ``codes`` (codes,).

        Raises
        ------
        SpeechError
            A code is outside the model's speech tokens.
        """
        if codes.size and not 0 <= codes.min() <= codes.max() < self.count:
            raise SpeechError(
                f"The codes go up to {codes.max()}, but the model has {self.count} speech tokens: model and codec "
                "do not belong together."
            )
        return torch.from_numpy(codes.astype(np.int64)) + self.first


@dataclass(frozen=True)
class Reference:
    """Speech to continue: its words, and its codes ``(codes,)``."""

    text: str
    codes: CodeArray


def prompt_tokens(tokenizer: Any, vocabulary: Vocabulary, text: str, reference: Reference | None) -> Tensor:
    """The chat that asks for ``text``, up to where the model goes on: ``(tokens,)``.

    Raises
    ------
    SpeechError
        The tokenizer has no chat template, or the codes are none of this model's.
    """
    words = plain_words(text) if reference is None else joined(plain_words(reference.text), plain_words(text))
    chat = [
        {"role": "user", "content": REQUEST.format(words)},
        {"role": "assistant", "content": SPEECH_START},
    ]
    try:
        tokens = tokenizer.apply_chat_template(
            chat, tokenize=True, continue_final_message=True, return_dict=False, date_string=FIXED_DATE
        )
    except ValueError as error:
        raise SpeechError(f"{tokenizer.name_or_path} cannot be asked to speak: {error}") from error
    asked = torch.tensor(tokens, dtype=torch.long)
    return asked if reference is None else torch.cat([asked, vocabulary.tokens(reference.codes)])


def plain_words(text: str) -> str:
    """``text`` on one line, and without anything that the tokenizer would take for one of its own tokens."""
    return " ".join(text.replace("<|", " ").replace("|>", " ").split())


def joined(first: str, second: str) -> str:
    """Two texts as one, with a space between them where their script has spaces."""
    return first + ("" if not first or UNSPACED.match(first[-1]) else " ") + second
