"""Voices that other tools exported as ONNX, through the real command line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from command_line import Urvc, calls
from onnx_voices import Form, change, write_mdx_net, write_onnx_voice
from recordings import speech, write
from small_pipeline import snr_db
from ultimate_rvc.assets.remote_file import RemoteFile, choose_voice
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.train.networks import _load_generator
from ultimate_rvc.voices.fetching import _suffix_by_content
from ultimate_rvc.voices.files import find_models
from voice_factory import write_index, write_voice

ALIKE_DB = 60  # WAV files round at 90 dB and more
NO_NOISE = ("--noise-scale", 0, "--source-noise-scale", 0)
SECONDS = 1


@pytest.fixture
def urvc(capfd: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capfd)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """A voice for the encoder that comes with the package."""
    path = tmp_path / "made" / "singer.pth"
    return write_voice(path, "RVC", phone_dim=384, sample_rate=32000, layers=1, resblock_kernels=(3, 7))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.wav", speech(16_000)[: SECONDS * 16_000], sample_rate=16_000)


def exported(voice: Path, form: Form, name: str = "exported") -> Path:
    path = voice.with_name(f"{name}.onnx")
    told = {"embedder": "starter", "embOutputLayer": None}
    return write_onnx_voice(path, voice, form, told=told)


def encoder_for(voice: Path) -> tuple[str, ...]:
    """A file that names no encoder is one of contentvec, until another is asked for."""
    return ("--embedder-model", "starter") if b"VC_CLIENT" not in voice.read_bytes() else ()


@pytest.mark.parametrize("form", ["RVC-WebUI", "w-okada"])
@pytest.mark.parametrize("noise", [NO_NOISE, ()])
def test_it_converts_as_the_pth_does(urvc, voice, source, tmp_path, form, noise) -> None:  # type: ignore[no-untyped-def]
    sounds = []
    for path in (voice, exported(voice, form)):
        target = tmp_path / f"{path.suffix[1:]}.wav"
        code, _, err = urvc(
            "generate", "convert-voice", source, "--model", path, "--output", target, "--sid", 1, *noise,
            *encoder_for(path),
        )  # fmt: skip
        assert code == 0, err
        sounds.append(decode(target)[0])
    assert np.abs(sounds[0]).max() > 0.01
    assert snr_db(*sounds) > ALIKE_DB


def test_it_lives_in_the_library_as_any_voice(urvc, voice, source, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = exported(voice, "w-okada", "bird")
    write_index(path.with_suffix(".index"), dim=384)
    code, out, err = urvc("voices", "import", path, "--name", "the bird")
    assert code == 0, err
    folder = voice_models_dir() / "the bird"
    assert sorted(file.name for file in folder.iterdir() if not file.name.startswith(".")) == [
        "the bird.index",
        "the bird.onnx",
        "voice.json",
    ]
    assert (folder / "the bird.onnx").read_bytes() == path.read_bytes()

    code, out, err = urvc("voices", "list", "--json")
    assert "the bird" in out
    code, out, err = urvc("voices", "inspect", "the bird", "--json")
    told = json.loads(out)
    assert told["sample_rate"] == 32000
    assert told["speakers"] == 3
    assert told["embedder"] == "starter"
    assert told["written_by"] == "ONNX, as w-okada's voice-changer exports it"

    target = tmp_path / "out.wav"
    code, out, err = urvc("generate", "convert-voice", source, "--model", "the bird", "--output", target)
    assert code == 0, err
    assert decode(target)[0].shape[-1] == SECONDS * 32000


@pytest.mark.parametrize(
    "switches", [("--batch-size", 4), ("--fast-vocoder", "--skip-silence"), ("--use-bf16",)]
)
def test_switches_that_are_about_torch_do_it_no_harm(urvc, voice, source, tmp_path, switches) -> None:  # type: ignore[no-untyped-def]
    path = exported(voice, "w-okada")
    sounds = []
    for number, words in enumerate(((), switches)):
        target = tmp_path / f"{number}.wav"
        code, _, err = urvc("generate", "convert-voice", source, "-m", path, "--output", target, *words)
        assert code == 0, err
        sounds.append(decode(target)[0])
    # In half precision the encoder's features differ.
    assert snr_db(*sounds) > (10 if "--use-bf16" in switches else ALIKE_DB)


def test_a_cover_is_made_with_it(urvc, voice, source, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path, target = exported(voice, "w-okada"), tmp_path / "cover.wav"
    for cached in (False, True):
        code, out, err = urvc("generate", "song-cover", source, path, "--output", target, "--json")
        assert code == 0, err
        steps = {step["name"]: step["cached"] for step in json.loads(out)["steps"]}
        assert steps["convert"] is cached


def test_what_it_cannot_do_is_told_in_one_sentence(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = exported(voice, "w-okada", "bird")
    for words in (("voices", "import", path), ("voices", "import", voice)):
        assert urvc(*words)[0] == 0
    for words in (
        ("voices", "export", "bird", "--output", tmp_path / "bird.zip"),
        ("voices", "blend", "bird", "singer", "--name", "both"),
        ("voices", "blend", "singer", "bird", "--name", "both"),
    ):
        code, _, err = urvc(*words)
        assert code == 1, (words, err)
        assert "Traceback" not in err
        assert "is an ONNX voice, which can only convert" in err.strip().splitlines()[-1]


@pytest.mark.parametrize("command", ["import", "convert"])
def test_networks_that_are_no_voice_are_refused(urvc, voice, source, tmp_path, command) -> None:  # type: ignore[no-untyped-def]
    other, custom = write_mdx_net(tmp_path / "mdx.onnx"), exported(voice, "RVC-WebUI", "custom")
    change(custom, domain="evil.ops")
    cut = exported(voice, "w-okada", "cut")
    cut.write_bytes(cut.read_bytes()[:-100])
    for path, words in ((other, "no RVC voice"), (custom, "refused"), (cut, "cut off")):
        called = ("voices", "import", path)
        if command == "convert":
            called = ("generate", "convert-voice", source, "--model", path)  # type: ignore[assignment]
        code, _, err = urvc(*called)
        assert code == 1
        assert "Traceback" not in err
        assert words in err.strip().splitlines()[-1]
        assert str(path) in err.strip().splitlines()[-1]
    assert not voice_models_dir().exists() or not find_models(list(voice_models_dir().glob("*/*")))


def test_a_rate_that_its_frames_do_not_make_is_refused(urvc, voice, source) -> None:  # type: ignore[no-untyped-def]
    path = exported(voice, "w-okada")
    change(path, metadata={"embedder": "starter", "samplingRate": 48000})
    code, _, err = urvc("generate", "convert-voice", source, "--model", path)
    assert code == 1
    assert "makes 320 samples per frame at 48000 Hz" in err.strip().splitlines()[-1]


def test_beside_the_voice_that_it_was_exported_from_it_is_left_out(urvc, voice) -> None:  # type: ignore[no-untyped-def]
    exported(voice, "w-okada", "singer")
    exported(voice, "w-okada", "singer_simple")
    code, _, err = urvc("voices", "import", voice.parent, "--name", "from folder")
    assert code == 0, err
    assert (voice_models_dir() / "from folder" / "from folder.pth").is_file()


def test_it_comes_out_of_an_archive_and_under_a_wrong_suffix(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path, archive = exported(voice, "RVC-WebUI"), tmp_path / "voice.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(path, "deep/inside.onnx")
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(path.read_bytes())
    for given, name in ((archive, "inside"), (wrong, "wrong")):
        code, _, err = urvc("voices", "import", given)
        assert code == 0, err
        assert (voice_models_dir() / name / f"{name}.onnx").is_file()


def test_a_page_that_lists_it_beside_the_weights_has_one_voice() -> None:
    pth, once_more = (
        RemoteFile(f"https://example.com/{name}", "a page", name) for name in ("a.pth", "a.onnx")
    )
    assert choose_voice([once_more, pth], "a page") is pth
    assert choose_voice([once_more], "a page") is once_more


def test_a_download_is_known_by_its_bytes(voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    downloaded = tmp_path / "download"
    downloaded.write_bytes(exported(voice, "RVC-WebUI").read_bytes())
    assert _suffix_by_content(downloaded, RemoteFile("https://example.com/x", "a page", "x.pth")) == ".onnx"


def test_a_training_cannot_start_from_it(voice) -> None:  # type: ignore[no-untyped-def]
    path = exported(voice, "RVC-WebUI")
    with pytest.raises(VoiceFileError, match="to train from it"):
        _load_generator(None, path, 32000)  # type: ignore[arg-type]
