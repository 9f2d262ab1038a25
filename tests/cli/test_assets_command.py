"""``urvc assets`` through the command line, against a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.misbehaving_server import Loopback, says
from assets.small_registry import PITCH, models, put, small_registry
from command_line import Urvc, calls


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with small_registry(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def urvc(capsys: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capsys, "assets")


def test_models_are_listed_fetched_checked_and_removed(urvc, server: Loopback) -> None:  # type: ignore[no-untyped-def]
    assert "0 of 2 models" in urvc("list")[1]
    code, out, _ = urvc("download", "tone", "--json")
    assert (code, json.loads(out)) == (0, {"tone": str(models("predictors/tone.pt"))})
    listed = json.loads(urvc("list", "--json")[1])
    assert [(model["name"], model["state"]) for model in listed] == [("small", "absent"), ("tone", "present")]
    assert [model["name"] for model in json.loads(urvc("list", "--present", "--json")[1])] == ["tone"]
    assert [model["name"] for model in json.loads(urvc("list", "--kind", "encoder", "--json")[1])] == [
        "small"
    ]
    assert urvc("verify")[0] == 0
    code, out, _ = urvc("remove", "tone", "--json")
    assert (code, json.loads(out)) == (0, {"removed": {"tone": len(PITCH)}, "bytes": len(PITCH)})
    assert "No models are here yet" in urvc("verify")[1]


def test_a_damaged_model_fails_the_check_and_is_removed(urvc, server: Loopback) -> None:  # type: ignore[no-untyped-def]
    path = put("predictors/tone.pt", PITCH[:-1] + b"?")
    code, out, err = urvc("verify", "--json")
    assert code == 1
    assert json.loads(out)[0]["damaged"] == [str(path)]
    assert "1 of 1 models are not whole: fetch them with `urvc assets download tone`" in err
    assert urvc("remove", "--damaged")[0] == 0
    assert not path.exists()
    assert "Nothing is damaged" in urvc("remove", "--damaged")[1]


def test_what_cannot_be_done_is_one_sentence(urvc, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    code, _, err = urvc("download", "tone", "tonne")
    assert (code, err) == (2, "Error: There is no downloadable model called 'tonne': did you mean tone?\n")
    assert server.requests == []
    server.serve("/team/one/resolve/main/tone.pt", says(404))
    code, _, err = urvc("download", "tone")
    assert code == 1
    assert "404 Not Found" in err
    assert urvc("remove")[0] == 2
    assert urvc("remove", "tone")[0] == 1
    monkeypatch.setenv("URVC_OFFLINE", "1")
    code, _, err = urvc("download", "small")
    assert code == 1
    assert "URVC_OFFLINE forbids downloading" in err
    assert "URVC_OFFLINE is set" in urvc("list")[1]
