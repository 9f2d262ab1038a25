"""Datasets: which files they hold, whose they are, and how they get there."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from recordings import noise, write
from ultimate_rvc.errors import CancelledError, DatasetError, SettingError
from ultimate_rvc.paths import datasets_dir, training_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.dataset import Addition, find_recordings, populate_dataset, recordings_identity
from ultimate_rvc.rvc.train.folders import TrainingFolder


def empty_file(path: Path, content: bytes = b"sound") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_numbered_folders_are_speakers_and_other_folders_only_order_files(tmp_path: Path) -> None:
    for name in ("a.wav", "2/b.flac", "2/take one/c.mp3", "chorus/d.OGG", "007/e.m4a"):
        empty_file(tmp_path / name)
    found = {recording.name: recording.speaker for recording in find_recordings(tmp_path)}
    assert found == {"a.wav": 0, "2/b.flac": 2, "2/take one/c.mp3": 2, "chorus/d.OGG": 0, "007/e.m4a": 7}


def test_what_is_hidden_or_no_audio_is_no_recording(tmp_path: Path) -> None:
    for name in ("._a.wav", ".trash/b.wav", "notes.txt", "take.wav/c.wav", "1/._d.wav", "good.wav"):
        empty_file(tmp_path / name)
    (tmp_path / "empty.mp3").mkdir()
    assert [recording.name for recording in find_recordings(tmp_path)] == ["good.wav"]


def test_an_absent_or_empty_dataset_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no recordings"):
        find_recordings(tmp_path)


def test_a_speaker_beyond_the_table_of_pretrained_voices_is_refused(tmp_path: Path) -> None:
    empty_file(tmp_path / "109" / "a.wav")
    with pytest.raises(DatasetError, match=r"109/a\.wav"):
        find_recordings(tmp_path)


def test_populating_copies_files_and_folders_under_names_of_any_language(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.wav")
    one = empty_file(tmp_path / "in" / decomposed, b"one")
    folder = empty_file(tmp_path / "много голосов" / "1" / "песня.wav", b"two").parent.parent
    dataset = populate_dataset("Моё é", [one, folder])
    assert dataset == datasets_dir() / "Моё é"
    assert (dataset / "é.wav").read_bytes() == b"one"
    assert (dataset / "1" / "песня.wav").read_bytes() == b"two"


def test_a_file_is_copied_once_and_another_of_its_name_gets_a_number(tmp_path: Path) -> None:
    first = empty_file(tmp_path / "a" / "take.wav", b"first")
    second = empty_file(tmp_path / "b" / "take.wav", b"second")
    for sources in ([first], [first, second], [second]):
        dataset = populate_dataset("takes", sources)
    names = {recording.name: recording.path.read_bytes() for recording in find_recordings(dataset)}
    assert names == {"take.wav": b"first", "take (1).wav": b"second"}


@pytest.mark.parametrize("wrong", ["missing.wav", "notes.txt", "._good.wav"])
def test_nothing_is_copied_when_one_source_is_wrong(tmp_path: Path, wrong: str) -> None:
    good = empty_file(tmp_path / "good.wav")
    for name in ("notes.txt", "._good.wav"):
        empty_file(tmp_path / name)
    with pytest.raises(DatasetError, match=wrong):
        populate_dataset("takes", [good, tmp_path / wrong])
    assert not (datasets_dir() / "takes").exists()


def test_what_an_addition_takes_back_is_what_it_copied(tmp_path: Path) -> None:
    old = empty_file(datasets_dir() / "takes" / "1" / "take.wav", b"old")
    (datasets_dir() / "takes" / "empty").mkdir()
    same = empty_file(tmp_path / "in" / "1" / "take.wav", b"old").parent.parent
    empty_file(same / "1" / "other.wav", b"new")
    empty_file(same / "2" / "deep" / "take.wav", b"new")
    addition = Addition.of("takes", [same, empty_file(tmp_path / "take.wav", b"loose")])
    assert [recording.name for recording in addition.new] == ["1/other.wav", "2/deep/take.wav", "take.wav"]
    addition.copy(Progress())
    assert len(find_recordings(addition.folder)) == 4
    addition.take_back()
    assert [path for path in addition.folder.rglob("*") if path.is_file()] == [old]
    assert {path.name for path in addition.folder.iterdir()} == {"1", "empty"}
    fresh = Addition.of("fresh", [same])
    fresh.copy(Progress())
    fresh.take_back()
    assert not fresh.folder.exists()


def test_names_that_differ_in_case_alone_get_numbers(tmp_path: Path) -> None:
    files = [empty_file(tmp_path / "a" / "Take.wav", b"one"), empty_file(tmp_path / "b" / "take.wav", b"two")]
    assert [recording.name for recording in Addition.of("takes", files).new] == ["Take.wav", "take (1).wav"]


def test_populating_can_be_cancelled_between_files(tmp_path: Path) -> None:
    progress = Progress(lambda step, fraction, text: progress.cancel() if text == "a.wav" else None)
    files = [empty_file(tmp_path / name) for name in ("a.wav", "b.wav")]
    with pytest.raises(CancelledError):
        populate_dataset("takes", files, progress=progress)
    assert [path.name for path in (datasets_dir() / "takes").iterdir()] == ["a.wav"]


@pytest.mark.parametrize("name", ["", " ", "../up", "a/b", "..", ".hidden", "end ", "back\\slash"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(SettingError):
        TrainingFolder.named(name)


def test_a_training_lies_below_the_folder_of_trainings_under_its_composed_name() -> None:
    folder = TrainingFolder.named(unicodedata.normalize("NFD", "Zoë 2"))
    assert folder.path == training_dir() / "Zoë 2"
    assert folder.name == "Zoë 2"


def test_the_identity_of_recordings_follows_names_speakers_and_bytes(tmp_path: Path) -> None:
    def identity() -> str:
        return recordings_identity(find_recordings(tmp_path))

    path = write(tmp_path / "a.wav", noise(0.1))
    seen = {identity(), identity()}
    assert len(seen) == 1
    write(path, noise(0.1, level=0.2))
    seen.add(identity())
    path.rename(tmp_path / "b.wav")
    seen.add(identity())
    (tmp_path / "3").mkdir()
    (tmp_path / "b.wav").rename(tmp_path / "3" / "b.wav")
    seen.add(identity())
    assert len(seen) == 4
