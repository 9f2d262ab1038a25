"""What is told of anything else than a voice: true, with the file's own name and the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import faiss
import numpy as np
import pytest

from ultimate_rvc.errors import UltimateRVCError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.infer.index_file import check_index_file
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from ultimate_rvc.voices.library import attach_index, find_voice, import_voice, list_voices, rename_voice
from voice_factory import write_index, write_voice

RAR = b"Rar!\x1a\x07\x01\x00" + bytes(range(200))
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(range(200))
GZIP = b"\x1f\x8b\x08\x00" + bytes(range(200))
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html><html><title>Sign in</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
FOREIGN = [
    (RAR, r"is a RAR archive.*: unpack it with another program and take the files in it"),
    (SEVEN_ZIP, r"is a 7z archive.*: unpack it with another program and take the files in it"),
    (GZIP, r"is a gzip archive.*: unpack it"),
    (PAGE, r"is a web page saved in place of the file.*: download the file itself"),
    (POINTER, r"is only a pointer to a file in Git LFS.*: download the file itself"),
]


def sentence(caught: pytest.ExceptionInfo[UltimateRVCError]) -> str:
    told = str(caught.value)
    assert "\n" not in told
    assert "--" not in told
    assert ".importing-" not in told
    return told


def hnsw_index() -> bytes:
    index = faiss.IndexHNSWFlat(768, 8)
    index.add(np.random.default_rng(0).standard_normal((50, 768), dtype=np.float32))
    return bytes(faiss.serialize_index(index).tobytes())


# --- something else under a voice's name -------------------------------------------------------


@pytest.mark.parametrize(("content", "told"), FOREIGN)
@pytest.mark.parametrize("name", ["v.pth", "v.safetensors", "v.zip", "v.rar"])
def test_another_kind_of_file_is_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VoiceFileError, match=told) as caught:
        import_voice(path)
    assert sentence(caught).startswith(str(path))
    with pytest.raises(VoiceFileError, match=told):
        load_voice_model(find_voice(str(path)).model_path)
    assert list_voices() == []


@pytest.mark.parametrize(
    ("content", "told"), [*FOREIGN, (b"PK\3\4" + bytes(40), "is a zip archive: unpack it")]
)
def test_another_kind_of_file_for_an_index_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "v.index"
    path.write_bytes(content)
    with pytest.raises(VoiceFileError, match=f"{told}.*, or convert without an index") as caught:
        check_index_file(path)
    assert str(path) in sentence(caught)


def test_a_voice_called_zip_is_told_from_a_damaged_archive(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "v.pth").rename(tmp_path / "v.zip")
    for give in (import_voice, lambda given: find_voice(str(given))):
        with pytest.raises(
            VoiceFileError, match=r"v\.zip is a voice file itself, not an archive: call it v\.pth"
        ):
            give(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(VoiceFileError, match=r"v\.zip is cut off or damaged: fetch it again"):
        import_voice(path)


def test_the_form_of_a_voice_is_told_by_its_bytes(tmp_path: Path) -> None:
    torch_form = write_voice(tmp_path / "a.pth").rename(tmp_path / "a.safetensors")
    other_form = write_voice(tmp_path / "b.safetensors", "safetensors").rename(tmp_path / "b.pth")
    for path in (torch_form, other_form):
        load_voice_model(import_voice(path).model_path)


# --- naming a voice ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_no_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_voice(tmp_path / "only.pth")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VoiceNotFoundError, match="No voice was named"):
        find_voice(name)
    with pytest.raises(VoiceFileError, match="No file was named"):
        import_voice(name)
    assert find_voice(".").model_path.name == "only.pth"


def test_an_archive_is_to_be_imported_first(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(write_voice(tmp_path / "v.pth"), "v.pth")
    with pytest.raises(VoiceFileError, match=r"x\.zip is an archive: import it first") as caught:
        find_voice(str(tmp_path / "x.zip"))
    sentence(caught)
    with pytest.raises(VoiceNotFoundError, match=r"There is no voice file absent\.zip"):
        find_voice("absent.zip")
    with pytest.raises(VoiceFileError, match=r"v\.index is an index, not a voice"):
        find_voice(str(write_index(tmp_path / "v.index")))


# --- indexes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "content", "told"),
    [
        ("logs/added_v.index", hnsw_index(), "is of FAISS's kind 'IHNf', not Flat or IVF with Flat"),
        ("v.index", np.random.default_rng(3).bytes(5000), "is not a FAISS index"),
        ("v.index", PAGE, "is a web page"),
        ("v.index", b"", "is empty"),
    ],
)
def test_an_index_in_an_archive_is_named_as_it_is_there(
    tmp_path: Path, member: str, content: bytes, told: str
) -> None:
    with zipfile.ZipFile(tmp_path / "singer.zip", "w") as archive:
        archive.write(write_voice(tmp_path / "v.pth"), "v.pth")
        archive.writestr(member, content)
    ref = import_voice(tmp_path / "singer.zip")
    assert ref.index_path is None
    (warning,) = ref.warnings
    assert f"The index {tmp_path / 'singer.zip'}: {member} {told}" in warning
    assert warning.endswith("The voice was imported without it.")
    assert str(voice_models_dir()) not in warning


def test_members_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "v.pth")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(model, "v.pth")
        archive.writestr("one/v.index", hnsw_index())
        archive.writestr("two/v.index", hnsw_index() + b" ")
    (*_, warning) = import_voice(tmp_path / "two.zip").warnings
    assert "two.zip: two/v.index is of" in warning


def test_an_index_that_is_attached_is_named_by_its_own_path(tmp_path: Path) -> None:
    import_voice(write_voice(tmp_path / "v.pth"))
    (tmp_path / "junk.index").write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(VoiceFileError, match="is not a FAISS index") as caught:
        attach_index("v", tmp_path / "junk.index")
    assert str(tmp_path / "junk.index") in sentence(caught)


# --- renaming ----------------------------------------------------------------------------------


def test_a_taken_name_is_told_without_an_option_of_another_command(tmp_path: Path) -> None:
    for name in ("A", "B"):
        import_voice(write_voice(tmp_path / f"{name}.pth"))
    with pytest.raises(
        VoiceFileError, match=r"The name 'B' is taken in .*: choose another, or delete"
    ) as caught:
        rename_voice("A", "b")
    sentence(caught)
    assert rename_voice("A", "voice").name == "voice"


@pytest.mark.parametrize("group", ["", "group/"])
@pytest.mark.parametrize("other", ["B.pth", "b.safetensors"])
def test_a_loose_voice_does_not_take_the_name_of_another(group: str, other: str) -> None:
    library = voice_models_dir()
    write_voice(library / f"{group}A.pth")
    write_voice(library / f"{group}{other}", "safetensors" if other.endswith("s") else "RVC")
    write_voice(library / f"{group}C.pth")
    before = sorted(library.rglob("*.*"))
    with pytest.raises(VoiceFileError, match="is taken by") as caught:
        rename_voice(f"{group}A", "B")
    sentence(caught)
    assert [path for path in sorted(library.rglob("*.*")) if path.name != ".import.lock"] == before
    assert rename_voice(f"{group}A", "a").name == f"{group}a"
