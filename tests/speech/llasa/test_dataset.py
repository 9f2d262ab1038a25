"""From recordings to a dataset: resumed where a run was stopped, and it decodes back to sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from llasa_models import write_tone
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.cli.main import run
from ultimate_rvc.errors import CancelledError, SettingError, SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.llasa import codec
from ultimate_rvc.speech.llasa.codec import Codec
from ultimate_rvc.speech.llasa.dataset import DatasetResult, make_dataset
from ultimate_rvc.speech.llasa.lines import read_lines, read_transcript
from ultimate_rvc.speech.llasa.settings import NumberFormat
from ultimate_rvc.speech.llasa.tool_settings import DatasetSettings

CPU = torch.device("cpu")

shared_codec = cache(Codec)


@pytest.fixture(autouse=True)
def _codec_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes longer than to encode the few short recordings of a test."""
    monkeypatch.setattr(codec, "Codec", shared_codec)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Five recordings of different lengths, one of them in a folder of its own."""
    folder = tmp_path / "recordings"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(["one", "two", "three", "four", "more/five"]):
        write_tone(folder / f"{name}.wav", 0.22 + 0.07 * number, 0.05 * (number + 1))
    return folder


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    lines = ["two: The second: here.", "one:The first.", "", "three.wav:第三。", "four:4", "more/five:Five."]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def made(recordings: Path, transcript: Path, **settings: object) -> DatasetResult:
    output = recordings.parent / "data.jsonl"
    return make_dataset(recordings, transcript, output, DatasetSettings(**settings), Progress())  # type: ignore[arg-type]


def test_a_dataset_decodes_back_to_what_the_codec_makes_of_the_recordings(
    llasa_dir: Path, recordings: Path, transcript: Path
) -> None:
    result = made(recordings, transcript, batch_size=2)
    assert (result.lines, result.new, result.left_out) == (5, 5, ())
    written = [json.loads(line) for line in result.path.read_text("utf-8").splitlines()]
    assert [line["text"] for line in written] == ["The second: here.", "The first.", "第三。", "4", "Five."]
    codec = shared_codec(llasa_dir / "xcodec2", CPU, NumberFormat.FLOAT32)
    for line in written:
        recording = recordings / Path(line["id"]).with_suffix(".wav")
        waveform = decode_mono(recording, 16_000)
        assert len(line["code"]) == len(waveform) // 320
        (alone,) = codec.encode([waveform])
        assert line["code"] == alone.tolist()  # as it is without neighbours in a batch
        sound = codec.decode(np.array(line["code"]))
        assert len(sound) == 320 * len(line["code"])
        assert np.abs(sound - codec.decode(np.zeros(len(line["code"]), np.int64))).max() > 0.1
    assert len({tuple(line["code"][:10]) for line in written}) > 1


class StoppedAfter(Progress):
    """Stops at a report, as Ctrl-C does."""

    def __init__(self, reports: int) -> None:
        super().__init__()
        self.left = reports

    def report(self, step: str, fraction: float, text: str = "") -> None:
        self.left -= 1
        if self.left < 0:
            raise CancelledError("The job was cancelled.")


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_file(
    llasa_dir: Path, recordings: Path, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(recordings, transcript, batch_size=2).path.read_bytes()
    output = recordings.parent / "again.jsonl"
    with pytest.raises(CancelledError):
        make_dataset(recordings, transcript, output, DatasetSettings(batch_size=2), StoppedAfter(2))
    partial = output.with_name("again.jsonl.partial")
    assert not output.exists()
    assert len(read_lines(partial)) == 4
    with partial.open("a", encoding="utf-8") as file:  # killed in the middle of a line
        file.write('{"id":"two","text":"The sec')
    encoded: list[int] = []
    encode = Codec.encode
    monkeypatch.setattr(
        Codec, "encode", lambda self, waves: encoded.append(len(waves)) or encode(self, waves)
    )
    result = make_dataset(recordings, transcript, output, DatasetSettings(batch_size=2), Progress())
    assert (result.lines, result.new, encoded) == (5, 1, [1])
    assert output.read_bytes() == whole
    assert not partial.exists()


def test_what_is_there_stays_and_only_what_is_new_or_changed_is_encoded(
    llasa_dir: Path, recordings: Path, transcript: Path
) -> None:
    path = made(recordings, transcript).path
    first = {line.id: line for line in read_lines(path)}
    transcript.write_text("one:The first, said otherwise.\ntwo:The second: here.\nsix:Six.", encoding="utf-8")
    write_tone(recordings / "six.wav")
    result = made(recordings, transcript)
    assert (result.lines, result.new) == (6, 2)
    again = {line.id: line for line in read_lines(path)}
    assert again["one"].text == "The first, said otherwise."
    assert {name: again[name] for name in ("two", "three.wav", "four", "more/five")} == {
        name: first[name] for name in ("two", "three.wav", "four", "more/five")
    }


def test_recordings_that_cannot_be_used_are_named_and_left_out(
    llasa_dir: Path, recordings: Path, transcript: Path
) -> None:
    (recordings / "one.wav").write_bytes(b"no sound")
    (recordings / "two.wav").unlink()
    write_tone(recordings / "four.wav", 41)
    result = made(recordings, transcript)
    assert result.lines == 2
    told = "; ".join(result.left_out)
    assert "two has no recording" in told
    assert "one.wav" in told
    assert "four has 41.0 s, not 0.1 to 40" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one The first.", "Line 1 of .* must be the id of a recording, a colon, and its words"),
        ("one:a\none:b", "Line 2 of .* has the id 'one' again"),
        ("\n", "is empty: write a line"),
        ("nobody:Words.", "None of the recordings .* could be encoded: nobody has no recording"),
    ],
)
def test_a_transcript_that_is_wrong_is_told_with_its_line(
    llasa_dir: Path, recordings: Path, transcript: Path, text: str, told: str
) -> None:
    transcript.write_text(text, encoding="utf-8")
    with pytest.raises(SpeechError, match=told):
        made(recordings, transcript)


def test_files_that_are_none_or_somebody_elses_are_told(
    llasa_dir: Path, recordings: Path, transcript: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text('{"my": "notes"}\n', encoding="utf-8")
    with pytest.raises(SpeechError, match=r"data\.jsonl is no dataset of LLASA: line 1"):
        made(recordings, transcript)
    assert (tmp_path / "data.jsonl").read_text("utf-8") == '{"my": "notes"}\n'
    for output in (transcript, recordings / "one.wav"):
        with pytest.raises(SettingError, match="is one of the files to read"):
            make_dataset(recordings, transcript, output, DatasetSettings(), Progress())
    (tmp_path / "x.jsonl.partial").write_text("my notes\n", encoding="utf-8")
    with pytest.raises(SpeechError, match=r"x\.jsonl\.partial is in the way"):
        make_dataset(recordings, transcript, tmp_path / "x.jsonl", DatasetSettings(), Progress())
    assert (tmp_path / "x.jsonl.partial").read_text("utf-8") == "my notes\n"
    with pytest.raises(SpeechError, match="There is no folder"):
        make_dataset(tmp_path / "none", transcript, tmp_path / "x.jsonl", DatasetSettings(), Progress())
    with pytest.raises(SpeechError, match="cannot be read: No such file"):
        read_transcript(tmp_path / "none.txt")
    write_tone(recordings / "one.flac")
    with pytest.raises(SpeechError, match="have the same id: rename one"):
        make_dataset(recordings, transcript, tmp_path / "x.jsonl", DatasetSettings(), Progress())


def test_half_precision_encodes_too(llasa_dir: Path, recordings: Path, transcript: Path) -> None:
    full = read_lines(made(recordings, transcript).path)
    made(recordings, transcript).path.unlink()
    half = read_lines(made(recordings, transcript, precision="bf16").path)
    assert [len(line.code) for line in half] == [len(line.code) for line in full]
    alike = [
        a == b for one, two in zip(full, half, strict=True) for a, b in zip(one.code, two.code, strict=True)
    ]
    assert 0.5 < sum(alike) / len(alike) < 1  # another computation of the same


Urvc = Callable[..., tuple[int, str, str]]


def test_the_command_makes_a_dataset(
    llasa_dir: Path, recordings: Path, transcript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = recordings.parent / "by command.jsonl"
    (recordings / "two.wav").unlink()
    words = ["speech", "dataset", str(recordings), str(transcript), "-o", str(output), "--batch-size", "3"]
    with pytest.raises(SystemExit) as ended:
        run(words)
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    assert f"4 lines, 4 of them new, in {output}" in out
    assert "two has no recording; it is left out." in err
    with pytest.raises(SystemExit):
        run([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["lines"], told["new"], told["left_out"]) == (4, 0, ["two has no recording"])
