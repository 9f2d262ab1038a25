"""Which files of a folder hold audio, by their names: one answer for covers, conversions and training."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultimate_rvc.audio.found import AUDIO_SUFFIXES, audio_files
from ultimate_rvc.choices import AudioFormat


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = (
        "b.WAV", "a.flac", "video.mp4", "notes.txt", "no suffix", ".hidden.wav", "._a.flac", ".wav",
        "two/c.opus", "two/deep/d.mp3", ".trash/e.wav", "two/._c.opus", "album.wav/f.wav",
    )  # fmt: skip
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "broken link.wav").symlink_to(tmp_path / "nowhere.wav")
    return tmp_path


def found(folder: Path, *, recursive: bool) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in audio_files(folder, recursive=recursive)]


def test_a_folder_gives_its_audio_files_in_order_without_hidden_ones_and_folders(folder: Path) -> None:
    assert found(folder, recursive=False) == ["a.flac", "b.WAV", "video.mp4"]


def test_folders_below_are_searched_if_wanted(folder: Path) -> None:
    below = ["album.wav/f.wav", "two/c.opus", "two/deep/d.mp3"]
    assert found(folder, recursive=True) == sorted([*found(folder, recursive=False), *below])


def test_a_hidden_folder_above_hides_nothing(tmp_path: Path) -> None:
    recording = tmp_path / ".cache" / "takes" / "one.wav"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"")
    assert audio_files(recording.parent, recursive=True) == [recording]


def test_every_format_that_is_written_is_found_again() -> None:
    assert {f".{audio_format}" for audio_format in AudioFormat} <= AUDIO_SUFFIXES
