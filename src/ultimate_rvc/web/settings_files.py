"""Named settings files, ``configs/<name>.yaml``: written and read with the engine's own checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import config_dir
from ultimate_rvc.rvc.infer.optimization.config import resolve_config
from ultimate_rvc.voices.names import checked_name

FILE_VARIABLE = "URVC_CONFIG"
SHIPPED = frozenset({"macos_optimized", "nvidia", "cpu"})  # come with the program, and stay as they are


def names() -> list[str]:
    """Of the files that are there."""
    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    """The switches that the file decides.

    Raises
    ------
    SettingError
        There is no such file, or something in it is no key or no choice.
    """
    if name not in names():  # a name of the list, never a path
        raise SettingError(f"There is no settings file {name!r}.")
    resolved = resolve_config(environment={FILE_VARIABLE: name})
    origin = f"{FILE_VARIABLE}={name}"
    return {switch.name: switch.value for switch in resolved.switches if switch.origin == origin}


def save(name: str, chosen: Mapping[str, Any]) -> None:
    """Write the switches as a settings file, in place of one of that name.

    Raises
    ------
    SettingError
        The name is none, or that of a file that ships; nothing was chosen, or something is no choice.
    """
    import yaml

    name = checked_name(name.strip())
    if name in SHIPPED:
        raise SettingError(f"The settings file {name!r} comes with the program; choose another name.")
    if not chosen:
        raise SettingError("All switches are left to their usual values, so there is nothing to save.")
    resolve_config(chosen)
    with atomic_path(config_dir() / f"{name}.yaml") as unfinished:
        unfinished.write_text(yaml.safe_dump(dict(chosen), sort_keys=False), encoding="utf-8")
