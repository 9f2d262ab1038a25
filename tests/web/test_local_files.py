"""What a page that others reach refuses: settings that open, replace or reach what is the machine's."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from ultimate_rvc.web.desk import Door, Server
from ultimate_rvc.web.local_files import refuse_local_files
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.work.foreign import PATHS

TEXTS = load_texts("en")


def door(*, is_local: bool) -> Door:
    return Door(Server(None, is_local=is_local), TEXTS)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("output_path", {"output_path": "/home/me/song.mp3"}),
        ("output", {"output": "/home/me"}),
        ("index_path", {"index_path": "/etc/passwd"}),
        ("cookiefile", {"source": {"cookiefile": "/etc/passwd"}}),
        ("custom_embedder_model", {"conversion": {"custom_embedder_model": "/etc"}}),
        ("versions", {"extraction": {"versions": "/home"}}),
        ("pretrained_generator", {"training": {"pretrained_generator": "/x.pth"}}),
        ("recordings", {"recordings": ["/home/me/diary"]}),
        ("sources", {"sources": ["/home/me/diary.wav"]}),
        ("index", {"source": "https://example.com/a.zip", "index": "/etc/passwd"}),
        ("source", {"source": "/etc/passwd"}),
        ("document", {"document": "/home/me/diary.txt"}),
        ("lexicon", {"lexicon": "/etc/passwd"}),
        ("speaker", {"speaker": "/home/me/diary.wav"}),
        ("speaker", {"speaker": "../diary.wav"}),
        ("speaker", {"speaker": "src"}),  # a file or folder where the server was started
        ("overwrite", {"overwrite": True}),
        ("overwrite", {"cover": {"overwrite": True}}),
        ("vocals_model", {"cover": {"stems": {"vocals_model": "/home/me/model.onnx"}}}),
        ("model", {"model": "../model.onnx"}),
        ("consent", {"consent": True}),
        ("allow_local", {"source": "http://127.0.0.1/", "allow_local": True}),
    ],
)
def test_others_may_not_name_files_and_the_sentence_names_the_field(
    field: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(gr.Error) as raised:
        refuse_local_files(door(is_local=False), settings)
    assert str(raised.value.message).startswith(f"{field} ")
    refuse_local_files(door(is_local=True), settings)


def test_every_path_of_every_kind_of_work_is_known() -> None:
    assert {
        "output", "output_path", "index_path", "cookiefile", "custom_embedder_model", "sources", "source",
        "document", "lexicon", "recordings", "index", "versions", "pretrained_generator", "pretrained_discriminator",
    } == PATHS  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"source": "demo", "cover": {"output_path": None, "overwrite": None, "conversion": {"seed": 1}}},
        {"source": "https://example.com/song", "overwrite": False, "sources": []},
        {"speaker": "espeak-ng:de"},
        {"cover": {"stems": {"vocals_model": "mdx-kim"}}},
    ],
)
def test_what_opens_nothing_is_let_through(settings: dict[str, Any]) -> None:
    refuse_local_files(door(is_local=False), settings)
