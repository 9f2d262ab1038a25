"""All models at once: listing, checking, removing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.misbehaving_server import Loopback, breaks_off_after, says
from assets.small_registry import CONFIG, PITCH, WEIGHTS, models, put, small_registry
from ultimate_rvc.assets import registry
from ultimate_rvc.assets.connection import BLOCK_BYTES, Patience
from ultimate_rvc.assets.manage import list_assets, remove_assets, verify_assets
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.errors import AssetMissingError, CancelledError, DownloadError, SettingError
from ultimate_rvc.progress import Progress


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with small_registry(tmp_path, monkeypatch) as running:
        yield running


def states() -> dict[str, str]:
    return {report.name: str(report.state) for report in list_assets()}


def test_every_state_of_a_model_is_told(server: Loopback) -> None:
    assert states() == {"small": "absent", "tone": "absent"}
    put("embedders/small/config.json", CONFIG)
    assert states()["small"] == "partly"
    put("embedders/small/model.bin", WEIGHTS[:-1] + b"?")
    (report, _) = list_assets()
    assert (report.state, report.damaged) == ("damaged", (models("embedders/small/model.bin"),))
    registry.download("small")
    assert states() == {"small": "present", "tone": "absent"}
    assert [report.name for report in list_assets([AssetKind.PITCH])] == ["tone"]
    (_, tone) = list_assets()
    assert json.loads(json.dumps(tone.to_json()))["sources"] == [
        f"{server.url}/team/one/resolve/main/tone.pt"
    ]


def test_a_change_that_keeps_size_and_time_is_found_by_verifying(server: Loopback) -> None:
    path = put("predictors/tone.pt", PITCH)
    assert states()["tone"] == "present"
    before = path.stat()
    path.write_bytes(PITCH[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert states()["tone"] == "present"
    (report,) = verify_assets()
    assert (report.name, report.state) == ("tone", "damaged")
    assert registry.locate("tone") is None  # and it is used no more
    assert registry.require("tone").read_bytes() == PITCH
    assert [report.state for report in verify_assets(["tone", "small"])] == ["present", "absent"]


def test_verifying_is_cancelled(server: Loopback) -> None:
    put("predictors/tone.pt", PITCH)
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        verify_assets(progress=progress)


def test_a_removed_model_leaves_nothing_behind_but_what_is_not_its_own(server: Loopback) -> None:
    registry.download("small")
    registry.download("tone")
    own = put("embedders/small/notes.txt", b"mine")
    assert remove_assets(["small", "tone", "tone"]) == {
        "small": len(CONFIG) + len(WEIGHTS),
        "tone": len(PITCH),
    }
    left = [path for path in models(".").rglob("*") if path.is_file()]
    assert left == [own]
    assert models(".").is_dir()
    assert not models("predictors").exists()


def test_what_is_left_of_a_download_that_broke_off_is_removed_too(server: Loopback) -> None:
    came = 5 * BLOCK_BYTES
    server.serve("/team/one/resolve/main/a/model.bin", breaks_off_after(WEIGHTS, came), says(404))
    with pytest.raises(DownloadError):
        registry.download("small", patience=Patience(attempts=1, wait_seconds=0.01))
    assert states()["small"] == "partly"
    assert remove_assets(["small"]) == {"small": came + len(CONFIG)}
    assert states()["small"] == "absent"


def test_nothing_is_removed_when_one_name_is_wrong(server: Loopback) -> None:
    put("predictors/tone.pt", PITCH)
    with pytest.raises(SettingError, match="no downloadable model"):
        remove_assets(["tone", "nobody"])
    with pytest.raises(AssetMissingError, match="Nothing of the model 'small'"):
        remove_assets(["tone", "small"])
    assert states()["tone"] == "present"
