"""A models folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def separation_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``models/separation`` and no network."""
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("URVC_OFFLINE", "1")
    folder = tmp_path / "models" / "separation"
    folder.mkdir(parents=True)
    return folder
