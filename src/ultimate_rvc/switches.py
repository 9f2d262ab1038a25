"""How a conversion is computed, never what: which ways are taken, and who said so.

Any two configurations give the same sound within the tolerances of docs/performance.md. Nothing heavy
is imported until the hardware is asked for.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ultimate_rvc import settings_files
from ultimate_rvc.choices import Backend, Device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import nearest
from ultimate_rvc.settings import setting, settings_of
from ultimate_rvc.settings_files import COVER_PART, FILE_VARIABLE, TRAIN_PART

log = logging.getLogger(__name__)

PREFIX = "RVC_"
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
ARGUMENT = "argument {}"  # how a value's origin is told
HARDWARE_ORIGIN = "default for "
DEVICE_CHOICES = "auto, mps, cuda, cuda:N, cpu, or several of one kind, such as cuda:0,cuda:1"
_DEVICE = re.compile(r"auto|mps|cuda(:[0-9]+)?|cpu|cuda:[0-9]+(,cuda:[0-9]+)+|cpu(,cpu)+")
AUTO_BATCH: Literal["auto"] = "auto"
BACKEND_CHOICES = ", ".join(Backend)
TORCHS_OWN = (Backend.AUTO, Backend.TORCH, Backend.COMPILE)
INT8_BACKENDS = (Backend.ONNX, Backend.OPENVINO)  # the better one first, as measured in docs/backends.md
MAX_BATCH_SIZE = 64
BATCH_CHOICES = f"1 to {MAX_BATCH_SIZE} or {AUTO_BATCH}"
_BATCH_SIZE = re.compile(r"[0-9]{1,2}")
Precision = Literal["float32", "float16", "bfloat16", "int8"]


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """The ways a conversion takes; without arguments the plain float32 reference, one chunk at a time.

    Each field is a variable, a command-line option and a key of settings files as well; docs/optimization.md
    tells what they do and cost. :func:`resolve_config` gives the configuration that all of these ask for.

    Raises
    ------
    SettingError
        A value is no choice.
    """

    device: str = setting(Device.AUTO.value, f"Where to compute: {DEVICE_CHOICES}.", variable="RVC_DEVICE")
    backend: Backend = setting(
        Backend.TORCH,
        "What runs the networks; auto takes the fastest exact one that was measured here.",
        variable="RVC_BACKEND",
    )
    use_gpu_retrieval: bool = setting(
        False,
        "Search the index on the device, exactly, instead of with faiss on the CPU.",
        variable="RVC_GPU_RETRIEVAL",
        label="Search the index on the device",
    )
    use_fp16: bool = setting(
        False,
        "Run vocoder and encoder in float16, for GPUs made for it.",
        variable="RVC_USE_FP16",
        label="Half precision (float16)",
    )
    use_bf16: bool = setting(
        False,
        "The same in bfloat16 (float16, then float32, where the device has none).",
        variable="RVC_USE_BF16",
        label="Half precision (bfloat16)",
    )
    use_int8: bool = setting(
        False,
        "Run vocoder and encoder in 8 bits, with the backends onnx and openvino.",
        variable="RVC_USE_INT8",
        label="8 bits (int8)",
    )
    use_tf32: bool = setting(
        False,
        "Let NVIDIA GPUs round float32 products to TF32: faster, slightly less exact.",
        variable="RVC_USE_TF32",
        label="TF32",
    )
    use_gpu_filter: bool = setting(
        False,
        "Filter on the device instead of with scipy: the signal stays there.",
        variable="RVC_GPU_FILTER",
        label="Filter on the device",
    )
    batch_size: int | Literal["auto"] = setting(
        1,
        f"Chunks converted at once: {BATCH_CHOICES} (by free memory).",
        variable="RVC_BATCH_SIZE",
        label="Chunks at once",
    )
    compile_model: bool = setting(
        False,
        "Compile the vocoder with torch.compile: slow to start, faster afterwards.",
        variable="RVC_COMPILE",
        label="Compile the voice",
    )
    feature_cache: bool = setting(
        False,
        "Keep features and pitch of each vocal on disk for its next conversion.",
        variable="RVC_FEATURE_CACHE",
        label="Keep features of vocals",
    )
    fast_vocoder: bool = setting(
        False,
        "CPU only: run in tiles that fit the cache, with fewer multiplications.",
        variable="RVC_FAST_VOCODER",
    )
    skip_silence: bool = setting(
        False, "Do not compute the voice in gaps of the source.", variable="RVC_SKIP_SILENCE"
    )
    enable_profiling: bool = setting(
        False,
        "Measure the stages and show their times; each then waits for the device.",
        variable="RVC_PROFILING",
        label="Measure the stages",
    )

    def __post_init__(self) -> None:
        for name in FIELDS:
            value = getattr(self, name)
            parsed = _parsed(name, value, name)
            # Neither a text that stands for a value, nor 1 for True.
            if parsed != value or isinstance(parsed, bool) is not isinstance(value, bool):
                raise SettingError(f"{name} is {value!r}, but must be {_python_choices(name)}.")
        if self.use_int8 and self.backend not in (Backend.AUTO, *INT8_BACKENDS):
            raise SettingError(
                f"use_int8 needs the backend {' or '.join(INT8_BACKENDS)}, but it is {self.backend}.",
                "use_int8",
            )

        alone = self.use_int8 or self.use_tf32 or self.compile_model
        if len(self.devices) > 1 and (alone or self.backend not in (Backend.AUTO, Backend.TORCH)):
            raise SettingError(
                f"device is {self.device}, but only the backend torch shares work among several devices, without "
                "use_int8, use_tf32 and compile_model.",
                "device",
            )

    @property
    def devices(self) -> tuple[str, ...]:
        """Each device by itself: the chunks of a conversion are shared among them, all else is on the first."""
        return tuple(self.device.split(","))

    @property
    def precision(self) -> Precision:
        """What the networks are asked to run in: int8 goes before bfloat16, and that before float16."""
        if self.use_int8:
            return "int8"
        return "bfloat16" if self.use_bf16 else "float16" if self.use_fp16 else "float32"

    @property
    def compiles(self) -> bool:
        """Whether the vocoder runs through ``torch.compile``: ``compile_model`` says so too."""
        return self.backend is Backend.COMPILE or (self.compile_model and self.backend in TORCHS_OWN)

    @classmethod
    def from_env(cls) -> OptimizationConfig:
        """What environment, settings file and hardware ask for; unknown ``RVC_*`` variables are warned of.

        Raises
        ------
        SettingError
            A variable or the settings file holds something that is no choice.
        """
        resolved = resolve_config()
        resolved.log_warnings()
        return resolved.config

    @classmethod
    def for_apple_silicon(cls) -> OptimizationConfig:
        return cls(**HARDWARE_DEFAULTS[Device.MPS.value])

    @classmethod
    def for_nvidia_gpu(cls) -> OptimizationConfig:
        return cls(**HARDWARE_DEFAULTS[Device.CUDA.value])

    @classmethod
    def for_cpu(cls) -> OptimizationConfig:
        return cls(**HARDWARE_DEFAULTS[Device.CPU.value])


SWITCHES = settings_of(OptimizationConfig)
FIELDS = tuple(SWITCHES)
PRECISION = "precision"  # in settings files: one readable word for three switches
PRECISIONS = {
    "float32": {"use_fp16": False, "use_bf16": False, "use_int8": False},
    "float16": {"use_fp16": True, "use_bf16": False, "use_int8": False},
    "bfloat16": {"use_fp16": False, "use_bf16": True, "use_int8": False},
    "int8": {"use_fp16": False, "use_bf16": False, "use_int8": True},
}
PRECISION_CHOICES = "float32, float16, bfloat16 or int8"
FILE_KEYS = (*FIELDS, PRECISION, COVER_PART, TRAIN_PART)
VARIABLES = {entry.facts.variable: name for name, entry in SWITCHES.items()}
HARDWARE_DEFAULTS: dict[str, dict[str, Any]] = {
    Device.MPS.value: {
        "backend": Backend.AUTO,
        "use_gpu_retrieval": True,
        "use_gpu_filter": True,
        "feature_cache": True,
        "skip_silence": True,
    },
    Device.CUDA.value: {
        "backend": Backend.AUTO,
        "use_gpu_retrieval": True,
        "use_fp16": True,
        "use_gpu_filter": True,
        "batch_size": 4,
        "feature_cache": True,
        "skip_silence": True,
    },
    Device.CPU.value: {
        "backend": Backend.AUTO,
        "feature_cache": True,
        "fast_vocoder": True,
        "skip_silence": True,
    },
}


def get_default_config() -> OptimizationConfig:
    """The configuration of this machine's best device, whatever environment and settings file say."""
    return OptimizationConfig(**HARDWARE_DEFAULTS[_hardware(Device.AUTO)])


@dataclass(frozen=True)
class Switch:
    """One value in force and where it came from."""

    name: str
    value: str | int
    origin: str

    @property
    def is_chosen(self) -> bool:
        """Whether a person decided it, not the hardware."""
        return not self.origin.startswith(HARDWARE_ORIGIN)

    @property
    def shown_value(self) -> str:
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)

    def __str__(self) -> str:
        return f"{self.name:<18} {self.shown_value:<6} ({self.origin})"


@dataclass(frozen=True)
class ResolvedConfig:
    """A configuration, where each of its values came from, and what to warn of."""

    config: OptimizationConfig
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def switches(self) -> tuple[Switch, ...]:
        return tuple(Switch(name, getattr(self.config, name), self.origins[name]) for name in FIELDS)

    def log_warnings(self) -> None:
        for warning in self.warnings:
            log.warning("%s", warning)


@dataclass(frozen=True)
class _Layer:
    """Values of one rank, each with the name it was given under."""

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)


def resolve_config(
    arguments: Mapping[str, object] | None = None,
    *,
    argument_names: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ResolvedConfig:
    """The configuration in force: argument > environment > settings file > hardware.

    Parameters
    ----------
    arguments
        Fields of :class:`OptimizationConfig` by name; ``None`` for one that was not given.
    argument_names
        What the door that was used calls them, for sentences and origins.
    environment
        Variables to read instead of the process's own.

    Notes
    -----
    The device ``auto`` is no choice: it leaves the device to the next in rank, and at last to torch.

    Raises
    ------
    SettingError
        A value is no choice, or the settings file is missing or wrong.
    """
    environment = os.environ if environment is None else environment
    layers = [
        _given(
            arguments or {}, {name: ARGUMENT.format(name) for name in FIELDS} | dict(argument_names or {})
        ),
        _from_environment(environment),
        _from_file(environment),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if name not in values and (name, value) != ("device", Device.AUTO):
                values[name], origins[name] = value, layer.origins[name]
        if values.get("use_fp16") and "use_bf16" not in values:
            # bfloat16 goes before float16, but who asks for float16 here overrules lower ranks.
            values["use_bf16"], origins["use_bf16"] = False, origins["use_fp16"]
    hardware = _hardware(values.get("device", Device.AUTO))
    for name, value in vars(OptimizationConfig(**HARDWARE_DEFAULTS[hardware])).items():
        if name not in values:
            values[name], origins[name] = value, f"{HARDWARE_ORIGIN}{hardware}"
    return ResolvedConfig(OptimizationConfig(**values), origins, tuple(_unknown_variables(environment)))


def config_for(device: str, given: OptimizationConfig | None) -> OptimizationConfig:
    """``given``, on ``device`` unless that is auto; the one in force when none is given."""
    if given is not None:
        return given if device == Device.AUTO else replace(given, device=device)
    resolved = resolve_config({"device": device})
    resolved.log_warnings()
    return resolved.config


def check_switches(given: Mapping[str, object], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The switches that are given, as values; ``None`` stands for one that is not.

    Raises
    ------
    SettingError
        A name is no switch, or a value no choice.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in SWITCHES:
            raise SettingError(f"There is no optimisation {name!r}; {nearest(name, SWITCHES)}")
        if SWITCHES[name].kind is bool and not isinstance(chosen[name], bool | str):
            raise SettingError(f"{name} is {chosen[name]!r}, but must be true or false.", name)
    return {name: _parsed(name, value, (names or {}).get(name, name)) for name, value in chosen.items()}


def _given(values: Mapping[str, object], names: Mapping[str, str]) -> _Layer:
    parsed = check_switches(values, names)
    return _Layer(parsed, {name: names.get(name, ARGUMENT.format(name)) for name in parsed})


def _from_environment(environment: Mapping[str, str]) -> _Layer:
    found = {variable: environment[variable] for variable in VARIABLES if environment.get(variable)}
    return _Layer(
        {
            VARIABLES[variable]: _parsed(VARIABLES[variable], text, variable)
            for variable, text in found.items()
        },
        {VARIABLES[variable]: variable for variable in found},
    )


def _from_file(environment: Mapping[str, str]) -> _Layer:
    name = environment.get(FILE_VARIABLE)
    if not name:
        return _Layer({})
    path, content = settings_files.read(name)
    for key in content:
        if key not in FILE_KEYS:
            raise SettingError(f"{path} has the key {key!r}, which is none; {nearest(str(key), FILE_KEYS)}")
    values = {key: _parsed(key, value, f"{key} in {path}") for key, value in content.items() if key in FIELDS}
    if PRECISION in content:
        values = _with_precision(values, content[PRECISION], path)
    return _Layer(values, dict.fromkeys(values, f"{FILE_VARIABLE}={name}"))


def _with_precision(values: dict[str, Any], precision: object, path: Path) -> dict[str, Any]:
    """``values`` with the switches that ``precision`` stands for."""
    implied = PRECISIONS.get(str(precision).strip().lower())
    if implied is None:
        raise SettingError(f"{PRECISION} in {path} is {precision!r}, but must be {PRECISION_CHOICES}.")
    for name, value in implied.items():
        if values.get(name, value) != value:
            raise SettingError(
                f"{path} has {PRECISION} {precision} and {name} {str(values[name]).lower()}, "
                "which contradict each other; leave one out."
            )
    return values | implied


def _parsed(name: str, value: object, where: str) -> Any:
    """``value`` as the field ``name`` wants it; ``where`` is what the user has to correct."""
    text = str(value).strip().lower()
    if name == "device":
        text = re.sub(r"\s*,\s*", ",", text)
        if not _DEVICE.fullmatch(text):
            raise SettingError(f"{where} is {value!r}, but must be {DEVICE_CHOICES}.", name)
        return text
    if name == "backend":
        if text not in tuple(Backend):
            raise SettingError(f"{where} is {value!r}, but must be one of {BACKEND_CHOICES}.", name)
        return Backend(text)
    if name == "batch_size":
        if text == AUTO_BATCH:
            return AUTO_BATCH
        if not _BATCH_SIZE.fullmatch(text) or not 1 <= int(text) <= MAX_BATCH_SIZE:
            raise SettingError(f"{where} is {value!r}, but must be {BATCH_CHOICES}.", name)
        return int(text)
    if text not in BOOLEANS:
        raise SettingError(f"{where} is {value!r}, but must be one of {', '.join(BOOLEANS)}.", name)
    return BOOLEANS[text]


def _python_choices(name: str) -> str:
    """What a caller of Python passes for ``name``: values, not the texts that stand for them."""
    if SWITCHES[name].kind is bool:
        return "True or False"
    choices = {"batch_size": BATCH_CHOICES, "backend": f"one of {BACKEND_CHOICES}"}
    return choices.get(name, DEVICE_CHOICES)


def _hardware(device: str) -> str:
    if device != Device.AUTO:
        return device.partition(",")[0].partition(":")[0]
    from ultimate_rvc.device import best_device_type

    return best_device_type()


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in VARIABLES:
            yield f"The variable {variable} is unknown and changes nothing; {nearest(variable, VARIABLES)}"
