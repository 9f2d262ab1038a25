"""Public functions that take or give arrays say their shapes.

The rule, by the syntax of the source: a function whose annotations name an array type has a docstring with a
shape, such as ``(samples,)`` or ``(batch, frames, dim)``, or the words "any shape". Three things need none:

- ``forward`` and ``__call__`` of a class whose own docstring says it;
- a method that a protocol of ours documents, in a class that has all methods of that protocol;
- state dicts (``dict[str, Tensor]``): the network that they belong to gives the shapes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "ultimate_rvc"

# Rooms whose functions do not all say their shapes yet. This list must shrink to nothing: delete a line, run
# this test, and document what it names.
SCALAR = "``()``"  # an array without dimensions

ARRAY = re.compile(r"\b(Tensor|NDArray|\w*Array)\b")
STATE_DICT = re.compile(r"\b(dict|Mapping)\[str, (torch\.)?Tensor\]")
PARENTHESES = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)")
ANY_SHAPE = re.compile(r"\bany shape\b", re.IGNORECASE)
SPOKEN_FOR_BY_CLASS = ("forward", "__call__")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Public:
    """A public function and the class around it, if it is a method."""

    function: Function
    owner: ast.ClassDef | None

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.function.name}" if self.owner else self.function.name


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def public_functions(tree: ast.Module) -> Iterator[Public]:
    for node in tree.body:
        if isinstance(node, Function) and is_public(node.name):
            yield Public(node, None)
        elif isinstance(node, ast.ClassDef) and is_public(node.name):
            for member in node.body:
                if isinstance(member, Function) and is_public(member.name):
                    yield Public(member, node)


def takes_arrays(function: Function) -> bool:
    places = function.args
    arguments = [*places.posonlyargs, *places.args, *places.kwonlyargs, places.vararg, places.kwarg]
    annotations = [argument.annotation for argument in arguments if argument] + [function.returns]
    words = (ast.unparse(annotation).strip("'\"") for annotation in annotations if annotation)
    return any(ARRAY.search(STATE_DICT.sub("", word)) for word in words)


def is_shape(text: str) -> bool:
    """Whether a parenthesis holds the sizes of axes: names, numbers and sums of them, parted by commas."""
    try:
        parsed = ast.parse(text.replace("``", "").replace("\n", " "), mode="eval").body
    except SyntaxError:
        return False
    if not isinstance(parsed, ast.Tuple) or not parsed.elts:
        return False
    sizes = (
        ast.Name,
        ast.Constant,
        ast.BinOp,
        ast.UnaryOp,
        ast.Call,
        ast.operator,
        ast.unaryop,
        ast.expr_context,
    )
    return all(isinstance(node, sizes) for axis in parsed.elts for node in ast.walk(axis))


def says_shape(node: Function | ast.ClassDef) -> bool:
    text = ast.get_docstring(node) or ""
    return (
        SCALAR in text
        or bool(ANY_SHAPE.search(text))
        or any(is_shape(found) for found in PARENTHESES.findall(text))
    )


def methods(owner: ast.ClassDef) -> dict[str, Function]:
    """Methods by name; not properties, for which a class may have plain attributes instead."""
    return {
        member.name: member
        for member in owner.body
        if isinstance(member, Function) and "property" not in map(ast.unparse, member.decorator_list)
    }


def bound_names(statement: ast.stmt) -> list[str]:
    """What a statement in a class body defines: a method, or ``output = staticmethod(...)``."""
    if isinstance(statement, Function):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def protocols(trees: dict[str, ast.Module]) -> list[ast.ClassDef]:
    return [
        node
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
    ]


def documented_by_a_protocol(found: Public, known: list[ast.ClassDef]) -> bool:
    if found.owner is None:
        return False
    own = {name for statement in found.owner.body for name in bound_names(statement)}
    return any(
        protocol is not found.owner
        and methods(protocol).keys() <= own
        and found.function.name in methods(protocol)
        and says_shape(methods(protocol)[found.function.name])
        for protocol in known
    )


def without_shapes(trees: dict[str, ast.Module]) -> list[str]:
    """``file:line name`` of every public function on arrays that does not say their shapes."""
    known = protocols(trees)
    return [
        f"{file}:{found.function.lineno} {found.name}"
        for file, tree in trees.items()
        for found in public_functions(tree)
        if takes_arrays(found.function)
        and not says_shape(found.function)
        and not (found.owner and found.function.name in SPOKEN_FOR_BY_CLASS and says_shape(found.owner))
        and not documented_by_a_protocol(found, known)
    ]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every public module of the package, parsed, by its path from the package's folder."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name == "__init__.py" or not path.name.startswith("_"):
            found[path.relative_to(SOURCE).as_posix()] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def test_public_functions_on_arrays_say_their_shapes(trees: dict[str, ast.Module]) -> None:
    assert without_shapes(trees) == []


BARE = {
    "function": "def louder(samples: NDArray[np.float32], gain_db: float) -> None: ...",
    "text without a shape": 'def louder(samples: Tensor) -> Tensor:\n    """Louder (after Kim, 2018)."""',
    "alias": "def louder(gain_db: float) -> FloatArray: ...",
    "optional": "def louder(*, samples: Tensor | None = None) -> None: ...",
    "string annotation": "def louder(samples: 'Tensor') -> None: ...",
    "list of arrays": "def louder(*samples: Sequence[Tensor]) -> None: ...",
    "method": 'class Level:\n    """Of ``(n,)``."""\n    def louder(self, samples: Tensor) -> None: ...',
    "forward": 'class Level:\n    """A level."""\n    def forward(self, samples: Tensor) -> None: ...',
    "part of a protocol": (
        "class Method(Protocol):\n"
        '    def find(self, samples: Tensor) -> Tensor:\n        """Of ``(samples,)``."""\n'
        "    def close(self) -> None: ...\n"
        "class Other:\n    def find(self, samples: Tensor) -> Tensor: ..."
    ),
}
FINE = {
    "shape": 'def louder(samples: Tensor) -> Tensor:\n    """Louder; ``(channels, samples)``."""',
    "one axis": 'def louder(samples: Tensor) -> Tensor:\n    """Louder; (samples,)."""',
    "arithmetic": 'def louder(samples: Tensor) -> Tensor:\n    """To ``(b, samples // 160 + 1, dim(v))``."""',
    "any shape": 'def louder(samples: Tensor) -> Tensor:\n    """Samples of any shape."""',
    "no array": "def louder(gain_db: float) -> float: ...",
    "private": "def _louder(samples: Tensor) -> Tensor: ...",
    "private class": "class _Level:\n    def louder(self, samples: Tensor) -> Tensor: ...",
    "state dict": "def load(state: dict[str, Tensor]) -> Mapping[str, torch.Tensor]: ...",
    "forward": 'class Level:\n    """``(b, n)``."""\n    def forward(self, samples: Tensor) -> Tensor: ...',
    "a protocol's method": (
        "class Method(Protocol):\n"
        '    def find(self, samples: Tensor) -> Tensor:\n        """Of ``(samples,)``."""\n'
        "class Other:\n    def find(self, samples: Tensor) -> Tensor: ..."
    ),
}


@pytest.mark.parametrize("text", BARE.values(), ids=BARE.keys())
def test_the_check_finds_a_function_that_says_no_shape(text: str) -> None:
    assert len(without_shapes({"bad.py": ast.parse(text)})) == 1


@pytest.mark.parametrize("text", FINE.values(), ids=FINE.keys())
def test_the_check_lets_pass_what_is_allowed(text: str) -> None:
    assert without_shapes({"good.py": ast.parse(text)}) == []
