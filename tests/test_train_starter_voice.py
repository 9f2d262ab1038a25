"""The command that makes a starter voice in two stages; files of the right kind stand in for what it starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import soxr
import torch

from recordings import singing, speech
from ultimate_rvc.rvc.train.checkpoints import DISCRIMINATOR_FILE, GENERATOR_FILE
from ultimate_rvc.rvc.voice_file.read import read_voice_file
from ultimate_rvc.voices.finding import folder_ref
from ultimate_rvc.voices.record import change_record, find_changes, fingerprints, read_record
from voice_factory import write_voice_folder

pyworld = pytest.importorskip("pyworld")

CHECKOUT = Path(__file__).resolve().parent.parent
RATE = 16_000
NAME = "starter-anna"
PERCENTILES = {"5": 99.0, "50": 178.0, "95": 604.0}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    before = sys.path[:]
    sys.path.insert(0, str(CHECKOUT / "scripts"))
    try:
        import train_starter_voice

        yield train_starter_voice
    finally:
        sys.path[:] = before


def write_material(folder: Path) -> None:
    """A sentence as it was spoken, the same an octave up, and a song."""
    spoken = speech(RATE)[: 4 * RATE].astype(np.float64)
    files = {
        "said.wav": (spoken, "speech", 1.0),
        "high.wav": (soxr.resample(spoken, 2, 1), "speech", 2.0),
        "song.wav": (singing(sample_rate=RATE)[: 6 * RATE].astype(np.float64), "sung", 1.0),
    }
    folder.mkdir(parents=True)
    for name, (waveform, *_) in files.items():
        soundfile.write(folder / name, waveform, RATE)
    described = [
        {"file": name, "kind": kind, "pitch_factor": factor} for name, (_, kind, factor) in files.items()
    ]
    (folder / "material.json").write_text(json.dumps({"files": described}))


def trained_voice(voices: Path, seed: int) -> Path:
    folder = write_voice_folder(voices, NAME, embedder="starter", seed=seed, f0_median_hz=300.0)
    change_record(
        folder,
        {
            "pitch_median_hz": 300.0,
            "pitch_percentiles_hz": PERCENTILES,
            "epoch": 7,
            "training": {"steps": 7},
            "files": fingerprints(path for path in folder.iterdir() if path.suffix in (".pth", ".index")),
        },
    )
    (folder / ".stamp").write_text("of this machine")
    return folder


@pytest.fixture
def stages(tmp_path: Path) -> list[Path]:
    write_material(tmp_path / "material-anna")
    return [trained_voice(tmp_path / "first", 1), trained_voice(tmp_path / "second", 2)]


def spoken_hz() -> float:
    pitch = pyworld.harvest(speech(RATE)[: 4 * RATE].astype(np.float64), RATE)[0]
    return float(np.median(pitch[pitch > 0]))


def test_what_ships_is_a_mixture_at_home_where_its_reader_speaks(
    script: ModuleType, stages: list[Path], tmp_path: Path
) -> None:
    shipped = tmp_path / "package" / NAME
    script.ship(stages, shipped, tmp_path / "material-anna", with_index=False)

    assert sorted(path.name for path in shipped.iterdir() if not path.name.startswith(".")) == [
        f"{NAME}.pth",
        "voice.json",
    ]
    assert not (shipped / ".stamp").exists()
    first, second, mixed = (read_voice_file(folder / f"{NAME}.pth") for folder in (*stages, shipped))
    key = "enc_p.emb_phone.weight"
    expected = 0.3 * first.state[key].float() + 0.7 * second.state[key].float()
    torch.testing.assert_close(mixed.state[key].float(), expected, rtol=2e-3, atol=1e-3)  # stored as halves
    assert mixed.metadata.f0_median_hz == pytest.approx(spoken_hz(), rel=0.02)
    record = read_record(shipped)
    assert record.values["pitch_median_hz"] == mixed.metadata.f0_median_hz
    assert "pitch_percentiles_hz" not in record.values
    assert "epoch" not in record.values
    assert [part["share"] for part in record.values["blended_from"]] == [0.3, 0.7]
    assert find_changes([shipped / f"{NAME}.pth"], record) == ()


def test_a_voice_of_one_stage_keeps_its_weights_and_its_index(
    script: ModuleType, stages: list[Path], tmp_path: Path
) -> None:
    shipped = tmp_path / "package" / NAME
    script.ship(stages[:1], shipped, tmp_path / "material-anna", with_index=True)

    assert folder_ref(shipped).index_path is not None
    before, after = (read_voice_file(folder / f"{NAME}.pth") for folder in (stages[0], shipped))
    assert before.state.keys() == after.state.keys()
    assert all(torch.equal(before.state[key], after.state[key]) for key in before.state)
    record = read_record(shipped)
    assert record.values["epoch"] == 7
    assert "blended_from" not in record.values
    assert find_changes([shipped / f"{NAME}.pth", shipped / f"{NAME}.index"], record) == ()


def test_the_second_stage_sings_on_from_the_first(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def run(*command: str, environment: dict[str, str] | None = None) -> None:
        started.append(([*command], environment or {}))
        if command[1].endswith("make_starter_material.py"):
            write_material(Path(command[2]))
        elif "train" in command:
            assert environment is not None
            trained_voice(Path(environment["URVC_VOICE_MODELS_DIR"]), len(started))
            checkpoint = Path(environment["URVC_TRAINING_DIR"], NAME, "checkpoints", "step_00000007")
            checkpoint.mkdir(parents=True)

    package = tmp_path / "package"
    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(script, "packaged_voice", lambda name: package / name / f"{name}.pth")
    folder = tmp_path / "work"
    steps = ["--max-steps", "30", "--singing-steps", "10"]
    monkeypatch.setattr(
        sys, "argv", ["train_starter_voice.py", str(folder), "--voice", "anna", *steps, "--ship"]
    )
    script.main()

    first, second = ((command, environment) for command, environment in started if "train" in command)
    for command, steps_of_stage in ((first[0], "30"), (second[0], "10")):
        assert option(command, "--max-steps") == steps_of_stage
    assert option(first[0], "--pretrained-generator") == str(script.packaged_voice("starter"))
    assert "--pretrained-discriminator" not in first[0]
    assert option(first[0], "--versions") == str(folder / "material-anna-others")

    checkpoint = folder / "training" / NAME / "checkpoints" / "step_00000007"
    assert option(second[0], "--pretrained-generator") == str(checkpoint / GENERATOR_FILE)
    assert option(second[0], "--pretrained-discriminator") == str(checkpoint / DISCRIMINATOR_FILE)
    assert option(second[0], "--warm-up-steps") == "0"
    assert option(second[0], "--perturbed-copies") == "0"
    assert "--versions" not in second[0]
    assert not set(first[1].values()) & set(second[1].values())
    others = [command for command, _ in started if command[1].endswith("make_other_readings.py")]
    assert len(others) == 1
    assert folder_ref(package / NAME).index_path is None


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]
