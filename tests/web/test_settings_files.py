"""Named settings files hold every setting, and come back as they were."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ultimate_rvc import settings_files
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import config_dir
from ultimate_rvc.plain import to_plain
from ultimate_rvc.work.requests import TrainParts
from ultimate_rvc.work.settings_parts import LEFT_OUT, file_part, load, save

SWITCHES = {"use_fp16": True, "batch_size": 4}
COVER = {
    "conversion": {"n_semitones": -3, "f0_methods": ["crepe", "rmvpe"], "seed": 7, "noise_scale": 0.5},
    "stems": {"split_backing": "off"},
    "effects": {"room_size": 0.6, "highpass_hz": 90.0},
    "backing": {"voice": "starter"},
    "inst_gain": -2.5,
    "output_format": "flac",
}
TRAIN = {
    "preprocessing": {"sample_rate": 32000, "split_method": "Simple"},
    "extraction": {"embedder_model": "starter"},
    "training": {"batch_size": 3, "learn_from": "prior", "discriminator_width": 0.25},
}


@pytest.fixture(autouse=True)
def _folder() -> None:
    config_dir().mkdir(parents=True, exist_ok=True)


def test_what_is_saved_is_loaded() -> None:
    save(" evening ", SWITCHES, {"cover": COVER, "train": TRAIN})
    assert settings_files.names() == ["evening"]
    switches, parts = load("evening")
    # float16 that is asked for here overrules a bfloat16 of lower rank, so that is decided as well.
    assert {**switches, "use_bf16": False} == {**SWITCHES, "use_bf16": False}
    for part, given in (("cover", COVER), ("train", TRAIN)):
        for group, values in given.items():
            loaded = parts[part][group]
            assert loaded == (loaded | values if isinstance(values, dict) else values)


def test_no_setting_is_left_out() -> None:
    save("all", {}, {})
    _, parts = load("all")
    kept_elsewhere = {name.removeprefix("cover.") for name in LEFT_OUT}
    assert set(parts["cover"]) == {field.name for field in fields(CoverSettings)} - kept_elsewhere
    assert parts["train"] == to_plain(TrainParts())


def test_effects_that_are_switched_off_stay_off() -> None:
    save("dry", {}, {"cover": {"effects": None}})
    assert load("dry")[1]["cover"]["effects"] is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cover: {conversion: {index_rate: 7}}", ("index_rate", "7", "0 to 1")),
        ("cover: {conversion: {f0_methods: [harp]}}", ("f0_methods", "harp", "rmvpe")),
        ("cover: {inst_gain: loud}", ("inst_gain", "loud", "number")),
        ("cover: {output_sr: 1}", ("output_sr", "1", "44100")),
        ("cover: {gain: 1}", ("cover.gain", "main_gain")),
        ("cover: [1]", ("cover", "object")),
        ("train: {training: {batch_size: 0}}", ("batch_size", "0", "1 to")),
        ("train: {training: {learn_from: luck}}", ("learn_from", "luck", "posterior")),
        ("train: {trainings: {}}", ("train.trainings", "training")),
        ("batch_size: 99", ("batch_size", "99", "64")),
        ("bath_size: 1", ("bath_size", "batch_size")),
    ],
)
def test_a_wrong_file_is_told_with_its_key_value_and_range(line: str, words: tuple[str, ...]) -> None:
    path = config_dir() / "wrong.yaml"
    path.write_text(line)
    with pytest.raises(SettingError) as raised:
        load("wrong")
    for word in (str(path), *words):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("name", "switches", "parts"),
    [
        ("cpu", {}, {}),
        ("../up", {}, {}),
        ("a", {"batch_size": 0}, {}),
        ("a", {}, {"cover": {"main_gain": 99}}),
        ("a", {}, {"cover": {"output_path": "/etc/passwd"}}),
        ("a", {}, {"train": {"training": {"num_epochs": 0}}}),
    ],
)
def test_what_is_wrong_is_not_written(
    name: str, switches: dict[str, int], parts: dict[str, dict[str, object]]
) -> None:
    with pytest.raises(SettingError):
        save(name, switches, parts)
    assert not list(Path(config_dir()).glob("*.yaml"))


def test_without_a_file_nothing_is_decided() -> None:
    assert file_part("cover", {}) == file_part("train", {}) == {}
