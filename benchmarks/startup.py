"""From the command to the first sample of work: what starting `urvc` costs, cold and warm.

    python benchmarks/startup.py [--repeats 5] [--subjects help,starter,official] [--json]

help        `urvc --help`
starter     `urvc generate convert-voice` of one second, with the voice and the encoder in the package
official    the same with models of the official sizes (random weights): ContentVec, RMVPE, a v2 voice at
            40 kHz, an index of 50,000 vectors

Each run is a process of its own. Cold means that no module has been compiled to bytecode and no loop by
numba (both look into empty folders); the operating system's file cache cannot be emptied without being root,
so a start after booting also waits for the disk. Warm means that a run before this one compiled everything.
Cold and warm runs take turns; figures are medians. The first work is the first look at a sample by a network
(f0), with all models open and the file decoded and filtered. Opening a model includes what it imports.

What imports cost is seen in one more run of each kind with ``-X importtime``, which makes them slower.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from random_models import VOCAL_FILE, ModelSize, write_models  # beside this file

WATCH = Path(__file__).with_name("startup_watch.py")
COLD, WARM = "cold", "warm"
FIRST_WORK = "extract_f0"
SECONDS_OF_AUDIO = 1.0
SHOWN_LIBRARIES = 8


@dataclass(frozen=True)
class Run:
    """One process; seconds since the command was given, but for ``cpu_seconds`` and the openings."""

    interpreter_up: float
    first_work: float | None
    done: float
    cpu_seconds: float
    openings: dict[str, float]


@dataclass(frozen=True)
class Library:
    """What one library costs: its own modules alone, and with all it imports when it is asked for."""

    name: str
    own_seconds: float
    with_imports_seconds: float
    modules: int


@dataclass
class Subject:
    """One command, and its runs by kind."""

    name: str
    arguments: list[str]
    models_dir: Path | None = None
    runs: dict[str, list[Run]] = field(default_factory=lambda: {COLD: [], WARM: []})
    imports: dict[str, list[Library]] = field(default_factory=dict)


def subjects(names: Iterable[str], folder: Path) -> list[Subject]:
    source = folder / "second.wav"
    convert = ["generate", "convert-voice", str(source), "--output", str(folder / "converted.wav")]
    models = folder / "models"
    official = ["--model", str(models / "voice.pth"), "--index", str(models / "voice.index")]
    official += ["--f0-method", "rmvpe", "--embedder-model", "contentvec"]
    known = {
        "help": Subject("help", ["--help"]),
        "starter": Subject("starter", [*convert, "--model", "starter", "--f0-method", "fcpe"]),
        "official": Subject("official", [*convert, *official], models),
    }
    chosen = [known[name] for name in names]
    if any(subject.name != "help" for subject in chosen):
        write_source(source)
    if any(subject.models_dir for subject in chosen):
        models.mkdir()
        write_models(models, ModelSize.OFFICIAL, seed=0)
    return chosen


def write_source(path: Path) -> None:
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.encode import encode

    waveform, sample_rate = decode(VOCAL_FILE)
    encode(path, waveform[:, : round(SECONDS_OF_AUDIO * sample_rate)], sample_rate)


def environment(subject: Subject, compiled: Path, home: Path) -> dict[str, str]:
    """Bytecode and numba's loops lie in ``compiled``; results and caches of the program in ``home``."""
    chosen = {key: value for key, value in os.environ.items() if not key.startswith(("RVC_", "URVC_"))}
    chosen.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen |= {
        "PYTHONPYCACHEPREFIX": str(compiled / "bytecode"),
        "NUMBA_CACHE_DIR": str(compiled / "numba"),
        "URVC_HOME": str(home),
        "URVC_OFFLINE": "1",
    }
    if subject.models_dir:
        chosen["URVC_MODELS_DIR"] = str(subject.models_dir)
    return chosen


def start(
    subject: Subject, compiled: Path, options: Sequence[str] = ()
) -> tuple[Run, subprocess.CompletedProcess[str]]:
    """Run a subject once, with options of Python; an error ends the benchmark."""
    with tempfile.TemporaryDirectory() as home:
        marks_path = Path(home) / "marks.json"
        command = [sys.executable, *options, str(WATCH), str(marks_path), *subject.arguments]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment(subject, compiled, Path(home)),
        )
        ended, after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{process.stdout}{process.stderr}")
        marks = json.loads(marks_path.read_text(encoding="utf-8"))
    openings = {name: end - begin for name, begin, end in marks["spans"] if name != FIRST_WORK}
    works = [begin - started for name, begin, _ in marks["spans"] if name == FIRST_WORK]
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    first_work = min(works) if works else None
    run = Run(marks["interpreter_up"] - started, first_work, ended - started, cpu_seconds, openings)
    return run, process


def measure(subject: Subject, repeats: int, folder: Path) -> None:
    warm = folder / f"{subject.name} compiled"
    start(subject, warm)  # fills it
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as empty:
            subject.runs[COLD].append(start(subject, Path(empty))[0])
        subject.runs[WARM].append(start(subject, warm)[0])
    with tempfile.TemporaryDirectory() as empty:
        for kind, compiled in ((COLD, Path(empty)), (WARM, warm)):
            _, process = start(subject, compiled, ["-X", "importtime"])
            subject.imports[kind] = libraries(process.stderr)


def libraries(importtime: str) -> list[Library]:
    """Read what ``-X importtime`` wrote; the most expensive first."""
    own: dict[str, float] = defaultdict(float)
    together: dict[str, float] = defaultdict(float)
    modules: dict[str, int] = defaultdict(int)
    for line in importtime.splitlines():
        if not line.startswith("import time:") or "[us]" in line:
            continue
        own_us, together_us, module = line.removeprefix("import time:").split("|")
        library = module.strip().partition(".")[0]
        library = "standard library" if library in sys.stdlib_module_names else library
        own[library] += int(own_us) / 1e6
        together[library] = max(together[library], int(together_us) / 1e6)
        modules[library] += 1
    found = [Library(name, own[name], together[name], modules[name]) for name in own]
    return sorted(found, key=lambda library: library.own_seconds, reverse=True)


def median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def summary(subject: Subject) -> dict[str, Any]:
    return {
        "subject": subject.name,
        "kinds": {
            kind: {
                "interpreter_up_seconds": median(run.interpreter_up for run in runs),
                "first_work_seconds": median(run.first_work for run in runs),
                "done_seconds": median(run.done for run in runs),
                "cpu_seconds": median(run.cpu_seconds for run in runs),
                "openings_seconds": {
                    name: median(run.openings[name] for run in runs) for name in runs[0].openings
                },
                "import_seconds": sum(library.own_seconds for library in subject.imports[kind]),
                "imports": [asdict(library) for library in subject.imports[kind]],
            }
            for kind, runs in subject.runs.items()
        },
    }


def print_markdown(results: Sequence[dict[str, Any]]) -> None:
    print(
        "| seconds, medians | "
        + " | ".join(f"{row['subject']}, {kind}" for row, kind in columns(results))
        + " |"
    )
    print("|" + "---|" * (1 + 2 * len(results)))
    for key in ("interpreter_up", "first_work", "done", "cpu", "import"):
        cells = [text(row["kinds"][kind][f"{key}_seconds"]) for row, kind in columns(results)]
        print(f"| {key.replace('_', ' ')} | " + " | ".join(cells) + " |")
    opened = {name for row, kind in columns(results) for name in row["kinds"][kind]["openings_seconds"]}
    for name in sorted(opened):
        times = [row["kinds"][kind]["openings_seconds"].get(name) for row, kind in columns(results)]
        print(f"| `{name}` | " + " | ".join(map(text, times)) + " |")
    for row, kind in columns(results):
        print(f"\n{row['subject']}, {kind}:\n\n| library | own seconds | with its imports | modules |")
        print("|---|---|---|---|")
        for library in row["kinds"][kind]["imports"][:SHOWN_LIBRARIES]:
            seconds = f"{library['own_seconds']:.3f} | {library['with_imports_seconds']:.3f}"
            print(f"| {library['name']} | {seconds} | {library['modules']} |")


def columns(results: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    return [(row, kind) for row in results for kind in (COLD, WARM)]


def text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--subjects", default="help,starter,official")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.subjects.split(",")
    if unknown := set(names) - {"help", "starter", "official"}:
        parser.error(f"--subjects knows help, starter and official, not {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as temporary:
        chosen = subjects(names, Path(temporary))
        for subject in chosen:
            measure(subject, options.repeats, Path(temporary))
    results = [summary(subject) for subject in chosen]
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print_markdown(results)


if __name__ == "__main__":
    main()
