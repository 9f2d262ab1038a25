"""Choosing a model, and running networks through pymss with tiny random checkpoints."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from separation_material import FloatArray, write_halving_model, write_tiny_model
from ultimate_rvc.assets import registry
from ultimate_rvc.errors import AssetMissingError, OutOfMemoryError, SeparationError
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation import (
    DEFAULT_MODELS,
    SEPARATION_MODELS,
    SeparationTask,
    choose,
    model_names,
    neural,
    pymss_network,
    remove_reverb,
    separate,
    split_lead_backing,
)

pytest.importorskip("pymss")

RATE = 44_100
VOCALS_FILE = SEPARATION_MODELS["vocals"].file_name


@pytest.fixture(autouse=True)
def _no_search_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """pymss looks for garbage after each separation; among all that tests have loaded that takes longer than it."""
    from pymss import separator

    monkeypatch.setattr(separator, "gc", SimpleNamespace(collect=lambda: 0))


def noise(seconds: float, channels: int = 2, rate: int = RATE) -> FloatArray:
    signal = np.random.default_rng(0).standard_normal((channels, round(seconds * rate)))
    return (0.1 * signal).astype(np.float32)


def low_pass(signal: FloatArray, rate: int) -> FloatArray:
    """Without what a resampler has to take away."""
    filtered = sosfiltfilt(butter(12, 0.35 * rate, fs=rate, output="sos"), signal, axis=-1)
    return np.asarray(filtered, dtype=np.float32)


# --- choosing -----------------------------------------------------------------------------------


def test_auto_falls_back_to_dsp_with_exactly_one_warning(
    separation_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        stems = separate(noise(1), RATE)
    assert stems.model == "dsp"
    assert len(stems.warnings) == 1
    assert "signal processing" in stems.warnings[0]
    assert "'vocals' is not available" in stems.warnings[0]
    assert [record.getMessage() for record in caplog.records] == list(stems.warnings)


def test_auto_takes_the_network_when_its_file_is_present(separation_folder: Path) -> None:
    write_tiny_model("bs_roformer", separation_folder / VOCALS_FILE)
    stems = separate(noise(1), RATE, device="cpu")
    assert stems.model == "vocals"
    assert stems.warnings == ()


def test_auto_takes_the_network_when_it_can_be_downloaded(
    separation_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(name: str, progress: Progress, **options: Any) -> Path:
        asked.append(name)
        return write_tiny_model("bs_roformer", separation_folder / "elsewhere" / VOCALS_FILE)

    monkeypatch.delenv("URVC_OFFLINE")
    monkeypatch.setattr(registry, "download", download)
    assert separate(noise(1), RATE, device="cpu").model == "vocals"
    assert asked == ["separation-vocals"]


@pytest.mark.parametrize("name", ["vocals", "mdx23c", "vr-vocals", "Kim_MelBandRoformer"])
def test_a_model_asked_for_by_name_never_falls_back(separation_folder: Path, name: str) -> None:
    with pytest.raises(AssetMissingError) as caught:
        separate(noise(1), RATE, model=name)
    assert "URVC_OFFLINE" in str(caught.value)


def test_unknown_models_and_models_of_other_tasks_are_named_with_the_choices(separation_folder: Path) -> None:
    with pytest.raises(SeparationError, match=r"'magic' is neither known nor a file.*vocals-aggressive"):
        separate(noise(1), RATE, model="magic")
    with pytest.raises(
        SeparationError, match=r"'dereverb' is for reverb, not for vocals: choose one of auto, dsp"
    ):
        separate(noise(1), RATE, model="dereverb")


def test_without_pymss_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, separation_folder: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pymss" else find_spec(name)
    )
    with pytest.raises(SeparationError, match="needs the package pymss, which is not installed"):
        separate(noise(1), RATE, model="vocals")
    stems = separate(noise(1), RATE)
    assert stems.model == "dsp"
    assert "pymss" in stems.warnings[0]


def test_every_task_offers_auto_dsp_and_its_default() -> None:
    for task in SeparationTask:
        names = model_names(task)
        assert names[:2] == ["auto", "dsp"]
        assert DEFAULT_MODELS[task] in names
    assert SEPARATION_MODELS["dsp"].needs_download is False
    assert all(model.bytes > 0 for model in SEPARATION_MODELS.values() if model.needs_download)


def test_models_left_to_pymss_are_in_its_catalog_and_separate() -> None:
    from pymss import get_model_entry

    for model in SEPARATION_MODELS.values():
        if model.needs_download and model.asset is None:
            entry = get_model_entry(model.file_name)
            assert entry.model_type in pymss_network.ARCHITECTURES
            assert entry.size_bytes == model.bytes


@pytest.mark.parametrize(
    "name", ["vocals", "vocals-aggressive", "karaoke", "dereverb", "dereverb-aggressive"]
)
def test_our_configurations_describe_networks_of_the_published_size(name: str) -> None:
    from pymss.utils import get_model_from_config

    model = SEPARATION_MODELS[name]
    mel = (
        {"mlp_hidden_layers": 2} if model.architecture == "mel_band_roformer" else None
    )  # read off the weights
    with torch.device("meta"):
        network, _ = get_model_from_config(
            model.architecture, str(choose.CONFIGS_DIR / model.config_name), model_kwargs_override=mel
        )
    half_precision_bytes = 2 * sum(tensor.numel() for tensor in network.state_dict().values())
    overhead = model.bytes - half_precision_bytes
    assert 0 < overhead < 600 * len(network.state_dict())  # names and headers of a zip of tensors


def test_a_host_that_refuses_or_keeps_silent_is_given_up_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setattr(choose, "CONNECT_SECONDS", 0.3)
        monkeypatch.setattr(
            choose, "CATALOG_HOSTS", {"refusing": "http://127.0.0.1:1", "silent": f"http://127.0.0.1:{port}"}
        )
        assert choose._reachable_source() is None


def test_a_host_that_answers_anything_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            """Keep the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(choose, "CATALOG_HOSTS", {"here": f"http://127.0.0.1:{server.server_port}"})
    try:
        assert choose._reachable_source() == "here"
    finally:
        server.shutdown()
        server.server_close()


# --- running ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "channels", "rate"),
    [("bs_roformer", 2, 44_100), ("bs_roformer", 1, 32_000), ("mdx23c", 2, 44_100)],
)
def test_networks_keep_shape_and_rate_and_are_deterministic(
    separation_folder: Path, architecture: str, channels: int, rate: int
) -> None:
    write_tiny_model(architecture, separation_folder / "mine.ckpt")
    song = noise(1.2, channels, rate)
    first, second = (separate(song, rate, model="mine", device="cpu") for _ in range(2))
    assert first.model == "mine"
    assert first.sample_rate == rate
    assert first.vocals.shape == song.shape
    assert first.vocals.dtype == np.float32
    assert np.abs(first.vocals).max() > 0
    np.testing.assert_allclose(first.vocals + first.instrumental, song, atol=1e-6)
    assert first.vocals.tobytes() == second.vocals.tobytes()


@pytest.mark.parametrize(("channels", "rate"), [(2, 44_100), (1, 44_100), (2, 24_000)])
def test_a_network_whose_mask_is_one_half_gives_half_the_song(
    separation_folder: Path, channels: int, rate: int
) -> None:
    write_halving_model(separation_folder / "half.ckpt")
    song = low_pass(noise(2.3, channels, rate), rate)
    song[0] *= 2  # so that swapped channels would show
    stems = separate(song, rate, model="half", device="cpu")
    inner = slice(rate // 10, -rate // 10)  # a resampler rings where the noise starts and ends
    np.testing.assert_allclose(stems.vocals[:, inner], 0.5 * song[:, inner], atol=2e-4)
    assert any("vocals contain the mixture" in warning for warning in stems.warnings)


def test_lead_and_dereverb_steps_run_networks_as_well(separation_folder: Path) -> None:
    write_tiny_model("bs_roformer", separation_folder / "lead.ckpt")
    write_tiny_model("mel_band_roformer", separation_folder / SEPARATION_MODELS["dereverb"].file_name)
    voices = noise(1.2)
    parts = split_lead_backing(voices, RATE, model="lead", device="cpu")
    np.testing.assert_allclose(parts.lead + parts.backing, voices, atol=1e-6)
    dry = remove_reverb(voices, RATE, device="cpu")
    assert dry.model == "dereverb"
    np.testing.assert_allclose(dry.dry + dry.reverb, voices, atol=1e-6)


def test_long_audio_reaches_the_network_in_blocks(
    separation_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymss import MSSeparator

    write_halving_model(separation_folder / "half.ckpt")
    given: list[int] = []
    original = MSSeparator.separate

    def spy(self: Any, mix: FloatArray, **options: Any) -> Any:
        given.append(mix.shape[-1])
        return original(self, mix, **options)

    monkeypatch.setattr(MSSeparator, "separate", spy)
    song = noise(8)
    monkeypatch.setattr(neural, "BLOCK_SECONDS", 3.5)
    vocals = separate(song, RATE, model="half", device="cpu").vocals
    assert len(given) > 2
    assert max(given) <= 4.25 * RATE  # a block, or one with a remainder shorter than half its step
    np.testing.assert_allclose(vocals, 0.5 * song, atol=1e-4)


@pytest.mark.parametrize("device", ["auto", "mps", "cuda", "cpu"])
def test_the_device_is_passed_on(
    separation_folder: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    import pymss

    write_tiny_model("bs_roformer", separation_folder / "mine.ckpt")
    seen: list[str] = []

    def refuse(**options: Any) -> None:
        seen.append(options["device"])
        raise RuntimeError("no such device")

    monkeypatch.setattr(pymss, "MSSeparator", refuse)
    with pytest.raises(SeparationError, match=rf"could not be run on '{device}': no such device"):
        separate(noise(1), RATE, model="mine", device=device)
    assert seen == [device]


def test_a_full_device_gets_shorter_chunks_and_then_one_sentence(
    separation_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = write_tiny_model("bs_roformer", separation_folder / "mine.ckpt")
    config = checkpoint.with_suffix(".yaml")
    config.write_text(config.read_text(encoding="utf-8").replace("chunk_size: 44100", "chunk_size: 352800"))
    tried: list[int | None] = []
    opened = neural._open

    def small_device(files: Any, device: str, chunk_size: int | None, effort: Any) -> Any:
        tried.append(chunk_size)
        if len(tried) < fitting:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
        return opened(files, device, chunk_size, effort)

    monkeypatch.setattr(neural, "_open", small_device)
    fitting = 3
    assert separate(noise(2), RATE, model="mine", device="cpu").vocals.shape == (2, 2 * RATE)
    assert tried == [None, 176_400, 88_200]
    assert sum("out of memory" in record.getMessage() for record in caplog.records) == 2
    tried.clear()
    fitting = 99
    with pytest.raises(OutOfMemoryError, match="model 'dsp'"):
        separate(noise(2), RATE, model="mine", device="cpu")


def test_a_damaged_checkpoint_is_one_sentence(separation_folder: Path) -> None:
    checkpoint = write_tiny_model("bs_roformer", separation_folder / "mine.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(SeparationError, match=r"'mine'.*could not be run"):
        separate(noise(1), RATE, model="mine", device="cpu")


def test_samples_that_are_not_numbers_are_refused(
    separation_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymss import MSSeparator

    write_tiny_model("bs_roformer", separation_folder / "mine.ckpt")
    monkeypatch.setattr(MSSeparator, "separate", lambda self, mix, **options: {"vocals": mix.T * np.nan})
    with pytest.raises(SeparationError, match="not numbers"):
        separate(noise(1), RATE, model="mine", device="cpu")


def test_a_network_without_the_wanted_stem_is_named(separation_folder: Path) -> None:
    write_tiny_model("mel_band_roformer", separation_folder / "mine.ckpt")
    with pytest.raises(SeparationError, match="gives dry, reverb, none of which"):
        separate(noise(1), RATE, model="mine", device="cpu")


def test_a_checkpoint_without_configuration_says_what_to_put_beside_it(separation_folder: Path) -> None:
    write_tiny_model("bs_roformer", separation_folder / "mine.ckpt").with_suffix(".yaml").unlink()
    with pytest.raises(SeparationError, match=r"put its YAML beside it as mine\.yaml"):
        separate(noise(1), RATE, model="mine")


class Trap:
    """Pickles to a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["demucs", "vr-vocals", "vocals"])
def test_a_checkpoint_that_would_execute_code_is_refused_unexecuted(
    separation_folder: Path, name: str
) -> None:
    sprung = separation_folder / "sprung"
    checkpoint = separation_folder / SEPARATION_MODELS[name].file_name
    torch.save({"state": {"weight": torch.zeros(2)}, "more": Trap(sprung)}, checkpoint)
    checkpoint.with_suffix(".yaml").write_text("model: htdemucs\nhtdemucs: {}\n", encoding="utf-8")
    with pytest.raises(SeparationError, match=f"'{name}'"):
        separate(noise(1), RATE, model=name, device="cpu")
    assert not sprung.exists()
