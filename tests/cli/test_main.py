"""The root of ``urvc``: quick to answer, and one sentence and an exit code for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from ultimate_rvc import __version__
from ultimate_rvc.cli import main
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
