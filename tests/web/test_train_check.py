"""The check of recordings on the page: what the training itself would say of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from recordings import noise, singing, speech, write
from ultimate_rvc.paths import datasets_dir
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.web.train_check import report

ENGLISH = load_texts("en")
DESK = cast(Desk, SimpleNamespace(texts=ENGLISH))


def reported(name: str, *uploads: Path, **preprocessing: Any) -> str:
    return report(DESK, name, [str(path) for path in uploads], preprocessing)


def test_recordings_are_listed_with_what_the_dataset_holds_already(tmp_path: Path) -> None:
    write(datasets_dir() / "singer" / "earlier.wav", singing())
    same = write(tmp_path / "earlier.wav", singing())
    html = reported("singer", same, write(tmp_path / "<new>.wav", speech()))
    assert html.count("<tr>") == 2
    assert "earlier.wav" in html
    assert "&lt;new&gt;.wav" in html
    assert ENGLISH("check.warned") in html
    assert "below 3 minutes" in html


def test_what_a_training_would_refuse_is_refused(tmp_path: Path) -> None:
    html = reported("", write(tmp_path / "silent.wav", noise(20, 0.0)))
    assert ENGLISH("check.refused") in html
    assert "All recordings that can be read are silent." in html


def test_without_recordings_there_is_nothing_to_check() -> None:
    with pytest.raises(gr.Error):
        reported("nobody")
