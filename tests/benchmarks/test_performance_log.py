"""The performance log: what it keeps, what it compares, what it points out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def performance_log() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        import performance_log

        yield performance_log


def logged(day: int, seconds: float, **changes: Any) -> dict[str, Any]:
    """A row of an invented log, 30 s of audio on an invented machine."""
    machine = {"processor": "Invented M5", "cores": 10, "memory_gb": 16, "system": "macOS", "gpu": "Metal"}
    row: dict[str, Any] = {
        "date": f"2026-01-{day:02}T12:00:00+00:00",
        "machine": machine,
        "operating_system": "macOS-15.1-arm64",
        "versions": {"torch": "2.11.0"},
        "commit": f"c{day}",
        "threads": 10,
        "device": "mps",
        "models": "official",
        "seed": 0,
        "audio_seconds": 30.0,
        "repeats": 3,
        "configuration": "in-force",
        "settings": {"device": "mps", "use_fp16": False, "enable_profiling": True},
        "seconds": seconds,
        "seconds_min": seconds,
        "seconds_max": seconds,
        "cpu_seconds": seconds,
        "real_time_factor": seconds / 30,
        "ratio": 1.0,
        "stages": {"f0": seconds},
        "shares": {"f0": 1.0},
        "peak_host_mb": 900.0,
        "max_difference": 0.0,
        "mean_difference": 0.0,
    }
    return row | changes


def write_log(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def configurations(performance_log: ModuleType) -> ModuleType:
    import configurations

    return configurations


def falls(performance_log: ModuleType, tmp_path: Path, *rows: dict[str, Any]) -> list[str]:
    read = performance_log.read_rows(write_log(tmp_path / "log.jsonl", *rows))
    return [sentence for entry in performance_log.compare(read) for sentence in entry.falls()]


def slower_by(share: float, seconds: float = 6.0) -> float:
    """The seconds in which speed has fallen by ``share``."""
    return seconds / (1 - share)


def test_the_command_shows_every_row_and_points_falls_out(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.jsonl", logged(1, 6.0), logged(2, slower_by(0.05)), logged(3, slower_by(0.2, 5.7))
    )
    command = [sys.executable, str(BENCHMARKS / "configurations.py"), "--history", "--log", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "Invented M5, 10 cores, 16 GB, macOS, Metal"
    assert [line.split()[0] for line in lines[3:6]] == [f"2026-01-0{day}T12:00:00+00:00" for day in (1, 2, 3)]
    assert [line.split()[-2:] for line in lines[3:6]] == [["-", "-"], ["-5%", "-5%"], ["-11%", "-16%"]]
    slower = [line for line in lines if line.startswith("Slower")]
    assert len(slower) == 2
    assert "has fallen by 11% against the previous run of 2026-01-02" in slower[0]
    assert "has fallen by 16% against the best run of 2026-01-01" in slower[1]


def test_a_fall_of_15_percent_is_told_with_what_changed(
    configurations: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(
        tmp_path / "log.jsonl",
        logged(1, 6.0),
        logged(2, slower_by(0.15), versions={"torch": "2.12.0"}),
    )
    configurations.main(["--history", "--log", str(log)])
    (sentence,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Slower")]
    assert sentence == (
        "Slower: in-force on mps of 2026-01-02T12:00:00+00:00 (torch 2.12.0, commit c2) has fallen by 15% "
        "against the previous run of 2026-01-01T12:00:00+00:00 (torch 2.11.0, commit c1): "
        "7.06 s instead of 6.00 s for 30 s of audio."
    )


def test_the_history_as_json(
    configurations: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", logged(1, 6.0), logged(2, slower_by(0.15)))
    configurations.main(["--history", "--log", str(log), "--json", "-"])
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert [row["seconds"] for row in content["rows"]] == [6.0, slower_by(0.15)]
    assert len(content["falls"]) == 1
    assert "Invented M5" in err


def test_an_empty_history_says_how_to_fill_it(
    configurations: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configurations.main(["--history", "--log", str(tmp_path / "absent.jsonl")])
    assert "It holds no runs yet" in capsys.readouterr().out


@given(st.floats(0.0, 0.6))
def test_only_more_than_10_percent_is_a_fall(performance_log: ModuleType, share: float) -> None:
    rows = [performance_log.LogRow.from_dict(logged(1, 6.0))]
    rows.append(performance_log.LogRow.from_dict(logged(2, slower_by(share))))
    _, second = performance_log.compare(rows)
    assert second.change == pytest.approx(-share)
    if abs(share - 0.1) > 1e-9:
        assert bool(list(second.falls())) == (share > 0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": {"processor": "Other", "cores": 10, "memory_gb": 16, "system": "macOS", "gpu": "Metal"}},
        {"threads": 1},
        {"device": "cpu"},
        {"models": "small"},
        {"audio_seconds": 60.0},
        {"configuration": "reference"},
        {"settings": {"device": "mps", "use_fp16": True, "enable_profiling": True}},
    ],
)
def test_only_like_is_compared_with_like(
    performance_log: ModuleType, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert falls(performance_log, tmp_path, logged(1, 6.0), logged(2, 60.0, **change)) == []


def test_a_setting_that_was_added_later_does_not_end_the_comparison(
    performance_log: ModuleType, tmp_path: Path
) -> None:
    newer = {"device": "mps", "use_fp16": False, "fast_vocoder": True}
    assert len(falls(performance_log, tmp_path, logged(1, 6.0), logged(2, 60.0, settings=newer))) == 1


def test_rows_come_back_as_they_were_added(performance_log: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "new folder" / "log.jsonl"
    rows = [performance_log.LogRow.from_dict(logged(day, day, peak_device_mb=1.5)) for day in (1, 2)]
    performance_log.append_rows(log, rows[:1])
    performance_log.append_rows(log, rows[1:])
    assert performance_log.read_rows(log) == rows


def test_what_a_newer_version_wrote_is_kept(performance_log: ModuleType) -> None:
    content = logged(1, 6.0, watts=12)
    row = performance_log.LogRow.from_dict(content)
    assert row.as_dict()["watts"] == 12
    assert content.items() <= row.as_dict().items()


def test_a_line_that_was_cut_off_is_told_and_harms_no_other(
    performance_log: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", logged(1, 6.0))
    with log.open("a") as file:
        file.write(json.dumps(logged(2, 6.0))[:100])
    row = performance_log.LogRow.from_dict(logged(3, 6.0))
    performance_log.append_rows(log, [row])
    assert [entry.date[8:10] for entry in performance_log.read_rows(log)] == ["01", "03"]
    assert capsys.readouterr().err == (f"Line 2 of {log} is no row of a performance log; it is left out.\n")


@pytest.mark.parametrize(
    "line", ["[]", "3", "{}", "null", json.dumps(logged(1, 0.0)), "\x00", '{"machine": 1}']
)
def test_a_line_that_is_no_row_is_left_out(performance_log: ModuleType, tmp_path: Path, line: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"{line}\n\n{json.dumps(logged(2, 6.0))}\n")
    assert [row.seconds for row in performance_log.read_rows(log)] == [6.0]


def test_the_log_lies_in_the_users_folder(
    performance_log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URVC_HOME", str(tmp_path))
    assert performance_log.default_log_path() == tmp_path.resolve() / "logs" / "performance.jsonl"
