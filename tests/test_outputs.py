"""Where results go: checked before work, numbered, never over what a user owns."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc import outputs
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import SettingError
from ultimate_rvc.outputs import Outputs, Target, file_title, fitted, format_of, place


def made(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "finished"
    path.write_text(text)
    return path


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1),
    st.text(alphabet="é (日本)", max_size=90),
    st.sampled_from([".wav", ".flac", ".opus"]),
)
def test_names_fit_into_file_systems_and_keep_whole_characters(stem: str, voice: str, suffix: str) -> None:
    tail = f" ({file_title(voice)})"
    name = fitted(stem, tail, suffix)
    assert len(f"{name} (12345){suffix}".encode()) <= 255
    assert name.endswith(tail)
    assert stem.startswith(name.removesuffix(tail))


def test_a_long_japanese_name_is_shortened_and_can_be_written(tmp_path: Path) -> None:
    stem = "歌" * 83
    target = Outputs([]).made(tmp_path, stem, " (starter)", ".wav")
    assert place(made("sound", tmp_path), target).path.read_text() == "sound"
    assert target.path.name.startswith("歌" * 70)


def test_a_voice_with_a_slash_makes_no_folder(tmp_path: Path) -> None:
    target = Outputs([]).made(tmp_path, "take", f" ({file_title('two/a')})", ".wav")
    assert target.path == tmp_path / "take (two a).wav"


def test_made_names_avoid_inputs_and_each_other(tmp_path: Path) -> None:
    taken = tmp_path / "take (x).wav"
    outputs_of_run = Outputs([taken])
    paths = [outputs_of_run.made(tmp_path, "take", " (x)", ".wav").path for _ in range(3)]
    assert [path.name for path in paths] == ["take (x) (1).wav", "take (x) (2).wav", "take (x) (3).wav"]


def test_names_are_compared_as_the_file_system_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "FOLDS_CASE", True)
    run = Outputs([tmp_path / "TAKE.WAV"])
    with pytest.raises(SettingError, match="one of the files to read"):
        run.named_file(tmp_path / "take.wav")
    assert run.made(tmp_path, "Take", "", ".wav").path.name == "Take (1).wav"
    decomposed = Outputs([tmp_path / "Ma\u0308rz.wav"])
    assert decomposed.made(tmp_path, "M\u00e4rz", "", ".wav").path.name == "M\u00e4rz (1).wav"


def test_a_made_name_never_takes_the_place_of_a_users_file(tmp_path: Path) -> None:
    user = tmp_path / "take (x).wav"
    user.write_text("of the user")
    placed = place(made("result", tmp_path), Outputs([]).made(tmp_path, "take", " (x)", ".wav"))
    assert (placed.path.name, placed.replaced) == ("take (x) (1).wav", False)
    assert user.read_text() == "of the user"


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = Outputs([]).made(tmp_path, "take", "", ".wav")
    target.path.write_text("came meanwhile")
    assert place(made("result", tmp_path), target).path.name == "take (1).wav"
    assert target.path.read_text() == "came meanwhile"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "take.wav").write_text("of the user")
    placed = place(made("result", tmp_path), Outputs([]).made(tmp_path, "take", "", ".wav"))
    assert (placed.path.name, placed.path.read_text()) == ("take (1).wav", "result")


def test_our_own_result_of_the_same_source_is_replaced_until_somebody_touches_it(tmp_path: Path) -> None:
    source = tmp_path / "take.wav"

    def run(text: str, of: Path = source) -> tuple[str, bool]:
        placed = place(made(text, tmp_path), Outputs([]).made(tmp_path, "take", " (x)", ".wav", source=of))
        return placed.path.name, placed.replaced

    assert run("first") == ("take (x).wav", False)
    assert run("second") == ("take (x).wav", True)
    assert run("of another", tmp_path / "other.wav") == ("take (x) (1).wav", False)
    (tmp_path / "take (x).wav").write_text("edited by the user")
    assert run("third") == ("take (x) (2).wav", False)
    assert (tmp_path / "take (x).wav").read_text() == "edited by the user"


def test_a_users_file_with_the_same_bytes_does_not_become_ours(tmp_path: Path) -> None:
    user = tmp_path / "take.wav"
    user.write_text("sound")
    for text, name in (("sound", "take.wav"), ("another sound", "take (1).wav")):
        placed = place(made(text, tmp_path), Outputs([]).made(tmp_path, "take", "", ".wav"))
        assert placed.path.name == name
    assert user.read_text() == "sound"


def test_a_lost_or_damaged_ledger_only_makes_numbers(tmp_path: Path) -> None:
    place(made("first", tmp_path), Outputs([]).made(tmp_path, "take", "", ".wav"))
    outputs._ledger_path().write_text("{damaged")
    placed = place(made("second", tmp_path), Outputs([]).made(tmp_path, "take", "", ".wav"))
    assert placed.path.name == "take (1).wav"


def test_the_same_bytes_are_left_where_they_are(tmp_path: Path) -> None:
    target = tmp_path / "named.wav"
    target.write_text("sound")
    before = target.stat().st_mtime_ns
    placed = place(made("sound", tmp_path), Outputs([]).named_file(target))
    assert (placed.replaced, target.stat().st_mtime_ns) == (False, before)


@pytest.mark.parametrize("overwrite", [True, False, None])
def test_overwrite_decides_about_names_of_both_kinds(tmp_path: Path, overwrite: bool | None) -> None:
    there = tmp_path / "take.wav"
    there.write_text("of the user")
    run = Outputs([], overwrite)
    placed = place(made("result", tmp_path), run.made(tmp_path, "take", "", ".wav"))
    assert placed.path.name == ("take.wav" if overwrite else "take (1).wav")
    named = tmp_path / "named.wav"
    named.write_text("of the user")
    if overwrite is False:
        with pytest.raises(SettingError, match="overwrite is off"):
            run.named_file(named)
    else:
        assert run.named_file(named) == Target(named, is_named=True)


def test_even_overwrite_spares_inputs(tmp_path: Path) -> None:
    source = tmp_path / "take.wav"
    source.write_text("of the user")
    run = Outputs([source], overwrite=True)
    assert run.made(tmp_path, "take", "", ".wav").path.name == "take (1).wav"
    hard_link = tmp_path / "the same file.wav"
    hard_link.hardlink_to(source)
    with pytest.raises(SettingError, match="one of the files to read"):
        run.named_file(hard_link)


@pytest.mark.parametrize("field", ["output", "output_path"])
def test_what_cannot_be_written_is_found_out_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    for check in (
        lambda: Outputs([]).named_file(tmp_path / "a.wav", field),
        lambda: Outputs([]).folder(tmp_path / "new", tmp_path, field),
        lambda: Outputs([]).folder(None, tmp_path / "new", field),
    ):
        with pytest.raises(SettingError, match="cannot be written") as caught:
            check()
        assert caught.value.fields == (field,)


def test_a_disk_too_full_is_found_out_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    Outputs([]).named_file(tmp_path / "a.wav", needs_bytes=40_000_000)
    with pytest.raises(SettingError, match="50 MB free, but about 60 MB"):
        Outputs([]).named_file(tmp_path / "a.wav", needs_bytes=60_000_000)


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("x.xyz", None, "should end in one of .mp3, .wav, .flac, .ogg, .m4a, .aac"),
        ("x", None, "should end in"),
        ("x.wav", AudioFormat.MP3, "disagree"),
    ],
)
def test_suffix_and_format_are_checked(name: str, asked: AudioFormat | None, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        format_of(Path(name), asked)
    assert format_of(Path("x.WAV"), AudioFormat.WAV) is AudioFormat.WAV


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / f"{outputs._partial_prefix()}abc.partial"
    foreign = tmp_path / ".urvc-of-another-home.partial"
    for path in (left, foreign):
        path.write_text("half")
    place(made("result", tmp_path), Outputs([]).made(tmp_path, "take", "", ".wav"))
    assert (left.exists(), foreign.exists()) == (False, True)


def test_a_write_that_fails_names_the_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    finished = made("result", tmp_path)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left") as caught:
        place(finished, Outputs([]).named_file(tmp_path / "cover.wav"))
    assert caught.value.filename == str(tmp_path / "cover.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finished"]
