"""Renaming, deleting, restoring, and indexes that come and go."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from ultimate_rvc.voices.library import (
    attach_index,
    delete_voice,
    detach_index,
    empty_trash,
    find_voice,
    import_voice,
    list_trash,
    list_voices,
    rename_voice,
    restore_voice,
    set_note,
    voice_card,
)
from voice_factory import write_index, write_voice, write_voice_folder


@pytest.fixture
def singer(tmp_path: Path) -> str:
    write_index(tmp_path / "source" / "singer.index")
    return import_voice(write_voice(tmp_path / "source" / "singer.pth")).name


def names() -> list[str]:
    return [ref.name for ref in list_voices()]


# --- renaming ----------------------------------------------------------------------------------


@pytest.mark.parametrize("new_name", ["Änother näme", "SINGER", "singer 2"])
def test_a_renamed_voice_is_whole_and_unchanged(singer: str, new_name: str) -> None:
    set_note(singer, "mine")
    ref = rename_voice(singer, new_name)
    folder = voice_models_dir() / new_name
    assert (ref.name, ref.folder) == (new_name, folder)
    assert (ref.model_path, ref.index_path) == (folder / f"{new_name}.pth", folder / f"{new_name}.index")
    assert names() == [new_name]
    assert find_voice(new_name).warnings == ()
    assert voice_card(new_name).note == "mine"
    record = json.loads((folder / "voice.json").read_text())
    assert record["name"] == new_name
    assert set(record["files"]) == {f"{new_name}.pth", f"{new_name}.index"}


def test_a_rename_that_was_killed_half_way_leaves_the_voice_usable(
    singer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ultimate_rvc.voices.renaming.settle_name", killed)
        with pytest.raises(KeyboardInterrupt):
            rename_voice(singer, "new")
    ref = find_voice("new")
    assert (ref.model_path.name, ref.warnings) == ("singer.pth", ())
    assert rename_voice("new", "newer").model_path.name == "newer.pth"


def test_taken_and_impossible_names_are_refused(singer: str, tmp_path: Path) -> None:
    import_voice(write_voice(tmp_path / "choir.pth"))
    for taken in ("choir", "CHOIR"):
        with pytest.raises(VoiceFileError, match="is taken in"):
            rename_voice(singer, taken)
    for wrong in ("../x", "", "a/b"):
        with pytest.raises(SettingError, match="is no name"):
            rename_voice(singer, wrong)
    with pytest.raises(VoiceNotFoundError):
        rename_voice("nobody", "somebody")
    assert names() == ["choir", singer]


def test_loose_and_shared_voices_are_renamed_where_they_lie() -> None:
    library = voice_models_dir()
    write_voice(library / "loose.pth")
    write_index(library / "loose.index")
    write_voice(library / "group" / "one.pth")
    write_voice(library / "group" / "two.pth")
    assert rename_voice("loose", "free").index_path == library / "free.index"
    assert rename_voice("group/one", "uno").name == "group/uno"
    with pytest.raises(VoiceFileError, match="is taken"):
        rename_voice("group/uno", "two")
    assert names() == ["free", "group/two", "group/uno"]


# --- deleting and restoring --------------------------------------------------------------------


def test_a_deleted_voice_is_gone_until_it_is_restored(singer: str) -> None:
    set_note(singer, "mine")
    entry = delete_voice(singer)
    assert names() == []
    with pytest.raises(VoiceNotFoundError):
        find_voice(singer)
    assert list_trash() == [entry]
    assert entry.bytes > 1000
    assert json.loads(json.dumps(entry.to_json()))["name"] == singer
    assert datetime.fromisoformat(entry.to_json()["deleted"]).tzinfo is not None
    ref = restore_voice(singer)
    assert (ref.name, ref.warnings, voice_card(singer).note) == (singer, (), "mine")
    assert ref.index_path is not None
    load_voice_model(ref.model_path)
    assert list_trash() == []


def test_of_several_deletions_the_latest_is_undone_first(tmp_path: Path) -> None:
    for note in ("first", "second"):
        import_voice(write_voice(tmp_path / "singer.pth"))
        set_note("singer", note)
        delete_voice("singer")
    later, earlier = list_trash()
    assert later.deleted >= earlier.deleted
    restore_voice("singer")
    assert voice_card("singer").note == "second"
    with pytest.raises(VoiceFileError, match="is taken in"):
        restore_voice(earlier.id)
    assert restore_voice(earlier.id, "older").model_path.name == "older.pth"
    assert voice_card("older").note == "first"
    assert names() == ["older", "singer"]


def test_voices_of_other_layouts_come_back_to_where_they_lay() -> None:
    library = voice_models_dir()
    paths = [library / "loose.pth", library / "group" / "one.pth", library / "group" / "two.pth"]
    for path in paths:
        write_voice(path)
    write_index(library / "group" / "one.index")
    for name in ("loose", "group/one"):
        delete_voice(name)
    assert names() == ["group"]  # one voice left in a folder is the folder's
    for name in ("loose", "group/one"):
        restore_voice(name)
    assert all(path.is_file() for path in (*paths, library / "group" / "one.index"))
    delete_voice("loose")
    assert restore_voice("loose", "kept").folder == library / "kept"


def test_what_is_not_in_the_trash_is_told(singer: str) -> None:
    with pytest.raises(VoiceNotFoundError, match=r"The trash has no voice 'singer': it is empty"):
        restore_voice(singer)
    delete_voice(singer)
    with pytest.raises(VoiceNotFoundError, match="it holds singer"):
        restore_voice("../../etc")
    with pytest.raises(SettingError, match="is no name"):
        restore_voice(singer, "../x")
    with pytest.raises(VoiceNotFoundError, match="no entry"):
        empty_trash(["../.."])
    assert len(list_trash()) == 1


def test_the_trash_is_emptied_for_good(singer: str, tmp_path: Path) -> None:
    entry = delete_voice(singer)
    import_voice(write_voice(tmp_path / "choir.pth"))
    other = delete_voice("choir")
    assert empty_trash(older_than_days=1) == []
    assert empty_trash([entry.id]) == [entry]
    assert list_trash() == [other]
    assert empty_trash() == [other]
    assert list_trash() == []
    assert not (voice_models_dir() / ".trash").exists()


def test_a_deletion_that_was_killed_loses_nothing(singer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_voice(singer)
    assert names() == [singer]
    assert list_trash() == []
    delete_voice(singer)
    assert [entry.name for entry in list_trash()] == [singer]


def test_spoilt_entries_of_the_trash_are_passed_over(singer: str) -> None:
    entry = delete_voice(singer)
    for number, content in enumerate(("{", "[]", '{"name": 1}', '{"name":"x","kind":"y","deleted":"z"}')):
        folder = voice_models_dir() / ".trash" / str(number)
        folder.mkdir()
        (folder / "trash.json").write_text(content)
    assert list_trash() == [entry]


def test_a_voice_of_the_package_cannot_be_deleted() -> None:
    with pytest.raises(VoiceNotFoundError, match="ships with the package"):
        delete_voice("starter")


# --- symbolic links ----------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder beside the library with what links in it point to: a voice's folder, and a loose voice."""
    store = voice_models_dir().parent / "store"
    write_voice(store / "far" / "far.pth")
    write_index(store / "far" / "far.index")
    write_voice(store / "loose.pth")
    voice_models_dir().mkdir(parents=True, exist_ok=True)
    return store


def link(name: str, store: Path, *, relative: bool) -> Path:
    """``name`` in the library, as a link to the same name in ``store`` below its own folder's depth."""
    path = voice_models_dir() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    aim = store / Path(name).name
    path.symlink_to(os.path.relpath(aim, path.parent) if relative else aim)
    return path


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", ["far", "loose.pth", "own/loose.pth"])
@pytest.mark.parametrize("new_name", [None, "again"])
def test_a_deleted_voice_that_is_a_link_is_listed_and_restored(
    store: Path, name: str, relative: bool, new_name: str | None
) -> None:
    path = link(name, store, relative=relative)
    (voice,) = names()
    before, form = snapshot(store), path.readlink()
    entry = delete_voice(voice)
    assert names() == []
    assert [(found.id, found.name) for found in list_trash()] == [(entry.id, voice)]
    assert entry.bytes < 1000  # what the link points to is not in the trash
    assert snapshot(store) == before
    ref = restore_voice(voice, new_name)
    assert ref.name == (new_name or voice)
    load_voice_model(ref.model_path)
    assert list_trash() == []
    if new_name is None:
        assert path.readlink() == form
    assert sorted(snapshot(store).values()) == sorted(before.values())


@pytest.mark.parametrize("relative", [False, True])
def test_emptying_the_trash_counts_a_link_and_leaves_what_it_points_to(store: Path, relative: bool) -> None:
    link("far", store, relative=relative)
    link("own/loose.pth", store, relative=relative)
    before = snapshot(store)
    thrown = {delete_voice(name).id for name in ("far", "own")}
    assert {entry.id for entry in empty_trash()} == thrown
    assert snapshot(store) == before
    assert not (voice_models_dir() / ".trash").exists()


def test_a_linked_voice_of_a_shared_folder_is_restored_with_its_link(store: Path) -> None:
    write_voice(voice_models_dir() / "group" / "one.pth")
    write_voice(voice_models_dir() / "group" / "two.pth")
    link("group/loose.pth", store, relative=True)
    delete_voice("group/loose")
    assert names() == ["group/one", "group/two"]
    assert restore_voice("group/loose").name == "group/loose"
    delete_voice("group/loose")
    ref = restore_voice("group/loose", "alone")
    assert ref.folder == voice_models_dir() / "alone"
    load_voice_model(ref.model_path)


def test_a_detached_index_that_is_a_link_is_restored(store: Path, tmp_path: Path) -> None:
    name = import_voice(write_voice(tmp_path / "singer.pth")).name
    index = voice_models_dir() / name / "singer.index"
    index.symlink_to(os.path.relpath(store / "far" / "far.index", index.parent))
    detach_index(name)
    (entry,) = list_trash()
    assert entry.kind == "index"
    restored = restore_voice(name).index_path
    assert restored is not None
    assert restored.read_bytes() == (store / "far" / "far.index").read_bytes()


def test_what_the_trash_cannot_list_is_not_emptied_away(singer: str) -> None:
    entry = delete_voice(singer)
    (entry.content.parent / "trash.json").write_text("{")
    before = snapshot(entry.content)
    assert list_trash() == empty_trash() == []
    assert snapshot(entry.content) == before


def test_a_link_to_nothing_is_not_replaced_by_a_restored_voice(singer: str) -> None:
    write_voice(voice_models_dir() / "loose.pth")
    delete_voice("loose")
    (voice_models_dir() / "loose.pth").symlink_to("nowhere.pth")
    with pytest.raises(VoiceFileError, match="already"):
        restore_voice("loose")
    assert len(list_trash()) == 1


# --- indexes -----------------------------------------------------------------------------------


def test_an_index_is_attached_replaced_detached_and_restored(tmp_path: Path) -> None:
    name = import_voice(write_voice(tmp_path / "singer.pth")).name
    first, second = write_index(tmp_path / "a.index"), write_index(tmp_path / "b.index", seed=1)
    ref = attach_index(name, first)
    assert ref.index_path == voice_models_dir() / name / "singer.index"
    assert ref.index_path.read_bytes() == first.read_bytes()
    assert find_voice(name).warnings == ()
    attach_index(name, second)
    (entry,) = list_trash()
    assert (entry.kind, entry.name) == ("index", name)
    detach_index(name)
    assert find_voice(name).index_path is None
    with pytest.raises(VoiceFileError, match="has no index"):
        detach_index(name)
    restored = restore_voice(name)  # the one that was detached last
    assert restored.index_path is not None
    assert restored.index_path.read_bytes() == second.read_bytes()
    assert restore_voice(entry.id).index_path.read_bytes() == first.read_bytes()  # type: ignore[union-attr]
    assert find_voice(name).warnings == ()


def test_an_index_that_does_not_fit_changes_nothing(singer: str, tmp_path: Path) -> None:
    before = find_voice(singer)
    wrong = write_index(tmp_path / "x.index", dim=256)
    (tmp_path / "words.index").write_text("words")
    for path, told in (
        (wrong, "vectors of 256 numbers, but singer.pth works with 768"),
        (tmp_path / "words.index", "words.index"),
        (tmp_path / "absent.index", "absent.index"),
    ):
        with pytest.raises(VoiceFileError, match=told):
            attach_index(singer, path)
    assert find_voice(singer) == before
    assert list_trash() == []


def test_an_index_of_a_deleted_voice_waits_for_another_owner(singer: str) -> None:
    detach_index(singer)
    delete_voice(singer)
    (_, index) = list_trash()
    with pytest.raises(VoiceNotFoundError, match="attach-index"):
        restore_voice(index.id)
    restore_voice(singer)
    assert restore_voice(index.id).index_path is not None


def test_the_width_of_a_voice_without_a_record_is_read_from_its_model(tmp_path: Path) -> None:
    write_voice_folder(voice_models_dir(), "old", with_index=False, version="v1")
    with pytest.raises(VoiceFileError, match="works with 256"):
        attach_index("old", write_index(tmp_path / "x.index"))
    assert attach_index("old", write_index(tmp_path / "y.index", dim=256)).index_path is not None
