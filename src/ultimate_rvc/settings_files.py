"""Named settings files, ``configs/<name>.yaml``: found, read and written.

``URVC_CONFIG=evening`` names ``configs/evening.yaml``. Its switches are understood by
:mod:`ultimate_rvc.switches`, its parts ``cover`` and ``train`` by :mod:`ultimate_rvc.work.settings_parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import config_dir

FILE_VARIABLE = "URVC_CONFIG"
COVER_PART, TRAIN_PART = "cover", "train"
SHIPPED = frozenset({"macos_optimized", "nvidia", "cpu"})  # come with the program, and stay as they are


def names() -> list[str]:
    """Of the files that are there."""
    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def read(name: str) -> tuple[Path, dict[Any, Any]]:
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
        known = ", ".join(names()) or "none"
        raise SettingError(
            f"{FILE_VARIABLE} is {name!r}, but there is no file {path}; there are: {known}."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingError(f"The settings file {path} cannot be read: {reason}.") from error
    if content is None:
        return path, {}
    if not isinstance(content, dict):
        raise SettingError(f"The settings file {path} must hold lines of 'key: value'.")
    return path, content


def write(name: str, content: Mapping[str, Any]) -> None:
    """Write a settings file, in place of one of that name.

    Raises
    ------
    SettingError
        The name is that of a file that ships.
    """
    import yaml

    if name in SHIPPED:
        raise SettingError(f"The settings file {name!r} comes with the program; choose another name.")
    with atomic_path(config_dir() / f"{name}.yaml") as unfinished:
        unfinished.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
