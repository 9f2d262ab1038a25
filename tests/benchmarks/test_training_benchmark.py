"""The training benchmark: what both loops are given, and what is measured of ours."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.settings import NetworkChoice
from ultimate_rvc.rvc.train.store import TrainingSet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
BATCH_SIZE = 2
SECONDS = 15.0
FRAMES = 300  # of 10 ms in a piece of 3 s


@pytest.fixture(scope="module")
def training() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        import training

        yield training


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(training: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for both loops, of networks that take no time."""
    folder = tmp_path_factory.mktemp("work")
    training.write_work(folder, NetworkChoice.TINY, BATCH_SIZE, SECONDS, discriminator_width=0.05)
    return folder


def test_both_loops_are_given_the_same_pieces(training: ModuleType, work: Path) -> None:
    data = TrainingSet.open(TrainingFolder(work / training.OURS))
    theirs = sorted((work / training.RIVAL / "0_gt_wavs").iterdir())
    assert len(theirs) == len(data) - 2  # rvc-next adds the two silent ones itself
    for number, path in enumerate(theirs):
        sample_rate, waveform = wavfile.read(path)
        example = data.example(number)
        assert sample_rate == data.description.sample_rate
        np.testing.assert_array_equal(waveform, example.waveform.numpy())
        folder, name = path.parents[1], path.stem
        features = np.load(folder / "3_feature768" / f"{name}.npy")
        np.testing.assert_array_equal(np.repeat(features, 2, axis=0), example.features.numpy())
        assert example.f0_hz is not None
        np.testing.assert_array_equal(np.load(folder / "2b-f0nsf" / f"{name}.wav.npy"), example.f0_hz.numpy())
        coarse = np.load(folder / "2a_f0" / f"{name}.wav.npy")
        assert coarse.shape == (FRAMES,)
        assert np.issubdtype(coarse.dtype, np.integer)
        assert (coarse > 1).any()  # it is speech, not silence


def test_features_are_as_wide_as_contentvecs(training: ModuleType, work: Path) -> None:
    data = TrainingSet.open(TrainingFolder(work / training.OURS))
    assert data.description.phone_dim == data.example(0).features.shape[1] == 768


def test_no_piece_is_so_short_that_rvc_next_leaves_it_out(training: ModuleType, work: Path) -> None:
    data = TrainingSet.open(TrainingFolder(work / training.OURS))
    assert set(data.frames) == {FRAMES}


def test_the_sizes_told_to_rvc_next_are_those_of_the_weights(work: Path) -> None:
    task = json.loads((work / "task.json").read_text(encoding="ascii"))
    weights = torch.load(work / "f0G40k.pth", weights_only=True)["model"]
    model = task["model"]
    assert weights["emb_g.weight"].shape == (model["spk_embed_dim"], model["gin_channels"])
    assert weights["enc_p.emb_phone.weight"].shape == (model["hidden_channels"], 768)
    # A transposed convolution has weights (in, out, taps); weight_v is where weight norm keeps them.
    first = weights["dec.ups.0.weight_v"]
    assert first.shape[0] == model["upsample_initial_channel"]
    assert first.shape[2] == model["upsample_kernel_sizes"][0]
    assert task["segment_size"] == 12_800


def test_steps_are_timed_after_the_warm_up(
    training: ModuleType, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.train.saving.speaker_embedder", lambda: None)
    monkeypatch.setenv("URVC_VOICE_MODELS_DIR", str(work / "voices"))
    run = training.run_own(work, steps=2, warm_up=1)
    assert run["steps_per_second"] == pytest.approx(1 / run["seconds_per_step"])
    assert run["seconds_per_step"] > 0
    assert run["cpu_seconds_per_step"] > 0
    assert 0 <= run["waited_share"] < 1
    assert run["peak_mb"] > 100
    assert len(run["losses"]) == 3
    for losses in run["losses"]:
        assert set(losses) == set(training.LOSSES)
        assert all(math.isfinite(value) and value > 0 for value in losses.values())
        parts = losses["adversarial"] + losses["feature"] + losses["mel and kl"]
        assert losses["generator"] == pytest.approx(parts, rel=1e-4)


def test_a_step_ends_when_the_loop_tells_of_it(training: ModuleType) -> None:
    steps = training.Steps()
    steps("train", 0.1, "step 1, loss 2.00, mel 1.00, 0.50 steps/s")
    steps("train", 0.2, "epoch 1 step 1 | generator 2.000")
    steps("extract", 0.3, "step 2, of something else")
    steps("train", 0.4, "step 2, loss 2.00, mel 1.00, 0.50 steps/s")
    assert len(steps.ends) == len(steps.cpu_ends) == 2
    assert steps.ends[0] <= steps.ends[1]


def invented_run(seconds_per_step: float, **changes: Any) -> dict[str, Any]:
    losses = dict.fromkeys(("generator", "discriminator", "adversarial", "feature", "mel and kl"), 1.0)
    run = {
        "steps_per_second": 1 / seconds_per_step,
        "seconds_per_step": seconds_per_step,
        "cpu_seconds_per_step": 2 * seconds_per_step,
        "peak_mb": 1000 * seconds_per_step,
        "losses": [losses, dict.fromkeys(losses, 3.0)],
        "threads": 2,
        "torch": "2.11.0",
        "version": "0.2.16",
    }
    return run | changes


def test_a_row_holds_the_medians(training: ModuleType) -> None:
    runs = [invented_run(seconds, waited_share=seconds / 10) for seconds in (0.5, 2.0, 0.25)]
    row = training.row("ours", runs, rival_steps_per_second=1.0)
    assert row["steps_per_second"] == 2.0
    assert row["ratio"] == 2.0
    assert row["waited_share"] == pytest.approx(0.05)
    assert row["peak_mb"] == 2000
    assert row["first_losses"]["feature"] == 1.0
    assert row["mean_losses"]["feature"] == 2.0


def test_the_table_has_a_line_for_each_program(
    training: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        training.row("rvc-next", [invented_run(2.0)], 0.5),
        training.row("ours", [invented_run(1.0, waited_share=0.01)], 0.5),
    ]
    training.print_table(rows, "tiny")
    header, rule, rival, ours = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in (header, rule, rival, ours)}) == 1
    assert "| 0.500 | 2.000 | 2.000 | 1.00 | 4.000 |  |" in rival
    assert "| 1.000 | 1.000 | 1.000 | 2.00 | 2.000 | 1.00 % |" in ours
