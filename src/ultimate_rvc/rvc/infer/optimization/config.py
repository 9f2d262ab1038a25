"""How a conversion is computed, never what: which ways are taken, and who said so.

Any two configurations give the same sound within the tolerances of docs/performance.md. Nothing heavy
is imported until the hardware is asked for.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import config_dir

log = logging.getLogger(__name__)

PREFIX = "RVC_"
FILE_VARIABLE = "URVC_CONFIG"  # names a file of config_dir(), without its .yaml
VARIABLES = {
    "RVC_DEVICE": "device",
    "RVC_GPU_RETRIEVAL": "use_gpu_retrieval",
    "RVC_GPU_FILTER": "use_gpu_filter",
    "RVC_PROFILING": "enable_profiling",
}
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
ARGUMENT, OPTION = "argument {}", "--{}"  # how a value's origin is told
DEVICE_CHOICES = "auto, mps, cuda, cuda:N or cpu"
_DEVICE = re.compile(r"auto|mps|cuda(:\d+)?|cpu")


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """The ways a conversion takes; without arguments the plain reference (faiss, scipy, nothing measured).

    :func:`resolve_config` gives the one that environment, settings file and hardware ask for.
    """

    device: str = Device.AUTO.value
    """auto, mps, cuda, cuda:N or cpu."""
    use_gpu_retrieval: bool = False
    """Exact search of the index on the device instead of faiss on the CPU."""
    use_gpu_filter: bool = False
    """High-pass on the device instead of scipy on the CPU: the signal stays there from then on."""
    enable_profiling: bool = False
    """Measure the stages; each then waits for the device."""

    def __post_init__(self) -> None:
        for name in FIELDS:
            value = getattr(self, name)
            if _parsed(name, value, name) != value:
                raise SettingError(f"{name} is {value!r}, but must be True or False.")

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


FIELDS = tuple(entry.name for entry in fields(OptimizationConfig))
HARDWARE_DEFAULTS: dict[str, dict[str, Any]] = {
    Device.MPS.value: {"use_gpu_retrieval": True, "use_gpu_filter": True},
    Device.CUDA.value: {"use_gpu_retrieval": True, "use_gpu_filter": True},
    Device.CPU.value: {"use_gpu_retrieval": False, "use_gpu_filter": False},
}


def get_default_config() -> OptimizationConfig:
    """The configuration of this machine's best device, whatever environment and settings file say."""
    return OptimizationConfig(**HARDWARE_DEFAULTS[_hardware(Device.AUTO)])


@dataclass(frozen=True)
class Switch:
    """One value in force and where it came from."""

    name: str
    value: str | bool
    origin: str

    def __str__(self) -> str:
        shown = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.name:<18} {shown:<6} ({self.origin})"


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
    command_line: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ResolvedConfig:
    """The configuration in force: argument > command line > environment > settings file > hardware.

    Parameters
    ----------
    arguments, command_line
        Fields of :class:`OptimizationConfig` by name; ``None`` for one that was not given.
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
        _given(arguments or {}, ARGUMENT),
        _given(command_line or {}, OPTION),
        _from_environment(environment),
        _from_file(environment),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if name not in values and value != Device.AUTO:
                values[name], origins[name] = value, layer.origins[name]
    hardware = _hardware(values.get("device", Device.AUTO))
    for name, value in vars(OptimizationConfig(**HARDWARE_DEFAULTS[hardware])).items():
        if name not in values:
            values[name], origins[name] = value, f"default for {hardware}"
    return ResolvedConfig(OptimizationConfig(**values), origins, tuple(_unknown_variables(environment)))


def config_for(device: str, given: OptimizationConfig | None) -> OptimizationConfig:
    """``given``, on ``device`` unless that is auto; the one in force when none is given."""
    if given is not None:
        return given if device == Device.AUTO else replace(given, device=device)
    resolved = resolve_config({"device": device})
    resolved.log_warnings()
    return resolved.config


def _given(values: Mapping[str, object], origin: str) -> _Layer:
    chosen = {name: value for name, value in values.items() if value is not None}
    for name in chosen:
        if name not in FIELDS:
            raise SettingError(f"There is no optimisation {name!r}; {_nearest(name, FIELDS)}")
    named = {name: origin.format(name.replace("_", "-") if origin == OPTION else name) for name in chosen}
    return _Layer({name: _parsed(name, value, named[name]) for name, value in chosen.items()}, named)


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
    path = config_dir() / f"{name}.yaml"
    values = _read_settings_file(path, name)
    for key in values:
        if key not in FIELDS:
            raise SettingError(f"{path} has the key {key!r}, which is none; {_nearest(str(key), FIELDS)}")
    return _Layer(
        {key: _parsed(key, value, f"{key} in {path}") for key, value in values.items()},
        dict.fromkeys(values, f"{FILE_VARIABLE}={name}"),
    )


def _read_settings_file(path: Path, name: str) -> dict[Any, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise SettingError(
            f"{FILE_VARIABLE} is {name!r}, but there is no file {path}; there are: {known}."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingError(f"The settings file {path} cannot be read: {reason}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingError(f"The settings file {path} must hold lines of 'key: value' with {_list(FIELDS)}.")
    return content


def _parsed(name: str, value: object, where: str) -> Any:
    """``value`` as the field ``name`` wants it; ``where`` is what the user has to correct."""
    text = str(value).strip().lower()
    if name == "device":
        if not _DEVICE.fullmatch(text):
            raise SettingError(f"{where} is {value!r}, but must be {DEVICE_CHOICES}.")
        return text
    if text not in BOOLEANS:
        raise SettingError(f"{where} is {value!r}, but must be one of {', '.join(BOOLEANS)}.")
    return BOOLEANS[text]


def _hardware(device: str) -> str:
    if device != Device.AUTO:
        return device.partition(":")[0]
    from ultimate_rvc.rvc.infer.devices import resolve_device

    return resolve_device(Device.AUTO).type


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in VARIABLES:
            yield f"The variable {variable} is unknown and changes nothing; {_nearest(variable, VARIABLES)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {nearest[0]}?" if nearest else f"there are {_list(known)}."


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
