"""A voice from some seconds of speech through the real command line, with a network small enough for that."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import Urvc, calls
from signals import deliver
from small_training import leave_out_layers, leave_out_what_takes_time
from ultimate_rvc.audio.decode import decode, decode_mono
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.paths import audio_dir, training_dir, voice_models_dir
from ultimate_rvc.rvc.content.starter import StarterEncoder
from ultimate_rvc.rvc.train import loop
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file
from ultimate_rvc.settings import parts_of, settings_of
from ultimate_rvc.work.requests import TrainParts

TRAINING = {name: None for _, kind in parts_of(TrainParts).items() for name in settings_of(kind)}
SPEECH = Path(__file__).parent.parent / "data" / "training" / "speech.ogg"
NAME = "Märchen stimme"
SMALL = (
    *("--network-size", "tiny", "--batch-size", "4", "--num-epochs", "100", "--device", "cpu"),
    *("--sample-rate", "32000", "--embedder-model", "starter", "--f0-method", "dio"),
)

TWO = ("--batch-size", "2")


@pytest.fixture
def urvc(capfd: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capfd)


@pytest.fixture(scope="module")
def cut_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "short speech.wav"
    samples, sample_rate = decode(SPEECH)
    encode(path, samples[:, : 15 * sample_rate], sample_rate)
    return path


@pytest.fixture
def short_speech(cut_speech: Path, tmp_path: Path) -> Path:
    """What suffices where nothing depends on how much is learnt from."""
    return Path(shutil.copy(cut_speech, tmp_path))


@pytest.fixture(scope="module", autouse=True)
def _each_sound_is_encoded_once() -> Iterator[None]:
    """All trainings here learn from the same speech, and its features take longer than anything else."""
    encode, known = StarterEncoder.encode, {}

    def remembered(
        self: StarterEncoder, waveform_16k: torch.Tensor, version: str, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        key = (waveform_16k.numpy().tobytes(), version, tuple(lengths or ()))
        if key not in known:
            known[key] = encode(self, waveform_16k, version, lengths)
        return known[key].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StarterEncoder, "encode", remembered)
        yield


@pytest.fixture(autouse=True)
def _few_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_layers(monkeypatch.setattr)


@pytest.fixture
def no_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Voices of so few steps resemble nobody, and the evaluator takes seconds to load."""
    leave_out_what_takes_time(monkeypatch.setattr)


def mel_losses(name: str) -> list[float]:
    lines = (training_dir() / name / "logs" / "train.log").read_text("utf-8")
    return [float(loss) for loss in re.findall(r"epoch \d+ step \d+ .*? mel ([\d.]+)", lines)]


def test_one_command_makes_a_voice_that_converts(urvc: Urvc, short_speech: Path, tmp_path: Path) -> None:
    code, out, err = urvc(
        *("train", "voice", NAME, short_speech, *SMALL, *TWO),
        *("--max-steps", "30", "--learning-rate", "3e-3"),
    )
    assert code == 0, err
    plan, result = out.split("all steps are done")
    assert "0.2 minutes" in plan
    assert "30 steps of 2 pieces on cpu" in plan
    assert re.search(r"time +about \d+ (seconds|minutes)", plan)
    assert "step 30" in result
    assert "waiting for data" in result
    assert "under 3" in err.lower() or "3 min" in err  # so little speech is warned of
    losses = mel_losses(NAME)
    assert losses[-1] < 0.8 * losses[0]

    folder = voice_models_dir() / NAME
    record = json.loads((folder / "voice.json").read_text("utf-8"))
    assert record["sample_rate"] == 32_000
    assert record["embedder"] == "starter"
    low, middle, high = (record["pitch_percentiles_hz"][part] for part in ("5", "50", "95"))
    assert 80 < low < middle < high < 500
    assert read_voice_file(folder / f"{NAME}.pth").metadata.step == 30

    source, target = tmp_path / "source.wav", tmp_path / "target.wav"
    encode(source, decode_mono(SPEECH, 16_000)[: 3 * 16_000], 16_000)
    code, _, err = urvc(
        *("generate", "convert-voice", source, "--model", NAME, "--output", target, "--f0-method", "dio")
    )
    assert code == 0, err
    converted = decode_mono(target, 32_000)
    assert len(converted) == pytest.approx(3 * 32_000, abs=2)
    assert np.abs(converted).max() > 0


@pytest.mark.usefixtures("no_evaluator")
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(urvc: Urvc, short_speech: Path) -> None:
    for name, stops in (("straight", (5,)), ("in parts", (2, 5))):
        for stop in stops:
            code, _, err = urvc("train", "voice", name, short_speech, *SMALL, *TWO, "--max-steps", stop)
            assert code == 0, err
    states = [
        load_voice_model(voice_models_dir() / name / f"{name}.pth").synthesizer.state_dict()
        for name in ("straight", "in parts")
    ]
    assert states[0].keys() == states[1].keys()
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


@pytest.mark.usefixtures("no_evaluator")
def test_ctrl_c_ends_a_training_with_what_it_made(
    urvc: Urvc, short_speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop._Run._step

    def interrupted(run: Any, portion: Any) -> None:
        step(run, portion)
        deliver(signal.SIGINT)

    monkeypatch.setattr(loop._Run, "_step", interrupted)
    code, out, err = urvc("train", "voice", "ended", short_speech, *SMALL)
    assert code == 0, err
    assert "stopped as asked: epoch 0, step 1" in out
    assert str(voice_models_dir() / "ended" / "ended.pth") in out
    assert re.search(r"times +populate \d+ seconds, preprocess \d+ seconds, extract ", out)


@pytest.mark.usefixtures("no_evaluator")
def test_the_steps_one_by_one(urvc: Urvc, short_speech: Path) -> None:
    code, out, err = urvc("train", "populate-dataset", "my data", short_speech)
    assert code == 0, err
    assert "1 recordings" in out
    assert (audio_dir() / "training" / "my data" / short_speech.name).is_file()
    code, out, err = urvc("train", "preprocess-dataset", "steps", "my data", "--sample-rate", "32000")
    assert code == 0, err
    assert re.match(r"\d+ pieces, \d+ s, in ", out)
    words = ("--embedder-model", "starter", "--f0-method", "dio")
    code, out, err = urvc("train", "extract-features", "steps", *words)
    assert code == 0, err
    assert "features of starter (384 wide), pitch " in out
    options = ("--network-size", "tiny", "--max-steps", "2", "--batch-size", "2", "--json")
    code, out, err = urvc("train", "run-training", "steps", *options)
    assert code == 0, err
    assert json.loads(out)["step"] == 2


def silence(folder: Path) -> Path:
    encode(folder / "silence.wav", np.zeros(16_000 * 20, np.float32), 16_000)
    return folder / "silence.wav"


def too_short(folder: Path) -> Path:
    encode(folder / "short.wav", decode_mono(SPEECH, 16_000)[: 16_000 * 4], 16_000)
    return folder / "short.wav"


def no_audio(folder: Path) -> Path:
    (folder / "text.wav").write_text("no sound at all")
    return folder / "text.wav"


BAD = {silence: "silent", too_short: "too little for a voice", no_audio: "None of the recordings can be read"}


@pytest.mark.parametrize("bad", BAD)
def test_bad_recordings_are_refused_in_a_sentence_and_forgotten(
    urvc: Urvc, tmp_path: Path, bad: Callable[[Path], Path]
) -> None:
    path = bad(tmp_path)
    code, out, err = urvc("train", "voice", "bad", path, *SMALL, "--max-steps", "1")
    assert code == 1
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert BAD[bad] in sentence
    assert "Traceback" not in out + err
    assert "library" not in out + err
    assert not (voice_models_dir() / "bad").exists()
    assert not (audio_dir() / "training" / "bad").exists()


@pytest.mark.usefixtures("no_evaluator")
def test_a_second_try_under_the_same_name_learns_from_its_own_files_alone(
    urvc: Urvc, short_speech: Path, tmp_path: Path
) -> None:
    dataset = audio_dir() / "training" / "again"
    old = dataset / "old.wav"
    old.parent.mkdir(parents=True)
    encode(old, decode_mono(SPEECH, 16_000)[: 16_000 * 3], 16_000)
    assert urvc("train", "voice", "again", too_short(tmp_path), *SMALL, "--max-steps", "1")[0] == 1
    assert list(dataset.iterdir()) == [old]
    # Enough sound, which only the search for a pitch finds to be no voice.
    hiss = np.random.default_rng(1).normal(0, 0.1, 16_000 * 12).astype(np.float32)
    encode(tmp_path / "hiss.wav", hiss, 16_000)
    old.unlink()
    code, _, err = urvc("train", "voice", "again", tmp_path / "hiss.wav", *SMALL, "--max-steps", "1")
    assert code == 1
    assert "have a pitch" in err
    assert not dataset.exists()
    code, out, err = urvc("train", "voice", "again", short_speech, *SMALL, "--max-steps", "1")
    assert code == 0, err
    assert [path.name for path in dataset.iterdir()] == [short_speech.name]
    assert re.search(r"\b15 s|0\.[23] minutes|15 seconds", out)


def test_what_is_not_a_recording_in_a_folder_is_left_out(urvc: Urvc, tmp_path: Path) -> None:
    encode(tmp_path / "set" / "take.wav", decode_mono(SPEECH, 16_000), 16_000)
    for name in ("._take.wav", ".hidden.wav", "notes.txt"):
        (tmp_path / "set" / name).write_bytes(b"no sound")
    (tmp_path / "set" / "folder.wav").mkdir()
    code, out, err = urvc("train", "populate-dataset", "left out", tmp_path / "set")
    assert code == 0, err
    assert "1 recordings" in out


@pytest.mark.parametrize("bad", [silence, too_short])
def test_bad_recordings_are_refused_before_anything_large_is_loaded(
    tmp_path: Path, bad: Callable[[Path], Path]
) -> None:
    words = ["train", "voice", "bad", str(bad(tmp_path)), *SMALL]
    script = (
        "import contextlib, sys\n"
        "from ultimate_rvc.cli.main import run\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    run({words!r})\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Error: " in done.stderr
    assert done.stdout.split()[-1] == "False"


@pytest.mark.usefixtures("no_evaluator")
def test_a_result_in_json_and_a_training_with_another_rate_or_size(urvc: Urvc, short_speech: Path) -> None:
    code, out, err = urvc("train", "voice", "sized", short_speech, *SMALL, "--max-steps", "1", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["voice"], result["step"], result["stopped"]) == ("sized", 1, False)
    assert [step["name"] for step in result["steps"]] == ["populate", "preprocess", "extract", "train"]
    assert all(step["seconds"] > 0 for step in result["steps"])
    assert [Path(file["path"]).is_file() for file in result["files"]] == [True, True]
    (warning,) = result["warnings"]
    assert "below 3 minutes" in warning
    assert err.count(warning) == 1

    pieces = (training_dir() / "sized" / "data" / "pieces.json").read_bytes()
    for words, told in (
        (("--sample-rate", "40000"), "sample_rate 32000, not 40000:"),
        (("--network-size", "small"), "network_size tiny, not small:"),
    ):
        code, out, err = urvc("train", "voice", "sized", short_speech, *SMALL, *words)
        assert (code, out) == (1, "")
        assert f"The training of 'sized' was begun with {told} use the same again" in err
    assert (training_dir() / "sized" / "data" / "pieces.json").read_bytes() == pieces


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("preprocess-dataset", "voice", "no such set"), 1, "no such set"),
        (("extract-features", "voice"), 1, "preprocess-dataset"),
        (("run-training", "voice"), 1, "voice"),
        (("run-training", "../voice"), 2, "../voice"),
        (("run-training", "voice", "--batch-size", "0"), 2, "--batch-size"),
        (("preprocess-dataset", "voice", "x", "--sample-rate", "44100"), 2, "--sample-rate"),
        (("voice", "voice", "x", "--sample-rate", "0"), 2, "--sample-rate"),
        (("populate-dataset", "set", "nowhere.wav"), 1, "nowhere.wav"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(urvc: Urvc, words: tuple[str, ...], code: int, said: str) -> None:
    ended, _, err = urvc("train", *words)
    assert ended == code
    assert said in err.strip().splitlines()[-1]


def test_gpu_information_without_a_gpu(urvc: Urvc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert urvc("train", "get-gpu-information")[1].startswith("There is no GPU")
    assert json.loads(urvc("train", "get-gpu-information", "--json")[1]) == []


@pytest.mark.parametrize("command", ["voice", "preprocess-dataset", "extract-features", "run-training"])
def test_every_setting_is_an_option(urvc: Urvc, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = urvc("train", command, "--help")
    fields = {"voice": TRAINING, "run-training": ["num_epochs", "precision", "pretrained_generator"]}
    fields |= {"preprocess-dataset": ["chunk_len"], "extract-features": ["include_mutes"]}
    for name in fields[command]:
        assert "--" + name.replace("_", "-") in out
