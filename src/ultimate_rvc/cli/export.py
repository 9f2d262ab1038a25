"""``urvc export``: a voice's networks in the form of a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultimate_rvc.choices import Backend
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import megabytes, show_json, show_line, show_table
from ultimate_rvc.plain import to_plain

app = typer.Typer(add_completion=False)
FLAGS = {"backend": "--backend", "output": "--output"}


@app.command()
def export(
    model: Annotated[str, typer.Option("--model", "-m", help="Voice: a name in the library, or a file.")],
    backend: Annotated[Backend, typer.Option(help="torchscript, onnx, openvino, coreml, mlx or tensorrt.")],
    output: Annotated[Path, typer.Option(help="A new folder to write to.")],
    precision: Annotated[
        str, typer.Option(help="float32, float16, bfloat16 or int8; not every backend has all.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="Where torch computes meanwhile.")] = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Write the networks of a voice and of its content encoder for another runtime.

    Conversions do not need it: they export what they need by themselves, once, when --backend is given.

    Example: urvc export --model starter --backend onnx --output starter-onnx
    """
    from ultimate_rvc.work.export import export_networks

    with options.with_flags(FLAGS):
        exported = export_networks(model, backend, precision, output, device)
    if as_json:
        show_json(to_plain(exported))
        return
    show_table(["file", "size"], [[name, megabytes(size)] for name, size in exported.files.items()])
    for part, reason in exported.left_out.items():
        show_line(f"left out {part}: {reason}")
    show_line(f"written to {exported.folder}")
