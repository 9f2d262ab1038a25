"""From prompt to codes: the loop that writes token after token.

A loop of our own rather than transformers' ``generate``: it has a seed of its own, asks only every sixteenth
step whether the end was reached, and sends tokens to the host once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.choices import StepSwitch
from ultimate_rvc.device import is_out_of_memory, out_of_memory_error
from ultimate_rvc.errors import SpeechError, first_line
from ultimate_rvc.speech.llasa.loading import LanguageModel
from ultimate_rvc.speech.llasa.prompt import CodeArray
from ultimate_rvc.speech.llasa.sampling import Sampler
from ultimate_rvc.speech.llasa.settings import LlasaSettings

log = logging.getLogger(__name__)

CHECK_EVERY = 16  # steps: each look at the end waits for the device; what is written behind it is cut off
COMPILER = "inductor"

Step = Callable[[Tensor, Any, Tensor], Tensor]


@dataclass(frozen=True)
class Spoken:
    """What the model said: codes ``(codes,)``, and whether it came to the end by itself."""

    codes: CodeArray
    is_complete: bool


class Generator:
    """Writes codes with one model; ``compiler`` is the backend of torch.compile."""

    def __init__(self, model: LanguageModel, settings: LlasaSettings, *, compiler: str = COMPILER) -> None:
        self._model, self._settings = model, settings
        self._context: int = min(settings.max_tokens, model.network.config.max_position_embeddings)
        self._compiled = self._compile(compiler) if self._is_compiled else None
        self._has_static_cache = self._wanted(settings.static_cache, self._is_compiled)
        self._static_cache: Any = None

    @property
    def context(self) -> int:
        """How many tokens prompt and speech may have together."""
        return self._context

    @torch.inference_mode()
    def speak(self, prompt: Tensor, seed: int, most: int | None = None) -> Spoken:
        """Continue ``prompt`` (tokens,) to its end, or to ``most`` tokens, or to the end of the context.

        Raises
        ------
        SpeechError
            The prompt alone fills the context.
        OutOfMemoryError
            The device has too little memory.
        """
        if len(prompt) >= self._context:
            raise SpeechError(
                f"The text with its reference has {len(prompt)} tokens, and the context holds {self._context}: use a "
                "shorter recording, or raise max_tokens."
            )
        room = min(self._context - len(prompt), most or self._context)
        try:
            tokens = self._written(prompt.to(self._model.device), seed, room)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise out_of_memory_error(self._model.device) from error
            raise
        vocabulary = self._model.vocabulary
        ends = (tokens == vocabulary.end).nonzero()
        is_complete = bool(len(ends))
        return Spoken(vocabulary.codes(tokens[: int(ends[0])] if is_complete else tokens), is_complete)

    def _written(self, prompt: Tensor, seed: int, room: int) -> Tensor:
        """The tokens, again without the compiler where that fails: it does so at its first step."""
        if self._compiled is not None:
            try:
                return self._tokens(self._compiled, prompt, seed, room)
            except Exception as error:  # of dynamo, the backend, or a C++ compiler that is not there
                if is_out_of_memory(error):
                    raise
                log.warning("The model could not be compiled and runs as it is: %s", first_line(error))
                self._compiled = None
        return self._tokens(self._step, prompt, seed, room)

    def _tokens(self, step: Step, prompt: Tensor, seed: int, room: int) -> Tensor:
        """Up to ``room`` tokens ``(tokens,)``, on the device; a few may stand behind the end."""
        device, end = prompt.device, self._model.vocabulary.end
        sampler = Sampler(self._settings, prompt, self._model.network.config.vocab_size, seed)
        cache = self._cache()
        # The prompt's length differs each time, so this step is never compiled.
        scores = self._step(prompt[None], cache, torch.arange(len(prompt), device=device)[None])
        written = torch.full((room,), end, device=device)
        for place in range(room):
            token = sampler.next_token(scores[0])
            written[place] = token[0]
            is_look = place % CHECK_EVERY == CHECK_EVERY - 1
            if place == room - 1 or (
                is_look and bool((written[place + 1 - CHECK_EVERY : place + 1] == end).any())
            ):
                return written[: place + 1]
            scores = step(token[None], cache, torch.full((1, 1), len(prompt) + place, device=device))
        return written

    def _step(self, tokens: Tensor, cache: Any, positions: Tensor) -> Tensor:
        """Scores ``(1, vocabulary_size)`` of what follows ``tokens`` (1, tokens)."""
        answer = self._model.network(
            input_ids=tokens, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        scores: Tensor = answer.logits[:, -1].to(self._model.device)
        return scores

    def _cache(self) -> Any:
        from transformers import DynamicCache, StaticCache

        config = self._model.network.config
        if not self._has_static_cache:
            return DynamicCache(config=config)
        if self._static_cache is None:
            self._static_cache = StaticCache(config=config, max_cache_len=self._context)
        else:
            self._static_cache.reset()  # the same memory again: captured graphs write to its addresses
        return self._static_cache

    @property
    def _is_compiled(self) -> bool:
        # Spread layers are moved by hooks that no compiler sees through.
        is_usual = self._model.device.type == "cuda"
        return not self._model.is_spread and self._wanted(self._settings.compile_model, is_usual)

    def _compile(self, compiler: str) -> Step:
        # Graphs of CUDA take away what a step costs on the host, which is most of it for one token.
        mode = "reduce-overhead" if self._model.device.type == "cuda" and compiler == COMPILER else None
        compiled: Step = torch.compile(self._step, backend=compiler, mode=mode, dynamic=False)
        return compiled

    @staticmethod
    def _wanted(switch: StepSwitch, usually: bool) -> bool:
        return usually if switch is StepSwitch.AUTO else switch is StepSwitch.ON
