"""``URVC_CONFIG`` on the command line: below what is asked for, above the voice's preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli.main import run
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.paths import config_dir
from ultimate_rvc.rvc.train import preprocess
from ultimate_rvc.rvc.train.data_settings import PreprocessSettings

FILE = """
cover:
  conversion: {n_semitones: 4, index_rate: 0.8, noise_scale: 0.5}
  stems: {vocals_model: dsp, remove_reverb: "off"}
  effects: {room_size: 0.5, highpass_hz: 120}
  inst_gain: -3
  output_format: flac
"""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[CoverSettings]:
    """The settings that reach the recipe, which is then left alone."""
    found: list[CoverSettings] = []

    def stopped(song: str, voice: str, settings: CoverSettings, *_: Any, **named: Any) -> Any:
        found.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("ultimate_rvc.work.cover.make_cover", stopped)
    config_dir().mkdir(parents=True)
    (config_dir() / "evening.yaml").write_text(FILE)
    monkeypatch.setenv("URVC_CONFIG", "evening")
    return found


def cover(tmp_path: Path, *options: str) -> None:
    song = tmp_path / "song.wav"
    encode(song, np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(SystemExit):
        run(["generate", "song-cover", str(song), "starter", *options])


def test_the_file_decides_what_is_not_asked_for(tmp_path: Path, seen: list[CoverSettings]) -> None:
    cover(tmp_path, "--n-semitones", "7", "--inst-gain", "1", "--room-size", "0.1")
    (settings,) = seen
    assert settings.conversion.n_semitones == 7
    assert (settings.conversion.index_rate, settings.conversion.noise_scale) == (0.8, 0.5)
    assert (settings.inst_gain, settings.output_format) == (1, "flac")
    assert (settings.stems.vocals_model, settings.stems.remove_reverb) == ("dsp", "off")
    assert settings.effects is not None
    assert (settings.effects.room_size, settings.effects.highpass_hz) == (0.1, 120)
    assert settings.optimization is not None


def test_effects_can_be_switched_off_all_the_same(tmp_path: Path, seen: list[CoverSettings]) -> None:
    cover(tmp_path, "--no-effects")
    assert seen[0].effects is None


def test_a_wrong_value_is_told_before_anything_is_done(
    tmp_path: Path, seen: list[CoverSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    (config_dir() / "evening.yaml").write_text("cover: {inst_gain: 99}")
    cover(tmp_path)
    assert seen == []
    assert "inst_gain is 99" in capsys.readouterr().err


def test_a_training_asks_the_file_for_what_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def stopped(folder: Any, dataset: Path, settings: PreprocessSettings, **_: Any) -> Any:
        found.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess, "preprocess_dataset", stopped)
    config_dir().mkdir(parents=True)
    (config_dir() / "small.yaml").write_text("train: {preprocessing: {sample_rate: 32000, chunk_len: 4}}")
    monkeypatch.setenv("URVC_CONFIG", "small")
    with pytest.raises(SystemExit):
        run(["train", "preprocess-dataset", "mine", str(tmp_path), "--chunk-len", "2"])
    assert found == [PreprocessSettings(sample_rate=32000, chunk_len=2.0)]


@pytest.mark.parametrize(("options", "wanted"), [([], "spin"), (["--embedder-model", "starter"], "starter")])
def test_a_training_takes_the_encoder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], wanted: str
) -> None:
    found: list[Any] = []

    def stopped(*given: Any) -> Any:
        found.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("ultimate_rvc.work.train.train", stopped)
    encode(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    config_dir().mkdir(parents=True)
    (config_dir() / "spin.yaml").write_text(
        "train: {extraction: {embedder_model: spin}, training: {seed: 3, network_size: tiny}}"
    )
    monkeypatch.setenv("URVC_CONFIG", "spin")
    with pytest.raises(SystemExit):
        run(["train", "voice", "mine", str(tmp_path), "--seed", "5", *options])
    job, *_ = found[0]
    chosen = (job.extraction.embedder_model, job.training.seed, job.training.network_size)
    assert chosen == (wanted, 5, "tiny")
