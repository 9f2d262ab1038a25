"""Finding, pairing and importing voices."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import unicodedata
import zipfile
from pathlib import Path

import pytest
import torch

from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from ultimate_rvc.voices.files import pair_index
from ultimate_rvc.voices.library import find_voice, import_voice, inspect_voice, list_voices, rename_voice
from voice_factory import (
    VoiceSpec,
    training_checkpoint,
    write_discriminator,
    write_executing_voice,
    write_index,
    write_trained_only_index,
    write_voice,
    write_voice_folder,
)


@pytest.fixture
def library() -> Path:
    folder = voice_models_dir()
    folder.mkdir(parents=True)
    return folder


def zipped(path: Path, **files: Path) -> Path:
    """A zip of files; a double underscore in a name stands for a slash, the suffix is the file's."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.write(file, name.replace("__", "/") + file.suffix)
    return path


def names_in(folder: Path) -> list[str]:
    ours = (".import.lock", ".verified")
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(ours))


# --- finding -----------------------------------------------------------------------------------


def test_a_voice_is_found_by_name_by_file_and_by_folder(library: Path) -> None:
    folder = write_voice_folder(library, "Ängla sång")
    model, index = folder / "Ängla sång.pth", folder / "Ängla sång.index"
    for wanted in ("Ängla sång", str(model), str(folder)):
        ref = find_voice(wanted)
        assert (ref.name, ref.model_path, ref.index_path) == ("Ängla sång", model, index)


def test_a_name_in_the_decomposed_form_of_macos_is_the_same(library: Path) -> None:
    write_voice_folder(library, unicodedata.normalize("NFD", "Ängla"))
    composed, decomposed = (unicodedata.normalize(form, "Ängla") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert find_voice(composed) == find_voice(decomposed)


def test_an_unknown_name_names_the_nearest(library: Path) -> None:
    write_voice_folder(library, "Singer", with_index=False)
    write_voice_folder(library, "Choir", with_index=False)
    with pytest.raises(VoiceNotFoundError, match="did you mean 'Singer'"):
        find_voice("singre")
    with pytest.raises(VoiceNotFoundError, match="urvc voices list"):
        find_voice("qqqq")


@pytest.mark.parametrize(
    "wanted", ["nobody", "../nobody", "a/b.pth", "", ".", "nobody\0", "x" * 5000, "~nobody/x"]
)
def test_what_is_no_voice_is_not_found(wanted: str) -> None:
    with pytest.raises((VoiceNotFoundError, VoiceFileError)) as caught:
        find_voice(wanted)
    assert "\n" not in str(caught.value)


def test_an_empty_library_tells_how_to_fill_it() -> None:
    with pytest.raises(VoiceNotFoundError, match="urvc voices import"):
        find_voice("somebody")


def test_other_layouts_are_listed_too(library: Path, tmp_path: Path) -> None:
    write_voice(library / "loose.pth")
    write_voice(library / "nested" / "inner" / "model.pth")
    write_voice(library / "several" / "one.pth")
    write_voice(library / "several" / "two.safetensors", "safetensors")
    write_discriminator(library / "nested" / "D_100.pth")
    (library / "empty").mkdir()
    (library / ".hidden").mkdir()
    assert [ref.name for ref in list_voices()] == ["loose", "nested", "several/one", "several/two"]
    assert find_voice("several/two").model_path == library / "several" / "two.safetensors"
    with pytest.raises(VoiceFileError, match=r"several voices \(one.pth, two.safetensors\)"):
        find_voice(str(library / "several"))
    with pytest.raises(VoiceFileError, match="holds no voice"):
        find_voice("empty")


def test_finding_a_voice_loads_no_network_library() -> None:
    """Listing must be quick: torch alone takes seconds to import."""
    code = (
        "import sys, ultimate_rvc.voices.library as library; library.list_voices();"
        "sys.exit('torch' in sys.modules or 'faiss' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


# --- indexes -----------------------------------------------------------------------------------


ADDED = "added_IVF4_Flat_nprobe_1_voice_v2.index"


@pytest.mark.parametrize(
    ("indexes", "expected", "warned"),
    [
        ((), None, False),
        (("voice.index", ADDED), "voice.index", False),
        (
            (ADDED, "other.index"),
            ADDED,
            True,
        ),
        (("added_IVF4.index",), "added_IVF4.index", False),
        (("added_b.index", "added_a.index"), "added_a.index", True),
        (("any.index",), "any.index", False),
        ((".hidden.index",), None, False),
    ],
)
def test_the_index_that_fits_best_is_taken(
    tmp_path: Path, indexes: tuple[str, ...], expected: str | None, warned: bool
) -> None:
    model = write_voice(tmp_path / "voice.pth")
    for name in indexes:
        write_index(tmp_path / name, dim=8)
    index, warnings = pair_index(model, list(tmp_path.iterdir()))
    assert (index.name if index else None) == expected
    assert bool(warnings) is warned


def test_a_trained_index_without_vectors_is_never_taken(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "voice.pth")
    trained = write_trained_only_index(tmp_path / "trained_IVF4_voice.index", dim=8)
    index, warnings = pair_index(model, [model, trained])
    assert index is None
    assert "added_" in warnings[0]
    added = write_index(tmp_path / "added_IVF4_voice.index", dim=8)
    assert pair_index(model, [model, trained, added]) == (added, ())


def test_voices_that_share_a_folder_keep_their_own_index(tmp_path: Path) -> None:
    one, two = write_voice(tmp_path / "one.pth"), write_voice(tmp_path / "two.pth")
    index = write_index(tmp_path / "added_one_v2.index", dim=8)
    files = [one, two, index]
    assert pair_index(one, files)[0] == index
    assert pair_index(two, files)[0] is None


# --- inspecting --------------------------------------------------------------------------------


def test_inspection_tells_what_the_files_are(library: Path) -> None:
    folder = write_voice_folder(library, "singer", version="v1", sample_rate=48000, embedder="contentvec")
    found = inspect_voice(find_voice("singer")).to_json()
    assert json.loads(json.dumps(found)) == found
    expected = {
        "name": "singer",
        "model_sha256": file_hash(folder / "singer.pth"),
        "index_vectors": 400,
        "index_dim": 256,
        "feature_dim": 256,
        "sample_rate": 48000,
        "version": "v1",
        "f0": True,
        "vocoder": "HiFi-GAN",
        "embedder": "contentvec",
        "embedder_recorded": True,
        "speakers": 3,
        "warnings": [],
    }
    assert {key: found[key] for key in expected} == expected


# --- importing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["RVC", "Ultimate RVC", "training", "safetensors"])
def test_an_imported_voice_describes_itself(tmp_path: Path, dialect: str) -> None:
    suffix = ".safetensors" if dialect == "safetensors" else ".pth"
    source = write_voice(tmp_path / f"the source{suffix}", dialect)
    write_index(tmp_path / "added_x.index")
    ref = import_voice(source, "Mé voice")
    folder = voice_models_dir() / "Mé voice"
    assert (ref.name, ref.folder, ref.warnings) == ("Mé voice", folder, ())
    assert names_in(folder) == sorted([f"Mé voice{suffix}", "Mé voice.index", "voice.json"])
    assert find_voice("Mé voice").model_path == ref.model_path
    record = json.loads((folder / "voice.json").read_text(encoding="utf-8"))
    assert (record["sample_rate"], record["version"], record["f0"]) == (40000, "v2", True)
    assert (record["embedder"], record["vocoder"], record["speakers"]) == ("contentvec", "HiFi-GAN", 3)
    for name, fingerprint in record["files"].items():
        assert fingerprint == {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)}
    assert set(record["files"]) == {f"Mé voice{suffix}", "Mé voice.index"}
    assert record["imported_from"]["sha256"] == file_hash(source)
    assert names_in(voice_models_dir()) == ["Mé voice"]
    before, after = load_voice_model(source), load_voice_model(ref.model_path)
    for key, tensor in before.synthesizer.state_dict().items():
        # Training checkpoints hold single precision: the voice is their half.
        torch.testing.assert_close(after.synthesizer.state_dict()[key], tensor, rtol=2e-3, atol=2e-4)


def test_the_pitch_that_is_known_is_recorded(tmp_path: Path) -> None:
    ref = import_voice(
        write_voice(tmp_path / "v.pth", "rvc-next", f0_median_hz=187.5, speaker_names=("Ann",))
    )
    record = json.loads((ref.model_path.parent / "voice.json").read_text())
    assert record["pitch_median_hz"] == 187.5
    assert record["speaker_names"] == {"0": "Ann"}


def test_archives_of_any_layout_are_imported(tmp_path: Path) -> None:
    model, index = write_voice(tmp_path / "m.pth"), write_index(tmp_path / "i.index")
    flat = import_voice(zipped(tmp_path / "flat.zip", singer=model, added_singer=index))
    deep_zip = zipped(tmp_path / "deep.zip", a__b__choir=model, a__logs__added_choir=index)
    with zipfile.ZipFile(deep_zip, "a") as archive:  # what macOS adds to archives
        archive.writestr("__MACOSX/a/b/._choir.pth", b"\0\5\x16\7")
        archive.writestr("__MACOSX/a/choir.pth", b"\0\5\x16\7")
    deep = import_voice(deep_zip)
    for ref, name in ((flat, "singer"), (deep, "choir")):
        assert (ref.name, ref.warnings) == (name, ())
        assert ref.index_path is not None
        load_voice_model(ref.model_path)


def test_a_folder_of_another_library_is_imported(tmp_path: Path) -> None:
    ref = import_voice(write_voice_folder(tmp_path, "singer"))
    assert (ref.name, ref.index_path) == ("singer", voice_models_dir() / "singer" / "singer.index")


def test_a_given_index_is_used_and_must_fit(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "a" / "voice.pth")
    fitting, other = write_index(tmp_path / "x.index"), write_index(tmp_path / "y.index", dim=256)
    with pytest.raises(VoiceFileError, match=r"vectors of 256 numbers, but voice\.pth works with 768"):
        import_voice(model, index=other)
    with pytest.raises(VoiceFileError, match=r"absent\.index"):
        import_voice(model, index=tmp_path / "absent.index")
    assert names_in(voice_models_dir()) == []
    ref = import_voice(model, index=fitting)
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == fitting.read_bytes()


def test_a_found_index_that_does_not_fit_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_index(tmp_path / "voice.index", dim=256)
    ref = import_voice(write_voice(tmp_path / "voice.pth"))
    assert ref.index_path is None
    assert "voice.index is not used: it holds vectors of 256 numbers" in ref.warnings[0]


def test_a_taken_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    source = write_voice(tmp_path / "Singer.pth")
    import_voice(source)
    for name in (None, "Singer", "singer"):
        with pytest.raises(VoiceFileError, match="is taken in"):
            import_voice(source, name)
    assert import_voice(source, "Singer 2").name == "Singer 2"


@pytest.mark.parametrize("name", ["starter", "Starter"])
def test_a_name_of_ours_is_taken_as_well(tmp_path: Path, name: str) -> None:
    """Else the voice that ships would be gone without a word: a user's goes before it."""
    with pytest.raises(VoiceFileError, match="ships with the program: choose another"):
        import_voice(write_voice(tmp_path / f"{name}.pth"))
    import_voice(write_voice(tmp_path / "singer.pth"))
    with pytest.raises(VoiceFileError, match="ships with the program"):
        rename_voice("singer", name)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", " ", "..", ".x", "x.", "C:x", "a\nb", "ü" * 150])
def test_names_that_could_leave_the_library_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="is no name for a voice"):
        import_voice(write_voice(tmp_path / "v.pth"), name)


def test_a_long_name_works(tmp_path: Path) -> None:
    name = "声" * 60
    ref = import_voice(write_voice(tmp_path / "v.pth"), name, write_index(tmp_path / "v.index"))
    assert find_voice(name).index_path == ref.index_path


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("../../led-out.pth", "leaves the archive"),
        ("/tmp/led-out.pth", "leaves the archive"),
        ("a\\..\\..\\led-out.pth", "leaves the archive"),
        ("C:/led-out.pth", "leaves the archive"),
    ],
)
def test_archives_that_lead_out_are_refused(tmp_path: Path, entry: str, reason: str) -> None:
    model = write_voice(tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(model, "good.pth")
        archive.writestr(entry, b"evil")
    with pytest.raises(VoiceFileError, match=reason):
        import_voice(tmp_path / "evil.zip")
    assert list(tmp_path.parent.rglob("led-out.pth")) == []
    assert names_in(voice_models_dir()) == []


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("voice.pth")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(VoiceFileError, match="holds a link"):
        import_voice(tmp_path / "link.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.pth", b"\0" * (20 << 20))
    with pytest.raises(VoiceFileError, match="hundredfold"):
        import_voice(tmp_path / "bomb.zip")


def test_a_bomb_that_understates_its_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.pth", b"\0" * (20 << 20))
    data = (tmp_path / "whole.zip").read_bytes()
    stated, claimed = (20 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert data.count(stated) == 2
    (tmp_path / "liar.zip").write_bytes(data.replace(stated, claimed))
    with pytest.raises(VoiceFileError, match="damaged"):
        import_voice(tmp_path / "liar.zip")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    data = zipped(tmp_path / "whole.zip", voice=write_voice(tmp_path / "m.pth")).read_bytes()
    broken = tmp_path / "broken.zip"
    for length in (0, 1, 30, len(data) // 2, len(data) - 1):
        broken.write_bytes(data[:length])
        with pytest.raises(VoiceFileError, match=r"broken\.zip"):
            import_voice(broken)
    flipped = bytearray(data)
    flipped[len(data) // 3] ^= 0xFF
    broken.write_bytes(flipped)
    with pytest.raises(VoiceFileError, match=r"broken\.zip is cut off or damaged"):
        import_voice(broken)


def test_other_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "words.pth").write_text("words")
    write_discriminator(tmp_path / "D_1.pth")
    write_executing_voice(tmp_path / "evil.pth", tmp_path / "ran")
    zipped(tmp_path / "evil.zip", deep__voice=tmp_path / "evil.pth")
    zipped(tmp_path / "none.zip", readme=tmp_path / "words.txt")
    two = write_voice(tmp_path / "two" / "voice.pth")
    zipped(tmp_path / "two.zip", one=two, two=two)
    other = write_voice(tmp_path / "two" / "other.pth", seed=1)
    zipped(tmp_path / "same.zip", a__one=two, b__one=other)
    expected = {
        "words.txt": "is a text file: fetch or export it again",
        "words.pth": "is a text file",
        "D_1.pth": "discriminator",
        "evil.pth": "asks to run posix.system",
        "evil.zip": "evil.zip: deep/voice.pth asks to run posix.system",
        "none.zip": "holds no voice",
        "two.zip": "several voices",
        "same.zip": "several voices (one.pth, one.pth)",
        "absent.pth": "There is no file",
    }
    for name, reason in expected.items():
        with pytest.raises(VoiceFileError) as caught:
            import_voice(tmp_path / name)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert names_in(voice_models_dir()) == []


def test_a_voice_whose_layers_do_not_fit_is_not_imported(tmp_path: Path) -> None:
    content = training_checkpoint(VoiceSpec())
    del content["model"]["dec.conv_post.weight"]
    torch.save(content, tmp_path / "G_1.pth")
    with pytest.raises(VoiceFileError, match=r"G_1\.pth.*dec\.conv_post\.weight is missing"):
        import_voice(tmp_path / "G_1.pth")
    assert names_in(voice_models_dir()) == []


def test_an_import_that_was_killed_leaves_no_half_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill runs no cleanup: the unfinished folder stays, is no voice, and the next import removes it."""
    source = write_voice(tmp_path / "singer.pth")
    with monkeypatch.context() as killed:
        killed.setattr("shutil.rmtree", lambda *_arguments, **_options: None)
        killed.setattr(Path, "rename", lambda *_arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_voice(source)
    assert any(name.startswith(".importing-") for name in names_in(voice_models_dir()))
    assert list_voices() == []
    import_voice(source)
    assert names_in(voice_models_dir()) == ["singer"]


def test_imports_at_once_under_one_name_give_one_voice(tmp_path: Path) -> None:
    source = write_voice(tmp_path / "singer.pth")
    outcomes: list[str] = []

    def run() -> None:
        try:
            outcomes.append(import_voice(source).name)
        except VoiceFileError:
            outcomes.append("refused")

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "refused", "singer"]
    load_voice_model(find_voice("singer").model_path)
    assert names_in(voice_models_dir()) == ["singer"]


def test_a_library_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("URVC_VOICE_MODELS_DIR", str(tmp_path / "file" / "voices"))
    with pytest.raises(VoiceFileError, match="cannot be imported into"):
        import_voice(write_voice(tmp_path / "v.pth"))
