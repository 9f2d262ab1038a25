"""The voice that training leaves in the library, as the library and other tools see it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from small_training import PHONE_DIM, SmallData, tiny_settings
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import TrainingError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.train.finish import (
    UNFINISHED_PREFIX,
    WRITER,
    FinishedVoice,
    VoiceParts,
    check_voice_name,
    finish_voice,
)
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.loop import train
from ultimate_rvc.rvc.train.networks import build_networks
from ultimate_rvc.rvc.voice_file.read import read_voice_file
from ultimate_rvc.voices.library import (
    VoicePreset,
    change_tags,
    find_voice,
    list_voices,
    set_note,
    set_preset,
    voice_card,
)
from voice_factory import write_voice

WEIGHT_NORMED = Path(__file__).resolve().parents[2] / "data" / "voices" / "weight_normed_layers.json"


def finish(tmp_path: Path, name: str = "Zoë 2", **spec: Any) -> FinishedVoice:
    data = SmallData(3)
    weights = write_voice(tmp_path / "weights.pth", "Applio", sample_rate=32_000, phone_dim=PHONE_DIM, **spec)
    training = {"epochs": 7, "steps": 700}
    parts = VoiceParts(weights, data.description, data.features, training)
    return finish_voice(TrainingFolder.named(name), parts, tiny_settings())


def test_the_library_finds_a_finished_voice_with_its_index(tmp_path: Path) -> None:
    finish(tmp_path)
    ref = find_voice("Zoë 2")
    assert ref.index_path is not None
    assert [voice.name for voice in list_voices()] == ["Zoë 2"]
    index = faiss.deserialize_index(np.fromfile(ref.index_path, np.uint8))
    assert (index.d, index.ntotal) == SmallData(3).features.shape[::-1]


def test_the_record_has_all_that_the_library_writes_of_imported_voices(tmp_path: Path) -> None:
    voice = finish(tmp_path)
    record = json.loads(voice.record.read_text(encoding="utf-8"))
    described = read_voice_file(voice.model).metadata.to_json()
    assert {key: record[key] for key in described} == described | {"written_by": WRITER}
    assert record["format"] == 1
    assert record["name"] == "Zoë 2"


def test_a_voice_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    finish(tmp_path, epoch=7)
    voice = finish(tmp_path, epoch=8)
    assert read_voice_file(voice.model).metadata.epoch == 8
    assert sorted(path.name for path in voice_models_dir().iterdir()) == ["Zoë 2"]


def test_what_its_owner_said_of_a_voice_stays(tmp_path: Path) -> None:
    folder = finish(tmp_path, epoch=7).folder
    set_note("Zoë 2", "sings low")
    change_tags("Zoë 2", add=["alto"])
    set_preset("Zoë 2", VoicePreset(n_semitones=-3))
    (folder / "picture.png").write_bytes(b"a picture")
    finish(tmp_path, epoch=8)
    card = voice_card("Zoë 2")
    assert (card.note, tuple(card.tags), card.preset.n_semitones) == ("sings low", ("alto",), -3)
    assert (folder / "picture.png").read_bytes() == b"a picture"


@pytest.mark.parametrize("left", ["voice", "voice before"])
def test_what_a_killed_run_left_half_done_is_put_right(tmp_path: Path, left: str) -> None:
    finish(tmp_path, epoch=7)
    folder = finish_workplace("Zoë 2")
    if left == "voice":
        folder.mkdir()
        (folder / "Zoë 2.pth").write_bytes(b"half")
    else:
        (voice_models_dir() / "Zoë 2").rename(folder.with_name(f"{folder.name}-before"))
    finish(tmp_path, epoch=8)
    assert [path.name for path in voice_models_dir().iterdir()] == ["Zoë 2"]


def finish_workplace(name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return voice_models_dir() / f"{UNFINISHED_PREFIX}{digest}"


@pytest.mark.parametrize("record", [None, "{}", "no json", "[]"])
def test_a_voice_of_another_origin_is_not_replaced(tmp_path: Path, record: str | None) -> None:
    folder = voice_models_dir() / "Zoë 2"
    folder.mkdir(parents=True)
    if record is not None:
        (folder / "voice.json").write_text(record, encoding="utf-8")
    with pytest.raises(TrainingError, match="no training made it: delete it there"):
        finish(tmp_path)
    check_voice_name("another")


def test_a_library_that_cannot_be_written_is_named_and_the_model_is_said_to_be_safe(tmp_path: Path) -> None:
    voice_models_dir().parent.mkdir(parents=True, exist_ok=True)
    voice_models_dir().write_text("a file where the folder should be")
    with pytest.raises(TrainingError, match=r"cannot be written to .* its model lies in .*weights.pth"):
        finish(tmp_path)
    assert (tmp_path / "weights.pth").is_file()


@pytest.mark.parametrize("vocoder", Vocoder)
def test_a_trained_voice_has_the_layers_that_other_tools_load_strictly(vocoder: Vocoder) -> None:
    """Pairs for the weight-normed layers of published voices and for no other, and no training-only part."""
    networks = build_networks(SmallData(1).description, tiny_settings(vocoder=vocoder))
    state = networks.generator.voice_state()
    expected = json.loads(WEIGHT_NORMED.read_text(encoding="utf-8"))["layers"][vocoder]
    assert sorted(key.removesuffix("_v") for key in state if key.endswith(".weight_v")) == expected
    assert sorted(key.removesuffix("_g") for key in state if key.endswith(".weight_g")) == expected
    plain = Synthesizer(networks.config, has_f0=True, vocoder=vocoder).state_dict()
    assert fold_weight_norm(state).keys() == plain.keys()


STRICT_LOADER = """
import sys
from pathlib import Path
from rvc_next.engine.runtime import Runtime
voice = Runtime(Path(sys.argv[1]), device="cpu", precision="fp32").voice(Path(sys.argv[2]))
weights = {key: tensor.float() for key, tensor in voice.small.weight.items()}
print(voice.net_g.load_state_dict(weights, strict=True))
print(voice.small.speaker_info)
"""


@pytest.mark.skipif("URVC_RIVAL_PYTHON" not in os.environ, reason="names a Python that has rvc-next 0.2.16")
@pytest.mark.parametrize("has_f0", [True, False])
def test_rvc_next_loads_a_trained_voice_strictly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_f0: bool
) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.train.saving.speaker_embedder", lambda: None)
    data = SmallData(2, has_f0=has_f0, phone_dim=768)
    data.description = replace(data.description, embedder="contentvec")
    settings = tiny_settings(max_steps=1, warm_up_steps=9)
    result = train(data, TrainingFolder.named("for others"), settings)
    assert result.voice is not None
    command = [os.environ["URVC_RIVAL_PYTHON"], "-c", STRICT_LOADER, str(tmp_path), str(result.voice.model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        "<All keys matched successfully>",
        "[{'id': 0, 'name': 'singer 0'}]",
    ]
