"""Errors that arise in Gradio rather than in our functions, in one sentence as well."""

from __future__ import annotations

import html
import logging
from textwrap import shorten
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from ultimate_rvc.web.desk import problem
from ultimate_rvc.web.gate import UNFIT
from ultimate_rvc.web.texts import Texts

log = logging.getLogger(__name__)

LONGEST_SENTENCE = 300  # Gradio repeats what it was given


def tell_in_one_sentence(page: gr.Blocks, texts: Texts) -> None:
    """Let ``page`` answer with a sentence where Gradio would show its own inner workings.

    Values that do not fit a component come from programs only, and the messages about them name folders of
    this machine.
    """
    preprocess, process = page.preprocess_data, page.process_api

    async def checked(block_fn: Any, *given: Any, **named: Any) -> Any:
        try:
            values = await preprocess(block_fn, *given, **named)
            return [_of_its_type(*pair) for pair in zip(block_fn.inputs, values, strict=True)]
        except gr.Error as error:  # a sentence already, as "Value 50 is greater than maximum value 48."
            raise problem(texts, _shortened(error, texts)) from error
        except Exception as error:
            name = getattr(block_fn, "api_name", None)
            log.info("Values that do not fit %s: %s", name, error)
            raise problem(texts, texts.sentence(UNFIT)) from error

    async def answered(*given: Any, **named: Any) -> Any:
        try:
            return await process(*given, **named)
        except gr.Error:
            raise
        except Exception as error:
            log.exception("A bug of the page")
            raise problem(texts, texts("error.bug", name=type(error).__name__)) from error

    page.preprocess_data, page.process_api = checked, answered


def _shortened(error: gr.Error, texts: Texts) -> str:
    return shorten(texts.sentence(html.unescape(error.message)), LONGEST_SENTENCE)


def _of_its_type(component: Any, value: Any) -> Any:
    """The value, if functions behind the page can take it for what they were promised.

    Gradio hands on an empty text box as None, and what is in a browser's notes as whatever it is: a client
    that were None would be everybody.

    Raises
    ------
    TypeError
        A parameter whose default is a text was given something else.
    """
    if isinstance(component, gr.Textbox | gr.Code) and value is None:
        return None if component.value is None else ""
    if isinstance(component, gr.BrowserState):
        default = component.default_value
        return value if isinstance(value, dict if default is None else type(default)) else default
    if isinstance(component, Api) and isinstance(component.value, str) and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
