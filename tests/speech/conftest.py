"""The command line, for the tests of every engine."""

from __future__ import annotations

import pytest

from command_line import Urvc, calls


@pytest.fixture
def urvc(capsys: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capsys)
