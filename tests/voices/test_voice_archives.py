"""Archives made to do harm, and archives of odd but honest layouts."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultimate_rvc.errors import UltimateRVCError, VoiceFileError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices import archives
from ultimate_rvc.voices.library import import_voice, list_voices
from voice_factory import write_index, write_voice


def archive_of(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, told: str) -> None:
    with pytest.raises(VoiceFileError, match=told) as caught:
        import_voice(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert list_voices() == []
    left = [entry.name for entry in voice_models_dir().iterdir()]
    assert left == [".import.lock"]


# --- made to do harm ---------------------------------------------------------------------------


def test_an_absurd_number_of_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.pth", b"")
    refused(tmp_path / "many.zip", "holds 10001 files")


def test_a_directory_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive_of(tmp_path / "many.zip", **{f"{number}.txt": b"" for number in range(100)})
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 1000)
    refused(path, "lists far more files than any voice has")


def test_the_directorys_size_is_found_where_zipfile_finds_it(tmp_path: Path) -> None:
    plain = archive_of(tmp_path / "a.zip", one=b"1", two=b"22")
    with zipfile.ZipFile(plain) as archive:
        expected = plain.stat().st_size - archive.start_dir - 22
    assert archives._directory_bytes(plain) == expected
    commented = tmp_path / "c.zip"
    with zipfile.ZipFile(commented, "w") as archive:
        archive.comment = b"PK\5\6" + b"x" * 30_000
        archive.writestr("a", b"")
    assert archives._directory_bytes(commented) >= 47
    # As zip64 states it: the usual record says "look there".
    content = plain.read_bytes()
    end = content.rindex(b"PK\5\6")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, 1 << 33, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    large = tmp_path / "large.zip"
    large.write_bytes(content[:end] + record + locator + tail)
    assert archives._directory_bytes(large) == 1 << 33
    refused(large, "lists far more files")


def test_absurd_sizes_are_refused_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 3 << 20)
    path = archive_of(tmp_path / "v.zip", **{f"{n}.index": bytes([n]) * (1 << 20) for n in range(4)})
    refused(path, "unpacks to 4 MB")


def test_files_laid_over_each_other_are_refused(tmp_path: Path) -> None:
    """One stored body that many entries of the directory claim."""
    body = b"x" * 100_000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("0.pth", body)
        for number in range(1, 20):
            entry = zipfile.ZipInfo(f"{number}.pth")
            first = archive.infolist()[0]
            entry.header_offset, entry.CRC = first.header_offset, first.CRC
            entry.file_size = entry.compress_size = len(body)
            archive.filelist.append(entry)
        archive._didModify = True
    (tmp_path / "over.zip").write_bytes(buffer.getvalue())
    refused(tmp_path / "over.zip", "lays files over each other")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("voice.pth")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(tmp_path / "v.zip", "holds a link|no file")


@lru_cache
def honest_archive() -> bytes:
    with TemporaryDirectory() as folder:
        model = write_voice(Path(folder) / "v.pth").read_bytes()
        index = write_index(Path(folder) / "v.index", count=40, cells=1).read_bytes()
        path = archive_of(Path(folder) / "v.zip", **{"v.pth": model, "v.index": index, "voice.json": b"{}"})
        return path.read_bytes()


@settings(max_examples=25)
@given(st.data())
def test_an_archive_with_any_bytes_changed_is_refused_or_harmless(data: st.DataObject) -> None:
    content = bytearray(honest_archive())
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes go to the directory at the end, where they do most.
        low = data.draw(st.sampled_from((0, len(content) - 400)))
        content[data.draw(st.integers(low, len(content) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        library = Path(folder) / "library"
        patch.setenv("URVC_VOICE_MODELS_DIR", str(library))
        path = Path(folder) / "v.zip"
        path.write_bytes(content)
        with contextlib.suppress(UltimateRVCError):
            import_voice(path)
        assert {entry.name for entry in Path(folder).iterdir()} == {"library", "v.zip"}
        assert not [entry for entry in library.iterdir() if entry.name.startswith(".importing")]


# --- odd but honest ----------------------------------------------------------------------------


def test_model_and_index_are_paired_by_what_they_hold(tmp_path: Path) -> None:
    """Names that mislead: the index named like the voice is another's."""
    model = write_voice(tmp_path / "m.pth").read_bytes()
    right, wrong = write_index(tmp_path / "r.index"), write_index(tmp_path / "w.index", dim=256)
    layout = {
        "weights/singer.pth": model,
        "singer.index": wrong.read_bytes(),
        "logs/x/added_IVF4_Flat_nprobe_1_other_v2.index": right.read_bytes(),
        "README.md": b"hello",
        "logs/x/total_fea.npy": b"...",
    }
    ref = import_voice(archive_of(tmp_path / "any.zip", **layout))
    assert (ref.name, ref.warnings) == ("singer", ())
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == right.read_bytes()


def test_a_v1_voice_gets_the_v1_index(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "m.pth", version="v1").read_bytes()
    wide, narrow = write_index(tmp_path / "w.index"), write_index(tmp_path / "n.index", dim=256)
    path = archive_of(
        tmp_path / "v.zip", **{"a.pth": model, "a.index": wide.read_bytes(), "b.index": narrow.read_bytes()}
    )
    ref = import_voice(path)
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == narrow.read_bytes()


def test_the_same_file_twice_is_one_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "m.pth").read_bytes()
    right, wrong = write_index(tmp_path / "r.index"), write_index(tmp_path / "w.index", dim=256)
    layout = {
        "a/v.pth": model,
        "b/v.pth": model,
        "a/v.index": wrong.read_bytes(),
        "b/V.index": right.read_bytes(),
    }
    ref = import_voice(archive_of(tmp_path / "v.zip", **layout))
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == right.read_bytes()


def test_a_folder_of_another_tool_is_paired_by_content_too(tmp_path: Path) -> None:
    folder = tmp_path / "singer"
    write_voice(folder / "model_infer.pth")
    write_index(folder / "model_infer.index", dim=256)
    right = write_index(folder / "index" / "whatever.index")
    ref = import_voice(folder)
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == right.read_bytes()
