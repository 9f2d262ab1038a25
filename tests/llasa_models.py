"""Models of LLASA small enough for tests: random weights, real files, real tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Wav2Vec2BertConfig,
    Xcodec2Config,
    Xcodec2FeatureExtractor,
    Xcodec2Model,
)

from ultimate_rvc.audio.encode import encode

WORDS = "These are the words."  # of a recording
CODES = 256  # of the codec, whose four dimensions have four levels each
BEGIN, TURN_END = "<|begin_of_text|>", "<|eot_id|>"
# The names that LLASA added to Llama's tokenizer, in its order.
SPECIAL = (
    *(BEGIN, "<|start_header_id|>", "<|end_header_id|>", TURN_END),
    *("<|TEXT_GENERATION_START|>", "<|TEXT_GENERATION_END|>"),
    *("<|TEXT_UNDERSTANDING_START|>", "<|TEXT_UNDERSTANDING_END|>"),
    *("<|SPEECH_GENERATION_START|>", "<|SPEECH_GENERATION_END|>"),
    *("<|SPEECH_UNDERSTANDING_START|>", "<|SPEECH_UNDERSTANDING_END|>"),
)
# Like Llama 3.2's: a system message with a date, then the turns.
CHAT_TEMPLATE = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}\n\n<|eot_id|>"
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
)


def write_tokenizer(folder: Path, codes: int = CODES) -> PreTrainedTokenizerFast:
    """Bytes as tokens, then LLASA's own and ``codes`` tokens of speech."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token=BEGIN, eos_token=TURN_END)
    tokenizer.add_tokens([*SPECIAL, *(f"<|s_{code}|>" for code in range(codes))], special_tokens=True)
    tokenizer.pad_token = TURN_END
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_model(
    folder: Path, *, seed: int = 0, codes: int = CODES, hidden_size: int = 32, dtype: torch.dtype = torch.float32,
    rows: int | None = None,
) -> Path:  # fmt: skip
    """A Llama of two layers with its tokenizer; ``rows`` makes its table of tokens larger than needed."""
    tokenizer = write_tokenizer(folder, codes)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=rows or len(tokenizer), hidden_size=hidden_size, intermediate_size=2 * hidden_size,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
        initializer_range=0.3, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    return folder


def write_codec(folder: Path, *, seed: int = 0) -> Path:
    """An XCodec2 of 0.4 million weights.

    A codec with random weights gives one and the same code for everything: what goes into its quantiser hardly
    varies. So that is amplified here.
    """
    torch.manual_seed(seed)
    semantic = Wav2Vec2BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        feature_projection_input_dim=160, conv_depthwise_kernel_size=3,
    )  # fmt: skip
    config = Xcodec2Config(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, encoder_hidden_size=4, semantic_model_config=semantic, quantization_dim=64,
        quantization_levels=[4, 4, 4, 4],
    )  # fmt: skip
    network = Xcodec2Model(config)
    with torch.no_grad():
        network.quantizer.project_in.weight *= 300
        network.acoustic_encoder.conv2.weight *= 30
        network.acoustic_decoder.head.linear.weight *= 20
    network.save_pretrained(folder)
    Xcodec2FeatureExtractor().save_pretrained(folder)
    return folder


def write_tone(path: Path, seconds: float = 0.6, step: float = 0.1) -> Path:
    """A tone that swells, so that the codec has something to tell apart."""
    count = np.arange(round(16_000 * seconds))
    encode(path, (0.3 * np.sin(step * count) * (1 + np.sin(count / 900))).astype(np.float32), 16_000)
    return path
