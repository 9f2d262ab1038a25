"""Rooms import from lower floors only (design.md), and urvc starts without the heavy libraries."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ultimate_rvc.audio.encode import encode

PACKAGE = "ultimate_rvc"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE

SHARED = ("shared_cache", "shared_folder", "shared_locks")
# Floor by floor, lowest first; a room may import from its own floor unless it is a door.
FLOORS = (
    ("errors", "paths", "progress", "files", "choices", "openmp", "plain", "settings", "settings_files"),
    ("device", "machine", "onnx_session", "switches", "outputs", "audio", "assets", *SHARED),
    ("rvc", "separation", "speech"),
    ("voices", "covers", "doctor"),
    ("work",),
    ("jobs", "cluster"),
    ("server",),
    ("cli", "web", "api"),
)
DOOR_FLOOR = len(FLOORS) - 1
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Inside rvc: these know nothing of inference and training, which stand on them.
RVC_ENGINE = ("networks", "content", "pitch")
RVC_USERS = ("infer", "train")
# Settings are read by every door before anything heavy is wanted.
LIGHT = (
    *("errors", "paths", "progress", "files", "choices", "openmp", "plain", "settings", "settings_files"),
    *("rvc.infer.settings", "covers.settings", "audio.effect_settings", "audio.found", "cli.main", "outputs"),
    *("rvc.train.data_settings", "rvc.train.settings"),
    *("switches", "work.kinds", "jobs.queue", "jobs.worker"),
)
HEAVY = (
    "torch",
    "librosa",
    "numba",
    "transformers",
    "scipy",
    "faiss",
    "av",
    "gradio",
    "sklearn",
    "matplotlib",
)


# With a voice for the encoder in the package, f0 by fcpe, no index, a file that needs no limiting.
UNUSED_BY_A_CONVERSION = (
    *("yt_dlp", "gradio", "matplotlib", "pymss", "transformers", "sklearn", "pandas"),
    *("torchfcpe", "torchcrepe", "torchaudio", "pyworld", "noisereduce", "python_stretch"),
    *("numba", "librosa"),
)


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Absolute names of what a module imports, inside functions as well, but not for types only."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: (1 if is_package else 0) - node.level or None]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for kept in child.orelse:
                yield from (kept, *statements(kept))
            continue
        yield child
        yield from statements(child)


def room_of(module: str) -> str | None:
    """``ultimate_rvc.rvc.pitch.curve`` is in the room ``rvc``; the package itself in none."""
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in FLOOR_OF else None


def rvc_part(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == [PACKAGE, "rvc"] and len(parts) > 2 else None


def what_is_wrong(module: str, imported: str) -> str | None:
    """Why ``module`` must not import ``imported``, or None."""
    here, there = room_of(module), room_of(imported)
    if here is None or there is None:
        return None
    if FLOOR_OF[there] > FLOOR_OF[here]:
        return f"{module} imports {imported}, which is a floor above"
    if here != there and FLOOR_OF[there] == DOOR_FLOOR:
        return f"{module} imports {imported}: doors know nothing of each other"
    if rvc_part(module) in RVC_ENGINE and rvc_part(imported) in RVC_USERS:
        return f"{module} imports {imported}: the engine knows nothing of who uses it"
    return None


def violations(module: str, text: str, is_package: bool = False) -> list[str]:
    found = (what_is_wrong(module, name) for name in imported_modules(ast.parse(text), module, is_package))
    return sorted({wrong for wrong in found if wrong})


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


@pytest.mark.parametrize(("module", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_a_module_imports_from_lower_floors_only(module: str, path: Path) -> None:
    assert violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


def test_every_room_has_its_floor() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__init__", "__pycache__"} <= set(FLOOR_OF), "give the new room a floor in FLOORS"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ultimate_rvc.audio.mix", "from ultimate_rvc.covers import recipe"),
        ("ultimate_rvc.audio.mix", "from ultimate_rvc import covers"),
        ("ultimate_rvc.audio.mix", "import ultimate_rvc.rvc.voice_file.read"),
        ("ultimate_rvc.audio.mix", "def mix():\n    from ultimate_rvc.voices.library import find_voice"),
        ("ultimate_rvc.audio.mix", "from ..covers import recipe"),
        ("ultimate_rvc.errors", "from .audio import mix"),
        ("ultimate_rvc.cli.main", "from ultimate_rvc.web.main import run"),
        ("ultimate_rvc.web.main", "import ultimate_rvc.cli.console"),
        ("ultimate_rvc.rvc.pitch.curve", "from ultimate_rvc.rvc.infer.settings import ConversionSettings"),
        ("ultimate_rvc.rvc.networks.config", "from ..train import loop"),
        ("ultimate_rvc.doctor", "try:\n    import ultimate_rvc.cli\nexcept ImportError:\n    pass"),
    ],
)
def test_the_check_finds_what_is_forbidden(module: str, text: str) -> None:
    assert len(violations(module, text)) >= 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ultimate_rvc.cli.main", "from ultimate_rvc.covers.recipe import make_cover"),
        ("ultimate_rvc.covers.recipe", "from ultimate_rvc.voices.library import find_voice"),
        ("ultimate_rvc.rvc.infer.pipeline", "from ultimate_rvc.rvc.pitch import extract_f0"),
        ("ultimate_rvc.rvc.pitch.curve", "if TYPE_CHECKING:\n    from ultimate_rvc.cli.main import run"),
        ("ultimate_rvc.cli.main", "from ultimate_rvc import __version__\nimport torch"),
    ],
)
def test_the_check_lets_pass_what_is_allowed(module: str, text: str) -> None:
    assert violations(module, text) == []


def loaded_by(statements: str) -> set[str]:
    """Top-level modules in memory after statements in a fresh Python."""
    code = f"import sys\n{statements}\nprint()\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_heavy_library(module: str) -> None:
    assert loaded_by(f"import {PACKAGE}.{module}").isdisjoint(HEAVY)


def test_the_check_for_heavy_libraries_can_fail() -> None:
    assert not loaded_by("import scipy").isdisjoint(HEAVY)


def test_a_conversion_loads_only_what_it_uses(tmp_path: Path) -> None:
    """One second of tone through the starter voice, as the command line runs it."""
    source, converted = tmp_path / "tone.wav", tmp_path / "converted.wav"
    tone = 0.3 * np.sin(2 * np.pi * 220 / 16_000 * np.arange(16_000))
    encode(source, tone.astype(np.float32), 16_000)
    words = ["generate", "convert-voice", str(source), "--model", "starter", "--output", str(converted)]
    words += ["--f0-method", "fcpe"]
    loaded = loaded_by(
        f"import contextlib\nfrom {PACKAGE}.cli.main import run\n"
        f"with contextlib.suppress(SystemExit):\n    run({words!r})"
    )
    assert converted.is_file()
    assert "torch" in loaded
    assert loaded.isdisjoint(UNUSED_BY_A_CONVERSION)
