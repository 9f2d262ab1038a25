"""Which configuration is in force, where its values came from, and what is said of wrong ones."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from ultimate_rvc import switches as config_module
from ultimate_rvc.choices import Backend
from ultimate_rvc.cli.options import SWITCH_FLAGS
from ultimate_rvc.errors import SettingError
from ultimate_rvc.switches import (
    DEVICE_CHOICES,
    SWITCHES,
    VARIABLES,
    OptimizationConfig,
    config_for,
    get_default_config,
    resolve_config,
)

SHIPPED = Path(__file__).resolve().parents[1] / "configs"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "optimization.md"
BOOLEAN_VARIABLES = [spec.facts.variable for spec in SWITCHES.values() if spec.kind is bool]


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variables of the machine, an empty folder of settings files, a machine without GPU."""
    for variable in (*VARIABLES, "URVC_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("URVC_CONFIG_DIR", str(tmp_path))
    machine_with(monkeypatch, "cpu")
    return tmp_path


def machine_with(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr("ultimate_rvc.device.resolve_device", lambda wanted="auto": torch.device(device))


@pytest.mark.parametrize("variable", BOOLEAN_VARIABLES)
@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("true", "1", "yes", "on", "TRUE", "On", " Yes ")]
    + [(text, False) for text in ("false", "0", "no", "off", "FALSE", "Off")],
)
def test_a_switch_takes_every_spelling(variable: str, text: str, value: bool) -> None:
    resolved = resolve_config(environment={variable: text})
    assert getattr(resolved.config, VARIABLES[variable]) is value
    assert resolved.origins[VARIABLES[variable]] == variable


@pytest.mark.parametrize("variable", BOOLEAN_VARIABLES)
@pytest.mark.parametrize("text", ["maybe", "2", "-1", "tru", "True False"])
def test_a_wrong_switch_names_variable_value_and_choices(variable: str, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        resolve_config(environment={variable: text})
    assert str(caught.value) == (
        f"{variable} is {text!r}, but must be one of true, 1, yes, on, false, 0, no, off."
    )


@pytest.mark.parametrize("device", ["mps", "cuda", "cuda:0", "cuda:11", "cpu", "CPU"])
def test_the_device_variable_takes_every_device(device: str) -> None:
    assert resolve_config(environment={"RVC_DEVICE": device}).config.device == device.lower()


def test_several_devices_of_one_kind_bring_their_defaults() -> None:
    two = resolve_config(environment={"RVC_DEVICE": "CUDA:0, cuda:2"})
    assert (two.config.device, two.config.devices) == ("cuda:0,cuda:2", ("cuda:0", "cuda:2"))
    assert two.config == column("cuda", device="cuda:0,cuda:2")
    assert resolve_config({"device": "cpu,cpu"}).config == column("cpu", device="cpu,cpu")


@pytest.mark.parametrize(
    "values",
    [
        {"backend": Backend.ONNX},
        {"backend": Backend.COMPILE},
        {"backend": Backend.AUTO, "use_int8": True},
        {"use_tf32": True},
        {"compile_model": True},
    ],
)
def test_several_devices_refuse_what_only_one_can_do(values: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="device is cpu,cpu, but only the backend torch shares work among"):
        OptimizationConfig(device="cpu,cpu", **values)


@pytest.mark.parametrize(
    "device",
    [
        *("gpu", "cuda:", "cuda:x", "mps:1", "cpu:0", "cuda:-1"),
        *("cpu,cuda:0", "mps,mps", "cuda,cuda", "cuda:0,", "auto,auto"),
    ],
)
def test_a_wrong_device_names_variable_value_and_choices(device: str) -> None:
    with pytest.raises(SettingError) as caught:
        resolve_config(environment={"RVC_DEVICE": device})
    assert str(caught.value) == f"RVC_DEVICE is {device!r}, but must be {DEVICE_CHOICES}."


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("64", 64), (" 8 ", 8), ("08", 8), ("auto", "auto"), ("AUTO", "auto")]
)
def test_the_batch_size_is_a_number_or_auto(text: str, value: int | str) -> None:
    resolved = resolve_config(environment={"RVC_BATCH_SIZE": text})
    assert (resolved.config.batch_size, resolved.origins["batch_size"]) == (value, "RVC_BATCH_SIZE")


@pytest.mark.parametrize("text", ["0", "65", "-1", "4.0", "true", "many", "٤", "1e1", "128"])
def test_a_wrong_batch_size_names_variable_value_and_choices(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        resolve_config(environment={"RVC_BATCH_SIZE": text})
    assert str(caught.value) == f"RVC_BATCH_SIZE is {text!r}, but must be 1 to 64 or auto."


# Each variable with a value that a CPU does not choose by itself, and what then is in force.
CHANGES = {
    "RVC_DEVICE": ("cpu", {"device": "cpu"}),
    "RVC_BACKEND": ("onnx", {"backend": "onnx"}),
    "RVC_GPU_RETRIEVAL": ("on", {"use_gpu_retrieval": True}),
    "RVC_USE_FP16": ("on", {"use_fp16": True}),
    "RVC_USE_BF16": ("on", {"use_bf16": True}),
    "RVC_USE_INT8": ("on", {"use_int8": True}),
    "RVC_USE_TF32": ("on", {"use_tf32": True}),
    "RVC_GPU_FILTER": ("on", {"use_gpu_filter": True}),
    "RVC_BATCH_SIZE": ("auto", {"batch_size": "auto"}),
    "RVC_COMPILE": ("on", {"compile_model": True}),
    "RVC_FEATURE_CACHE": ("off", {"feature_cache": False}),
    "RVC_FAST_VOCODER": ("off", {"fast_vocoder": False}),
    "RVC_SKIP_SILENCE": ("off", {"skip_silence": False}),
    "RVC_PROFILING": ("on", {"enable_profiling": True}),
}


@pytest.mark.parametrize("variable", CHANGES)
def test_each_variable_changes_its_field_and_no_other(variable: str) -> None:
    text, change = CHANGES[variable]
    resolved = resolve_config(environment={variable: text})
    assert resolved.config == column("cpu", **change) != column("cpu")
    assert {name for name, origin in resolved.origins.items() if origin == variable} >= set(change)


def test_there_is_no_other_variable() -> None:
    assert list(CHANGES) == list(VARIABLES)


def test_an_empty_variable_is_none() -> None:
    assert resolve_config(environment=dict.fromkeys(VARIABLES, "")) == resolve_config(environment={})


def test_each_rank_yields_to_the_one_above(own_surroundings: Path) -> None:
    (own_surroundings / "mine.yaml").write_text("device: cuda:3\nuse_gpu_filter: yes\n")
    environment = {"URVC_CONFIG": "mine"}

    def device_and_origin(**given: object) -> tuple[str, str]:
        resolved = resolve_config(environment=environment, **given)  # type: ignore[arg-type]
        return resolved.config.device, resolved.origins["device"]

    assert resolve_config(environment={}).origins["device"] == "default for cpu"
    assert device_and_origin() == ("cuda:3", "URVC_CONFIG=mine")
    environment["RVC_DEVICE"] = "cuda:2"
    assert device_and_origin() == ("cuda:2", "RVC_DEVICE")
    given = {"arguments": {"device": "cuda:1"}}
    assert device_and_origin(**given) == ("cuda:1", "argument device")
    assert device_and_origin(**given, argument_names=SWITCH_FLAGS) == ("cuda:1", "--device")
    assert resolve_config(environment=environment).config.use_gpu_filter is True


def test_every_field_follows_the_ranks(own_surroundings: Path) -> None:
    (own_surroundings / "mine.yaml").write_text("batch_size: 5\nskip_silence: off\n")
    environment = {"URVC_CONFIG": "mine"}
    assert resolve_config(environment=environment).config == column("cpu", batch_size=5, skip_silence=False)
    environment["RVC_BATCH_SIZE"] = "4"
    assert resolve_config(environment=environment).config.batch_size == 4
    given: dict[str, object] = {"batch_size": "3", "skip_silence": None}
    resolved = resolve_config(given, environment=environment)
    assert resolved.config == column("cpu", batch_size=3, skip_silence=False)
    assert resolved.origins["batch_size"] == "argument batch_size"


def test_an_automatic_batch_size_is_a_choice_and_not_left_to_lower_ranks() -> None:
    resolved = resolve_config({"batch_size": "auto"}, environment={"RVC_BATCH_SIZE": "4"})
    assert resolved.config.batch_size == "auto"


@pytest.mark.parametrize(
    ("higher", "lower", "precision"),
    [
        ({"use_fp16": True}, {"RVC_USE_BF16": "1"}, "float16"),
        ({"use_bf16": True}, {"RVC_USE_FP16": "1"}, "bfloat16"),
        ({"use_fp16": False}, {"RVC_USE_BF16": "1"}, "bfloat16"),
        ({}, {"RVC_USE_BF16": "1", "RVC_USE_FP16": "1"}, "bfloat16"),
        ({"use_bf16": False}, {"RVC_USE_BF16": "1"}, "float32"),
    ],
)
def test_who_asks_for_a_precision_overrules_lower_ranks(
    higher: dict[str, object], lower: dict[str, str], precision: str
) -> None:
    resolved = resolve_config(higher, environment=lower)
    assert resolved.config.precision == precision
    assert set(resolved.origins) == set(SWITCHES)


@pytest.mark.parametrize("value", [None, "auto"])
def test_a_device_left_open_leaves_the_choice_to_the_next_rank(value: str | None) -> None:
    resolved = resolve_config({"device": value}, environment={"RVC_DEVICE": "cpu"})
    assert (resolved.config.device, resolved.origins["device"]) == ("cpu", "RVC_DEVICE")


# The columns of the table in docs/optimization.md; what is not named is that of the reference.
COLUMNS: dict[str, dict[str, Any]] = {
    "mps": {"use_gpu_retrieval": True, "use_gpu_filter": True},
    "cuda": {"use_gpu_retrieval": True, "use_gpu_filter": True, "use_fp16": True, "batch_size": 4},
    "cpu": {"fast_vocoder": True},
}
EVERYWHERE = {"backend": "auto", "feature_cache": True, "skip_silence": True}


def column(hardware: str, **changes: Any) -> OptimizationConfig:
    return OptimizationConfig(**(EVERYWHERE | COLUMNS[hardware] | changes))


@pytest.mark.parametrize("machine", ["mps", "cuda", "cuda:1", "cpu"])
def test_defaults_are_those_of_the_hardware(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    machine_with(monkeypatch, machine)
    assert get_default_config() == resolve_config(environment={}).config == column(machine.split(":")[0])


def test_a_device_asked_for_brings_its_own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, "cuda")
    resolved = resolve_config(environment={"RVC_DEVICE": "cpu"})
    assert resolved.config == column("cpu", device="cpu")
    assert resolved.origins["use_gpu_filter"] == "default for cpu"


def test_constructors_are_the_columns_of_the_table() -> None:
    assert OptimizationConfig.for_apple_silicon() == column("mps")
    assert OptimizationConfig.for_nvidia_gpu() == column("cuda")
    assert OptimizationConfig.for_cpu() == column("cpu")


def test_without_arguments_it_is_the_plain_reference() -> None:
    reference = asdict(OptimizationConfig())
    assert [reference.pop(name) for name in ("device", "backend", "batch_size")] == ["auto", "torch", 1]
    assert not any(reference.values())


def test_from_env_reads_the_process_and_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RVC_PROFILING", "on")
    monkeypatch.setenv("RVC_GPU_FILTR", "on")
    assert OptimizationConfig.from_env() == column("cpu", enable_profiling=True)
    assert "RVC_GPU_FILTR is unknown and changes nothing; did you mean 'RVC_GPU_FILTER'?" in caplog.text


def test_an_unknown_variable_without_a_near_name_is_told_all() -> None:
    (warning,) = resolve_config(environment={"RVC_Q": "1", "OTHER": "1"}).warnings
    assert (
        warning == f"The variable RVC_Q is unknown and changes nothing; choose from {', '.join(VARIABLES)}."
    )


def test_a_config_given_outright_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RVC_GPU_FILTER", "on")
    given = OptimizationConfig(device="cpu")
    assert config_for("auto", given) is given
    assert config_for("cuda:1", given) == OptimizationConfig(device="cuda:1")
    assert config_for("cpu", None) == column("cpu", device="cpu", use_gpu_filter=True)


def test_a_config_is_frozen_and_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        OptimizationConfig().device = "mps"  # type: ignore[misc]
    with pytest.raises(SettingError, match="device is 'gpu', but must be auto"):
        OptimizationConfig(device="gpu")
    with pytest.raises(SettingError, match="use_gpu_filter is 'yes', but must be True or False"):
        OptimizationConfig(use_gpu_filter="yes")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no optimisation 'use_gpu_filtre'; did you mean 'use_gpu_filter"):
        resolve_config({"use_gpu_filtre": True})


@pytest.mark.parametrize("value", [0, 65, True, 4.0, "4", None])
def test_a_batch_size_of_python_is_a_number_in_range_or_auto(value: Any) -> None:
    with pytest.raises(SettingError, match=r"batch_size is .*, but must be 1 to 64 or auto\."):
        OptimizationConfig(batch_size=value)


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_a_switch_of_python_is_true_or_false(value: Any) -> None:
    with pytest.raises(SettingError, match=r"use_fp16 is .*, but must be (True or False|one of true)"):
        OptimizationConfig(use_fp16=value)


@pytest.mark.parametrize(
    ("content", "precision"),
    [
        ("precision: float32", "float32"),
        ("precision: Float16", "float16"),
        ("precision: bfloat16", "bfloat16"),
        ("precision: bfloat16\nuse_fp16: false", "bfloat16"),
        ("use_bf16: true", "bfloat16"),
    ],
)
def test_precision_is_the_readable_form_of_three_switches(
    own_surroundings: Path, monkeypatch: pytest.MonkeyPatch, content: str, precision: str
) -> None:
    machine_with(monkeypatch, "cuda")
    (own_surroundings / "mine.yaml").write_text(content)
    assert resolve_config(environment={"URVC_CONFIG": "mine"}).config.precision == precision


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("precision: fp8", "precision in {path} is 'fp8', but must be float32, float16, bfloat16 or int8."),
        ("precision:", "precision in {path} is None, but must be float32, float16, bfloat16 or int8."),
        (
            "precision: float32\nuse_fp16: yes",
            "{path} has precision float32 and use_fp16 true, which contradict each other; leave one out.",
        ),
        (
            "use_bf16: false\nprecision: bfloat16",
            "{path} has precision bfloat16 and use_bf16 false, which contradict each other; leave one out.",
        ),
    ],
)
def test_a_wrong_or_contradicting_precision_is_refused(
    own_surroundings: Path, content: str, said: str
) -> None:
    path = own_surroundings / "mine.yaml"
    path.write_text(content)
    with pytest.raises(SettingError) as caught:
        resolve_config(environment={"URVC_CONFIG": "mine"})
    assert str(caught.value) == said.format(path=path)


def test_a_missing_settings_file_names_file_and_choices(own_surroundings: Path) -> None:
    (own_surroundings / "mine.yaml").write_text("")
    with pytest.raises(SettingError) as caught:
        resolve_config(environment={"URVC_CONFIG": "yours"})
    path = own_surroundings / "yours.yaml"
    assert str(caught.value) == f"URVC_CONFIG is 'yours', but there is no file {path}; there are: mine."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("use_gpu_filtre: true", "mine.yaml has the key 'use_gpu_filtre', which is none; did you mean"),
        ("bits: 4", "has the key 'bits', which is none; choose from device, backend, use_gpu_retrieval"),
        ("use_gpu_filter: perhaps", "use_gpu_filter in .*mine.yaml is 'perhaps', but must be one of true"),
        ("batch_size: 0", "batch_size in .*mine.yaml is 0, but must be 1 to 64 or auto"),
        ("device: gpu", "device in .*mine.yaml is 'gpu', but must be auto, mps"),
        ("- device", "mine.yaml must hold lines of 'key: value'"),
        ("device: [", "mine.yaml cannot be read: while parsing"),
    ],
)
def test_a_wrong_settings_file_names_file_key_and_choices(
    own_surroundings: Path, content: str, said: str
) -> None:
    (own_surroundings / "mine.yaml").write_text(content)
    with pytest.raises(SettingError, match=said):
        resolve_config(environment={"URVC_CONFIG": "mine"})


@pytest.mark.parametrize(("name", "device"), [("macos_optimized", "mps"), ("nvidia", "cuda"), ("cpu", "cpu")])
def test_shipped_settings_files(monkeypatch: pytest.MonkeyPatch, name: str, device: str) -> None:
    monkeypatch.setenv("URVC_CONFIG_DIR", str(SHIPPED))
    resolved = resolve_config(environment={"URVC_CONFIG": name})
    assert resolved.config == column(device, device=device)
    assert set(resolved.origins.values()) == {f"URVC_CONFIG={name}"}  # complete: nothing is left open


def test_every_switch_is_shown_with_its_origin() -> None:
    shown = [str(switch).split(maxsplit=2) for switch in resolve_config({"batch_size": "auto"}).switches]
    assert [name for name, _, _ in shown] == [entry.name for entry in fields(OptimizationConfig)]
    assert shown[0] == ["device", "auto", "(default for cpu)"]
    assert ["batch_size", "auto", "(argument batch_size)"] in shown


def test_the_document_lists_every_switch_with_its_defaults() -> None:
    rows = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text().splitlines() if "| `RVC_" in line]
    columns = [OptimizationConfig.for_apple_silicon(), OptimizationConfig.for_nvidia_gpu()]
    columns.append(OptimizationConfig.for_cpu())
    assert [(variable, option, name, *defaults) for variable, option, name, _, *defaults in rows] == [
        (
            f"`{spec.facts.variable}`",
            f"`{SWITCH_FLAGS[name]}`",
            f"`{name}`",
            *(str(getattr(config, name)).lower() for config in columns),
        )
        for name, spec in SWITCHES.items()
    ]


def test_a_configuration_needs_no_torch() -> None:
    code = (
        "import sys; from ultimate_rvc.rvc.infer.optimization import OptimizationConfig as C;"
        "C(device='mps'); sys.exit('torch' in sys.modules)"
    )
    source = Path(config_module.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(source)}).returncode == 0


def test_both_names_are_exported(caplog: pytest.LogCaptureFixture) -> None:
    from ultimate_rvc.rvc.infer import optimization
    from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler

    assert optimization.PerformanceProfiler is PerformanceProfiler
    with caplog.at_level(logging.INFO), pytest.raises(AttributeError, match="nothing"):
        _ = optimization.nothing
