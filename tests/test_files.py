"""Files appear complete under their name or not at all, and errors name them, never the unfinished one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from full_disk import file_size_limit
from ultimate_rvc.files import atomic_folder, atomic_path


def test_a_write_without_room_names_the_final_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"old")
    with (
        file_size_limit(100),
        pytest.raises(OSError, match="File too large") as caught,
        atomic_path(path) as new,
    ):
        new.write_bytes(bytes(1000))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_without_room_names_the_file_that_could_not_be_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source.wav", tmp_path / "copy.wav"
    source.write_bytes(bytes(1000))
    with (
        file_size_limit(100),
        pytest.raises(OSError, match=r"copy\.wav") as caught,
        atomic_path(target) as new,
    ):
        shutil.copyfile(source, new)
    assert (caught.value.filename, caught.value.filename2) == (str(target), None)


def test_a_folder_in_the_way_is_named_by_the_final_name(tmp_path: Path) -> None:
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(OSError, match=r"song\.wav") as caught, atomic_path(tmp_path / "song.wav") as new:
        new.write_bytes(b"new")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "song.wav"), None)


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "copy.wav") as new:
        shutil.copyfile(tmp_path / "absent.wav", new)
    assert str(caught.value.filename) == str(tmp_path / "absent.wav")
    with pytest.raises(OSError, match="I/O error") as failed, atomic_path(tmp_path / "copy.wav"):
        raise OSError(errno.EIO, "I/O error")  # of whatever was read: not of the file to be written
    assert failed.value.filename is None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    try:
        with pytest.raises(OSError, match="No space left") as caught, atomic_path(disk / "song.wav") as new:
            new.write_bytes(bytes(1 << 20))
        assert caught.value.filename == str(disk / "song.wav")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with atomic_folder(target) as unfinished:
        (unfinished / "file").write_text("content")
        assert not target.exists()
    assert (target / "file").read_text() == "content"
    assert list(target.parent.iterdir()) == [target]


def test_an_interrupted_folder_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_folder(tmp_path / "folder") as unfinished:
            (unfinished / "file").write_text("content")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []
