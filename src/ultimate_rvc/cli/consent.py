"""Asking for consent where somebody sits at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from ultimate_rvc.errors import ConsentError

Done = TypeVar("Done")


def with_consent(do: Callable[[bool], Done], *, is_given: bool) -> Done:
    """Do what may need consent; who has not given it is asked, and refuses by any answer but yes.

    Raises
    ------
    ConsentError
        It is needed, and was refused, or nobody can be asked.
    """
    try:
        return do(is_given)
    except ConsentError:
        from ultimate_rvc.speech.consent import WORDS

        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        if not typer.confirm(f'"{WORDS}" Is that so?', err=True):
            raise
        return do(True)
