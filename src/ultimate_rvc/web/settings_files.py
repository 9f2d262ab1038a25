"""Named settings files, ``configs/<name>.yaml``: written and read with the engine's own checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import config_dir
from ultimate_rvc.switches import FILE_VARIABLE, resolve_config
from ultimate_rvc.voices.names import checked_name
from ultimate_rvc.work.settings_file import PARTS, checked_part, file_part

SHIPPED = frozenset({"macos_optimized", "nvidia", "cpu"})  # come with the program, and stay as they are


def names() -> list[str]:
    """Of the files that are there."""
    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def load(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The switches that the file decides, and its parts by name.

    Raises
    ------
    SettingError
        There is no such file; something in it is no key or no choice, or outside its range.
    """
    if name not in names():  # a name of the list, never a path
        raise SettingError(f"There is no settings file {name!r}.")
    environment = {FILE_VARIABLE: name}
    resolved = resolve_config(environment=environment)
    origin = f"{FILE_VARIABLE}={name}"
    switches = {switch.name: switch.value for switch in resolved.switches if switch.origin == origin}
    return switches, {part: file_part(part, environment) for part in PARTS}


def save(name: str, switches: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write switches and parts as a settings file, in place of one of that name.

    Raises
    ------
    SettingError
        The name is none, or that of a file that ships; something is no choice or outside its range.
    """
    import yaml

    name = checked_name(name.strip())
    if name in SHIPPED:
        raise SettingError(f"The settings file {name!r} comes with the program; choose another name.")
    resolve_config(switches)
    content = {**switches, **{part: checked_part(part, parts.get(part, {})) for part in PARTS}}
    with atomic_path(config_dir() / f"{name}.yaml") as unfinished:
        unfinished.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
