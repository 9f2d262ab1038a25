"""The command line in this process: words in, exit code and both outputs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ultimate_rvc.cli.main import run

Urvc = Callable[..., tuple[int, str, str]]


def calls(capture: pytest.CaptureFixture[str], *first: str) -> Urvc:
    """The command line, heard by ``capsys`` or ``capfd``; ``first`` are words that every call begins with."""

    def call(*words: object) -> tuple[int, str, str]:
        capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([*first, *map(str, words)])
        out, err = capture.readouterr()
        return int(ended.value.code or 0), out, err

    return call
