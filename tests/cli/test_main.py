"""The root of ``urvc``: quick to answer, and one sentence and an exit code for whatever goes wrong."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

from full_disk import file_size_limit
from ultimate_rvc import __version__
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli import main
from ultimate_rvc.cli.console import show_warning
from ultimate_rvc.errors import CancelledError, SettingError, UltimateRVCError, VoiceFileError

SOURCE = Path(main.__file__).resolve().parents[2]
HEAVY = {"torch", "librosa", "numba", "transformers", "scipy", "faiss", "av", "sklearn", "pymss", "yt_dlp"}


def urvc(*arguments: str, python_options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python_options, "-m", "ultimate_rvc.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main.run(arguments)
    return 0 if exit_.value.code is None else int(exit_.value.code)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Add a command ``fail`` that raises what the test wants."""

    def add(error: BaseException) -> None:
        app = typer.Typer(add_completion=False)

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setitem(sys.modules, "failing_command", SimpleNamespace(app=app))
        monkeypatch.setitem(main.COMMANDS, "fail", main.LazyCommand("failing_command", "Fails."))

    return add


def processor_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_lists_every_command_within_a_second() -> None:
    durations = []
    for _ in range(3):
        start = processor_seconds_of_children()  # not the clock: a busy machine must not fail it
        done = urvc("--help")
        durations.append(processor_seconds_of_children() - start)
    assert done.returncode == 0
    assert all(name in done.stdout for name in main.COMMANDS)
    assert min(durations) < 1.0


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), *[(name, "--help") for name in main.COMMANDS]]
)
def test_no_help_imports_a_heavy_library(arguments: tuple[str, ...]) -> None:
    done = urvc(*arguments, python_options=("-X", "importtime"))
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "ultimate_rvc" in imported  # the list was read
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    assert isinstance(import_module(main.COMMANDS[name].module).app, typer.Typer)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"urvc {__version__}\n"


def test_an_unknown_command_is_wrong_use_and_the_nearest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("docto") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean 'doctor'?" in captured.err


def test_an_unknown_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--jsn") == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VoiceFileError("The voice x.pth is no voice."), 1),
        (SettingError("--protect-rate is 3, choose 0 to 0.5."), 2),
        (CancelledError("The job was cancelled."), 130),
    ],
)
def test_an_error_of_ours_is_one_sentence(
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: UltimateRVCError,
    code: int,
) -> None:
    failing(error)
    assert run("fail") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"Error: {error}\n"


def test_anything_else_is_called_a_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ZeroDivisionError("division by zero"))
    assert run("fail") == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: This is a bug (ZeroDivisionError: division by zero)")
    assert "--debug" in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_a_full_disk_is_no_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/music/cover.mp3"))
    assert run("fail") == 1
    assert capsys.readouterr().err.startswith("Error: No space left on device: /music/cover.mp3.")


def test_a_copy_that_finds_no_room_names_its_target(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/music/song.wav", None, "/stick/song.wav"))
    assert run("fail") == 1
    assert capsys.readouterr().err.startswith("Error: No space left on device: /stick/song.wav.")


def test_a_result_without_room_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 44_100)).astype(np.float32)
    encode(tmp_path / "song.flac", noise, 44_100)
    with file_size_limit(10_000):  # which the command inherits
        done = urvc("generate", "wavify", str(tmp_path / "song.flac"), "--output", str(tmp_path / "new.wav"))
    assert done.returncode == 1
    assert done.stderr.endswith(
        f'\nError: The file "{tmp_path / "new.wav"}" could not be written: File too large; '
        "make room, or choose another folder.\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.flac"]


# ------------------------------------------------------------------------- warnings


def assert_each_warning_is_said_once(standard_error: str, *wanted: str) -> None:
    """Whatever the words around it: with and without ``warning:``, logged and in the result."""
    lines = standard_error.splitlines()
    for words in wanted:
        (line,) = [line for line in lines if words in line]
        assert line.startswith("warning: ")
    said = [line for line in lines if line.startswith("warning: ")]
    assert sorted(said) == sorted(set(said))


@pytest.fixture
def clipped_and_cut_off(tmp_path: Path) -> Path:
    """Three seconds of a song at full scale, clipped, without the fourth that its header promises."""
    time = np.arange(4 * 44_100) / 44_100
    song = np.clip(3 * np.sin(2 * np.pi * np.array([[220], [330]]) * time), -1, 1).astype(np.float32)
    path = tmp_path / "song.wav"
    encode(path, song, 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    return path


def test_a_cover_says_each_warning_once(clipped_and_cut_off: Path, tmp_path: Path) -> None:
    """The separation logs what it doubts, and the result repeats it, as it must for a cached step."""
    words = (
        "generate",
        "song-cover",
        str(clipped_and_cut_off),
        "starter",
        "--output",
        str(tmp_path / "c.wav"),
    )
    made = urvc(*words)
    assert made.returncode == 0, made.stderr
    assert_each_warning_is_said_once(
        made.stderr, "The song is clipped in", "seems to be cut off", "signal processing"
    )
    assert f'"{clipped_and_cut_off}" seems' in made.stderr  # not the copy in the cache
    again = urvc(*words)
    assert again.returncode == 0, again.stderr
    assert_each_warning_is_said_once(again.stderr, "The song is clipped in", "signal processing")


def test_a_file_that_is_read_twice_warns_once(
    clipped_and_cut_off: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A bad file in a batch lets the others be read again."""
    (tmp_path / "text.wav").write_text("no audio")
    options = ("-m", "starter", "--batch-size", "4", "--output", str(tmp_path / "out"))
    assert run("generate", "convert-voice", str(tmp_path), *options) == 1
    assert_each_warning_is_said_once(
        capfd.readouterr().err, "seems to be cut off", "cannot be opened as audio"
    )


def test_a_separation_says_each_warning_once(
    clipped_and_cut_off: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run("generate", "separate", str(clipped_and_cut_off), "--model", "dsp")
    assert_each_warning_is_said_once(capfd.readouterr().err, "The song is clipped in", "seems to be cut off")


def test_another_command_in_the_same_process_warns_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    def warn() -> None:
        logging.getLogger("ultimate_rvc.somewhere").warning("The song is %s.", "short")
        logging.getLogger("another.library").warning("Old file.")
        logging.getLogger("another.library").info("Not of interest.")
        show_warning("The song is short.")

    monkeypatch.setitem(sys.modules, "warning_command", SimpleNamespace(app=app))
    monkeypatch.setitem(main.COMMANDS, "warn", main.LazyCommand("warning_command", "Warns."))
    for _ in range(2):
        assert run("warn") == 0
        assert capsys.readouterr().err == "warning: The song is short.\nwarning: Old file.\n"
    assert run("warn", "--debug") == 0
    assert capsys.readouterr().err.splitlines() == [
        "WARNING:ultimate_rvc.somewhere:The song is short.",
        "WARNING:another.library:Old file.",
        "INFO:another.library:Not of interest.",
    ]


@pytest.mark.parametrize("arguments", [("--debug", "fail"), ("fail", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    failing(VoiceFileError("The voice x.pth is no voice."))
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("Error: The voice x.pth is no voice.\n")


def test_debug_after_a_double_dash_is_a_word_of_the_command() -> None:
    words = ["generate", "--debug", "--", "--debug"]
    assert main._take_debug(words)
    assert words == ["generate", "--", "--debug"]
    assert not main._take_debug(words)


def test_an_interruption_exits_with_130(failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    assert run("fail") == 130


def test_a_failing_import_of_a_command_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(main.COMMANDS, "gone", main.LazyCommand("no_such_module", "Gone."))
    assert run("gone") == 1
    assert "This is a bug (ModuleNotFoundError" in capsys.readouterr().err
