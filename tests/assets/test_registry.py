"""The table of model files, and what counts as having one."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.misbehaving_server import Loopback, by_range, says
from assets.small_registry import CONFIG, OLD_CONFIG, PITCH, WEIGHTS, models, put, small_registry
from ultimate_rvc.assets import registry, stamps
from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.errors import AssetMissingError, DownloadError, SettingError
from ultimate_rvc.progress import Progress


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with small_registry(tmp_path, monkeypatch) as running:
        yield running


# --- the table that ships -----------------------------------------------------------------------


def test_the_shipped_table_is_sound() -> None:
    paths = [file.relative_path for asset in registry.assets().values() for file in asset.files]
    assert len(paths) == len(set(paths))
    for asset in registry.assets().values():
        assert len({file.relative_path.parent for file in asset.files}) == 1
        for file in asset.files:
            assert file.mirrors, file.relative_path
            assert not file.relative_path.is_absolute()
            assert ".." not in file.relative_path.parts
            assert all(re.fullmatch(r"[0-9a-f]{64}", content.sha256) for content in file.contents)
            assert all(content.bytes > 0 for content in file.contents)


def test_every_encoder_that_can_be_chosen_is_in_the_table() -> None:
    chosen = {name.value for name in EmbedderModel} - {EmbedderModel.STARTER, EmbedderModel.CUSTOM}
    assert chosen == {name for name, asset in registry.assets().items() if asset.kind == "encoder"}


def test_urls_are_those_of_the_public_host_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (mirror, second) = registry.asset("rmvpe").files[0].mirrors
    assert mirror.url == "https://huggingface.co/licyk/rvc-model/resolve/main/rmvpe/rmvpe.pt"
    assert second.repository == "lj1995/VoiceConversionWebUI"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert mirror.url == "https://mirror.example/licyk/rvc-model/resolve/main/rmvpe/rmvpe.pt"
    monkeypatch.setenv("URVC_HF_ENDPOINT", "http://localhost:1")
    assert mirror.url.startswith("http://localhost:1/licyk")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="'rmvp': did you mean rmvpe"):
        registry.locate("rmvp")


# --- having a model -----------------------------------------------------------------------------


def test_one_file_is_located_as_a_file_and_several_as_their_folder(server: Loopback) -> None:
    assert registry.locate("tone") is None
    tone = put("predictors/tone.pt", PITCH)
    assert registry.locate("tone") == tone
    put("embedders/small/model.bin", WEIGHTS)
    assert registry.locate("small") is None
    put("embedders/small/config.json", CONFIG)
    assert registry.locate("small") == models("embedders/small")
    assert server.requests == []


def test_another_published_form_counts_as_the_file(server: Loopback) -> None:
    put("embedders/small/model.bin", WEIGHTS)
    put("embedders/small/config.json", OLD_CONFIG)
    assert registry.locate("small") is not None


@pytest.mark.parametrize("content", [PITCH[:-1], PITCH[:-1] + b"!", b""], ids=["short", "same size", "empty"])
def test_a_damaged_file_does_not_count_and_is_named(
    server: Loopback, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    tone = put("predictors/tone.pt", content)
    with caplog.at_level(logging.WARNING):
        assert registry.locate("tone") is None
    assert f"{tone} is not the published file" in caplog.text
    assert registry.require("tone").read_bytes() == PITCH


def test_the_checksum_is_computed_once_and_again_after_a_change(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = stamps.file_hash
    monkeypatch.setattr(stamps, "file_hash", lambda path: (hashed.append(path), real(path))[1])
    tone = put("predictors/tone.pt", PITCH)
    assert registry.locate("tone") == registry.locate("tone") == tone
    assert len(hashed) == 1
    put("predictors/tone.pt", PITCH[:-1] + b"!")
    os.utime(tone, ns=(1, 1))
    assert registry.locate("tone") is None
    assert len(hashed) == 2


def test_a_folder_that_may_not_be_written_to_is_read_all_the_same(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(path)

    tone = put("predictors/tone.pt", PITCH)
    monkeypatch.setattr(stamps, "atomic_path", refuse)
    assert registry.locate("tone") == tone


# --- getting a model ----------------------------------------------------------------------------


def test_what_is_missing_is_fetched_and_what_is_there_is_not(server: Loopback) -> None:
    put("embedders/small/config.json", CONFIG)
    reports: list[float] = []
    folder = registry.require("small", Progress(lambda step, fraction, text: reports.append(fraction)))
    assert folder.joinpath("model.bin").read_bytes() == WEIGHTS
    assert [path for path, _ in server.requests] == ["/team/one/resolve/main/a/model.bin"]
    assert reports[-1] == pytest.approx(1.0)
    assert registry.require("small") == folder
    assert len(server.requests) == 1


def test_the_second_mirror_is_asked_when_the_first_has_it_not(server: Loopback) -> None:
    server.serve("/team/one/resolve/main/a/model.bin", says(404))
    server.serve("/team/two/resolve/v1/b%2520.bin", by_range(WEIGHTS))  # a name's percent sign is its own
    assert registry.require("small").joinpath("model.bin").read_bytes() == WEIGHTS


def test_a_failed_download_names_model_mirrors_and_place(server: Loopback) -> None:
    server.serve("/team/one/resolve/main/tone.pt", says(404))
    with pytest.raises(DownloadError, match="'tone' could not be downloaded") as raised:
        registry.require("tone")
    assert "404 Not Found" in str(raised.value)
    assert str(models("predictors/tone.pt")) in str(raised.value)


def test_offline_nothing_is_asked_for_and_the_way_out_is_told(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URVC_OFFLINE", "1")
    with pytest.raises(AssetMissingError, match="URVC_OFFLINE forbids downloading") as raised:
        registry.require("tone")
    assert "/team/one/resolve/main/tone.pt" in str(raised.value)
    assert server.requests == []
    tone = put("predictors/tone.pt", PITCH)
    assert registry.require("tone") == tone


def test_offline_set_to_zero_means_online(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URVC_OFFLINE", "0")
    assert registry.require("tone").read_bytes() == PITCH
