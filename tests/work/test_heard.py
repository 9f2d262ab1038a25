"""Portions that are heard while the rest is made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultimate_rvc.work.heard import publish, published


def test_portions_are_found_in_their_order(tmp_path: Path) -> None:
    assert published(tmp_path) == []
    for number in (10, 9, 100):
        publish(tmp_path, number, np.zeros(100, np.float32), 16_000)
    assert [path.stem for path in published(tmp_path)] == ["000009", "000010", "000100"]


def test_a_folder_that_goes_while_it_is_read_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, 0, np.zeros(100, np.float32), 16_000)
    read = os.scandir

    def read_late(path: Any = ".") -> Any:
        monkeypatch.undo()
        shutil.rmtree(tmp_path)
        return read(path)

    monkeypatch.setattr(os, "scandir", read_late)
    assert published(tmp_path) == []
