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
from typing import Any, Literal, TypeVar

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import config_dir

log = logging.getLogger(__name__)

PREFIX = "RVC_"
FILE_VARIABLE = "URVC_CONFIG"  # names a file of config_dir(), without its .yaml
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
ARGUMENT = "argument {}"  # how a value's origin is told
DEVICE_CHOICES = "auto, mps, cuda, cuda:N or cpu"
_DEVICE = re.compile(r"auto|mps|cuda(:[0-9]+)?|cpu")
AUTO_BATCH: Literal["auto"] = "auto"
MAX_BATCH_SIZE = 64
BATCH_CHOICES = f"1 to {MAX_BATCH_SIZE} or {AUTO_BATCH}"
_BATCH_SIZE = re.compile(r"[0-9]{1,2}")
Precision = Literal["float32", "float16", "bfloat16"]
T = TypeVar("T")


def _switch(variable: str, default: T, help: str) -> T:
    """A field with the variable that sets it and the sentence the command line shows."""
    entry: T = field(default=default, metadata={"variable": variable, "help": help})
    return entry


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

    device: str = _switch("RVC_DEVICE", Device.AUTO.value, f"Where to compute: {DEVICE_CHOICES}.")
    use_gpu_retrieval: bool = _switch(
        "RVC_GPU_RETRIEVAL",
        False,
        "Search the index on the device, exactly, instead of with faiss on the CPU.",
    )
    use_fp16: bool = _switch(
        "RVC_USE_FP16", False, "Run vocoder and encoder in float16, for GPUs made for it."
    )
    use_bf16: bool = _switch(
        "RVC_USE_BF16", False, "The same in bfloat16 (float16, then float32, where the device has none)."
    )
    use_tf32: bool = _switch(
        "RVC_USE_TF32", False, "Let NVIDIA GPUs round float32 products to TF32: faster, slightly less exact."
    )
    use_gpu_filter: bool = _switch(
        "RVC_GPU_FILTER", False, "Filter on the device instead of with scipy: the signal stays there."
    )
    batch_size: int | Literal["auto"] = _switch(
        "RVC_BATCH_SIZE", 1, f"Chunks converted at once: {BATCH_CHOICES} (by free memory)."
    )
    compile_model: bool = _switch(
        "RVC_COMPILE", False, "Compile the vocoder with torch.compile: slow to start, faster afterwards."
    )
    feature_cache: bool = _switch(
        "RVC_FEATURE_CACHE", False, "Keep features and pitch of each vocal on disk for its next conversion."
    )
    fast_vocoder: bool = _switch(
        "RVC_FAST_VOCODER", False, "CPU only: run in tiles that fit the cache, with fewer multiplications."
    )
    skip_silence: bool = _switch("RVC_SKIP_SILENCE", False, "Do not compute the voice in gaps of the source.")
    enable_profiling: bool = _switch(
        "RVC_PROFILING", False, "Measure the stages and show their times; each then waits for the device."
    )

    def __post_init__(self) -> None:
        for name in FIELDS:
            value = getattr(self, name)
            parsed = _parsed(name, value, name)
            # Neither a text that stands for a value, nor 1 for True.
            if parsed != value or isinstance(parsed, bool) is not isinstance(value, bool):
                raise SettingError(f"{name} is {value!r}, but must be {_python_choices(name)}.")

    @property
    def precision(self) -> Precision:
        """What the networks are asked to run in: bfloat16 goes before float16."""
        return "bfloat16" if self.use_bf16 else "float16" if self.use_fp16 else "float32"

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


@dataclass(frozen=True)
class SwitchSpec:
    """A field of :class:`OptimizationConfig` as users meet it."""

    name: str
    variable: str
    help: str
    is_boolean: bool

    @property
    def option(self) -> str:
        """Its command-line option: the variable without its prefix."""
        return "--" + self.variable.removeprefix(PREFIX).lower().replace("_", "-")


SWITCHES = {
    entry.name: SwitchSpec(
        entry.name, entry.metadata["variable"], entry.metadata["help"], isinstance(entry.default, bool)
    )
    for entry in fields(OptimizationConfig)
}
FIELDS = tuple(SWITCHES)
PRECISION = "precision"  # in settings files: one readable word for two switches
PRECISIONS = {
    "float32": {"use_fp16": False, "use_bf16": False},
    "float16": {"use_fp16": True, "use_bf16": False},
    "bfloat16": {"use_fp16": False, "use_bf16": True},
}
PRECISION_CHOICES = "float32, float16 or bfloat16"
# In settings files, read elsewhere: what covers sound like, and how voices are trained.
COVER_PART, TRAIN_PART = "cover", "train"
FILE_KEYS = (*FIELDS, PRECISION, COVER_PART, TRAIN_PART)
VARIABLES = {spec.variable: name for name, spec in SWITCHES.items()}
HARDWARE_DEFAULTS: dict[str, dict[str, Any]] = {
    Device.MPS.value: {
        "use_gpu_retrieval": True,
        "use_gpu_filter": True,
        "feature_cache": True,
        "skip_silence": True,
    },
    Device.CUDA.value: {
        "use_gpu_retrieval": True,
        "use_fp16": True,
        "use_gpu_filter": True,
        "batch_size": 4,
        "feature_cache": True,
        "skip_silence": True,
    },
    Device.CPU.value: {"feature_cache": True, "fast_vocoder": True, "skip_silence": True},
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

    def summary(self) -> Iterator[str]:
        """One line per origin, highest rank first, with all that it decided."""
        for origin in dict.fromkeys(self.origins.values()):  # resolve_config fills them in order of rank
            decided = (switch for switch in self.switches if switch.origin == origin)
            yield f"{', '.join(f'{switch.name} {switch.shown_value}' for switch in decided)} ({origin})"

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
        _given(arguments or {}, {name: ARGUMENT.format(name) for name in FIELDS}),
        _given(command_line or {}, {name: spec.option for name, spec in SWITCHES.items()}),
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
            values[name], origins[name] = value, f"default for {hardware}"
    return ResolvedConfig(OptimizationConfig(**values), origins, tuple(_unknown_variables(environment)))


def config_for(device: str, given: OptimizationConfig | None) -> OptimizationConfig:
    """``given``, on ``device`` unless that is auto; the one in force when none is given."""
    if given is not None:
        return given if device == Device.AUTO else replace(given, device=device)
    resolved = resolve_config({"device": device})
    resolved.log_warnings()
    return resolved.config


def _given(values: Mapping[str, object], origins: Mapping[str, str]) -> _Layer:
    chosen = {name: value for name, value in values.items() if value is not None}
    for name in chosen:
        if name not in FIELDS:
            raise SettingError(f"There is no optimisation {name!r}; {_nearest(name, FIELDS)}")
    return _Layer({name: _parsed(name, value, origins[name]) for name, value in chosen.items()}, origins)


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
    path, content = read_settings_file(name)
    for key in content:
        if key not in FILE_KEYS:
            raise SettingError(f"{path} has the key {key!r}, which is none; {_nearest(str(key), FILE_KEYS)}")
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


def read_settings_file(name: str) -> tuple[Path, dict[Any, Any]]:
    """Where the settings file of this name is, and its keys and values.

    Raises
    ------
    SettingError
        It is not there, or holds something else.
    """
    import yaml

    path = config_dir() / f"{name}.yaml"
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
        return path, {}
    if not isinstance(content, dict):
        raise SettingError(
            f"The settings file {path} must hold lines of 'key: value' with {_list(FILE_KEYS)}."
        )
    return path, content


def _parsed(name: str, value: object, where: str) -> Any:
    """``value`` as the field ``name`` wants it; ``where`` is what the user has to correct."""
    text = str(value).strip().lower()
    if name == "device":
        if not _DEVICE.fullmatch(text):
            raise SettingError(f"{where} is {value!r}, but must be {DEVICE_CHOICES}.")
        return text
    if name == "batch_size":
        if text == AUTO_BATCH:
            return AUTO_BATCH
        if not _BATCH_SIZE.fullmatch(text) or not 1 <= int(text) <= MAX_BATCH_SIZE:
            raise SettingError(f"{where} is {value!r}, but must be {BATCH_CHOICES}.")
        return int(text)
    if text not in BOOLEANS:
        raise SettingError(f"{where} is {value!r}, but must be one of {', '.join(BOOLEANS)}.")
    return BOOLEANS[text]


def _python_choices(name: str) -> str:
    """What a caller of Python passes for ``name``: values, not the texts that stand for them."""
    if SWITCHES[name].is_boolean:
        return "True or False"
    return BATCH_CHOICES if name == "batch_size" else DEVICE_CHOICES


def _hardware(device: str) -> str:
    if device != Device.AUTO:
        return device.partition(":")[0]
    from ultimate_rvc.device import best_device_type

    return best_device_type()


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in VARIABLES:
            yield f"The variable {variable} is unknown and changes nothing; {_nearest(variable, VARIABLES)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {nearest[0]}?" if nearest else f"there are {_list(known)}."


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
