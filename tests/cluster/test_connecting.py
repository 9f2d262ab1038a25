"""Whatever is wrong with a cluster is told in one sentence, and at once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import calls
from small_pipeline import tone
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cluster.connecting import connected
from ultimate_rvc.errors import ClusterError, SettingError


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_without_ray_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"ultimate-rvc-fast\[cluster\]"), connected(None):
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_answers(scheme: str, silent_port: int) -> None:
    pytest.importorskip("ray")
    told = rf"No cluster answers at {scheme}127\.0\.0\.1:{silent_port} \(.*refused\)"
    with pytest.raises(ClusterError, match=told), connected(f"{scheme}127.0.0.1:{silent_port}"):
        pass


@pytest.mark.parametrize("address", ["nowhere", "http://here:80", "here:port", "here:6379/x"])
def test_an_address_that_is_none(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(SettingError, match="is none of a cluster"), connected(address):
        pass


def test_the_command_line_names_its_options(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, silent_port: int
) -> None:
    pytest.importorskip("ray")
    encode(tmp_path / "take.wav", tone(0.1), 16_000)
    urvc = calls(capsys, "cluster", "convert")
    words = [tmp_path, "--voice", "starter"]
    code, _, told = urvc(*words)
    assert (code, told) == (
        2,
        "Error: --output is missing: a folder that all machines reach under this path.\n",
    )
    code, _, told = urvc(*words, "--output", tmp_path / "out", "--cpus", 0)
    assert code == 2
    assert "--cpus" in told
    code, _, told = urvc(*words, "--output", tmp_path / "out", "--address", f"127.0.0.1:{silent_port}")
    assert code == 1
    assert "No cluster answers at" in told
    code, _, told = urvc(*words, "--output", tmp_path / "out", "--address", "nowhere")
    assert "--address nowhere is none of a cluster" in told
    code, _, told = urvc(tmp_path, "--output", tmp_path / "out")
    assert (code, told[:26]) == (2, "Error: --voice is missing:")
