"""Threads of torch give way to other programs, unless the user has chosen otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ultimate_rvc.openmp import CHOSEN_BY, SPIN_COUNT, wait_briefly

PRINT_IT = """
import os
from ultimate_rvc.cli.main import run

try:
    run(["--version"])
finally:
    print(os.environ.get("NAME"))
"""


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)


def printed(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_IT.replace("NAME", name)], capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1]


def test_the_command_line_asks_for_short_waits() -> None:
    assert printed("GOMP_SPINCOUNT") == SPIN_COUNT


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")])
def test_what_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    wait_briefly()
    assert printed(name) == value
    assert printed("GOMP_SPINCOUNT") == (value if name == "GOMP_SPINCOUNT" else "None")
