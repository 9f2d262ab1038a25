"""Separation models that are in no table: a user's own file, by path or by name, in covers and on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from command_line import calls
from mdx_network import write_network
from separation_material import MDX_SHAPE, MDX_YAML
from ultimate_rvc.choices import F0Method, Quality, StepSwitch
from ultimate_rvc.covers.recipe import make_cover
from ultimate_rvc.covers.settings import CoverSettings, StemSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import cache_dir, voice_models_dir
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.separation.choose import separation_dir
from voice_factory import write_voice_folder

RATE = 44_100
APART = StemSettings(split_backing=StepSwitch.OFF, remove_reverb=StepSwitch.OFF)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_network(MDX_SHAPE, tmp_path_factory.mktemp("mdx") / "mine.onnx")
    path.with_suffix(".yaml").write_text(MDX_YAML.format(stem="vocals"), encoding="utf-8")
    return path


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    time_s = np.arange(RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s * (1 + 0.01 * np.sin(2 * np.pi * 5 * time_s)))
    wavfile.write(path, RATE, np.stack([tone, tone], axis=1).astype(np.float32))
    return path


@pytest.fixture(autouse=True)
def _voice() -> None:
    small = {"embedder": "starter", "sample_rate": 32000, "initial_channels": 16}
    write_voice_folder(voice_models_dir(), "Anna", **small)


def settings(stems: StemSettings) -> CoverSettings:
    conversion = ConversionSettings(f0_methods=(F0Method.DIO,))
    return CoverSettings(quality=Quality.FAST, conversion=conversion, stems=stems)


@pytest.mark.parametrize("is_by_name", [False, True])
def test_a_cover_takes_a_file_of_the_users(network: Path, song: Path, is_by_name: bool) -> None:
    name = str(network)
    if is_by_name:
        name = "mine"
        separation_dir().mkdir(parents=True)
        for path in (network, network.with_suffix(".yaml")):
            (separation_dir() / path.name).write_bytes(path.read_bytes())
    result = make_cover(str(song), "Anna", settings(replace(APART, vocals_model=name)))
    assert result.separation_model == name
    assert result.path.is_file()


@pytest.mark.parametrize("field", ["vocals_model", "backing_model", "reverb_model"])
def test_a_model_that_is_nowhere_is_refused_before_any_work(song: Path, field: str) -> None:
    with pytest.raises(SettingError, match=rf"{field} 'nonsense' is neither known nor a file: choose one"):
        make_cover(str(song), "Anna", settings(StemSettings(**{field: "nonsense"})))
    assert not cache_dir().exists()


def test_a_model_of_another_task_is_refused(song: Path) -> None:
    with pytest.raises(SettingError, match="reverb_model 'demucs' is for vocals, not"):
        make_cover(str(song), "Anna", settings(StemSettings(reverb_model="demucs")))


def test_the_command_line_takes_it_too(
    network: Path, song: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    urvc = calls(capsys)
    words = ("generate", "separate", song, "--output", tmp_path / "parts", "--model")
    code, _, err = urvc(*words, network)
    assert code == 0, err
    assert (tmp_path / "parts" / "song (vocals).wav").is_file()
    code, _, err = urvc(*words, tmp_path / "nowhere.onnx")
    assert code == 2
    assert f"--model '{tmp_path / 'nowhere.onnx'}' is neither known nor a file: choose" in err
