"""Every name that a module of ours defines is used somewhere in the package itself.

A use is a read of the name in its own module, outside of its own definition, or in a module that imports it;
an import alone is none, and tests and benchmarks do not count: what only they use is dead weight for users.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PACKAGE = "ultimate_rvc"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE

# What others may call: the Python interface as documented, and the scripts of pyproject.toml.
PUBLIC = {
    f"{PACKAGE}.cli.main.run": "the script urvc",
    f"{PACKAGE}.web.main.run": "the script urvc-web",
    f"{PACKAGE}.api.convert": "the Python interface",
    f"{PACKAGE}.cluster.serving.serve_voice": "the Python interface (docs/cluster.md)",
    f"{PACKAGE}.cluster.serving.voice_served_at": "the Python interface (docs/cluster.md)",
    f"{PACKAGE}.switches.get_default_config": "the Python interface (docs/optimization.md)",
}

# Typer takes the functions under these decorators for commands.
REGISTERING = ("command", "callback")


@dataclass
class Module:
    """What a module defines, imports and reads."""

    name: str
    tree: ast.Module
    is_package: bool
    defined: dict[str, set[int]] = field(
        default_factory=dict
    )  # the statements, by number, that define a name
    read: list[set[str]] = field(default_factory=list)  # by statement: names and dotted names
    imported: dict[str, str] = field(default_factory=dict)  # local name: "module.name" or "module"
    texts: set[str] = field(default_factory=set)


def targets(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        places = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for place in places:
            yield from (
                node.id
                for node in ast.walk(place)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )
    elif isinstance(statement, ast.If | ast.Try | ast.With):
        for inner in ast.iter_child_nodes(statement):
            if isinstance(inner, ast.stmt):
                yield from targets(inner)


def registers(statement: ast.stmt) -> bool:
    decorators = getattr(statement, "decorator_list", [])
    calls = (decorator.func for decorator in decorators if isinstance(decorator, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr in REGISTERING for call in calls)


def parsed(name: str, text: str, is_package: bool = False) -> Module:
    module = Module(name, ast.parse(text), is_package)
    for number, statement in enumerate(module.tree.body):
        module.read.append(set(read_names(statement)))
        for target in targets(statement):
            if not (target.startswith("__") or registers(statement)):
                module.defined.setdefault(target, set()).add(number)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: (1 if is_package else 0) - node.level or None]
                base = ".".join([*above, *([base] if base else [])])
            module.imported |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            module.imported |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            module.texts.add(node.value)
    return module


def read_names(node: ast.AST) -> Iterator[str]:
    """Names and dotted names that a statement reads, in annotations too."""
    for found in ast.walk(node):
        if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Load):
            yield found.id
        elif isinstance(found, ast.Attribute):
            yield ast.unparse(found)
        elif isinstance(found, ast.Constant) and isinstance(found.value, str) and found.value.isidentifier():
            yield found.value  # an annotation in quotes, as `cast` takes it


def origin(name: str, modules: dict[str, Module]) -> str:
    """Where the thing that a module knows under ``module.name`` is defined."""
    for _ in range(len(modules)):
        module, _, local = name.rpartition(".")
        if module not in modules or local in modules[module].defined or name in modules:
            return name
        if local not in modules[module].imported:
            return name
        name = modules[module].imported[local]
    return name


def used(modules: dict[str, Module]) -> set[str]:
    """``module.name`` of everything that is read, where it is defined."""
    found = set()
    for module in modules.values():
        for read in set().union(*module.read):
            first, _, rest = read.partition(".")
            known = module.imported.get(first)
            if known is not None:
                found.add(origin(f"{known}.{rest}" if rest else known, modules))
        # Jobs name their work as "module:name".
        found |= {text.replace(":", ".") for text in module.texts if text.startswith(f"{PACKAGE}.")}
    return found


def unused(modules: dict[str, Module]) -> list[str]:
    found = used(modules)
    return [
        f"{module.name}.{name}"
        for module in modules.values()
        for name, definitions in module.defined.items()
        if f"{module.name}.{name}" not in found
        and not any(name in read for number, read in enumerate(module.read) if number not in definitions)
    ]


def modules_of(sources: dict[str, str]) -> dict[str, Module]:
    return {name: parsed(name, text) for name, text in sources.items()}


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = parsed(name, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    return found


def test_every_name_of_a_module_is_used(modules: dict[str, Module]) -> None:
    assert [name for name in unused(modules) if name not in PUBLIC] == []


def test_the_exceptions_are_there(modules: dict[str, Module]) -> None:
    defined = {f"{module.name}.{name}" for module in modules.values() for name in module.defined}
    assert PUBLIC.keys() - defined == set()


def unused_in(**texts: str) -> list[str]:
    sources = {f"{PACKAGE}.{name}": text for name, text in texts.items()}
    return [name.removeprefix(f"{PACKAGE}.") for name in unused(modules_of(sources))]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LIMIT_HZ = 50", "LIMIT_HZ"),
        ("LIMIT_HZ: float = 50", "LIMIT_HZ"),
        ("LOW, HIGH = 1, 2\nprint(LOW)", "HIGH"),
        ("def louder(): ...", "louder"),
        ("def louder():\n    return louder()", "louder"),
        ("class Level:\n    def copy(self) -> Level: ...", "Level"),
        ("def _louder(): ...", "_louder"),
        ("if True:\n    LIMIT_HZ = 50", "LIMIT_HZ"),
        ("LIMIT_HZ = 50\nprint(other.LIMIT_HZ)", "LIMIT_HZ"),
        ("@cache\ndef louder(): ...", "louder"),
    ],
)
def test_the_check_finds_a_name_that_nothing_uses(text: str, name: str) -> None:
    assert unused_in(level=text) == [f"level.{name}"]


def test_an_import_alone_is_no_use() -> None:
    assert unused_in(level="LIMIT_HZ = 50", mix="from ultimate_rvc.level import LIMIT_HZ") == [
        "level.LIMIT_HZ"
    ]


def test_the_same_name_of_another_module_is_no_use() -> None:
    found = unused_in(level="LIMIT_HZ = 50", mix="LIMIT_HZ = 60\nprint(LIMIT_HZ)")
    assert found == ["level.LIMIT_HZ"]


@pytest.mark.parametrize(
    "text",
    [
        "from ultimate_rvc.level import LIMIT_HZ\nprint(LIMIT_HZ)",
        "from ultimate_rvc.level import LIMIT_HZ as LOWEST\nprint(LOWEST)",
        "from .level import LIMIT_HZ\ndef mix(hz=LIMIT_HZ): ...\nmix()",
        "from ultimate_rvc import level\nprint(level.LIMIT_HZ)",
        "import ultimate_rvc.level as level\nprint(level.LIMIT_HZ)",
        "print('ultimate_rvc.level:LIMIT_HZ')",
        "def mix():\n    from ultimate_rvc.level import LIMIT_HZ\n    return LIMIT_HZ\nmix()",
    ],
)
def test_the_check_sees_a_use_in_another_module(text: str) -> None:
    assert unused_in(level="LIMIT_HZ = 50", mix=text) == []


def test_a_name_is_followed_through_a_module_that_passes_it_on() -> None:
    room = "from ultimate_rvc.level import LIMIT_HZ"
    assert unused_in(level="LIMIT_HZ = 50", room=room, mix="from .room import LIMIT_HZ\nLIMIT_HZ") == []


def test_a_command_is_used_by_typer() -> None:
    assert unused_in(level="@app.command()\ndef louder(): ...") == []
