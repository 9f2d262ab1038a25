"""``urvc export`` through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from command_line import Urvc, calls
from voice_factory import write_voice


@pytest.fixture
def export(capfd: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capfd, "export", "--model", "starter")


@pytest.fixture
def export_small(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Urvc:
    """Of a voice with fewer layers than the starter's: what an export takes grows with their number."""
    voice = write_voice(
        tmp_path / "small.pth", embedder="starter", sample_rate=32000, layers=1, resblock_kernels=(3,)
    )
    return calls(capfd, "export", "--model", str(voice))


def test_a_voice_is_exported_and_runs_elsewhere(export_small: Urvc, tmp_path: Path) -> None:
    folder = tmp_path / "small-onnx"
    code, out, err = export_small("--backend", "onnx", "--output", folder, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["left_out"] == {}
    described = json.loads((folder / "export.json").read_text())
    assert (described["voice"], described["sample_rate"], described["hop_length"]) == ("small", 32000, 320)
    parts = {part["part"]: part for part in described["parts"]}
    assert set(parts) == {"content_encoder", "text_encoder", "flow", "vocoder"}
    session = onnxruntime.InferenceSession(
        folder / "vocoder" / "part.onnx", providers=["CPUExecutionProvider"]
    )
    given = {
        port["name"]: np.zeros(
            [80 * port["per_step"] if size is None else size for size in port["shape"]], "f4"
        )
        for port in parts["vocoder"]["inputs"]
    }
    (waveform,) = session.run(None, given)
    assert waveform.shape == (1, 1, 80 * 320)
    code, _, err = export_small("--backend", "onnx", "--output", folder)
    assert (code, err) == (2, f"Error: {folder} is there already; choose a new folder as --output.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--backend", "torch"],
            "--backend is torch, but must be one of torchscript, onnx, openvino, coreml, mlx, tensorrt.",
        ),
        (
            ["--backend", "torchscript", "--precision", "int8"],
            "--backend torchscript computes in float32, not in int8;",
        ),
    ],
)
def test_what_is_not_exported_is_told(export: Urvc, tmp_path: Path, words: list[str], said: str) -> None:
    code, _, err = export(*words, "--output", tmp_path / "new")
    assert code == 2
    assert err.startswith(f"Error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(export: Urvc, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the user")
    code, _, err = export("--backend", "torchscript", "--output", tmp_path / "file" / "new")
    assert code == 2
    assert err.startswith(f"Error: {tmp_path / 'file' / 'new'} cannot be made")
    assert (tmp_path / "file").read_text() == "of the user"
