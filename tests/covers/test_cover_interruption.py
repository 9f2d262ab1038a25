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
from voice_factory import write_voice_folder

SONGS = Path(__file__).parents[1] / "data" / "songs"
PROGRAM = Path(__file__).with_name("interrupted_runs.py")
RATE = 44100
KILLS = 10

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module", params=["whole", "ahead"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The audio folders of the three ways to make one cover: of a whole song, and of one in pieces.

    In pieces, it is made in peace one step after the other, and disturbed while it sings ahead.
    """
    seconds = {"whole": 1, "ahead": 4}[request.param]
    root = tmp_path_factory.mktemp("interruption")
    stems = [decode(SONGS / f"water_{name}.ogg")[0] for name in ("vocals", "instrumental")]
    mixture = np.broadcast_to(stems[0], stems[1].shape) + stems[1]
    wavfile.write(root / "song.wav", RATE, mixture[:, RATE : (1 + seconds) * RATE].T)
    write_voice_folder(root / "voices", "Bert", embedder="starter", sample_rate=32000, initial_channels=16)
    folders = {name: root / name for name in ("undisturbed", "killed", "shared")}
    variables = os.environ | {
        "PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1]),
        "URVC_VOICE_MODELS_DIR": str(root / "voices"),
        "OMP_NUM_THREADS": "1",  # a process with threads cannot be forked safely
    }
    arguments = [root / "song.wav", KILLS, request.param, *folders.values()]
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    outcome = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600)
    assert outcome.returncode == 0, outcome.stderr
    assert len(json.loads(outcome.stdout)) == KILLS, outcome.stdout
    return folders


def only_file(folder: Path) -> Path:
    """The one file of a folder, hidden ones included."""
    (file,) = folder.iterdir()
    return file


def entries(folder: Path) -> list[tuple[str, str]]:
    cache = StepCache(folder / "intermediate")
    assert all(entry.complete for entry in cache.list_entries())
    assert list((cache.folder / "partial").iterdir()) == []
    return sorted((entry.step, entry.key) for entry in cache.list_entries())


@pytest.mark.parametrize("name", ["killed", "shared"])
def test_a_cover_disturbed_has_the_bytes_of_one_made_in_peace(folders: dict[str, Path], name: str) -> None:
    """After ten kills at random moments; after two runs at once on one cache."""
    undisturbed, disturbed = (only_file(folders[each] / "output") for each in ("undisturbed", name))
    assert disturbed.name == undisturbed.name
    assert file_hash(disturbed) == file_hash(undisturbed)


@pytest.mark.parametrize("name", ["killed", "shared"])
def test_the_cache_disturbed_holds_the_same_entries_and_no_leftovers(
    folders: dict[str, Path], name: str
) -> None:
    assert entries(folders[name]) == entries(folders["undisturbed"])
