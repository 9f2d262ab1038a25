"""What an owner says about a voice, what its card shows, and the search through cards."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ultimate_rvc.choices import F0Method
from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.library import (
    VoicePreset,
    change_preset,
    change_tags,
    delete_voice,
    find_voice,
    import_voice,
    inspect_voice,
    list_cards,
    list_voices,
    refresh_voice,
    search_voices,
    set_note,
    set_picture,
    set_preset,
    set_tags,
    voice_card,
)
from ultimate_rvc.voices.pictures import MAX_PICTURE_BYTES
from ultimate_rvc.voices.presets import read_preset
from voice_factory import write_index, write_voice, write_voice_folder

PACKAGED = ["starter-anna", "starter-peter", "starter"]
PRESET = VoicePreset(n_semitones=12, index_rate=0.6, protect_rate=0.2, f0_methods=(F0Method.RMVPE,))


@pytest.fixture
def singer(tmp_path: Path) -> str:
    write_index(tmp_path / "source" / "singer.index")
    return import_voice(write_voice(tmp_path / "source" / "singer.pth")).name


def record_of(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((voice_models_dir() / name / "voice.json").read_text())
    return found


# --- presets -----------------------------------------------------------------------------------


def test_a_preset_stays_with_its_voice_and_reaches_whoever_finds_it(singer: str) -> None:
    assert set_preset(singer, PRESET).preset == PRESET
    assert find_voice(singer).preset == PRESET
    assert record_of(singer)["preset"] == {
        "n_semitones": 12,
        "index_rate": 0.6,
        "protect_rate": 0.2,
        "f0_methods": ["rmvpe"],
    }
    assert change_preset(singer, index_rate=None, n_semitones=-3).preset == VoicePreset(
        n_semitones=-3, protect_rate=0.2, f0_methods=(F0Method.RMVPE,)
    )
    set_preset(singer, VoicePreset())
    assert "preset" not in record_of(singer)


def test_what_is_asked_for_goes_before_the_preset() -> None:
    assert PRESET.fill({}) == PRESET.values()
    assert PRESET.fill({"index_rate": 0.0})["index_rate"] == 0.0
    for asked in ({"n_octaves": 1}, {"n_semitones": 0}, {"n_octaves": 0, "n_semitones": 5}):
        filled = PRESET.fill(asked)
        assert {name: filled.get(name) for name in ("n_octaves", "n_semitones")} == {
            name: asked.get(name) for name in ("n_octaves", "n_semitones")
        }
    assert VoicePreset().fill({"seed": 3}) == {"seed": 3}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"n_semitones": 99}, "n_semitones is 99, but must be from -48 to 48"),
        ({"index_rate": -0.1}, "index_rate is -0.1, but must be from 0 to 1"),
        ({"protect_rate": 0.6}, "protect_rate is 0.6, but must be from 0 to 0.5"),
        ({"index_rate": float("nan")}, "index_rate is nan"),
        ({"f0_methods": ()}, "f0_methods is empty; name at least one of"),
    ],
)
def test_a_value_out_of_range_is_refused(singer: str, values: dict[str, object], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        change_preset(singer, **values)
    assert "preset" not in record_of(singer)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=4)
)
def test_no_stored_value_makes_a_wrong_preset(value: object) -> None:
    stored = dict.fromkeys(("n_semitones", "index_rate", "protect_rate", "f0_methods", "sid"), value)
    preset, problems = read_preset(stored)
    assert len(preset.values()) + len(problems) == len(stored)
    assert read_preset(json.loads(json.dumps(preset.to_json()))) == (preset, ())
    assert read_preset(value)[0] == VoicePreset() or isinstance(value, dict)


def test_a_preset_spoilt_by_hand_is_told_and_its_sound_part_used(singer: str) -> None:
    path = voice_models_dir() / singer / "voice.json"
    spoilt = {**record_of(singer), "preset": {"index_rate": 3, "n_semitones": 2, "f0_methods": ["ear"]}}
    path.write_text(json.dumps(spoilt))
    ref = find_voice(singer)
    assert ref.preset == VoicePreset(n_semitones=2)
    assert any("'index_rate' is not used" in warning and "from 0 to 1" in warning for warning in ref.warnings)
    assert any("'ear' is none of" in warning for warning in ref.warnings)


# --- notes and tags ----------------------------------------------------------------------------


def test_notes_and_tags_are_kept_and_cleaned(singer: str) -> None:
    card = set_note(singer, "  warm, from\nthe attic\0\x1b[31m ")
    assert card.note == "warm, from\nthe attic[31m"
    assert set_tags(singer, [" Alto ", "live", "ALTO"]).tags == ("Alto", "live")
    assert change_tags(singer, add=["studio"], remove=["LIVE"]).tags == ("Alto", "studio")
    assert set_note(singer, "").note == ""
    assert set_tags(singer, []).tags == ()
    assert not {"note", "tags"} & record_of(singer).keys()


@pytest.mark.parametrize("tag", ["", "  ", "a,b", "x" * 41, "a\nb"])
def test_what_is_no_tag_is_refused(singer: str, tag: str) -> None:
    with pytest.raises(SettingError, match="is no tag"):
        set_tags(singer, ["fine", tag])
    assert voice_card(singer).tags == ()


def test_limits_of_notes_and_tags_are_told(singer: str) -> None:
    with pytest.raises(SettingError, match="4001 letters"):
        set_note(singer, "x" * 4001)
    with pytest.raises(SettingError, match="31 tags"):
        set_tags(singer, [str(number) for number in range(31)])


def test_a_loose_file_keeps_nothing_and_the_way_out_is_told() -> None:
    write_voice(voice_models_dir() / "loose.pth")
    with pytest.raises(VoiceFileError, match=r"no folder of its own .*`urvc voices import .*loose\.pth"):
        set_note("loose", "hello")


def test_a_voice_of_the_package_cannot_be_changed() -> None:
    with pytest.raises(VoiceNotFoundError, match="ships with the package"):
        set_note("starter", "hello")


def test_a_voice_of_another_tool_gets_its_record_with_the_first_note() -> None:
    folder = write_voice_folder(voice_models_dir(), "singer")
    assert set_note("singer", "hello").note == "hello"
    assert json.loads((folder / "voice.json").read_text())["name"] == "singer"


def test_a_damaged_record_is_not_written_over(singer: str) -> None:
    path = voice_models_dir() / singer / "voice.json"
    for content in ("{", "[]", "null", "[" * 100_000, "\udcff"):
        path.write_text(content, errors="surrogateescape")
        assert [card.name for card in list_cards()] == [singer]
        with pytest.raises(VoiceFileError, match=r"voice\.json is damaged .*`urvc voices refresh"):
            set_note(singer, "hello")
        assert path.read_text(errors="surrogateescape") == content
    refresh_voice(singer)
    assert set_note(singer, "hello").sample_rate == 40000
    assert path.with_name("voice.json.damaged").exists()


# --- pictures ----------------------------------------------------------------------------------


def picture(path: Path, kind: str = "PNG", size: tuple[int, int] = (60, 40)) -> Path:
    Image.new("RGB", size, (200, 30, 30)).save(path, kind)
    return path


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_a_picture_is_kept_by_what_it_is_not_by_its_name(
    singer: str, tmp_path: Path, kind: str, suffix: str
) -> None:
    card = set_picture(singer, picture(tmp_path / "face.xyz", kind, (3000, 1500)))
    assert card.picture_path == voice_models_dir() / singer / f"picture{suffix}"
    with Image.open(card.picture_path) as kept:
        assert (kept.format, kept.size) == (kind, (1024, 512))
    other = set_picture(singer, picture(tmp_path / "other", "PNG" if kind != "PNG" else "JPEG"))
    assert len([p for p in (voice_models_dir() / singer).iterdir() if p.stem == "picture"]) == 1
    assert other.picture_path is not None
    assert set_picture(singer, None).picture_path is None


def png_claiming(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with next to nothing in it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"words", "is no PNG, JPEG or WebP picture"),
        (b"", "is no PNG, JPEG or WebP picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "is no PNG"),
        (png_claiming(100_000, 100_000), "more than 50 million"),
        (png_claiming(500, 500), "is a damaged picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * MAX_PICTURE_BYTES, "more than 20 MB"),
    ],
    ids=["text", "empty", "svg", "bomb", "cut off", "too large"],
)
def test_what_is_no_picture_is_refused(singer: str, tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=told):
        set_picture(singer, path)
    assert voice_card(singer).picture_path is None
    with pytest.raises(SettingError, match="cannot be read"):
        set_picture(singer, tmp_path / "absent.png")


def test_nothing_that_hides_in_a_picture_is_kept(singer: str, tmp_path: Path) -> None:
    path = picture(tmp_path / "face.jpg", "JPEG")
    path.write_bytes(path.read_bytes() + b"<script>PK\x03\x04 hidden")
    card = set_picture(singer, path)
    assert card.picture_path is not None
    assert b"hidden" not in card.picture_path.read_bytes()


# --- changed files -----------------------------------------------------------------------------


def test_a_changed_file_is_noticed_by_its_hash_and_taken_over_on_request(singer: str) -> None:
    set_note(singer, "mine")
    model = find_voice(singer).model_path
    assert find_voice(singer).warnings == ()
    replacement = write_voice(model.with_name("other.pth"), sample_rate=48000, seed=5)
    replacement.replace(model)
    (told,) = find_voice(singer).warnings
    assert "singer.pth has changed since it came into the library" in told
    assert "urvc voices refresh" in told
    assert inspect_voice(find_voice(singer)).changes == (told,)
    assert refresh_voice(singer).warnings == ()
    card = voice_card(singer)
    assert (card.sample_rate, card.note, card.warnings) == (48000, "mine", ())


def test_a_change_that_keeps_size_and_time_is_found_by_inspection(singer: str) -> None:
    index = find_voice(singer).index_path
    assert index is not None
    before = index.stat()
    content = bytearray(index.read_bytes())
    content[-1] ^= 1
    index.write_bytes(content)
    os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))
    (told,) = inspect_voice(find_voice(singer)).changes
    assert "singer.index has changed" in told
    assert find_voice(singer).warnings == (told,)  # and is known from then on


def test_an_index_that_was_put_there_by_hand_is_told(tmp_path: Path) -> None:
    name = import_voice(write_voice(tmp_path / "bare.pth")).name
    write_index(voice_models_dir() / name / "bare.index")
    (told,) = find_voice(name).warnings
    assert "bare.index was not there when the voice came into the library" in told


# --- cards and search --------------------------------------------------------------------------


def test_cards_tell_of_every_voice_without_opening_it(
    singer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_voice_folder(voice_models_dir(), "another")
    monkeypatch.setattr("ultimate_rvc.rvc.voice_file.read.read_voice_file", lambda *_: pytest.fail("opened"))
    another, first = list_cards()
    assert (first.name, first.sample_rate, first.version, first.f0) == (singer, 40000, "v2", True)
    assert (first.model_bytes, first.packaged) == (first.model_path.stat().st_size, False)
    assert (another.name, another.sample_rate) == ("another", None)
    assert json.loads(json.dumps(first.to_json()))["preset"] == {}
    assert [card.name for card in list_cards(packaged=True) if card.packaged] == PACKAGED


def test_values_of_the_wrong_kind_in_a_record_are_left_out(singer: str) -> None:
    path = voice_models_dir() / singer / "voice.json"
    wrong = {"sample_rate": "x", "version": 3, "f0": "yes", "pitch_median_hz": [], "tags": [1, "", "fine"]}
    path.write_text(
        json.dumps({**record_of(singer), **wrong, "note": {"a": 1}, "files": 7, "author": "A\0\x1b"})
    )
    card = voice_card(singer)
    assert (card.sample_rate, card.version, card.f0, card.pitch_median_hz) == (None, None, None, None)
    assert (card.tags, card.note, card.author) == (("fine",), "", "A")


def test_search_finds_words_anywhere_and_names_first(tmp_path: Path) -> None:
    for name, rate in (("Ängla sång", 40000), ("choir", 48000), ("alto two", 40000)):
        import_voice(write_voice(tmp_path / f"{name}.pth", sample_rate=rate))
    set_tags("choir", ["Alto", "live"])
    set_note("Ängla sång", "an alto for the choir")
    assert [card.name for card in search_voices("ALTO")] == ["alto two", "choir", "Ängla sång"]
    assert [card.name for card in search_voices("angla")] == ["Ängla sång"]
    assert [card.name for card in search_voices("48k")] == ["choir"]
    assert [card.name for card in search_voices("alto choir")] == ["choir", "Ängla sång"]
    assert [card.name for card in search_voices(tags=["LIVE"])] == ["choir"]
    assert [card.name for card in search_voices(sample_rate=40000)] == ["alto two", "Ängla sång"]
    assert search_voices("alto nobody") == []
    assert search_voices(has_index=True) == []
    assert len(search_voices(version="v2", has_index=False)) == len(list_voices()) == 3


def test_a_voice_that_goes_while_cards_are_made_is_left_out(
    singer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = find_voice(singer)
    write_voice_folder(voice_models_dir(), "stays")
    stays = find_voice("stays")
    delete_voice(singer)
    monkeypatch.setattr("ultimate_rvc.voices.cards.list_voices", lambda: [gone, stays])
    assert [card.name for card in list_cards()] == ["stays"]
