"""The engine Kokoro with a small network that takes what Kokoro's takes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tone_engine import read_by
from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech import engines
from ultimate_rvc.speech.engines import open_engine
from ultimate_rvc.speech.kokoro import engine as kokoro
from ultimate_rvc.speech.kokoro import files
from ultimate_rvc.speech.kokoro.files import NETWORK, STYLE_SHAPE, Voice
from ultimate_rvc.speech.silence import without_silent_ends

HELLO = "Hello there."
HELLO_PHONEMES = {"en-US": "həlˈO ðˈɛɹ.", "en-GB": "həlˈQ ðˈɛː."}  # noqa: RUF001 - as hibari says
SAMPLES = 1200  # of each phoneme at the usual pace
LEVEL = 1 / 512  # of a sample: its phoneme's number times this


def small_network() -> bytes:
    """Each phoneme is as many samples as the pace says, of its number times the first value of the style."""
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["style", "first"], ["strength"], axis=1),
        helper.make_node("Mul", ["numbers", "strength"], ["levels"]),
        helper.make_node("Reshape", ["levels", "column"], ["standing"]),
        helper.make_node("Div", ["samples", "speed"], ["length_exact"]),
        helper.make_node("Cast", ["length_exact"], ["length"], to=TensorProto.INT64),
        helper.make_node("Shape", ["standing"], ["standing_shape"]),
        helper.make_node("Gather", ["standing_shape", "first"], ["count"], axis=0),
        helper.make_node("Concat", ["count", "length"], ["wide"], axis=0),
        helper.make_node("Expand", ["standing", "wide"], ["grid"]),
        helper.make_node("Reshape", ["grid", "flat"], ["audio"]),
    ]
    graph = helper.make_graph(
        nodes,
        "kokoro",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "sequence_length"]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["audio_length"])],
        [
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
            helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("samples", TensorProto.FLOAT, [1], [SAMPLES]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def styles(strength: float = LEVEL) -> np.ndarray:
    """The row for n phonemes has the strength times (1 + n / 1024) everywhere."""
    rows = strength * (1 + np.arange(1, 511) / 1024)
    return np.broadcast_to(rows[:, None, None], STYLE_SHAPE).astype("<f4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``models/speech/kokoro`` with the small network and three voices."""
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(files, "PARTS", ("no_such_package",))
    content = small_network()
    monkeypatch.setattr(files, "NETWORK_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(files, "NETWORK_BYTES", len(content))
    folder = tmp_path / "speech" / "kokoro"
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(content)
    for name in ("af_bella", "bm_george", "jf_alpha"):
        (folder / f"{name}.bin").write_bytes(styles().tobytes())
    return folder


def heard(waveform: np.ndarray, samples: int = SAMPLES) -> list[int]:
    """The numbers of the phonemes that were said, where the style was that of their count."""
    edge = min(samples, round(0.03 * kokoro.SAMPLE_RATE))
    body = waveform[edge:-edge].reshape(-1, samples)
    assert (body == body[:, :1]).all()
    return [round(float(level) / (LEVEL * (1 + len(body) / 1024))) for level in body[:, 0]]


def numbers(phonemes: str) -> list[int]:
    known = kokoro.vocabulary()
    return [known[character] for character in phonemes]


@pytest.mark.parametrize(("speaker", "language"), [("af_bella", "en-US"), ("bm_george", "en-GB")])
def test_a_voice_says_the_phonemes_of_its_english_in_the_style_of_their_count(
    folder: Path, speaker: str, language: str
) -> None:
    waveform, rate = open_engine(SpeechEngineName.KOKORO).synthesize(HELLO, speaker, 1.0, 0)
    assert rate == 24_000
    assert waveform.dtype == np.float32
    assert heard(waveform) == numbers(HELLO_PHONEMES[language])
    again, _ = open_engine(SpeechEngineName.KOKORO).synthesize(HELLO, speaker, 1.0, 1)
    np.testing.assert_array_equal(waveform, again)


def test_the_pace_goes_to_the_network(folder: Path) -> None:
    fast, _ = kokoro.Engine().synthesize(HELLO, "af_bella", 2.0, 0)
    assert heard(fast, SAMPLES // 2) == numbers(HELLO_PHONEMES["en-US"])


def test_the_usual_speaker_is_the_published_one_else_the_first(folder: Path) -> None:
    engine = kokoro.Engine()
    assert [(each.name, each.language) for each in engine.speakers()] == [
        ("af_bella", "en-US"), ("bm_george", "en-GB"),
    ]  # fmt: skip
    usual, _ = engine.synthesize(HELLO, None, 1.0, 0)
    assert heard(usual) == numbers(HELLO_PHONEMES["en-US"])
    np.save(folder / "af_heart.npy", styles())
    assert engine.speakers()[0].name == "af_heart"
    speech, _ = read_by(engine, HELLO)
    assert speech.size


def test_voices_come_from_every_form_of_file(folder: Path) -> None:
    np.save(folder / "af_sky.npy", styles().reshape(510, 256))
    np.savez(folder / "some.npz", am_adam=styles(), zf_xiaoyi=styles())
    stream = io.BytesIO()
    np.savez_compressed(stream, bf_emma=styles(), warm=styles())
    (folder / "voices-v1.0.bin").write_bytes(stream.getvalue())  # as kokoro-onnx publishes them
    found = files.voices()
    assert list(found) == [
        *("af_bella", "af_sky", "am_adam", "bf_emma", "bm_george", "jf_alpha", "warm", "zf_xiaoyi"),
    ]
    assert [found[name].language for name in ("bf_emma", "warm", "zf_xiaoyi")] == ["en-GB", "en-US", "zh"]
    for voice in found.values():
        np.testing.assert_array_equal(files.styles(voice), styles())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", styles().tobytes()[:-4], styles().tobytes() + b"more", b"\x93NUMPY" + b"\0" * 99,
        b"PK\x05\x06 no archive", np.full(STYLE_SHAPE, np.nan, "<f4").tobytes(),
    ],
)  # fmt: skip
def test_a_file_that_is_no_voice_is_told(folder: Path, content: bytes) -> None:
    (folder / "af_bella.bin").write_bytes(content)
    with pytest.raises(SpeechError, match=r"af_bella.bin is no voice of Kokoro: 510 x 1 x 256 finite"):
        kokoro.Engine().synthesize(HELLO, "af_bella", 1.0, 0)


def test_arrays_of_another_kind_are_told(folder: Path) -> None:
    for array in (styles().astype(np.float64), styles()[:100], np.array([{}], object)):
        np.save(folder / "af_sky.npy", array)
        with pytest.raises(SpeechError, match=r"af_sky.npy is no voice of Kokoro"):
            files.styles(Voice("af_sky", folder / "af_sky.npy"))
    np.savez(folder / "all.npz", af_sky=styles()[:100])
    with pytest.raises(SpeechError, match=r"all.npz is no voice of Kokoro.*as af_sky"):
        files.styles(Voice("af_sky", folder / "all.npz", "af_sky.npy"))


def test_a_voice_of_another_language_and_one_that_is_not_here_are_told(folder: Path) -> None:
    engine = kokoro.Engine()
    with pytest.raises(SpeechError, match=r"'jf_alpha' speaks another language \(ja\)"):
        read_by(engine, HELLO, "jf_alpha")
    with pytest.raises(SpeechError, match=r"'jf_alpha' speaks another language \(ja\)"):
        engine.synthesize(HELLO, "jf_alpha", 1.0, 0)
    with pytest.raises(SpeechError, match=r"'nobody' is unknown; choose from af_bella, bm_george"):
        read_by(engine, HELLO, "nobody")
    with pytest.raises(SpeechError, match=r"'nobody' is not in"):
        engine.synthesize(HELLO, "nobody", 1.0, 0)


def test_a_long_text_is_cut_after_marks_and_read_whole(folder: Path) -> None:
    hello = "həlˈO ðˈɛɹ, "  # noqa: RUF001
    parts = list(kokoro.pieces(hello * 60 + "x" * 600))
    assert parts == [
        numbers((hello * 42).strip()), numbers((hello * 18).strip()), numbers("x" * 510), numbers("x" * 90),
    ]  # fmt: skip
    waveform, _ = kokoro.Engine().synthesize("one, two, three, four, " * 30, "af_bella", 1.0, 0)
    gap = round(kokoro.GAP_SECONDS * kokoro.SAMPLE_RATE)
    assert (np.convolve(waveform == 0, np.ones(gap), "valid") == gap).any()


def test_text_without_phonemes_gives_no_samples(folder: Path) -> None:
    waveform, rate = kokoro.Engine().synthesize(" \n", "af_bella", 1.0, 0)
    assert (waveform.size, rate) == (0, 24_000)


def test_a_network_of_other_content_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (folder / NETWORK).read_bytes()
    kokoro._session.cache_clear()
    for other in (content[:-1] + b"\0", content[:100]):
        (folder / NETWORK).write_bytes(other)
        with pytest.raises(SpeechError, match=r"kokoro-v1.0.int8.onnx\) is damaged or another one"):
            kokoro.Engine().synthesize(HELLO, "af_bella", 1.0, 0)
    monkeypatch.setattr(files, "NETWORK_SHA256", hashlib.sha256(b"no network").hexdigest())
    monkeypatch.setattr(files, "NETWORK_BYTES", len(b"no network"))
    (folder / NETWORK).write_bytes(b"no network")
    with pytest.raises(SpeechError, match="onnxruntime cannot load the network of Kokoro"):
        kokoro.Engine().synthesize(HELLO, "af_bella", 1.0, 0)


def test_the_network_comes_in_parts_from_packages(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (folder / NETWORK).read_bytes()
    (folder / NETWORK).unlink()
    names = ("small_kokoro_part_1", "small_kokoro_part_2")
    for name, part in zip(names, (content[:200], content[200:]), strict=True):
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('imported')")
        (package / "part.bin").write_bytes(part)
    monkeypatch.setattr(files, "PARTS", names)
    assert not files.is_here()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert files.is_here()
    assert files.network_bytes() == content
    (tmp_path / "packages" / names[1] / "part.bin").write_bytes(b"")
    with pytest.raises(SpeechError, match=r"\(what its packages hold\) is damaged"):
        files.network_bytes()


def test_without_network_or_english_voice_it_says_how_to_get_them(folder: Path) -> None:
    for name in ("af_bella", "bm_george"):
        (folder / f"{name}.bin").unlink()
    with pytest.raises(
        SpeechError, match=r"'kokoro' is not here: its network \(63 MB\) comes with the extra"
    ):
        open_engine(SpeechEngineName.KOKORO)
    with pytest.raises(SpeechError, match="no English voice of Kokoro"):
        kokoro.Engine().synthesize(HELLO, None, 1.0, 0)
    (folder / "af_bella.bin").write_bytes(styles().tobytes())
    (folder / NETWORK).unlink()
    assert not engines.ENGINES[SpeechEngineName.KOKORO].is_here()
    with pytest.raises(SpeechError, match="network of Kokoro is not here"):
        files.network_bytes()


def test_silence_is_cut_off_at_the_ends_and_kept_within() -> None:
    rate = 1000
    tone = np.full(100, 0.5, np.float32)
    silence = np.full(200, 0.001, np.float32)
    waveform = np.concatenate([silence, tone, silence, -tone, silence])
    np.testing.assert_array_equal(without_silent_ends(waveform, rate), waveform[170:630])
    assert without_silent_ends(np.zeros(50, np.float32), rate).size == 0
    assert without_silent_ends(waveform[:0], rate).size == 0
    np.testing.assert_array_equal(without_silent_ends(tone, rate), tone)
