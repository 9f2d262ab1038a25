"""Where conversions go: folders, names that clash, names that do not fit, outputs that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli.main import run
from ultimate_rvc.paths import output_dir, voice_models_dir
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from voice_factory import write_index, write_voice

RATE = 16_000
Convert = Callable[..., Any]


def take(path: Path, hertz: float = 220) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(RATE // 2) / RATE
    encode(path, (0.2 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), RATE)
    return path


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    path = write_voice(tmp_path / "voices" / "tester.pth", "Applio", embedder="starter", sample_rate=32000)
    write_index(path.with_suffix(".index"), dim=384)
    return path


@pytest.fixture
def convert(voice: Path, capfd: pytest.CaptureFixture[str]) -> Convert:
    def call(*words: object, model: object = voice) -> Any:
        capfd.readouterr()
        line = ["generate", "convert-voice", *words, "--model", model, "--f0-method", "dio"]
        with pytest.raises(SystemExit) as ended:
            run([str(word) for word in line])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return SimpleNamespace(code=int(ended.value.code or 0), out=out, err=err)

    return call


def results(outcome: Any) -> dict[str, str]:
    """Sources and results of ``--json``, by name."""
    rows = json.loads(outcome.out)["converted"]
    return {Path(row["source"]).name: row["output"] for row in rows}


def test_subfolders_are_kept_and_a_second_run_writes_the_same_names(tmp_path: Path, convert: Convert) -> None:
    songs, out = tmp_path / "songs", tmp_path / "out"
    for name in ("a.wav", "a.flac", "b.wav", "deep/er/a.wav"):
        take(songs / name)
    first = convert(songs, "--output", out, "--json")
    assert first.code == 0, first.err
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.wav")) == [
        "a.flac (tester).wav",
        "a.wav (tester).wav",
        "b (tester).wav",
        "deep/er/a (tester).wav",
    ]
    again = convert(songs, "--output", out, "--json", "--n-semitones", "3")
    assert again.code == 0, again.err
    assert results(again) == results(first)
    assert len(list(out.rglob("*.wav"))) == 4


def test_the_table_shows_sources_beside_results(tmp_path: Path, convert: Convert) -> None:
    outcome = convert(take(tmp_path / "take.wav"), "--output", tmp_path / "out")
    header, _, row = outcome.out.splitlines()
    assert header.split() == ["source", "converted", "audio", "took"]
    assert row.startswith(str(tmp_path / "take.wav"))
    assert str(tmp_path / "out" / "take (tester).wav") in row


def test_a_folder_converted_into_itself_loses_nothing(tmp_path: Path, convert: Convert) -> None:
    folder = tmp_path / "takes"
    take(folder / "take.wav", 220)
    of_user = take(folder / "take (tester).wav", 440).read_bytes()
    first = convert(folder, "--output", folder, "--json")
    assert first.code == 0, first.err
    assert (folder / "take (tester).wav").read_bytes() == of_user
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "take.wav",
        "take (tester).wav",
        "take (tester) (1).wav",
        "take (tester) (tester).wav",
    }


def test_what_was_made_of_a_folder_is_not_converted_again(tmp_path: Path, convert: Convert) -> None:
    folder = tmp_path / "takes"
    take(folder / "take.wav")
    for _ in range(3):
        assert convert(folder, "--output", folder).code == 0
    assert {path.name for path in folder.iterdir()} == {"take.wav", "take (tester).wav"}


def test_results_in_the_output_folder_are_kept_beside_each_other(tmp_path: Path, convert: Convert) -> None:
    source = take(tmp_path / "take.wav")
    for semitones in (0, 3, 3):
        assert convert(source, "--n-semitones", semitones).code == 0
    assert {path.name for path in output_dir().iterdir()} == {"take (tester).wav", "take (tester) (1).wav"}


@pytest.mark.parametrize("suffix", [".wma", ".xyz"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_suffix_that_is_none_makes_no_folder(
    tmp_path: Path, convert: Convert, suffix: str, count: int
) -> None:
    sources = [take(tmp_path / f"{number}.wav") for number in range(count)]
    outcome = convert(*sources, "--output", tmp_path / f"x{suffix}")
    assert outcome.code == 2
    assert f"--output {tmp_path / 'x'}" in outcome.err or f"--output x{suffix}" in outcome.err
    assert not (tmp_path / f"x{suffix}").exists()


def test_an_output_that_cannot_be_written_is_noticed_before_the_work(
    tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *given: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Pipeline, "open", lambda *_, **__: pytest.fail("the voice was loaded"))
    outcome = convert(take(tmp_path / "take.wav"), "--output", tmp_path / "new.wav")
    assert outcome.code == 2
    assert "The folder of --output" in outcome.err
    assert "cannot be written" in outcome.err


def test_a_voice_within_a_folder_gives_a_name_and_no_folder(tmp_path: Path, convert: Convert) -> None:
    two = voice_models_dir() / "two"
    two.mkdir(parents=True)
    for name in ("a", "b"):
        write_voice(two / f"{name}.pth", "Applio", embedder="starter", sample_rate=32000)
    outcome = convert(take(tmp_path / "in.wav"), "--output", tmp_path / "out", model="two/a")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in (two a).wav"]


def test_a_stem_of_83_japanese_characters_is_converted(tmp_path: Path, convert: Convert) -> None:
    outcome = convert(take(tmp_path / f"{'歌' * 83}.wav"), "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    (path,) = (tmp_path / "out").iterdir()
    assert len(path.name.encode()) <= 255
    assert path.name.endswith(" (tester).wav")


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_voice_is_none(
    tmp_path: Path, convert: Convert, voice: Path, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.chdir(voice.parent)  # which holds one voice
    outcome = convert(take(tmp_path / "take.wav"), model=blank)
    assert outcome.code == 2
    assert "--model is missing" in outcome.err


def test_a_voice_without_pitch_says_that_it_follows_none(tmp_path: Path, convert: Convert) -> None:
    flat = write_voice(tmp_path / "flat.pth", "Applio", embedder="starter", sample_rate=32000, has_f0=False)
    outcome = convert(
        take(tmp_path / "take.wav"), "--n-semitones", "5", "--output", tmp_path / "o", model=flat
    )
    assert outcome.code == 0, outcome.err
    assert "pitch" in outcome.err
    quiet = convert(take(tmp_path / "take.wav"), "--output", tmp_path / "o", model=flat)
    assert "follows no pitch" not in quiet.err


def test_a_file_for_several_is_refused(tmp_path: Path, convert: Convert) -> None:
    sources: Sequence[Path] = [take(tmp_path / f"{number}.wav") for number in range(2)]
    outcome = convert(*sources, "--output", tmp_path / "one.wav")
    assert outcome.code == 2
    assert "is one file, but there are 2" in outcome.err
