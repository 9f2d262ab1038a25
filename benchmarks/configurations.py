"""The reference configuration beside the one in force: time by stage, memory, accuracy; with a log.

    ./urvc-macos.sh benchmark [--seconds 30] [--repeats 3] [--configs nvidia,cpu] [--small]
                              [--json FILE] [--plot FILE] [--log FILE] [--history]

Nothing is downloaded; docs/benchmark.md says what each line means and how to send the log.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from machine import commit, machine_of, platform_name  # these three lie beside this file
from performance_log import LogRow, append_rows, compare, default_log_path, history_lines, read_rows, snr_text
from random_models import INDEX_VECTORS, ModelSize, vocal, write_models
from ultimate_rvc import __version__
from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.paths import config_dir
from ultimate_rvc.switches import FILE_VARIABLE, OptimizationConfig, resolve_config

if TYPE_CHECKING:
    from interleaved import Measurement, Peak

REFERENCE, IN_FORCE = "reference", "in-force"
STANDARD_OUTPUT = "-"
SECONDS, REPEATS, SEED = 30.0, 3, 0
MOST_SECONDS, MOST_REPEATS, MOST_SEED = 3600.0, 1000, 2**32 - 1
LEAST_SECONDS = 0.5
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
COLUMN = 22
MODEL_WORDS = {
    ModelSize.OFFICIAL: (
        "ContentVec, RMVPE, a v2 voice at 40 kHz and an index of "
        f"{INDEX_VECTORS:,} vectors in their official sizes, random weights"
    ),
    ModelSize.SMALL: "the small voice and encoder of the package, FCPE and a small index",
}


# --- the command line ---------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"Error: {message}\n")


def number(convert: Callable[[str], float], low: float, high: float) -> Callable[[str], Any]:
    """An argparse type for numbers from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low:g} to {high:g}.")
        return value

    return parse


def parser() -> argparse.ArgumentParser:
    lines = (__doc__ or "").splitlines()
    parser = Parser(
        prog="urvc-macos.sh benchmark", description=lines[0], epilog=lines[-1], allow_abbrev=False
    )
    add = parser.add_argument
    add("--seconds", type=number(float, LEAST_SECONDS, MOST_SECONDS), help="length of the vocal (default 30)")
    add("--repeats", type=number(int, 1, MOST_REPEATS), help="runs of each configuration (default 3)")
    add("--seed", type=number(int, 0, MOST_SEED), help="of the random weights and vectors (default 0)")
    add(
        "--configs",
        help=f"names of settings files, '{REFERENCE}' and '{IN_FORCE}', with commas between; "
        "the reference is always measured, since the others are compared with it",
    )
    add("--small", action="store_true", help="small models, for a quick try")
    add("--json", metavar="FILE", help=f"write everything as JSON; {STANDARD_OUTPUT} is standard output")
    add("--plot", type=Path, metavar="FILE", help="draw the stages as bars (png, svg or pdf)")
    add("--log", type=Path, metavar="FILE", help=f"the performance log (default {default_log_path()})")
    add("--history", action="store_true", help="show the log and what became slower; measure nothing")
    return parser


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked against each other; ends the program with a sentence when they are wrong."""
    command_line = parser()
    options = command_line.parse_args(arguments)
    of_a_run = ("seconds", "repeats", "seed", "configs", "small", "plot")
    given = [f"--{name}" for name in of_a_run if getattr(options, name) not in (None, False)]
    if options.history and given:
        command_line.error(f"--history measures nothing: leave out {' and '.join(given)}.")
    for option, default in (("seconds", SECONDS), ("repeats", REPEATS), ("seed", SEED)):
        if getattr(options, option) is None:
            setattr(options, option, default)
    options.log = (options.log or default_log_path()).expanduser()
    check_targets(options, command_line)
    return options


def check_targets(options: argparse.Namespace, command_line: argparse.ArgumentParser) -> None:
    """A file that cannot be written is told before minutes of work, not after."""
    targets = {"--plot": options.plot}
    if options.json not in (None, STANDARD_OUTPUT):
        targets["--json"] = Path(options.json)
    for option, path in targets.items():
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            what = "is a folder" if path.is_dir() else f"cannot be written: there is no folder {path.parent}"
            command_line.error(f"{option} {path} {what}.")
    if options.plot and options.plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
        command_line.error(f"--plot {options.plot} must end in .png, .svg or .pdf.")
    if options.log.is_dir():
        command_line.error(f"--log {options.log} is a folder; name a file.")


# --- configurations -----------------------------------------------------------------------------


def choose_configs(names: str | None) -> dict[str, OptimizationConfig]:
    """The configurations to measure by name, the reference first, as they run (see ``as_measured``).

    Raises
    ------
    SettingError
        A name is neither a word nor a settings file, environment or file hold what is no choice, or a
        device is not there: told before minutes of work.
    """
    from interleaved import as_measured
    from ultimate_rvc.device import resolve_device

    in_force = resolve_config()
    in_force.log_warnings()
    wanted = [name.strip() for name in names.split(",")] if names is not None else [IN_FORCE]
    configs = {REFERENCE: OptimizationConfig(device=in_force.config.device)}
    for name in wanted:
        if name != REFERENCE:
            configs[name] = in_force.config if name == IN_FORCE else settings_file(name)
    for config in configs.values():
        resolve_device(config.device)
    return {name: as_measured(config) for name, config in configs.items()}


def settings_file(name: str) -> OptimizationConfig:
    """What the settings file ``name`` asks for, whatever the environment says."""
    files = sorted(file.stem for file in config_dir().glob("*.yaml"))
    if name not in files:
        choices = ", ".join([REFERENCE, IN_FORCE, *files])
        raise SettingError(
            f"--configs names {name!r}, but there is no such settings file in {config_dir()}; "
            f"choose from {choices}."
        )
    return resolve_config(environment={FILE_VARIABLE: name}).config


def switches_beyond(config: OptimizationConfig, reference: OptimizationConfig) -> str:
    """What ``config`` does that ``reference`` does not, in words."""
    differing = [
        f"{name}={str(value).lower()}"
        for name, value in vars(config).items()
        if value != getattr(reference, name)
    ]
    return ", ".join(differing) or f"the same as {REFERENCE} here"


# --- a run --------------------------------------------------------------------------------------


def header_lines(device: str) -> Iterator[str]:
    """What is measured on; the first four lines are always the same."""
    import torch

    yield f"=== {platform_name()} Performance Benchmark ==="
    yield f"PyTorch Version: {torch.__version__}"
    yield f"Device: {device_words(device)}"
    yield f"MPS Built: {torch.backends.mps.is_built()}"


def device_words(device: str) -> str:
    import torch

    from ultimate_rvc.device import resolve_device

    found = resolve_device(device)
    if found.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(found)})"
    return "MPS (GPU)" if found.type == "mps" else "CPU"


def conditions_of(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a row that all configurations of a run share."""
    import torch

    from ultimate_rvc.doctor import examine

    report = examine()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_of(report),
        "operating_system": report.system,
        "versions": report.versions,
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "models": str(size_of(options)),
        "seed": options.seed,
        "audio_seconds": options.seconds,
        "repeats": options.repeats,
    }


def condition_lines(
    options: argparse.Namespace, configs: dict[str, OptimizationConfig], conditions: dict[str, Any]
) -> Iterator[str]:
    """How it is measured, as far as it bears on what the figures mean."""
    from interleaved import silent_share

    yield f"Machine: {conditions['machine']}; {conditions['operating_system']}"
    yield (
        f"Version: ultimate-rvc-fast {__version__}, commit {conditions['commit'] or 'unknown'}, "
        f"{conditions['threads']} threads"
    )
    yield f"Models: {MODEL_WORDS[size_of(options)]} (seed {options.seed})"
    yield f"Audio: {options.seconds:g} s of a sung vocal, no noise added"
    yield f"Runs: {options.repeats} of each configuration, in turn, after a warm-up; medians"
    yield "Feature cache: off, so that no run profits from the one before"
    if any(config.skip_silence for config in configs.values()):
        share = silent_share(vocal(options.seconds))
        yield f"Silence: {share:.0%} of the vocal is below -60 dBFS, and skip_silence leaves it out"
    for name, config in configs.items():
        if name != REFERENCE:
            yield f"{name}: {switches_beyond(config, configs[REFERENCE])}"


def size_of(options: argparse.Namespace) -> ModelSize:
    return ModelSize.SMALL if options.small else ModelSize.OFFICIAL


def run(
    options: argparse.Namespace, configs: dict[str, OptimizationConfig]
) -> tuple[list[Measurement], dict[str, Peak]]:
    """Measure ``configs``: memory first, each in a process of its own, then time, in turn."""
    from interleaved import Work, measure, measure_peak

    peaks = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["URVC_MODELS_DIR"] = temporary
        tell("making the models")
        write_models(folder, size_of(options), options.seed)
        work = Work(folder, size_of(options), options.seconds, options.seed)
        for name, config in configs.items():
            tell(f"{name}: memory, in a process of its own")
            peaks[name] = measure_peak(name, config, work)
        return measure(configs, work, options.repeats, tell), peaks


def rows_of(
    measurements: Sequence[Measurement],
    configs: dict[str, OptimizationConfig],
    peaks: dict[str, Peak],
    conditions: dict[str, Any],
) -> list[LogRow]:
    """A row for each configuration; the first measurement is the reference."""
    from interleaved import accuracy
    from ultimate_rvc.device import resolve_device

    reference = measurements[0]
    rows = []
    for measured in measurements:
        config, seconds, stages = configs[measured.name], measured.median_seconds, measured.median_stages
        row = LogRow(
            **conditions,
            configuration=measured.name,
            settings=dict(vars(config)),
            device=str(resolve_device(config.device)),
            seconds=seconds,
            seconds_min=min(measured.seconds),
            seconds_max=max(measured.seconds),
            cpu_seconds=statistics.median(measured.cpu_seconds),
            real_time_factor=seconds / conditions["audio_seconds"],
            ratio=reference.median_seconds / seconds,
            stages=stages,
            shares={stage: part / seconds for stage, part in stages.items()},
            peak_host_mb=peaks[measured.name].host_mb,
            peak_device_mb=peaks[measured.name].device_mb,
            **accuracy(reference.output, measured.output),
        )
        rows.append(row)
    return rows


# --- showing ------------------------------------------------------------------------------------


def table_lines(rows: Sequence[LogRow]) -> Iterator[str]:
    """Stages first, then the whole, one column for each configuration."""
    yield _line("stage", [row.configuration for row in rows])
    for stage in dict.fromkeys(stage for row in rows for stage in row.stages):
        label = "  " * stage.count("/") + stage.rpartition("/")[2]
        yield _line(label, [_stage_cell(row, stage) for row in rows])
    yield _line("seconds", [f"{row.seconds:.2f}" for row in rows])
    yield _line("  min to max", [f"{row.seconds_min:.2f} to {row.seconds_max:.2f}" for row in rows])
    yield _line("CPU seconds", [f"{row.cpu_seconds:.2f}" for row in rows])
    yield _line("real-time factor", [f"{row.real_time_factor:.3f}" for row in rows])
    yield _line("times as fast", [f"{row.ratio:.2f}" for row in rows])
    yield _line("peak memory, process", [f"{row.peak_host_mb:.0f} MB" for row in rows])
    if any(row.peak_device_mb is not None for row in rows):
        yield _line("peak memory, GPU", [_megabytes(row.peak_device_mb) for row in rows])
    yield _line("max difference", [_difference(row.max_difference) for row in rows])
    yield _line("mean difference", [_difference(row.mean_difference) for row in rows])
    yield _line("SNR, dB", [snr_text(row) for row in rows])


def _line(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{COLUMN}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def _stage_cell(row: LogRow, stage: str) -> str:
    if stage not in row.stages:
        return "-"
    return f"{row.stages[stage]:.3f} {row.shares[stage]:>7.1%}"


def _megabytes(count: float | None) -> str:
    return "-" if count is None else f"{count:.0f} MB"


def _difference(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2e}"


def plot(rows: Sequence[LogRow], path: Path) -> None:
    """Draw the stages of each configuration as one stacked bar."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    from interleaved import own_seconds

    own = [own_seconds(row.stages) for row in rows]
    names = [f"{row.configuration} ({row.ratio:.2f} x)" for row in rows]
    figure = Figure(figsize=(9, 0.7 * len(rows) + 2.2), layout="constrained")
    axes = figure.add_subplot()
    left = [0.0] * len(rows)
    for number, stage in enumerate(dict.fromkeys(stage for stages in own for stage in stages)):
        widths = [stages.get(stage, 0.0) for stages in own]
        axes.barh(names, widths, left=left, label=stage, color=colormaps["tab20"](number % 20))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05 * max(left))
    axes.set_xlabel(f"seconds for {rows[0].audio_seconds:g} s of audio (median of {rows[0].repeats})")
    axes.set_title(f"{rows[0].machine}; torch {rows[0].versions['torch']}", fontsize="small")
    figure.legend(loc="outside lower center", ncols=5, fontsize="small")
    figure.savefig(path)


def tell(text: str) -> None:
    """Say what happens meanwhile; standard output is for results."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def write_json(rows: Sequence[LogRow], falls: Sequence[str], options: argparse.Namespace) -> None:
    content = {"log": str(options.log), "rows": [row.as_dict() for row in rows], "falls": list(falls)}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if options.json == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        Path(options.json).write_text(text, encoding="utf-8")


# --- commands -----------------------------------------------------------------------------------


def show_history(options: argparse.Namespace) -> None:
    rows = read_rows(options.log)
    falls = [sentence for entry in compare(rows) for sentence in entry.falls()]
    out = output_of(options)
    print(f"Performance log: {options.log}", file=out)
    if not rows:
        print("It holds no runs yet: ./urvc-macos.sh benchmark adds some.", file=out)
    for line in history_lines(rows):
        print(line, file=out)
    if options.json:
        write_json(rows, falls, options)


def run_and_show(options: argparse.Namespace) -> None:
    configs, conditions = choose_configs(options.configs), conditions_of(options)
    out = output_of(options)
    header = header_lines(configs[REFERENCE].device)
    for line in (*header, *condition_lines(options, configs, conditions)):
        print(line, file=out, flush=True)
    measurements, peaks = run(options, configs)
    rows = rows_of(measurements, configs, peaks, conditions)
    earlier = read_rows(options.log)
    falls = [text for entry in compare([*earlier, *rows])[len(earlier) :] for text in entry.falls()]
    for line in ("", *table_lines(rows), "", *falls):
        print(line, file=out)
    append_rows(options.log, rows)
    print(f"Added to the performance log {options.log}", file=out)
    if options.json:
        write_json(rows, falls, options)
    if options.plot:
        plot(rows, options.plot)


def output_of(options: argparse.Namespace) -> Any:
    """Where text for people goes: not between JSON and whoever reads it."""
    return sys.stderr if options.json == STANDARD_OUTPUT else sys.stdout


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    try:
        show_history(options) if options.history else run_and_show(options)
    except UltimateRVCError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"Error: {error.strerror or error}: {error.filename or 'a file'}.\n")
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
