"""``urvc doctor``: what is there is found, what is missing is named with the way to get it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ultimate_rvc import doctor
from ultimate_rvc.assets import registry
from ultimate_rvc.cli import main
from ultimate_rvc.switches import VARIABLES


@pytest.fixture
def report() -> doctor.Report:
    return doctor.examine()


def model(report: doctor.Report, name: str) -> doctor.ModelState:
    (found,) = [model for model in report.models if model.name == name]
    return found


def test_what_ships_with_the_packages_is_present(report: doctor.Report) -> None:
    for name in ("starter", "fcpe", "crepe", "crepe-tiny"):
        assert model(report, name).is_present, name
        assert Path(model(report, name).path or "").is_file()
    assert model(report, "dsp").is_present


def test_what_is_missing_is_named_with_the_way_to_get_it(report: doctor.Report) -> None:
    for missing in (found for found in report.models if not found.is_present):
        assert missing.way_out, missing.name
    assert model(report, "rmvpe").way_out == "181 MB, get it with `urvc download rmvpe`"
    assert "urvc download separation-vocals" in model(report, "vocals").way_out


def test_every_download_it_names_exists(report: doctor.Report) -> None:
    named = [found.way_out.partition("`urvc download ")[2].rstrip("`") for found in report.models]
    assert len([registry.asset(name) for name in named if name]) >= 10


def test_a_model_that_is_there_is_shown_with_its_place(tmp_path: Path) -> None:
    checkpoint = Path(os.environ["URVC_MODELS_DIR"], "separation", "MDX23C-8KFFT-InstVoc_HQ.ckpt")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert model(doctor.examine(), "mdx23c").path == str(checkpoint)


def test_voices_of_the_library_are_named() -> None:
    folder = Path(os.environ["URVC_VOICE_MODELS_DIR"], "Anna")
    folder.mkdir(parents=True)
    (folder / "Anna.pth").write_bytes(b"0")
    assert doctor.examine().voices == ("Anna",)


def test_devices_end_with_the_cpu_and_the_first_is_the_default(report: doctor.Report) -> None:
    assert report.devices[-1].name == "cpu"
    assert report.as_dict()["default_device"] == report.devices[0].name


def test_where_a_driver_offers_a_gpu_torch_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gpu_driver_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (6 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "A GPU")
    found = doctor.examine()
    assert found.devices[0] == doctor.ComputeDevice("cuda:0", "A GPU", 8 * 10**9, 6 * 10**9)
    assert any("cuda:0" in line and "(6.0 GB free of 8.0 GB)" in line for line in found.lines())


@pytest.mark.skipif(sys.platform == "darwin", reason="torch is asked for the GPU there")
def test_without_a_gpu_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, ultimate_rvc.device as device; device.gpu_driver_present = lambda: False\n"
        "from ultimate_rvc.doctor import examine\n"
        "print(*examine().problems, *sys.modules, sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(doctor.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines())
    assert "ultimate_rvc.voices.library" in loaded
    heavy = {"torch", "numpy", "scipy", "numba", "librosa", "faiss", "av", "transformers", "pymss", "gradio"}
    assert loaded.isdisjoint(heavy)


def test_memory_and_disk_are_plausible(report: doctor.Report) -> None:
    assert report.memory_total_bytes is not None
    assert report.memory_available_bytes is not None
    assert 10**8 < report.memory_available_bytes <= report.memory_total_bytes < 10**14
    assert {folder.purpose for folder in report.folders} == {"models", "voices", "audio"}
    assert all(folder.free_bytes > 0 for folder in report.folders)


def test_memory_of_macos_is_read_from_vm_stat() -> None:
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               10000.\n"
        "Pages active:                            500000.\n"
        "Pages inactive:                           20000.\n"
        "Pages speculative:                         3000.\n"
        "Pages wired down:                        100000.\n"
    )
    assert doctor.available_from_vm_stat(text) == 33_000 * 16384
    assert doctor.available_from_vm_stat("") is None


def test_a_missing_or_wrong_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [
        "no-such-package>=1",
        "numpy<1",
        "rich>=1",
        'pytest>=1; extra == "dev"',
        'absent; sys_platform == "win32"',
    ]
    of_torch = ["no-such-part-of-torch", 'no-such-gpu-library; sys_platform != "win32"']
    requires = {doctor.DISTRIBUTION: needs, "torch": of_torch}
    monkeypatch.setattr(importlib.metadata, "requires", requires.get)
    problems = [problem for problem in doctor.examine().problems if "install" in problem]
    assert any(
        problem.startswith("no-such-package is not installed: run ./urvc-macos.sh") for problem in problems
    )
    assert any(problem.startswith("no-such-part-of-torch is not installed") for problem in problems)
    assert any(problem.startswith("numpy is ") and "<1 is needed" in problem for problem in problems)
    assert not any(word in problem for problem in problems for word in ("rich", "pytest", "absent", "gpu"))


def test_a_missing_starter_encoder_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "packaged_assets_dir", lambda: tmp_path)
    report = doctor.examine()
    assert not model(report, "starter").is_present
    assert any("starter encoder" in problem for problem in report.problems)


def test_json_is_the_only_thing_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.run(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"versions", "devices", "memory_available_bytes", "models", "voices", "problems"} <= set(found)


def test_people_are_shown_the_same(report: doctor.Report) -> None:
    text = "\n".join(report.lines())
    for found in report.models:
        assert found.name in text
        assert (found.path or found.way_out) in text
    assert report.versions["torch"] in text


def test_the_optimisation_in_force_is_told_with_its_origins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RVC_DEVICE", "cpu")
    monkeypatch.setenv("RVC_BATCH_SIZE", "auto")
    with pytest.raises(SystemExit):
        main.run(["doctor", "--json"])
    told = {row["name"]: row for row in json.loads(capsys.readouterr().out)["optimization"]}
    assert list(told) == list(VARIABLES.values())
    assert told["batch_size"] == {"name": "batch_size", "value": "auto", "origin": "RVC_BATCH_SIZE"}
    assert told["fast_vocoder"] == {"name": "fast_vocoder", "value": True, "origin": "default for cpu"}
    shown = [line.split(maxsplit=2) for line in doctor.examine().lines()]
    assert ["batch_size", "auto", "(RVC_BATCH_SIZE)"] in shown
    assert ["fast_vocoder", "true", "(default for cpu)"] in shown


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("RVC_BATCH_SIZE", "0", "RVC_BATCH_SIZE is '0', but must be 1 to 64 or auto."),
        (
            "RVC_BATCHSIZE",
            "2",
            "RVC_BATCHSIZE is unknown and changes nothing; did you mean 'RVC_BATCH_SIZE'?",
        ),
    ],
)
def test_a_wrong_or_unknown_variable_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str
) -> None:
    monkeypatch.setenv(variable, text)
    assert any(said in problem for problem in doctor.examine().problems)
