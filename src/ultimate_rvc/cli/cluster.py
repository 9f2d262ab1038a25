"""``urvc cluster``: the machines of a Ray cluster do what one would take long for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_optimization, show_warning
from ultimate_rvc.cluster.tasks import ClusterSettings
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.settings import settings_of
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.result import WorkResult

CLUSTER_FLAGS = {"address": "--address", "cpus": "--cpus", "gpus": "--gpus"}
SHOWN_FAILURES = 20  # the rest is in --json

app = typer.Typer(no_args_is_help=True, help="Use the machines of a Ray cluster.")


@app.callback()
def _group() -> None:
    """Use the machines of a Ray cluster."""


Voice = Annotated[
    str | None,
    typer.Option(
        "--voice",
        "--model",
        "-m",
        help="Voice: a name in the library, or a .pth, .safetensors or .onnx file. It is sent to the machines.",
    ),
]


def _option(name: str) -> Any:
    """The option of a field of ``ClusterSettings``, in its words."""
    entry = settings_of(ClusterSettings)[name]
    return typer.Option(CLUSTER_FLAGS[name], help=entry.help, rich_help_panel="Cluster")


@app.command("convert")
@options.takes(ConvertRequest, own_flags={"voice": "--voice", **CLUSTER_FLAGS})
@options.takes_optimization
def convert(
    asked: Mapping[str, Any],
    switches: Mapping[str, Any],
    sources: Annotated[list[Path], typer.Argument(help="Folders to convert, or files.", metavar="FOLDER...")],
    voice: Voice = None,
    address: Annotated[str | None, _option("address")] = ClusterSettings.address,
    cpus: Annotated[float, _option("cpus")] = ClusterSettings.cpus,
    gpus: Annotated[float, _option("gpus")] = ClusterSettings.gpus,
    as_json: options.AsJson = False,
) -> None:
    """Convert many files to a voice; started again, it goes on where it was.

    All machines reach the files and the output folder under the same paths.

    Example: urvc cluster convert /nas/takes --voice "my voice" --output /nas/converted --address 10.0.0.5:6379
    """
    from ultimate_rvc.cluster.convert import convert_on_cluster
    from ultimate_rvc.work.settings_parts import conversion_for
    from ultimate_rvc.work.workbench import own_workbench

    name = options.one_of("--voice", voice, None, "a voice's name, or a .pth, .safetensors or .onnx file")
    request = KINDS["convert"].read(
        {
            **asked,
            "sources": sources,
            "voice": name,
            "conversion": conversion_for(name, asked.get("conversion", {})),
            "optimization": switches,
        }
    )
    KINDS["convert"].check(request)
    settings = ClusterSettings(address=address, cpus=cpus, gpus=gpus)
    with (
        redirect_stdout(sys.stderr),  # ray prints there what happens to workers and machines
        progress_bar() as progress,
        own_workbench(progress, options.SWITCH_FLAGS) as bench,
    ):
        try:
            result = convert_on_cluster(request, bench, settings)
        finally:
            for warning in bench.warnings:
                show_warning(warning)
    _show(result, as_json)


def _show(result: WorkResult, as_json: bool) -> None:
    facts = result.facts
    converted, kept, failures = facts["converted"], facts["kept"], facts["failed"]
    if as_json:
        names = ("voice", "converted", "kept", "failed", "machines")
        show_json({**{name: facts[name] for name in names}, "optimization": facts.get("optimization", [])})
    else:
        minutes = facts["duration_seconds"] / 60
        show_line(f"converted   {len(converted)} files, {minutes:.1f} minutes of audio")
        show_line(f"there were  {len(kept)} from an earlier run")
        for machine, count in facts["machines"].items():
            show_line(f"machine     {machine}: {count} files")
        for each in failures[:SHOWN_FAILURES]:
            show_line(f"failed      {each['source']}: {each['error']}")
        if (more := len(failures) - SHOWN_FAILURES) > 0:
            show_line(f"failed      {more} more, which --json names")
        show_optimization(facts.get("optimization", []))
    if failures:
        total = len(failures) + len(converted) + len(kept)
        raise UltimateRVCError(f"{len(failures)} of {total} files could not be converted.")
