"""Exporting voices, and blending two."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ultimate_rvc.choices import Vocoder, VoicePrecision
from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import output_dir, voice_models_dir
from ultimate_rvc.rvc.voice_file.describe import Dialect, VoiceFile, VoiceMetadata
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file
from ultimate_rvc.voices import exporting
from ultimate_rvc.voices.blending import blend
from ultimate_rvc.voices.library import (
    VoicePreset,
    blend_voices,
    delete_voice,
    export_voice,
    import_voice,
    inspect_voice,
    list_voices,
    set_note,
    set_picture,
    set_preset,
    set_tags,
    voice_card,
)
from voice_factory import VoiceSpec, voice_content, voice_state, write_index, write_voice

# --- exporting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["RVC", "Ultimate RVC", "safetensors"])
def test_an_export_is_what_other_tools_read_and_comes_back_whole(tmp_path: Path, dialect: str) -> None:
    suffix = ".safetensors" if dialect == "safetensors" else ".pth"
    source = write_voice(tmp_path / f"Ängla{suffix}", dialect)
    index = write_index(tmp_path / "Ängla.index")
    import_voice(source)
    set_note("Ängla", "mine")
    set_tags("Ängla", ["alto"])
    set_preset("Ängla", VoicePreset(n_semitones=3))
    Image.new("RGB", (20, 20)).save(tmp_path / "p.png")
    set_picture("Ängla", tmp_path / "p.png")
    exported = export_voice("Ängla", tmp_path / "out")
    assert exported.path == tmp_path / "out" / "Ängla.zip"
    assert exported.files == ("Ängla.pth", "Ängla.index", "voice.json", "picture.png")
    assert (exported.bytes, exported.warnings) == (exported.path.stat().st_size, ())
    with zipfile.ZipFile(exported.path) as archive:
        assert archive.namelist() == list(exported.files)
        assert archive.read("Ängla.index") == index.read_bytes()
        archive.extract("Ängla.pth", tmp_path / "unpacked")
        assert "imported_from" not in json.loads(archive.read("voice.json"))
    # As RVC tools open it: torch's own reader, no name but its own, the keys they look for.
    content = torch.load(tmp_path / "unpacked" / "Ängla.pth", weights_only=True)
    assert {"weight", "config", "info", "sr", "f0", "version"} <= content.keys()
    assert (content["sr"], content["f0"], content["version"]) == ("40k", 1, "v2")
    assert "dec.ups.0.weight_g" in content["weight"]
    assert all(tensor.dtype is torch.float16 for tensor in content["weight"].values())
    delete_voice("Ängla")
    again = import_voice(exported.path)
    card = voice_card(again.name)
    assert (card.note, card.tags, card.preset) == ("mine", ("alto",), VoicePreset(n_semitones=3))
    assert card.picture_path is not None
    assert again.index_path is not None
    load_voice_model(again.model_path)


def test_the_same_voice_gives_the_same_archive(tmp_path: Path) -> None:
    import_voice(write_voice(tmp_path / "v.pth"))
    first = export_voice("v", tmp_path / "a.zip")
    assert export_voice("v", tmp_path / "b.zip").sha256 == first.sha256 == file_hash(first.path)


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    import_voice(write_voice(tmp_path / "v.pth"))
    assert export_voice("v").path == output_dir() / "v.zip"
    with pytest.raises(VoiceFileError, match="name another, or have it overwritten"):
        export_voice("v")
    export_voice("v", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(VoiceFileError, match="cannot be written"):
        export_voice("v", tmp_path / "file" / "v.zip")
    with pytest.raises(VoiceNotFoundError):
        export_voice("nobody")
    with pytest.raises(SettingError, match="precision is 'int4', but must be one of float16, int8"):
        export_voice("v", tmp_path / "out", precision="int4")  # type: ignore[arg-type]


def hashes(folder: Path) -> dict[str, str]:
    """All that a user has in a folder; the library's own notes aside."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path): file_hash(path) for path in files}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("voice_models/v/v.pth", "is a file of the voice 'v' itself"),
        ("voice_models/v/v.index", "is a file of the voice 'v' itself"),
        ("voice_models/v/voice.json", "is a file of the voice 'v' itself"),
        ("link.zip", "is a file of the voice 'v' itself"),
        ("voice_models/v", "lies in the voice's own folder"),
        ("voice_models/v/new.zip", "lies in the voice's own folder"),
        ("folder", "folder/v.zip is a folder"),
        ("take.wav", "exported as a .zip, or into a folder"),
        ("absent.xyz", "exported as a .zip, or into a folder"),
    ],
)
def test_an_export_never_replaces_what_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, told: str, overwrite: bool
) -> None:
    monkeypatch.setenv("URVC_VOICE_MODELS_DIR", str(tmp_path / "voice_models"))
    write_index(tmp_path / "source" / "v.index")
    voice = import_voice(write_voice(tmp_path / "source" / "v.pth"))
    (tmp_path / "link.zip").symlink_to(voice.model_path)
    (tmp_path / "folder" / "v.zip").mkdir(parents=True)
    (tmp_path / "take.wav").write_bytes(b"a recording")
    before = hashes(tmp_path)
    monkeypatch.setattr(exporting, "_lay_out", lambda *_: pytest.fail("worked before it was refused"))
    with pytest.raises(VoiceFileError, match=told) as caught:
        export_voice("v", tmp_path / target, overwrite=overwrite)
    assert "--" not in str(caught.value)
    assert hashes(tmp_path) == before
    assert not (tmp_path / "absent.xyz").exists()


def test_an_export_in_eight_bits_comes_back_byte_for_byte(tmp_path: Path) -> None:
    write_index(tmp_path / "source" / "v.index")
    import_voice(write_voice(tmp_path / "source" / "v.pth", vocoder=Vocoder.REFINE_GAN))
    exported = export_voice("v", tmp_path / "small.zip", precision=VoicePrecision.INT8)
    assert exported.files == ("v.safetensors", "v.index", "voice.json")
    assert exported.warnings == (
        "Only this program reads a voice in 8 bits; for other tools export it in float16.",
    )
    again = import_voice(exported.path, "again")
    with zipfile.ZipFile(exported.path) as archive:
        assert again.model_path.read_bytes() == archive.read("v.safetensors")
    assert again.model_path.name == "again.safetensors"
    assert again.index_path is not None
    assert inspect_voice(again).metadata.dialect is Dialect.EIGHT_BITS
    # A wrong suffix makes it no other file, and it can be written in half precision for other tools.
    misnamed = tmp_path / "misnamed.pth"
    misnamed.write_bytes(again.model_path.read_bytes())
    assert import_voice(misnamed).model_path.read_bytes() == misnamed.read_bytes()
    assert export_voice("again", tmp_path / "half.zip").files[0] == "again.pth"


def test_a_voice_that_is_no_numbers_is_not_exported_in_eight_bits(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    content["weight"]["enc_p.proj.weight"][0] = float("nan")
    torch.save(content, tmp_path / "broken.pth")
    with pytest.raises(VoiceFileError, match=r"broken\.pth: The voice's enc_p\.proj\.weight holds values"):
        export_voice(str(tmp_path / "broken.pth"), tmp_path / "v.zip", precision=VoicePrecision.INT8)
    assert not (tmp_path / "v.zip").exists()


def test_what_other_tools_cannot_use_is_told(tmp_path: Path) -> None:
    import_voice(write_voice(tmp_path / "refine.pth", vocoder=Vocoder.REFINE_GAN, embedder="starter"))
    vocoder, encoder = export_voice("refine").warnings
    assert "RefineGAN" in vocoder
    assert "starter" in encoder


def test_a_file_outside_the_library_is_exported_too(tmp_path: Path) -> None:
    source = write_voice(tmp_path / "v.pth")
    assert export_voice(str(source), tmp_path / "out.zip").files == ("v.pth", "voice.json")


# --- what comes along with an import -----------------------------------------------------------


def test_a_strangers_record_and_picture_are_checked(tmp_path: Path) -> None:
    model = write_voice(tmp_path / "v.pth")
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.write(model, "v.pth")
        archive.writestr("picture.png", b"no picture")
        stranger = {
            "note": "hi\x1b[2J",
            "tags": ["ok", 5],
            "preset": {"index_rate": 9},
            "files": {"../../x": {}},
        }
        archive.writestr("voice.json", json.dumps(stranger))
    ref = import_voice(tmp_path / "v.zip")
    card = voice_card("v")
    assert (card.note, card.tags, card.preset, card.picture_path) == ("hi[2J", ("ok",), VoicePreset(), None)
    assert any("The picture is left out" in warning for warning in ref.warnings)
    assert any("'index_rate' is not used" in warning for warning in ref.warnings)
    record = json.loads((voice_models_dir() / "v" / "voice.json").read_text())
    assert set(record["files"]) == {"v.pth"}


# --- blending ----------------------------------------------------------------------------------


def test_a_blend_lies_between_its_parts(tmp_path: Path) -> None:
    one = write_voice(tmp_path / "one.pth", "Applio", seed=1, embedder="contentvec")
    other = write_voice(tmp_path / "other.pth", "RVC", seed=2, embedder="contentvec")
    ref = blend_voices(str(one), str(other), "mixed", 0.25)
    assert (ref.name, ref.warnings) == ("mixed", ())
    mixed, a, b = (read_voice_file(path) for path in (ref.model_path, one, other))
    for key, tensor in mixed.state.items():
        expected = 0.25 * a.state[key].float() + 0.75 * b.state[key].float()
        torch.testing.assert_close(tensor, expected.half(), rtol=0, atol=0)
    record = json.loads((voice_models_dir() / "mixed" / "voice.json").read_text())
    assert [(part["name"], part["share"]) for part in record["blended_from"]] == [
        ("one", 0.25),
        ("other", 0.75),
    ]
    assert record["info"] == "0.25 one + 0.75 other"
    load_voice_model(ref.model_path)


def test_the_smaller_table_of_speakers_counts(tmp_path: Path) -> None:
    one = write_voice(tmp_path / "one.pth", speakers=3)
    other = write_voice(tmp_path / "other.pth", speakers=2, seed=4)
    for first, second in ((one, other), (other, one)):
        ref = blend_voices(str(first), str(second), f"{first.stem} first")
        assert read_voice_file(ref.model_path).state["emb_g.weight"].shape[0] == 2
        assert voice_card(ref.name).speakers == 2


def test_pairs_and_products_of_weight_norm_are_blended_alike(tmp_path: Path) -> None:
    """A training checkpoint's names are newer, a bare file has no pairs: the layers are the same."""
    one = write_voice(tmp_path / "one.pth")
    other = write_voice(tmp_path / "G_1.pth", "training", seed=2)
    load_voice_model(blend_voices(str(one), str(other), "mixed").model_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sample_rate": 48000}, r"differ in sample rate \(40000 Hz and 48000 Hz\)"),
        ({"version": "v1"}, r"differ in width of features \(768 and 256\)"),
        ({"has_f0": False}, r"differ in pitch \(with f0 and without f0\)"),
        ({"vocoder": Vocoder.REFINE_GAN}, "differ in vocoder"),
        ({"embedder": "spin"}, r"other content encoders \(contentvec and spin\)"),
    ],
)
def test_voices_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    one = write_voice(tmp_path / "one.pth", embedder="contentvec")
    other = write_voice(tmp_path / "other.pth", **{"embedder": "contentvec", **changes})
    with pytest.raises(VoiceFileError, match=told) as caught:
        blend_voices(str(one), str(other), "mixed")
    assert "'one' and 'other' cannot be blended" in str(caught.value)
    assert list_voices() == []


def test_a_voice_with_a_layer_too_many_is_not_blended(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    one = tmp_path / "one.pth"
    torch.save(content, one)
    content["weight"]["dec.extra.weight"] = torch.ones(3)
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(VoiceFileError, match=r"other\.pth: .*dec\.extra\.weight is unknown"):
        blend_voices(str(one), str(tmp_path / "other.pth"), "mixed")


def test_doubts_are_told(tmp_path: Path) -> None:
    one = write_voice(tmp_path / "a" / "one.pth", embedder="spin")
    other = write_voice(tmp_path / "b" / "other.pth")
    write_index(tmp_path / "a" / "one.index")
    unsure, index = blend_voices(str(one), str(other), "mixed").warnings
    assert "'other' records no content encoder; the blend is taken for one of spin" in unsure
    assert "attach-index" in index
    assert voice_card("mixed").embedder == "spin"


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(SettingError, match=r"ratio is .* from 0 to 1"):
        blend_voices("a", "b", "c", ratio)


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    one = write_voice(tmp_path / "one.pth")
    import_voice(one)
    with pytest.raises(VoiceFileError, match="is taken in"):
        blend_voices(str(one), str(one), "ONE")


VOICES: dict[int, VoiceFile] = {}


def small(seed: int) -> VoiceFile:
    """A voice with few of its layers, as ``blend`` takes it."""
    if seed not in VOICES:
        state = voice_state(VoiceSpec(seed=seed))
        keys = [key for key in state if key.startswith(("emb_g", "enc_p.proj", "dec.ups.0"))]
        VOICES[seed] = VoiceFile(_metadata(), {key: state[key].half() for key in keys})
    return VOICES[seed]


def _metadata() -> VoiceMetadata:
    with tempfile.TemporaryDirectory() as folder:
        return read_voice_file(write_voice(Path(folder) / "v.pth")).metadata


@settings(max_examples=25)
@given(st.floats(0, 1), st.integers(0, 2), st.integers(0, 2))
def test_blending_is_exact_at_the_ends_symmetric_and_between(ratio: float, first: int, second: int) -> None:
    one, other = small(first), small(second)
    names = ("one", "other")
    mixed = blend(one, other, ratio, names).state
    mirrored = blend(other, one, 1 - ratio, names).state
    for key, tensor in mixed.items():
        a, b = one.state[key].float(), other.state[key].float()
        assert torch.equal(blend(one, other, 1.0, names).state[key], a)
        assert torch.equal(blend(one, other, 0.0, names).state[key], b)
        torch.testing.assert_close(tensor, mirrored[key], rtol=1e-5, atol=1e-5)
        assert bool((tensor <= torch.maximum(a, b) + 1e-5).all())
        assert bool((tensor >= torch.minimum(a, b) - 1e-5).all())
