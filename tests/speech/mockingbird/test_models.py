"""Users' models: found, checked, read aloud by the engine, optimized, and refused when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import recordings
from command_line import Urvc
from mockingbird_material import VOICE
from mockingbird_models import SMALL_HIFI_GAN, SMALL_SYNTHESIZER, SMALL_WAVE_RNN, write_model
from tone_engine import read_by
from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.engines import checked_engine, find_speaker, open_engine
from ultimate_rvc.speech.mockingbird.embeddings import write_embedding
from ultimate_rvc.speech.mockingbird.folder import mockingbird_dir
from ultimate_rvc.speech.mockingbird.loading import load_model
from ultimate_rvc.speech.mockingbird.model import MockingBirdModel
from ultimate_rvc.speech.mockingbird.optimization.making import optimize_model
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization, Precision, VocoderEngine

pytest.importorskip("pypinyin")
TEXTS = ["今天天气很好", "你好", "我们去公园"]
# Large enough that some of its layers are worth int8 and pruning.
WIDER = replace(SMALL_SYNTHESIZER, lstm=128, decoder=64)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("URVC_AUDIO_DIR", str(tmp_path / "audio"))
    return mockingbird_dir()


@pytest.fixture
def model(models: Path) -> Path:
    return write_model(models / "mandarin", SMALL_SYNTHESIZER, SMALL_HIFI_GAN)


def write_recording(folder: Path, name: str = "alice.wav") -> Path:
    return recordings.write(folder / name, recordings.speech(16_000), sample_rate=16_000)


# ------------------------------------------------------------------ the engine


def test_the_engine_reads_in_the_voice_of_a_recording(model: Path, tmp_path: Path) -> None:
    engine = open_engine(SpeechEngineName.MOCKINGBIRD)
    voice = str(write_recording(tmp_path))
    text = "今天天气很好，我们去公园。明天呢？"  # noqa: RUF001
    first, rate = read_by(engine, text, voice, seed=7)
    again, _ = read_by(engine, text, voice, seed=7)
    faster, _ = read_by(engine, text, voice, pace=2.0, seed=7)
    np.testing.assert_array_equal(first, again)
    assert rate == 16_000
    pauses = round((0.15 + 0.3) * rate)  # between pieces and between sentences
    assert len(faster) - pauses == pytest.approx((len(first) - pauses) / 2, abs=3 * 200)
    silent, _ = engine.synthesize("привет", voice, 1.0, 7)
    assert not silent.size


def test_speakers_are_those_stored_with_the_models(model: Path, tmp_path: Path) -> None:
    engine = open_engine(SpeechEngineName.MOCKINGBIRD)
    assert find_speaker(engine, None).name == "mandarin"
    with pytest.raises(SpeechError, match=r"is neither a recording nor stored|give the path of one"):
        engine.synthesize("你好", None, 1.0, 0)
    (model / "speakers").mkdir()
    write_recording(model / "speakers")
    write_embedding(model / "speakers" / "bob.npy", VOICE)
    assert [speaker.name for speaker in engine.speakers()] == ["mandarin:alice", "mandarin:bob"]
    assert find_speaker(engine, None).name == "mandarin:alice"
    assert find_speaker(engine, "bob").name == "bob"
    heard = {name: engine.synthesize("你好", name, 1.0, 0)[0] for name in ("mandarin:bob", "bob", "alice")}
    np.testing.assert_array_equal(heard["mandarin:bob"], heard["bob"])
    assert len(heard["alice"]) != len(heard["bob"]) or not np.array_equal(heard["alice"], heard["bob"])
    with pytest.raises(
        SpeechError, match=r"speaker 'carol' is neither a recording nor stored .*: alice, bob"
    ):
        find_speaker(engine, "carol")


def test_without_a_model_the_engine_says_what_it_needs(models: Path) -> None:
    with pytest.raises(
        SpeechError, match=r"'mockingbird' is not here: .* into a folder in models/speech/mockingbird"
    ):
        checked_engine(SpeechEngineName.MOCKINGBIRD)


def test_a_model_that_is_changed_is_loaded_again(model: Path, tmp_path: Path) -> None:
    engine = open_engine(SpeechEngineName.MOCKINGBIRD)
    voice = str(write_recording(tmp_path))
    before, _ = engine.synthesize("你好", voice, 1.0, 0)
    write_model(model, SMALL_SYNTHESIZER, SMALL_HIFI_GAN, seed=1, encoder=False)
    after, _ = engine.synthesize("你好", voice, 1.0, 0)
    assert not np.array_equal(before, after)


# ------------------------------------------------------------------ the command line


def test_a_model_is_optimized_and_a_speaker_stored_by_command(
    model: Path, tmp_path: Path, urvc: Urvc
) -> None:
    voice = write_recording(tmp_path)
    words = ("speech", "store-speaker", "mandarin", "alice", voice)
    code, _, err = urvc(*words)
    assert (code, "Once you set --consent, which says" in err) == (2, True), err
    code, out, err = urvc(*words, "--consent")
    assert (code, "mandarin:alice" in out) == (0, True), err
    code, _, err = urvc("speech", "store-speaker", "mandarin", "alice", voice)
    assert (code, "'alice' is taken" in err) == (1, True)
    code, out, err = urvc("speech", "optimize", "mandarin", "fast", "--precision", "int8", "--json")
    assert code == 0, err
    assert json.loads(out)["path"] == str(model.parent / "fast")
    code, _, err = urvc("speech", "optimize", "mandarin", "fast")
    assert (code, "is there already" in err) == (1, True)
    code, _, err = urvc("speech", "optimize", "mandarin", "../fast")
    assert (code, "no name for a file" in err) == (1, True)
    code, _, err = urvc("speech", "optimize", "nobody", "faster")
    assert (code, "no MockingBird model 'nobody' (there: fast, mandarin)" in err) == (1, True)
    code, out, _ = urvc("speech", "voices", "--engine", "mockingbird", "--json")
    assert [speaker["name"] for speaker in json.loads(out)] == ["fast:alice", "mandarin:alice"]
    spoken = tmp_path / "spoken.wav"
    code, _, err = urvc(
        "generate", "speech", "你好", "--engine", "mockingbird", "--speaker", "fast:alice", "--output", spoken
    )
    assert (code, spoken.is_file()) == (0, True), err


# ------------------------------------------------------------------ checkpoints


def test_texts_in_a_batch_sound_as_each_alone(model: Path) -> None:
    ready = load_model(model)
    together = ready.read(TEXTS, VOICE, 1.0, 5)
    for text, waveform in zip(TEXTS, together, strict=True):
        (alone,) = ready.read([text], VOICE, 1.0, 5)
        np.testing.assert_allclose(waveform, alone, atol=1e-5)


def test_a_model_with_a_wave_rnn_reads(models: Path) -> None:
    folder = write_model(models / "wave", SMALL_SYNTHESIZER, SMALL_WAVE_RNN)
    ready = load_model(folder)
    mel = torch.zeros(10, 4)
    (first,), (again,), (other,) = (ready.render([mel], seed) for seed in (1, 1, 2))
    assert len(first) == 4 * 200
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def _without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _changed(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], name: str = "mandarin.pt"
) -> None:
    content = torch.load(folder / name)
    change(content["model_state"])
    torch.save(content, folder / name)


def _lacking(name: str) -> Callable[[Path], None]:
    return lambda folder: _changed(folder, lambda state: state.pop(name))


def _settings(folder: Path, **values: object) -> None:
    path = folder / "config_16k_.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _cut(folder: Path) -> None:
    path = folder / "g_hifigan.pt"
    path.write_bytes(path.read_bytes()[:-500])


def _runs_something(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(folder / "was_run"),))

    torch.save({"model_state": {"decoder.mel_proj.weight": Evil()}}, folder / "mandarin.pt")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: _without(folder, "mandarin.pt"), "has no synthesizer: put its checkpoint"),
        (lambda folder: _without(folder, "g_hifigan.pt"), "has no HiFi-GAN or WaveRNN"),
        (lambda folder: _without(folder, "config_16k_.json"), r"g_hifigan\.pt needs its JSON .* beside it"),
        (_lacking("decoder.attn_net.v.weight"), "lacks decoder.attn_net.v"),
        (_lacking("encoder_proj.weight"), "lacks weights of a Tacotron"),
        (
            lambda folder: _changed(folder, lambda state: state.update({"more": torch.zeros(1)})),
            "holds 'more', which its network has not",
        ),
        (
            lambda folder: _changed(folder, lambda state: state["decoder.stop_proj.bias"].fill_(float("nan"))),
            "decoder.stop_proj.bias holds values that are no numbers",
        ),
        (
            lambda folder: _changed(folder, lambda state: state.update({"decoder.prenet.fc1.bias": torch.zeros(3)})),
            r"decoder.prenet.fc1.bias has the shape \(3,\) where \(16,\) is expected",
        ),
        (lambda folder: _settings(folder, hop_size=256), "says a hop of 256 samples, and its layers make 200"),
        (lambda folder: _settings(folder, upsample_rates=[5, 5]), "of another HiFi-GAN|do not fit"),
        (lambda folder: _settings(folder, upsample_rates="many"), "does not say what a HiFi-GAN is"),
        (lambda folder: _settings(folder, upsample_initial_channel=10**6), "do not fit the weights"),
        (_cut, r"g_hifigan\.pt .*(damaged|cut off)"),
        (_runs_something, "asks to run posix.mkdir; refused, nothing in the file was run"),
        (
            lambda folder: shutil.copy(folder / "mandarin.pt", folder / "second.pt"),
            "both hold a synthesizer: leave one",
        ),
        (
            lambda folder: write_model(
                folder, replace(SMALL_SYNTHESIZER, mels=12), SMALL_HIFI_GAN
            ),
            "synthesizer of 12 mels and a vocoder of 10",
        ),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used_is_told_in_one_sentence(
    model: Path, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(model)
    with pytest.raises(SpeechError, match=told) as refused:
        load_model(model)
    assert str(model) in str(refused.value)
    assert not (model / "was_run").exists()


def test_an_embedding_of_another_width_is_told(model: Path) -> None:
    with pytest.raises(SpeechError, match="has 12 numbers, and the MockingBird synthesizer wants 256"):
        load_model(model).read(["你好"], np.ones(12, np.float32), 1.0, 0)


# ------------------------------------------------------------------ optimization


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "wider", WIDER, SMALL_HIFI_GAN, encoder=False)


def optimized(source: Path, target: Path, optimization: ModelOptimization) -> MockingBirdModel:
    optimize_model(source, target, optimization, Progress())
    return load_model(target)


def mels_of(model: MockingBirdModel) -> torch.Tensor:
    return model.mels([[5, 6, 7, 8, 1]], torch.from_numpy(VOICE), 0, frames=40)[0]


def test_int8_is_near_and_smaller_and_saved_as_computed(wider: Path, tmp_path: Path) -> None:
    plain = load_model(wider)
    model = optimized(wider, tmp_path / "int8", ModelOptimization(Precision.INT8))
    from ultimate_rvc.speech.mockingbird.optimization.int8 import quantize

    assert (mels_of(model) - mels_of(plain)).abs().mean() < 0.02 * mels_of(plain).std()
    fresh = load_model(wider)
    quantize(fresh.synthesizer)
    assert torch.equal(mels_of(model), mels_of(fresh))
    size = (tmp_path / "int8" / "synthesizer.safetensors").stat().st_size
    assert size < 0.5 * (wider / "mandarin.pt").stat().st_size


def test_bfloat16_is_near(wider: Path, tmp_path: Path) -> None:
    model = optimized(wider, tmp_path / "bf16", ModelOptimization(Precision.BFLOAT16))
    plain = mels_of(load_model(wider))
    difference = (mels_of(model) - plain).abs().mean()
    assert 0 < difference < 0.1 * plain.std()
    assert mels_of(model).dtype is torch.float32
    (waveform,) = model.render([plain], 0)
    assert waveform.dtype == np.float32


def test_pruned_weights_are_zero_and_take_less_room(wider: Path, tmp_path: Path) -> None:
    model = optimized(wider, tmp_path / "pruned", ModelOptimization(pruned_weights=0.8))
    weight = model.synthesizer.decoder.res_rnn1.weight_hh
    assert float((weight == 0).float().mean()) == pytest.approx(0.8, abs=0.01)
    original = load_model(wider).synthesizer.decoder.res_rnn1.weight_hh
    kept = weight != 0
    assert torch.equal(weight[kept], original[kept])
    assert original[~kept].abs().max() <= original[kept].abs().min()
    both = optimized(wider, tmp_path / "both", ModelOptimization(Precision.INT8, pruned_weights=0.8))
    assert mels_of(both).isfinite().all()
    sizes = [(tmp_path / name / "synthesizer.safetensors").stat().st_size for name in ("both", "pruned")]
    assert sizes[0] < sizes[1] < 0.5 * (wider / "mandarin.pt").stat().st_size


def test_pruned_channels_narrow_the_vocoder(wider: Path, tmp_path: Path) -> None:
    mel = torch.randn(10, 30, generator=torch.Generator().manual_seed(0))
    (plain,) = load_model(wider).render([mel], 0)
    distances = []
    for share in (0.25, 0.75):
        model = optimized(wider, tmp_path / str(share), ModelOptimization(pruned_channels=share))
        assert model.vocoder.resblocks[0].convs1[0].out_channels == round(16 * (1 - share))
        (waveform,) = model.render([mel], 0)
        distances.append(float(np.abs(waveform - plain).mean()))
    assert 0 < distances[0] < distances[1] < np.abs(plain).max()


@pytest.mark.parametrize("vocoder", [VocoderEngine.ONNX, VocoderEngine.ONNX_INT8])
@pytest.mark.parametrize("kind", ["1", "2"])
def test_onnx_runtime_renders_as_torch(tmp_path: Path, kind: str, vocoder: VocoderEngine) -> None:
    sizes = replace(SMALL_HIFI_GAN, block_kind=kind, sample_rate=24_000 if kind == "2" else 16_000)
    if sizes.interpolates:
        sizes = replace(sizes, kernels=(11, 11, 9, 5))
    source = write_model(tmp_path / "source", SMALL_SYNTHESIZER, sizes, encoder=False)
    plain = load_model(source)
    model = optimized(source, tmp_path / vocoder, ModelOptimization(vocoder=vocoder))
    mels = plain.mels([[5, 6, 7, 1], [9, 1]], torch.from_numpy(VOICE), 0, frames=30)
    tolerance = 1e-5 if vocoder is VocoderEngine.ONNX else 0.2
    for one, other in zip(plain.render(mels, 0), model.render(mels, 0), strict=True):
        assert len(one) == len(other)
        assert np.abs(one - other).mean() < tolerance * one.std()
    assert model.sample_rate == sizes.sample_rate


@pytest.mark.parametrize(
    ("optimization", "told"),
    [
        (ModelOptimization(vocoder=VocoderEngine.TENSORRT), "no TensorRT: it needs an NVIDIA GPU"),
        (ModelOptimization(Precision.FLOAT16), "wants float16, for GPUs alone"),
    ],
)
def test_what_this_machine_has_not_is_told(
    wider: Path, tmp_path: Path, optimization: ModelOptimization, told: str
) -> None:
    with pytest.raises(SpeechError, match=told):
        optimized(wider, tmp_path / "never", optimization)


def test_settings_out_of_range_and_other_vocoders_are_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"pruned_weights is 2, but must be from 0 to 0\.95"):
        ModelOptimization(pruned_weights=2)
    wave = write_model(models / "wave", SMALL_SYNTHESIZER, SMALL_WAVE_RNN)
    with pytest.raises(SpeechError, match="is a WaveRNN, and only a HiFi-GAN can be optimized"):
        optimize_model(wave, tmp_path / "out", ModelOptimization(vocoder=VocoderEngine.ONNX), Progress())
    assert list(tmp_path.glob(".*partial")) == []
    optimize_model(wave, tmp_path / "out", ModelOptimization(Precision.INT8), Progress())
    with pytest.raises(SpeechError, match="is there already"):
        optimize_model(wave, tmp_path / "out", ModelOptimization(), Progress())
    with pytest.raises(SpeechError, match="is optimized already"):
        optimize_model(tmp_path / "out", tmp_path / "again", ModelOptimization(), Progress())


EMPTY_RECORD = '{"format": 1, "optimization": {}, "files": {}}'


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: _flip(folder / "synthesizer.safetensors"), "synthesizer.safetensors is missing or damaged"),
        (lambda folder: _flip(folder / "vocoder.onnx"), "vocoder.onnx is missing or damaged"),
        (lambda folder: (folder / "vocoder.onnx").unlink(), "vocoder.onnx is missing or damaged"),
        (lambda folder: (folder / "optimization.json").write_text("{"), r"optimization.json is damaged"),
        (lambda folder: (folder / "optimization.json").write_text('{"format": 9}'), "made by another version"),
        (
            lambda folder: (folder / "optimization.json").write_text(EMPTY_RECORD),
            "does not say how the model is optimized",
        ),
    ],
)  # fmt: skip
def test_a_damaged_optimized_model_is_refused(
    wider: Path, tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    target = tmp_path / "made"
    optimize_model(
        wider, target, ModelOptimization(Precision.INT8, VocoderEngine.ONNX, 0.5, 0.25), Progress()
    )
    assert load_model(target).read(["你好"], VOICE, 1.0, 0)[0].size
    spoil(target)
    with pytest.raises(SpeechError, match=told):
        load_model(target)
