"""The command line in this process: words in, exit code and both outputs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ultimate_rvc.cli.main import run

Urvc = Callable[..., tuple[int, str, str]]


def calls(capsys: pytest.CaptureFixture[str]) -> Urvc:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
