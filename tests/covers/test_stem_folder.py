"""Which file of a folder is which stem."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultimate_rvc.covers.stem_folder import StemRole, find_stems, stem_role
from ultimate_rvc.errors import SourceError


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("vocals", StemRole.VOCALS),
        ("01 - My Song - Vocals", StemRole.VOCALS),
        ("My Song (Vocals)_UVR-MDX-NET-Voc_FT", StemRole.VOCALS),
        ("1_Music_(Vocals)", StemRole.VOCALS),
        ("acapella", StemRole.VOCALS),
        ("Song_vox", StemRole.VOCALS),
        ("Lead Vocals", StemRole.LEAD),
        ("main_vocals", StemRole.LEAD),
        ("Song [lead vox]", StemRole.LEAD),
        ("backing vocals", StemRole.BACKING),
        ("Song-BackingVocals", StemRole.BACKING),
        ("backup", StemRole.BACKING),
        ("BGV", StemRole.BACKING),
        ("harmony vocals", StemRole.BACKING),
        ("no_vocals", StemRole.INSTRUMENTAL),
        ("Song (Instrumental)", StemRole.INSTRUMENTAL),
        ("vocals off - Song (Off Vocal)", StemRole.INSTRUMENTAL),
        ("accompaniment", StemRole.INSTRUMENTAL),
        ("backing track", StemRole.INSTRUMENTAL),
        ("drums", StemRole.PART),
        ("lead guitar", StemRole.PART),
        ("other", StemRole.PART),
        ("cover art", None),
        ("basso continuo", None),
        ("Über Ñandú — ボーカル", None),
        ("Über Ñandú — vocals", StemRole.VOCALS),
    ],
)
def test_names_in_use_are_recognised(name: str, role: StemRole | None) -> None:
    assert stem_role(name) is role


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_separators_two_files_are_found(tmp_path: Path) -> None:
    stems = find_stems(
        folder_of(tmp_path, "a (Vocals).wav", "a (Instrumental).flac", "cover.jpg", "notes.txt")
    )
    assert stems.vocals.name == "a (Vocals).wav"
    assert [path.name for path in stems.instrumental] == ["a (Instrumental).flac"]
    assert (stems.backing, stems.unused) == (None, ())


def test_four_stems_of_demucs_become_vocals_and_a_sum(tmp_path: Path) -> None:
    stems = find_stems(folder_of(tmp_path, "vocals.wav", "drums.wav", "bass.wav", "other.wav"))
    assert [path.name for path in stems.instrumental] == ["bass.wav", "drums.wav", "other.wav"]


def test_the_lead_goes_before_all_vocals_and_what_is_not_used_is_told(tmp_path: Path) -> None:
    stems = find_stems(
        folder_of(tmp_path, "lead vocals.wav", "vocals.wav", "backing vocals.wav", "inst.wav", "take 3.wav")
    )
    assert stems.vocals.name == "lead vocals.wav"
    assert stems.backing is not None
    assert stems.backing.name == "backing vocals.wav"
    assert [path.name for path in stems.unused] == ["take 3.wav", "vocals.wav"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "has no vocals .*; found: no audio files"),
        (
            ("inst.wav", "x.mp3"),
            r"has no vocals .*found: inst\.wav \(instrumental\), x\.mp3 \(not recognised\)",
        ),
        (("vocals.wav",), r"has no instrumental .*drums\.wav.*found: vocals\.wav \(vocals\)"),
        (
            ("vocals.wav", "b vocals.mp3", "inst.wav"),
            r"both b vocals\.mp3 and vocals\.wav look like the vocals",
        ),
    ],
)
def test_what_is_missing_or_double_is_told_with_what_was_found(
    tmp_path: Path, names: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        find_stems(folder_of(tmp_path, *names))
