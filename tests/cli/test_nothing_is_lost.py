"""No command overwrites what a user owns, whatever its output is set to."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from ultimate_rvc import outputs
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli.main import COMMANDS, app, run
from ultimate_rvc.paths import output_dir, voice_models_dir
from voice_factory import write_index, write_voice

RATE = 16_000
HARMLESS = {
    "serve": "writes results under free names into the output folder, as jobs do",
    "live": "writes a recording that replaces nothing: tests/cli/test_live_command.py",
    "cluster": "writes into a folder for its results: tests/cluster",
    "assets": "fetches, checks and removes model files of the program's own",
    "cache": "removes results that the program keeps for itself",
    "jobs": "changes the list of jobs; their work goes through the same functions as `generate`",
    "download": "fetches model files of the program's own",
    "benchmark": "measures the machine; its file is the program's own",
    "doctor": "only looks",
    "export": "writes a new folder, and refuses one that is there: tests/cli/test_export.py",
}
HARMLESS_SPEECH = {
    **dict.fromkeys(("engines", "voices"), "only looks"),
    "dataset": "adds to a dataset of its own form: tests/speech/llasa",
    "finetune": "trains in a free folder: tests/speech/llasa",
    "optimize": "makes a model of a free name: tests/speech/mockingbird",
    "store-speaker": "makes a speaker of a free name: tests/speech/mockingbird",
}
HARMLESS_VOICES = {
    **dict.fromkeys(("list", "search", "inspect", "trash"), "only looks"),
    **dict.fromkeys(("rename", "delete", "restore", "empty-trash"), "moves voices within the library"),
    **dict.fromkeys(("refresh", "preset", "note", "tag"), "changes a voice's notes in the library"),
    "blend": "makes a voice of a free name in the library",
}
HARMLESS_TRAINING = {
    "get-gpu-information": "only looks",
    "extract-features": "writes below the training folder of a voice",
    "run-training": "writes below the training folder of a voice",
    "voice": "copies recordings as populate-dataset does, then works below its training folder",
}


@dataclass(frozen=True)
class Case:
    """How a command is called in the user's folder: its inputs, and whether its output is a file or a folder."""

    words: Callable[[Path], Sequence[object]]
    inputs: tuple[str, ...]
    output: str
    """A name of the right kind for a file, or ``folder``."""


def _generate(command: str, *names: str, more: Sequence[object] = ()) -> Callable[[Path], Sequence[object]]:
    return lambda folder: ["generate", command, *(folder / name for name in names), *more]


def _voice(folder: Path) -> list[object]:
    return ["--model", folder / "tester.pth", "--f0-method", "dio"]


CASES = {
    "generate song-cover": Case(
        lambda folder: ["generate", "song-cover", folder / "take.wav", *_voice(folder)],
        ("take.wav", "tester.pth", "tester.index"),
        "new.wav",
    ),
    "generate convert-voice": Case(
        lambda folder: ["generate", "convert-voice", folder / "take.wav", *_voice(folder)],
        ("take.wav", "tester.pth", "tester.index"),
        "new.wav",
    ),
    "generate speech": Case(
        lambda folder: ["generate", "speech", "Hello there.", *_voice(folder)],
        ("tester.pth", "tester.index"),
        "new.wav",
    ),
    "speech sample": Case(
        lambda folder: ["speech", "sample", "heart", *_voice(folder)],
        ("tester.pth", "tester.index"),
        "new.wav",
    ),
    **{
        f"generate {name}": Case(
            _generate(name, "take.wav", more=["--model", "dsp"]), ("take.wav",), "folder"
        )
        for name in ("separate", "split-backing", "dereverb")
    },
    "generate effects": Case(_generate("effects", "take.wav"), ("take.wav",), "new.wav"),
    "generate transpose": Case(_generate("transpose", "take.wav", more=[2]), ("take.wav",), "new.wav"),
    "generate mix": Case(_generate("mix", "take.wav", "other.wav"), ("take.wav", "other.wav"), "new.wav"),
    "generate wavify": Case(_generate("wavify", "take.flac"), ("take.flac",), "new.wav"),
    "voices export": Case(
        lambda folder: ["voices", "export", folder / "tester.pth"], ("tester.pth", "tester.index"), "new.zip"
    ),
    "voices import": Case(
        lambda folder: ["voices", "import", folder / "tester.pth"], ("tester.pth", "tester.index"), ""
    ),
    "voices attach-index": Case(
        lambda folder: ["voices", "attach-index", "mine", folder / "tester.index"], ("tester.index",), ""
    ),
    "voices picture": Case(
        lambda folder: ["voices", "picture", "mine", folder / "face.png"], ("face.png",), ""
    ),
    "train populate-dataset": Case(
        lambda folder: ["train", "populate-dataset", "mine", folder / "take.wav"], ("take.wav",), ""
    ),
    "train preprocess-dataset": Case(
        lambda folder: ["train", "preprocess-dataset", "mine", folder / "takes"], ("takes/long.wav",), ""
    ),
}


def leaves() -> Iterator[str]:
    """All commands there are, as they are typed."""
    from importlib import import_module

    for group, command in COMMANDS.items():
        found: Any = get_command(import_module(command.module).app)
        names = list(getattr(found, "commands", {}) or getattr(found, "table", {}))
        yield from (f"{group} {name}" for name in names) if names else [group]


def test_every_command_is_in_the_table() -> None:
    assert get_command(app) is not None
    known = set(CASES) | {f"voices {name}" for name in HARMLESS_VOICES}
    known |= {f"speech {name}" for name in HARMLESS_SPEECH}
    known |= {f"train {name}" for name in HARMLESS_TRAINING}
    missing = [name for name in leaves() if name not in known and name.split()[0] not in HARMLESS]
    assert missing == [], "say in this table what the new command writes, and over what"
    assert known - set(leaves()) == set(), "these commands are gone"


def tone(path: Path, hertz: float, seconds: float = 0.5) -> None:
    path.parent.mkdir(exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    encode(path, np.tile(0.2 * np.sin(2 * np.pi * hertz * time), (2, 1)).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder."""
    from PIL import Image

    own = tmp_path_factory.mktemp("made") / "own"
    own.mkdir()
    tone(own / "take.wav", 220)
    tone(own / "take.flac", 230)
    tone(own / "other.wav", 330)
    tone(own / "neighbour.wav", 440)
    (own / "takes").mkdir()
    noise = np.random.default_rng(3).normal(0, 0.1, 12 * 44_100)
    encode(own / "takes" / "long.wav", noise.astype(np.float32), 44_100)
    write_voice(own / "tester.pth", "Applio", embedder="starter", sample_rate=32000)
    write_index(own / "tester.index", dim=384)
    Image.new("RGB", (8, 8)).save(own / "face.png")
    (own / "neighbour.zip").write_bytes(b"of the user")
    return own


@pytest.fixture
def folder(made_once: Path, tmp_path: Path) -> Path:
    """A user's folder of the test's own."""
    mine = voice_models_dir() / "mine"
    mine.mkdir(parents=True)
    shutil.copy(made_once / "tester.pth", mine / "mine.pth")
    return Path(shutil.copytree(made_once, tmp_path / "own"))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def call(words: Sequence[object], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run([str(word) for word in words])
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "bug" not in err
    return int(ended.value.code or 0), err


def other_case(path: Path) -> Path:
    return path.with_name(path.name.swapcase())


FILES = [name for name, case in CASES.items() if case.output not in ("", "folder")]
FOLDERS = [name for name, case in CASES.items() if case.output == "folder"]
ONTO_INPUTS = [(name, each) for name in FILES for each in CASES[name].inputs]


@pytest.mark.parametrize(("name", "onto"), ONTO_INPUTS)
@pytest.mark.parametrize("spelt", ["alike", "other case", "by another way"])
def test_an_output_that_is_an_input_is_refused(
    name: str,
    onto: str,
    spelt: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever its suffix; also as macOS spells it, and through a link."""
    target = folder / onto
    if spelt == "other case":
        monkeypatch.setattr(outputs, "FOLDS_CASE", True)
        target = other_case(target)
    elif spelt == "by another way":
        (folder.parent / "link").symlink_to(folder, target_is_directory=True)
        target = folder.parent / "link" / onto
    before = hashes(folder)
    code, err = call([*CASES[name].words(folder), "--output", target], capfd)
    assert code in (1, 2), err
    assert "output" in err
    assert hashes(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_user_is_replaced_only_if_it_was_named(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """These commands are documented to replace the file that ``--output`` names, and say so."""
    target = folder / f"neighbour{Path(CASES[name].output).suffix}"
    before = hashes(folder)
    words = [*CASES[name].words(folder), "--output", target]
    if name == "voices export":
        code, err = call(words, capfd)
    else:
        code, err = call([*words, "--no-overwrite"], capfd)
    assert code in (1, 2)
    assert str(target) in err
    assert hashes(folder) == before
    code, err = call([*words, "--force"] if name == "voices export" else words, capfd)
    assert code == 0, err
    after = hashes(folder)
    assert {path for path in after if before.get(path) != after[path]} == {target.name}
    assert set(before) <= set(after)
    if name != "voices export":
        assert f"{target} was there already and has been replaced" in err


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["a folder", "another kind", "no kind", "below a file", "no folder"])
def test_an_output_of_another_kind_is_refused(
    name: str, kind: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if name == "voices export" and kind in ("a folder", "another kind", "no kind", "no folder"):
        pytest.skip("a folder is a fit place for an archive: tests/voices/test_voice_exchange.py")
    if name == "generate convert-voice" and kind == "a folder":
        pytest.skip("a folder is a fit place for conversions")
    target = {
        "a folder": folder / "takes",
        "another kind": folder / "new.xyz",
        "no kind": folder / "new.wma",
        "below a file": folder / "take.wav" / CASES[name].output,
        "no folder": folder / "absent" / CASES[name].output,
    }[kind]
    before = hashes(folder)
    code, err = call([*CASES[name].words(folder), "--output", target], capfd)
    assert code in (1, 2), err
    assert "output" in err
    assert hashes(folder) == before
    assert not target.exists() or kind == "a folder"


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("where", ["left out", "the folder of the input", "a file"])
def test_stems_take_no_names_of_the_user(
    name: str, where: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    roles = {"separate": ("vocals", "instrumental"), "split-backing": ("lead", "backing")}
    for role in roles.get(name.split()[1], ("dry", "reverb")):
        (folder / f"take ({role}).wav").write_bytes(b"of the user")
    before = hashes(folder)
    words = {"left out": [], "a file": ["--output", folder / "take.wav"]}.get(where, ["--output", folder])
    for time in range(2):
        code, err = call([*CASES[name].words(folder), *words], capfd)
        assert code == (2 if where == "a file" else 0), err
        after = hashes(folder)
        assert before.items() <= after.items()
        # The second run writes the same bytes under the same names.
        assert len(after) - len(before) == (0 if where == "a file" else 2), time


@pytest.mark.parametrize("name", [name for name in FILES if name != "generate mix"])
def test_a_name_that_the_program_makes_is_numbered(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = CASES[name].words(folder)
    if name == "voices export":
        pytest.skip("it refuses: tests/voices/test_voice_exchange.py")
    assert call(words, capfd)[0] == 0
    place = folder if name == "generate wavify" else output_dir()
    begin = {"generate speech": "Hello", "speech sample": "sample of"}.get(name, "take")
    (made,) = set(place.glob(f"{begin}*.*")) - {
        folder / "take.wav",
        folder / "take.flac",
    }
    made.write_bytes(b"now of the user")
    before = hashes(place)
    assert call(words, capfd)[0] == 0
    after = hashes(place)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.output])
def test_commands_without_an_output_leave_their_inputs_alone(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = hashes(folder)
    code, err = call(CASES[name].words(folder), capfd)
    assert code == 0, err
    assert hashes(folder) == before
