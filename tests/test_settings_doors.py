"""Every setting is found at every door: option, control, settings file, schema, docs; flags at one door only."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from ultimate_rvc.cli.main import COMMANDS as COMMANDS_TABLE
from ultimate_rvc.errors import SettingError
from ultimate_rvc.settings import REQUIRED, settings_of, walk
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.web.controls import css_class, is_local_only
from ultimate_rvc.web.texts import languages
from ultimate_rvc.work.kinds import KINDS, schema_of

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCE = CHECKOUT / "src" / "ultimate_rvc"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tables = _script("write_settings_tables")
CLASSES = [section.kind for section in tables.SECTIONS]
# Commands that take one class, under each of their names.
COMMANDS = {
    "generate song-cover": KINDS["cover"].settings,
    "generate convert-voice": KINDS["convert"].settings,
    "cluster convert": KINDS["convert"].settings,
    "generate speech": KINDS["speech"].settings,
    "generate separate": KINDS["separate"].settings,
    "generate split-backing": KINDS["separate"].settings,
    "generate dereverb": KINDS["separate"].settings,
    "generate effects": KINDS["effects"].settings,
    "generate transpose": KINDS["transpose"].settings,
    "generate mix": KINDS["mix"].settings,
    "generate wavify": KINDS["wavify"].settings,
    "train voice": KINDS["train"].settings,
}
# The commands of these are told apart from each other by their names, and a training's recordings are arguments.
ARGUMENTS = {"separaterequest.task", "trainrequest.recordings"}


def flags_of(command: str) -> set[str]:
    group, _, name = command.partition(" ")
    found: Any = typer.main.get_command(import_module(COMMANDS_TABLE[group].module).app)
    found = found.commands[name] if name else found
    return {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("section", tables.SECTIONS, ids=lambda section: section.kind.__name__)
def test_every_setting_has_the_option_that_the_table_names(section: Any) -> None:
    flags = flags_of(section.command)
    for entry in settings_of(section.kind).values():
        option = tables.option(section, entry).strip("`")
        if entry.default is not REQUIRED and entry.words_key not in ARGUMENTS:
            assert option in flags, entry.name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_option_for_each_setting_of_its_work(command: str) -> None:
    """Counted by the tables' options, whichever class a setting belongs to."""
    flags, sections = flags_of(command), {section.kind: section for section in tables.SECTIONS}
    owners = {
        entry.words_key: (sections[kind], entry) for kind in CLASSES for entry in settings_of(kind).values()
    }
    for _, entry in walk(COMMANDS[command]):
        if entry.default is REQUIRED or entry.words_key in ARGUMENTS or entry.group == "trainrequest":
            continue
        option = tables.option(*owners[entry.words_key]).strip("`")
        names = {option, option.replace("-voice", "-vocals")}
        assert names & flags, f"{command} lacks {entry.words_key}"


@pytest.fixture(scope="module")
def pages() -> dict[bool, set[str]]:
    """The classes of all components of the page: as its machine's user sees it, and as others do."""
    return {is_local: set(_laid_out(PAGE.format(is_local=is_local))) for is_local in (True, False)}


PAGE = """
import json
from ultimate_rvc.web.server import prepare_environment
prepare_environment()
from ultimate_rvc.web.desk import Server
from ultimate_rvc.web.page import build_page
blocks = build_page(Server(None, is_local={is_local})).blocks.values()
print(json.dumps([name for block in blocks for name in getattr(block, "elem_classes", None) or []]))
"""


def _laid_out(program: str) -> Any:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("section", tables.SECTIONS, ids=lambda section: section.kind.__name__)
def test_every_setting_has_the_control_that_the_table_promises(
    section: Any, pages: dict[bool, set[str]]
) -> None:
    for entry in settings_of(section.kind).values():
        if entry.default is REQUIRED:  # uploaded or chosen by what every tab begins with
            continue
        promised = tables.on_page(section, entry)
        assert (css_class(entry) in pages[True]) is (promised != "-"), entry.name
        assert (css_class(entry) in pages[False]) is (promised == "yes"), entry.name


def test_a_page_that_others_reach_has_no_control_for_what_names_or_replaces_files(
    pages: dict[bool, set[str]],
) -> None:
    local = {css_class(entry) for kind in CLASSES for _, entry in walk(kind) if is_local_only(entry)}
    assert len(local & pages[True]) >= 10
    assert not local & pages[False]


@pytest.mark.parametrize("name", KINDS)
def test_every_setting_of_a_kind_is_in_its_schema_as_it_is_read(name: str) -> None:
    kind = KINDS[name]
    known = schema_of(name)
    paths = {path for path, _ in walk(kind.settings)}
    paths = {path for path in paths if not any(f"{path}.".startswith(f"{out}.") for out in kind.leave_out)}
    for path in paths:
        assert _at(known, path), path
    extra = {entry.name for entry in fields(kind.settings)} - {path.partition(".")[0] for path in paths}
    assert extra <= {"optimization", "allow_local"}


def _at(known: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split("."):
        objects = [known, *known.get("anyOf", ())]
        known = next(each["properties"][part] for each in objects if part in each.get("properties", {}))
    return known


def test_the_schema_says_what_may_be_left_to_the_program() -> None:
    cover = schema_of("cover")["properties"]["cover"]["properties"]
    assert {"type": "null"} in cover["effects"]["anyOf"]
    assert {"type": "null"} in cover["backing"]["anyOf"]
    batch_size = schema_of("convert")["properties"]["optimization"]["properties"]["batch_size"]
    assert batch_size["anyOf"] == [{"type": "integer"}, {"enum": ["auto"]}]
    assert "device" not in schema_of("train")["properties"]["training"]["properties"]
    assert schema_of("transpose")["required"] == ["source", "semitones"]


def test_the_table_of_the_docs_is_what_the_settings_say() -> None:
    """Else run scripts/write_settings_tables.py."""
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page()


def test_the_table_has_every_setting_of_every_kind_of_work() -> None:
    known = {entry.words_key for kind in CLASSES for entry in settings_of(kind).values()}
    # Said by a command of its own, with arguments only.
    apart = {f"{kind}.{name}" for kind, name in (("trainrequest", "device"), ("trainrequest", "recordings"))}
    for kind in (*(each.settings for each in KINDS.values()), OptimizationConfig):
        for _, entry in walk(kind):
            is_apart = entry.words_key in apart or entry.group in ("importvoicerequest", "downloadrequest")
            assert entry.words_key in known or is_apart or entry.default is REQUIRED, entry.words_key


# ------------------------------------------------------------------ a setting that is added


ADDED = """
import importlib.util, json, os, sys

NAME = "ultimate_rvc.rvc.infer.settings"
FIELD = '''
    warmth: float = setting(0.25, "How warm it sounds.", 0, 1, step=0.05)

    def __post_init__'''

spec = importlib.util.find_spec(NAME)
module = importlib.util.module_from_spec(spec)
source = spec.loader.get_source(NAME).replace("\\n    def __post_init__", FIELD, 1)
sys.modules[NAME] = module
exec(compile(source, spec.origin, "exec"), module.__dict__)

from ultimate_rvc.cli import convert_voice, song_cover
from ultimate_rvc.cli.main import run

asked = []
def stopped(kind, given):
    asked.append(given)
    raise SystemExit(0)
convert_voice.do = song_cover.do = stopped
for command in (["convert-voice", "take.wav"], ["song-cover", "take.wav"]):
    try:
        run(["generate", *command, "--model", "starter", "--warmth", "0.5"])
    except SystemExit:
        pass
options = [asked[0]["conversion"]["warmth"], asked[1]["cover"]["conversion"]["warmth"]]

from ultimate_rvc.work.settings_parts import checked_part
filed = checked_part("cover", {"conversion": {"warmth": 0.75}})["conversion"]["warmth"]

from ultimate_rvc.work.kinds import KINDS, schema_of
job = KINDS["convert"].read({"sources": ["a.wav"], "voice": "starter", "conversion": {"warmth": 1}})

from ultimate_rvc.web.server import prepare_environment
prepare_environment()
from ultimate_rvc.web.desk import Server
from ultimate_rvc.web.page import build_page
blocks = build_page(Server(None)).blocks.values()
controls = [
    [type(block).__name__, block.label, block.info, block.value, block.minimum, block.maximum, block.step]
    for block in blocks if "setting-conversion-warmth" in (getattr(block, "elem_classes", None) or [])
]

sys.path.insert(0, os.environ["SCRIPTS"])
import write_settings_tables
rows = [line for line in write_settings_tables.page().splitlines() if line.startswith("| `warmth` |")]
print(json.dumps({
    "options": options, "filed": filed, "job": job.conversion.warmth, "controls": controls, "rows": rows,
    "schema": schema_of("cover")["properties"]["cover"]["properties"]["conversion"]["properties"]["warmth"],
}))
"""


@pytest.fixture(scope="module")
def added() -> dict[str, Any]:
    """What the doors say of a field that stands in ``ConversionSettings`` and nowhere else."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SCRIPTS", str(CHECKOUT / "scripts"))
        found: dict[str, Any] = _laid_out(ADDED)
    return found


def test_an_added_setting_is_an_option_of_the_command_line(added: dict[str, Any]) -> None:
    assert added["options"] == [0.5, 0.5]


def test_an_added_setting_is_a_control_in_every_tab_and_language(added: dict[str, Any]) -> None:
    control = ["Slider", "Warmth", "How warm it sounds.", 0.25, 0, 1, 0.05]
    assert added["controls"] == [control] * 4 * len(languages())  # cover, step by step, conversion, speech


def test_an_added_setting_is_a_key_of_settings_files_and_jobs(added: dict[str, Any]) -> None:
    assert (added["filed"], added["job"]) == (0.75, 1)


def test_an_added_setting_is_in_schema_and_docs(added: dict[str, Any]) -> None:
    assert added["schema"] == {
        "type": "number", "minimum": 0, "maximum": 1, "description": "How warm it sounds.", "default": 0.25,
    }  # fmt: skip
    assert added["rows"] == ["| `warmth` | `--warmth` | yes | 0.25 | 0 to 1 | How warm it sounds. |"]


# ------------------------------------------------------------------ flags belong to the command line


FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Programs with a command line of their own name their flags, and a style sheet's variables look like some.
OF_THEIR_OWN = {"speech/system.py", "web/main.py", "web/server.py", "web/page.py"}


def _sentences(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every text of a module but its docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_no_sentence_outside_the_command_line_names_a_flag() -> None:
    told = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.value!r}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] != "cli" and str(path.relative_to(SOURCE)) not in OF_THEIR_OWN
        for node in _sentences(ast.parse(path.read_text(encoding="utf-8")))
        if FLAG.search(node.value)
    ]
    assert told == []


def test_a_flag_in_a_sentence_would_be_seen() -> None:
    tree = ast.parse('"""--in-the-docstring"""\nraise ValueError(f"use {name} with --high-pass.")')
    assert [node.value for node in _sentences(tree) if FLAG.search(node.value)] == [" with --high-pass."]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("convert", {"sources": ["a.wav"], "conversion": {"index_rate": 7}}),
        ("cover", {"source": "a.wav", "cover": {"conversion": {"index_rate": 7}}}),
    ],
)
def test_a_job_that_is_wrong_names_the_field(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"index_rate is 7\.0, but must be from 0 to 1\."):
        KINDS[name].read({**given, "voice": "starter"})
