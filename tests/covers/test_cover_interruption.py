"""Killed at random moments, a cover comes out as if nothing had happened; so do two made at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

import ultimate_rvc
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.covers.cache import StepCache
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from voice_factory import write_voice_folder

SONGS = Path(__file__).parents[1] / "data" / "songs"
PROGRAM = Path(__file__).with_name("interrupted_runs.py")
RATE = 44100
KILLS = 10

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    stems = [decode(SONGS / f"water_{name}.ogg")[0] for name in ("vocals", "instrumental")]
    mixture = np.broadcast_to(stems[0], stems[1].shape) + stems[1]
    wavfile.write(tmp_path / "song.wav", RATE, mixture[:, RATE : 2 * RATE].T)
    write_voice_folder(voice_models_dir(), "Bert", embedder="starter", sample_rate=32000, initial_channels=16)
    return tmp_path / "song.wav"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def only_file(folder: Path) -> Path:
    """The one file of a folder, hidden ones included."""
    (file,) = folder.iterdir()
    return file


def test_after_ten_kills_the_cover_has_the_bytes_of_an_undisturbed_one(song: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "undisturbed", tmp_path / "killed"]
    command = [sys.executable, str(PROGRAM), str(song), str(KILLS), *map(str, folders)]
    outcome = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert outcome.returncode == 0, outcome.stderr
    report = json.loads(outcome.stdout.splitlines()[-1])
    assert report["hits"] == KILLS, report
    undisturbed, killed = (only_file(folder / "output") for folder in folders)
    assert file_hash(killed) == file_hash(undisturbed)
    caches = [StepCache(folder / "intermediate") for folder in folders]
    for entry in caches[1].list_entries():
        assert entry.complete
    assert {(entry.step, entry.key) for entry in caches[0].list_entries()} == {
        (entry.step, entry.key) for entry in caches[1].list_entries()
    }
    assert list((caches[1].folder / "partial").iterdir()) == []


MAKE_ONE = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
from interrupted_runs import SETTINGS, make_cover
result = make_cover(sys.argv[1], "Bert", SETTINGS)
sys.stdout.write(str(result.path))
"""


def test_two_runs_at_once_on_one_cache_make_one_cover(song: Path, tmp_path: Path) -> None:
    variables = environment() | {"URVC_AUDIO_DIR": str(tmp_path / "audio")}
    command = [sys.executable, "-c", MAKE_ONE, str(song)]
    runs = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outcomes = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0]
    assert only_file(tmp_path / "audio" / "output") == Path(outcomes[0][0])
    steps = [entry.step for entry in StepCache(tmp_path / "audio" / "intermediate").list_entries()]
    assert sorted(steps) == sorted(set(steps))
