"""Two models of LLASA, a codec and a recording, as a user has them below the models folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import llasa_models
from ultimate_rvc.speech.llasa.folders import Reader
from ultimate_rvc.speech.llasa.loading import LanguageModel, load_language_model
from ultimate_rvc.speech.llasa.settings import NumberFormat


@pytest.fixture(scope="session")
def llasa_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``URVC_MODELS_DIR`` names; nothing is written there."""
    home = tmp_path_factory.mktemp("models")
    folder = home / "speech" / "llasa"
    llasa_models.write_model(folder / "tiny")
    llasa_models.write_codec(folder / "xcodec2")
    (folder / "recordings").mkdir()
    llasa_models.write_tone(folder / "recordings" / "anna.wav")
    (folder / "recordings" / "anna.txt").write_text(llasa_models.WORDS, encoding="utf-8")
    return home


@pytest.fixture
def llasa_dir(llasa_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of LLASA, found by the program too."""
    monkeypatch.setenv("URVC_MODELS_DIR", str(llasa_home))
    return llasa_home / "speech" / "llasa"


@pytest.fixture(scope="session")
def model(llasa_home: Path) -> LanguageModel:
    reader = Reader(llasa_home / "speech" / "llasa" / "tiny")
    return load_language_model(reader, torch.device("cpu"), NumberFormat.AUTO)
