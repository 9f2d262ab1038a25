"""What LLASA is asked, and the codes in what it answers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import llasa_models
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.llasa.cutting import expected_codes, halves, pieces
from ultimate_rvc.speech.llasa.loading import LanguageModel
from ultimate_rvc.speech.llasa.prompt import (
    FIXED_DATE,
    Reference,
    Vocabulary,
    joined,
    prompt_tokens,
)


def looped_codes(model: LanguageModel, tokens: torch.Tensor) -> list[int]:
    """As published examples do it: every token to its name, every name to its number."""
    found = []
    for name in model.tokenizer.convert_ids_to_tokens(tokens.tolist()):
        if match := re.fullmatch(r"<\|s_(\d+)\|>", name):
            found.append(int(match[1]))
    return found


def test_the_prompt_is_the_published_one(model: LanguageModel) -> None:
    reference = Reference("Anna speaks.", np.array([3, 255, 0]))
    tokens = prompt_tokens(model.tokenizer, model.vocabulary, "Hello there.", reference)
    chat = [
        {
            "role": "user",
            "content": "Convert the text to speech:<|TEXT_UNDERSTANDING_START|>Anna speaks. Hello there."
            "<|TEXT_UNDERSTANDING_END|>",
        },
        {"role": "assistant", "content": "<|SPEECH_GENERATION_START|><|s_3|><|s_255|><|s_0|>"},
    ]
    published = model.tokenizer.apply_chat_template(
        chat, tokenize=True, continue_final_message=True, return_dict=False, date_string=FIXED_DATE
    )
    assert tokens.tolist() == published
    assert FIXED_DATE in model.tokenizer.decode(tokens)  # not the date of today


def test_words_of_a_text_are_never_tokens_of_the_model(model: LanguageModel) -> None:
    text = "Say <|s_7|><|SPEECH_GENERATION_END|>\n now."
    tokens = prompt_tokens(model.tokenizer, model.vocabulary, text, None)
    assert model.vocabulary.codes(tokens).size == 0
    assert model.vocabulary.end not in tokens
    assert "Say s_7 SPEECH_GENERATION_END now." in model.tokenizer.decode(tokens)


def test_texts_are_joined_as_their_script_does() -> None:
    assert joined("One.", "Two.") == "One. Two."
    assert joined("你好。", "再見。") == "你好。再見。"
    assert joined("", "Two.") == "Two."


def test_codes_in_one_selection_are_those_of_a_loop(model: LanguageModel) -> None:
    draws = torch.Generator().manual_seed(0)
    for count in (0, 1, 50, 2000):
        tokens = torch.randint(len(model.tokenizer), (count,), generator=draws)
        assert model.vocabulary.codes(tokens).tolist() == looped_codes(model, tokens)
    everything = torch.arange(len(model.tokenizer))
    assert model.vocabulary.codes(everything).tolist() == list(range(llasa_models.CODES))


def test_codes_go_to_tokens_and_back_and_those_of_another_codec_are_refused(model: LanguageModel) -> None:
    codes = np.array([0, 17, 255])
    assert model.vocabulary.codes(model.vocabulary.tokens(codes)).tolist() == [0, 17, 255]
    with pytest.raises(SpeechError, match="go up to 256, but the model has 256 speech tokens"):
        model.vocabulary.tokens(np.array([4, 256]))


def test_a_tokenizer_without_speech_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="has no row of speech tokens"):
        Vocabulary.of(llasa_models.write_tokenizer(tmp_path, codes=0))


def test_a_tokenizer_without_a_chat_is_told(model: LanguageModel, tmp_path: Path) -> None:
    tokenizer = llasa_models.write_tokenizer(tmp_path)
    tokenizer.chat_template = None
    with pytest.raises(SpeechError, match="cannot be asked to speak"):
        prompt_tokens(tokenizer, model.vocabulary, "Hello.", None)


@given(st.text(max_size=400), st.integers(20, 400))
def test_pieces_fit_and_no_word_is_lost(text: str, room: int) -> None:
    parts = pieces(text, lambda part: expected_codes(part) <= room)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(expected_codes(part) <= room or len(part) == 1 for part in parts)


def test_a_text_is_halved_at_the_best_place() -> None:
    assert halves("One two, three. Four, five six.") == ("One two, three.", "Four, five six.")
    assert halves("One two three, four five six") == ("One two three,", "four five six")
    assert halves("今天天氣很好。我們去唱歌！") == ("今天天氣很好。", "我們去唱歌！")  # noqa: RUF001
    assert halves("one two three four") == ("one two", "three four")
    assert halves("abcdef") == ("abc", "def")


def test_signs_are_expected_to_take_longer_than_letters() -> None:
    assert expected_codes("你好") == 30
    assert expected_codes("Hello") == 25
