"""The language model of LLASA in memory: number format, device, adapter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ultimate_rvc.device import is_out_of_memory, out_of_memory_error
from ultimate_rvc.errors import SpeechError, UltimateRVCError, first_line
from ultimate_rvc.rvc.train.settings import Precision
from ultimate_rvc.speech.llasa.folders import Reader
from ultimate_rvc.speech.llasa.prompt import Vocabulary
from ultimate_rvc.speech.llasa.settings import NumberFormat

log = logging.getLogger(__name__)

DTYPES = {
    NumberFormat.FLOAT32: torch.float32,
    NumberFormat.FLOAT16: torch.float16,
    NumberFormat.BFLOAT16: torch.bfloat16,
}
# By the words of trainings.
FORMATS = {
    Precision.FP32: NumberFormat.FLOAT32,
    Precision.FP16: NumberFormat.FLOAT16,
    Precision.BF16: NumberFormat.BFLOAT16,
}
# What is tried one after the other: bfloat16 has float32's range, so nothing overflows in it.
FALLBACKS = {
    NumberFormat.BFLOAT16: (NumberFormat.BFLOAT16, NumberFormat.FLOAT16, NumberFormat.FLOAT32),
    NumberFormat.FLOAT16: (NumberFormat.FLOAT16, NumberFormat.FLOAT32),
    NumberFormat.FLOAT32: (NumberFormat.FLOAT32,),
}
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class LanguageModel:
    """A model that is ready to write tokens."""

    network: Any
    """``LlamaForCausalLM`` or another causal model of transformers."""
    tokenizer: Any
    vocabulary: Vocabulary
    device: torch.device
    """Where tokens go in."""
    is_spread: bool


def chosen_format(device: torch.device, asked: NumberFormat) -> NumberFormat:
    """The number format that ``device`` works in: the one asked for, or the next that it has, with a warning."""
    if asked is NumberFormat.AUTO:
        if device.type == "cpu":
            return NumberFormat.FLOAT32
        return next(each for each in FALLBACKS[NumberFormat.BFLOAT16] if works_in(device, DTYPES[each]))
    found = next(each for each in FALLBACKS[asked] if works_in(device, DTYPES[each]))
    if found is not asked:
        log.warning("%s does not compute in %s; %s is used.", device, asked, found)
    return found


def works_in(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a device multiplies and attends in a number format; float32 always works."""
    if dtype == torch.float32:
        return True
    if (
        device.type == "cuda"
        and dtype == torch.bfloat16
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        return False
    try:
        values = torch.ones(1, 1, 8, 8, device=device, dtype=dtype)
        attended = torch.nn.functional.scaled_dot_product_attention(values, values, values)
        return bool(torch.isfinite(attended @ values).all())
    except (RuntimeError, TypeError):
        return False


def load_language_model(
    reader: Reader,
    device: torch.device,
    asked: NumberFormat,
    *,
    spread: bool = False,
    is_trained: bool = False,
) -> LanguageModel:
    """The model of a folder, with its adapter merged in.

    Weights are mapped from their files: where the format is the file's own, no copy of them is made.

    Parameters
    ----------
    spread : bool
        Over all devices, by accelerate's device map, instead of ``device`` alone.
    is_trained : bool
        Leave the adapter as a part of its own, whose weights can change.

    Raises
    ------
    SpeechError
        A file is missing, damaged, or of something else.
    OutOfMemoryError
        The device has too little memory.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = DTYPES[chosen_format(device, asked)]
    with telling_of(reader.model, device):
        tokenizer = AutoTokenizer.from_pretrained(reader.model, local_files_only=True)
        vocabulary = Vocabulary.of(tokenizer)
        network = AutoModelForCausalLM.from_pretrained(
            reader.model,
            local_files_only=True,
            use_safetensors=True,  # a pickle could execute anything
            dtype=dtype,
            device_map="auto" if spread else {"": str(device)},
        )
    if vocabulary.first + vocabulary.count > network.config.vocab_size:
        raise SpeechError(f"{reader.model} is damaged: its tokenizer has more tokens than its network.")
    if reader.adapter is not None:
        network = with_adapter(network, reader.adapter, device, is_trained=is_trained)
    return LanguageModel(network.eval(), tokenizer, vocabulary, device, is_spread=spread)


def with_adapter(network: Any, folder: Path, device: torch.device, *, is_trained: bool) -> Any:
    """``network`` with the LoRA adapter of ``folder``: merged, or apart where it is to be trained.

    Raises
    ------
    SpeechError
        peft is not here, or the adapter does not fit.
    """
    check_peft()
    from peft import PeftModel

    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise SpeechError(f"The adapter {folder} has no file {ADAPTER_WEIGHTS}: save it in that form.")
    with telling_of(folder, device):
        adapted = PeftModel.from_pretrained(network, folder, is_trainable=is_trained, local_files_only=True)
        return adapted if is_trained else adapted.merge_and_unload()


def check_peft() -> None:
    """Raise :class:`SpeechError` where peft is not installed."""
    import importlib.util

    if importlib.util.find_spec("peft") is None:
        raise SpeechError(
            "Adapters need the package peft: install it, or this program with the extra llasa: "
            "uv pip install 'ultimate-rvc-fast[llasa]'."
        )


@contextmanager
def telling_of(folder: Path, device: torch.device) -> Iterator[None]:
    """Whatever goes wrong within, said of ``folder`` in a sentence; without the bars of transformers."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        yield
    except UltimateRVCError:
        raise
    except Exception as error:  # transformers, peft and safetensors name a damaged file in a dozen ways
        if is_out_of_memory(error):
            raise out_of_memory_error(device) from error
        raise SpeechError(f"{folder} cannot be loaded: {first_line(error)}") from error
