"""Checkpoints appear whole or not at all, and say so when they cannot."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from full_disk import file_size_limit
from ultimate_rvc.errors import TrainingError
from ultimate_rvc.rvc.train.checkpoints import (
    Checkpoint,
    checkpoint_folders,
    load_checkpoint,
    random_states,
    remove_unfinished,
    restore_random_states,
    save_checkpoint,
)


def checkpoint(value: float, size: int = 10) -> Checkpoint:
    generator = {"model": {"weight": torch.full((size,), value)}, "iteration": 3}
    return Checkpoint(generator, {"model": {}}, {"step": int(value), "scores": [], "random": None})


def value_in(folder: Path) -> float:
    loaded = load_checkpoint(folder)
    assert loaded is not None
    return float(loaded.generator["model"]["weight"][0])


def test_a_new_checkpoint_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, checkpoint(1.0), keep_all=False)
    save_checkpoint(tmp_path, 20, checkpoint(20.0), keep_all=False)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step_00000020"]
    assert value_in(tmp_path) == 20.0


def test_all_checkpoints_are_kept_if_wanted_and_the_latest_is_loaded(tmp_path: Path) -> None:
    for step in (9, 10, 100_000_000):
        save_checkpoint(tmp_path, step, checkpoint(step), keep_all=True)
    assert len(checkpoint_folders(tmp_path)) == 3
    assert value_in(tmp_path) == 100_000_000


def test_a_step_saved_again_does_not_remove_its_first_checkpoint_before_it_is_complete(
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path, 7, checkpoint(1.0), keep_all=True)
    save_checkpoint(tmp_path, 7, checkpoint(2.0), keep_all=True)
    assert [folder.name for folder in checkpoint_folders(tmp_path)] == ["step_00000007", "step_00000007.1"]
    assert value_in(tmp_path) == 2.0


@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_full_disk_keeps_the_checkpoint_before_and_is_told_in_a_sentence(
    tmp_path: Path, limit: int
) -> None:
    save_checkpoint(tmp_path, 1, checkpoint(1.0), keep_all=False)
    with file_size_limit(limit), pytest.raises(TrainingError) as raised:
        save_checkpoint(tmp_path, 2, checkpoint(2.0, size=100_000), keep_all=False)
    message = str(raised.value)
    assert "The checkpoint of step 2 cannot be written" in message
    assert "the one before it, step_00000001, is kept" in message
    assert "\n" not in message
    assert [folder.name for folder in tmp_path.iterdir()] == ["step_00000001"]
    assert value_in(tmp_path) == 1.0


def test_what_a_killed_training_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, checkpoint(1.0), keep_all=False)
    (tmp_path / "step_00000002.partial").mkdir()
    (tmp_path / "step_00000002.partial" / "G.pth").write_bytes(b"PK")
    remove_unfinished(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step_00000001"]


def test_without_a_folder_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere") is None


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    random.gauss(0, 1)
    np.random.normal()
    saved = Checkpoint({}, {}, {"random": random_states()})
    save_checkpoint(tmp_path, 1, saved, keep_all=False)

    def draw() -> tuple[float, ...]:
        return random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))

    before = draw()
    draw()
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    restore_random_states(loaded.state["random"])
    assert draw() == before
