"""What is exported is kept by content, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from small_synthesizer import small_synthesizer
from ultimate_rvc.covers.cache import StepCache
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import cache_dir, exports_dir
from ultimate_rvc.rvc.infer.optimization.backends import exports
from ultimate_rvc.rvc.infer.optimization.backends.exports import (
    clear_exports,
    export_key,
    list_exports,
    made_or_found,
)
from ultimate_rvc.rvc.infer.optimization.backends.parts import synthesizer_parts


class Maker:
    """Writes a file, and counts how often it was asked to."""

    def __init__(self, content: str = "network", error: Exception | None = None) -> None:
        self.content, self.error, self.calls = content, error, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "part.bin").write_text(self.content)
        (folder / "package").mkdir()
        (folder / "package" / "weights.bin").write_text(self.content)
        if self.error is not None:
            raise self.error


def test_an_export_is_made_once(tmp_path: Path) -> None:
    make = Maker()
    first = made_or_found(tmp_path, "key", {"part": "flow"}, make)
    assert made_or_found(tmp_path, "key", {"part": "flow"}, make) == first
    assert make.calls == 1
    assert json.loads((first / "export.json").read_text())["part"] == "flow"
    assert [entry.folder for entry in list_exports(tmp_path)] == [first]


@pytest.mark.parametrize("damaged", ["part.bin", "package/weights.bin", "export.json"])
def test_a_damaged_export_is_made_again(tmp_path: Path, damaged: str) -> None:
    made = made_or_found(tmp_path, "key", {}, Maker())
    (made / damaged).write_text("cut")
    again = Maker()
    assert (made_or_found(tmp_path, "key", {}, again) / "part.bin").read_text() == "network"
    assert again.calls == 1


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made_or_found(tmp_path, "key", {}, Maker(error=KeyboardInterrupt()))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_never_used_and_goes_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "key.abcd.partial"
    left.mkdir()
    (left / "part.bin").write_text("half of a net")
    make = Maker()
    assert (made_or_found(tmp_path, "key", {}, make) / "part.bin").read_text() == "network"
    assert left.exists()  # its process may be alive
    monkeypatch.setattr(exports, "ABANDONED_SECONDS", -1.0)
    assert len(list_exports(tmp_path)) == 1
    assert not left.exists()


def test_another_version_weight_or_precision_has_another_key() -> None:
    part, other = synthesizer_parts(small_synthesizer(), (40, 96))[1:]
    keys = {
        export_key(part.identity(), "onnx", "float32", "onnx 1"),
        export_key(part.identity(), "onnx", "float32", "onnx 2"),
        export_key(part.identity(), "onnx", "int8", "onnx 1"),
        export_key(part.identity(), "openvino", "float32", "onnx 1"),
        export_key(other.identity(), "onnx", "float32", "onnx 1"),
    }
    changed = small_synthesizer()
    changed.flow.flows[0].pre.bias.data += 1e-6
    keys.add(export_key(synthesizer_parts(changed, (40, 96))[1].identity(), "onnx", "float32", "onnx 1"))
    assert len(keys) == 6


def test_equal_voices_share_an_export() -> None:
    one, other = (synthesizer_parts(small_synthesizer(), (40, 96))[2].identity() for _ in range(2))
    assert one == other


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, key in enumerate(["newest", "older", "oldest"]):
        folder = made_or_found(tmp_path, key, {}, Maker("x" * 300_000))
        os.utime(folder, (1e9 - age, 1e9 - age))
    monkeypatch.setenv("URVC_EXPORTS_MB", "2")
    latest = made_or_found(tmp_path, "latest", {}, Maker("x" * 300_000))
    assert {entry.folder.name for entry in list_exports(tmp_path)} == {"latest", "newest", "older"}
    monkeypatch.setenv("URVC_EXPORTS_MB", "1")
    os.utime(latest, (1.0, 1.0))
    again = made_or_found(tmp_path, "again", {}, Maker("x" * 300_000))
    assert again.exists()
    assert len(list_exports(tmp_path)) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5"])
def test_a_wrong_limit_is_told(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("URVC_EXPORTS_MB", limit)
    with pytest.raises(SettingError, match="URVC_EXPORTS_MB"):
        exports.limit_bytes()


def test_all_can_be_cleared(tmp_path: Path) -> None:
    made_or_found(tmp_path, "key", {}, Maker())
    assert [entry.folder.name for entry in clear_exports(tmp_path)] == ["key"]
    assert list_exports(tmp_path) == []


def test_exports_are_no_steps_of_covers() -> None:
    """The cache of covers takes every folder of its own for a result, and would list them as damaged ones."""
    made = made_or_found(exports_dir(), "key", {}, Maker())
    try:
        assert StepCache(cache_dir()).list_entries() == []
    finally:
        clear_exports(made.parent)
