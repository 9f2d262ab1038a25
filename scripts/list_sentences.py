"""List every English sentence of the engine that the page may show, as a template with numbered places.

python scripts/list_sentences.py             # all of them, one a line
python scripts/list_sentences.py --missing   # by language: those that have no translation yet
python scripts/list_sentences.py --unused    # by language: translations that no sentence needs any more

The English sentence is the key of its translations, as in gettext, so the places that raise errors stay plain
English. A template is read from the source: ``f"{path} is empty."`` becomes ``{0} is empty.``.

What counts: all that errors, warnings and progress say, found as (1) what is given to an error and (2) every other
text that is written as a sentence, whoever passes it on. Docstrings, logs and helps of settings are none.
Rooms whose words never reach the page are left out: ``cli`` and ``doctor`` (the terminal), ``cluster`` and
``server`` (other programs), and ``api`` (Python).
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ultimate_rvc.web.sentences import GRAMMAR, WORDS
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, languages, load_texts

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "ultimate_rvc"
NOT_SHOWN = (
    "cli", "cluster", "server", "doctor.py", "api.py", "web/main.py", "web/theme.py", "work/export.py",
    "rvc/infer/optimization/profiler.py", "speech/samples.py", "speech/llasa/dataset.py",
    "speech/llasa/finetune.py", "speech/llasa/lines.py", "speech/mockingbird/optimization/making.py",
    "speech/mockingbird/optimization/onnx_writer.py",
)  # fmt: skip
# Modules whose sentences have parts in words of their own: "the part is cut off" in "{0} cannot be read: {1}."
WITH_PARTS = (
    "assets/connection.py", "assets/download.py", "assets/transfer.py", "covers/taking_apart.py",
    "covers/stem_folder.py", "speech/engines.py", "speech/mockingbird/folder.py", "jobs/store.py",
    "outputs.py", "plain.py", "rvc/content/hubert.py", "rvc/infer/index_file.py", "rvc/networks/config.py",
    "rvc/networks/synthesizer.py", "rvc/networks/training_state.py", "rvc/train/checks.py",
    "rvc/train/checkpoints.py", "rvc/train/networks.py", "rvc/voice_file/foreign.py",
    "rvc/voice_file/onnx_graph.py", "rvc/voice_file/restricted_pickle.py", "rvc/voice_file/torch_file.py",
    "rvc/voice_file/zip_directory.py", "separation/checks.py", "separation/choose.py", "speech/edge.py",
    "speech/epub.py", "speech/mockingbird/checkpoint.py", "speech/mockingbird/sizes.py", "speech/ssml.py",
    "voices/archives.py", "voices/fetching.py", "voices/blending.py", "voices/editing.py",
    "voices/importing.py", "voices/indexes.py", "voices/inspection.py", "voices/renaming.py",
    "voices/restoring.py", "voices/trash.py", "voices/presets.py", "switches.py", "voices/record.py",
    "web/unfit.py", "work/foreign.py",
)  # fmt: skip
# What reads like the above and is only compared, logged, spoken or asked for.
# What the operating system and PyAV give as the reason of an error.
SYSTEM = (
    "No such file or directory", "Permission denied", "No space left on device", "File exists", "Is a directory",
    "Not a directory", "Read-only file system", "Input/output error", "Too many open files", "Disk quota exceeded",
    "Operation not permitted", "Device or resource busy", "File name too long", "Connection refused",
    "Connection reset by peer", "Connection timed out", "Network is unreachable", "Broken pipe",
    "Invalid data found when processing input", "End of file", "Invalid argument", "Cannot allocate memory",
)  # fmt: skip
NOT_TOLD = frozenset({
    "unable to open", "disk is full", "disk i/o error", "not a database", "rights management",
    "import voice", "split backing", "remove reverb", "bytes {0}-", "{0} MB", "{0} in {1}", "default for",
    "The sun rose slowly over the quiet hills, and the birds began to sing.",
    "A voice's name in the library, or a .pth, .safetensors or .onnx file.", "a cappella", "a {0}",
    "lead vox", "main vox", "lead voice", "minus one", "backing track", "lead vocals?", "main vocals?",
    "harmony vocals?", "no vocals?", "off vocals?",
})  # fmt: skip
# What Gradio says of values that do not fit a control; nobody else writes sentences that the page shows.
GRADIO = (
    "Value {0} is less than minimum value {1}.", "Value {0} is greater than maximum value {1}.",
    "Value: {0} is not in the list of choices: {1}",
    "Invalid file type. Please upload a file that is one of these formats: {0}",
)  # fmt: skip
PART = re.compile(r"[^\n<>]*[A-Za-z]+ ([A-Za-z]|\{)[^\n<>]*")
VERBS = (
    "is|are|has|holds|keeps|takes|uses|was|does"
    "|cannot|lacks|records|seems|asks|appends|sets|calls|claims|describes|numbers|names (?!is)"
)
WITHOUT_SUBJECT = re.compile(rf"({VERBS})\b.*")
LOGS = ("log", "logger")
LOGGED = ("debug", "info", "warning", "error", "exception")
NO_SENTENCES = (
    "setting",
    "compile",
    "AssertionError",
    "NotImplementedError",
    "Flag",
    "Kind",
    "output_setting",
    "overwrite_setting",
)  # their words have keys of their own
PROGRESS = ("report", "say", "warn")
MOST_FORMS = 48  # of one text with alternatives; beyond, alternatives stay places
PLACE = "\0"
SENTENCE = re.compile(r"[^\n]* [^\n]*[.!?]$")


@dataclass
class Module:
    """A parsed module, with what its texts may refer to."""

    place: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.constants[statement.targets[0].id] = statement.value

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while (found := self.parents.get(node)) is not None:
            yield found
            node = found


def modules() -> list[Module]:
    """Those whose sentences the page may show."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in NOT_SHOWN and place.as_posix() not in NOT_SHOWN:
            found.append(Module(place.as_posix(), ast.parse(path.read_text(encoding="utf-8"))))
    return found


def error_names(parsed: Sequence[Module]) -> set[str]:
    """All classes that derive from ``UltimateRVCError``."""
    bases = {
        node.name: {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
        for module in parsed
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"UltimateRVCError"}
    while more := {name for name, above in bases.items() if above & known} - known:
        known |= more
    return known


class Reader:
    """Reads the templates of one module."""

    def __init__(self, module: Module, shared: dict[str, ast.expr], errors: set[str]) -> None:
        self._module, self._shared, self._errors = module, shared, errors

    def templates(self) -> Iterator[str]:
        for node in ast.walk(self._module.tree):
            if not self._is_whole(node) or self._is_other(node):
                continue
            given = self._is_given(node) or self._is_part(node)
            for form in self._forms(node, depth=3):
                text = numbered(form)
                if not is_only_places(text) and (given or SENTENCE.fullmatch(text)):
                    # Who reads the file puts its name before this.
                    yield numbered(PLACE + " " + form) if WITHOUT_SUBJECT.fullmatch(text) else text

    def _is_whole(self, node: ast.AST) -> bool:
        """Whether a text is no part of a longer one."""
        is_text = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        is_sum = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
        above = self._module.parents.get(node)
        if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Add):
            return False
        if isinstance(above, ast.JoinedStr):
            return False
        return is_text or (is_sum and any(isinstance(each, ast.JoinedStr) for each in ast.walk(node)))

    def _is_other(self, node: ast.AST) -> bool:
        """Whether it is a docstring, a log, or a text that has a key of its own."""
        if isinstance(self._module.parents.get(node), ast.Expr):
            return True
        for above in self._module.above(node):
            if isinstance(above, ast.Call):
                name = _called(above)
                is_log = isinstance(above.func, ast.Attribute) and getattr(above.func.value, "id", "") in LOGS
                if (is_log and name in LOGGED) or name in NO_SENTENCES:
                    return True
            if isinstance(above, ast.stmt):
                return False
        return False

    def _is_given(self, node: ast.AST) -> bool:
        """Whether it is the first argument of an error, or told by progress."""
        above = self._module.parents.get(node)
        while isinstance(above, ast.IfExp):
            node, above = above, self._module.parents.get(above)
        if not isinstance(above, ast.Call):
            return False
        name = _called(above)
        if name in self._errors:
            return bool(above.args) and above.args[0] is node
        return name in PROGRESS and node in above.args and not (name == "report" and above.args[0] is node)

    def _is_part(self, node: ast.AST) -> bool:
        """Whether it stands in place of a value in a sentence of its module."""
        if self._module.place not in WITH_PARTS:
            return False
        above = self._module.parents[node]
        if isinstance(above, ast.Compare) or (isinstance(above, ast.Dict) and node in above.keys):
            return False
        return any(PART.fullmatch(numbered(form)) for form in self._forms(node, depth=1))

    def _above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What holds a node, up to its statement."""
        return itertools.takewhile(lambda above: not isinstance(above, ast.stmt), self._module.above(node))

    def _forms(self, node: ast.AST, depth: int) -> list[str]:
        """All texts that an expression can be, with :data:`PLACE` for what is not known."""
        if isinstance(node, ast.Constant):
            return [str(node.value).replace("{}", PLACE)]
        if depth == 0:
            return [PLACE]
        if isinstance(node, ast.JoinedStr):
            parts = [self._forms(part, depth) for part in node.values]
            return _joined(parts)
        if isinstance(node, ast.FormattedValue):
            return self._forms(node.value, depth) if node.format_spec is None else [PLACE]
        if isinstance(node, ast.IfExp):
            return [*self._forms(node.body, depth), *self._forms(node.orelse, depth)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _is_text(node):
            return _joined([self._forms(node.left, depth), self._forms(node.right, depth)])
        return self._resolved(node, depth)

    def _resolved(self, node: ast.AST, depth: int) -> list[str]:
        if isinstance(node, ast.Name):
            found = self._values_of(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = self._module.functions.get(node.func.id)
            found = [] if function is None else [
                each.value for each in ast.walk(function) if isinstance(each, ast.Return) and each.value
            ]  # fmt: skip
        else:
            found = []
        forms = [form for each in found for form in self._forms(each, depth - 1)]
        if not forms or any(len(form.replace(PLACE, "").strip()) == 0 and form for form in forms):
            return [PLACE]
        return forms if any(" " in form for form in forms) or not all(forms) else [PLACE]

    def _values_of(self, name: ast.Name) -> list[ast.expr]:
        """What was assigned to a name: in its function, else in its module, else in any module."""
        for above in self._module.above(name):
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
                found = []
                for node in ast.walk(above):
                    if isinstance(node, ast.Assign) and any(
                        isinstance(target, ast.Name) and target.id == name.id for target in node.targets
                    ):
                        found.append(node.value)
                if found:
                    return found
        constant = self._module.constants.get(name.id) or self._shared.get(name.id)
        return [] if constant is None or not name.id.isupper() else [constant]


def _is_text(node: ast.AST) -> bool:
    """Whether a sum is one of texts."""
    return any(isinstance(each, ast.JoinedStr) for each in ast.walk(node)) or any(
        isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node)
    )


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _joined(parts: Sequence[list[str]]) -> list[str]:
    count = 1
    limited = []
    for forms in parts:
        count *= len(forms)
        limited.append(forms if count <= MOST_FORMS else [PLACE])
    return ["".join(chosen) for chosen in itertools.product(*limited)]


def is_only_places(template: str) -> bool:
    """Whether nothing in a template can be translated."""
    return not WORDS.search(re.sub(r"\{\d+\}", "", template))


def numbered(form: str) -> str:
    """A text with places, each with its number; places with nothing between them are one."""
    count = itertools.count()
    escaped = form.strip().replace("{", "{{").replace("}", "}}")
    return re.sub(f"{PLACE}+", lambda _: f"{{{next(count)}}}", escaped)


def templates() -> list[str]:
    """Every template, each once, in the order of rooms; those of grammar, of Gradio and of the system first."""
    parsed = modules()
    shared = {name: value for module in parsed for name, value in module.constants.items() if name.isupper()}
    errors = error_names(parsed)
    found = (text for module in parsed for text in Reader(module, shared, errors).templates())
    return [
        *GRAMMAR,
        *GRADIO,
        *SYSTEM,
        *dict.fromkeys(text for text in found if text not in NOT_TOLD and not re.search("%[sd.]", text)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missing", action="store_true", help="by language: those without a translation")
    parser.add_argument("--unused", action="store_true", help="by language: translations without a sentence")
    chosen = parser.parse_args()
    known = templates()
    if not chosen.missing and not chosen.unused:
        print("\n".join(known))
        return
    for language in languages():
        if language == DEFAULT_LANGUAGE:
            continue
        given = load_texts(language).sentences
        listed = (
            [each for each in known if each not in given] if chosen.missing else given.keys() - set(known)
        )
        for template in listed:
            print(f"{language}: {template}")


if __name__ == "__main__":
    main()
