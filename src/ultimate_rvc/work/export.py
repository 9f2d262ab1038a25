"""The work ``export``: a voice's networks, with its encoder, in the form of a backend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.choices import Backend
from ultimate_rvc.errors import BackendError, SettingError, first_line
from ultimate_rvc.files import atomic_folder
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import find_voice

DESCRIPTION = "export.json"


@dataclass(frozen=True)
class ExportedNetworks:
    """What an export wrote."""

    folder: Path
    files: Mapping[str, int]
    """Bytes by name below ``folder``."""
    left_out: Mapping[str, str]
    """Parts that the backend cannot export, with the reason."""


def export_networks(
    voice: str,
    backend_name: Backend,
    precision: str,
    output: Path,
    device: str,
    progress: Progress | None = None,
) -> ExportedNetworks:
    """Write the networks of ``voice`` into the new folder ``output``, one folder for each.

    ``export.json`` beside them tells the names, shapes and order of inputs and outputs. What is made is kept for
    conversions too, and what a conversion made is used.

    Raises
    ------
    SettingError
        ``output`` is there already, the backend exports nothing, its libraries are missing, or it does not compute
        in ``precision``.
    BackendError
        It can export none of the parts.
    """
    from ultimate_rvc.rvc.infer.optimization.backends.finding import backend_named
    from ultimate_rvc.rvc.infer.optimization.backends.opening import check_precision
    from ultimate_rvc.rvc.infer.optimization.backends.protocol import EXPORTED

    progress = progress or Progress()
    if backend_name not in EXPORTED:
        raise SettingError(f"backend is {backend_name}, but must be one of {', '.join(EXPORTED)}.", "backend")
    if output.exists():
        raise SettingError(f"{output} is there already; choose a new folder as output.", "output")
    backend = backend_named(backend_name)
    check_precision(backend, precision)
    backend.version()
    _make_parent(output)
    with atomic_folder(output) as unfinished:
        left_out = _write_parts(voice, backend_name, precision, device, unfinished, progress)
    files = {
        path.relative_to(output).as_posix(): path.stat().st_size
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }
    return ExportedNetworks(output, files, left_out)


def _make_parent(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"{output} cannot be made ({error.strerror}); choose another folder as output.", "output"
        ) from error


def _write_parts(
    voice: str, backend_name: Backend, precision: str, device: str, folder: Path, progress: Progress
) -> dict[str, str]:
    from ultimate_rvc.device import resolve_device
    from ultimate_rvc.rvc.infer.opening import check_frame_rate, load_encoder
    from ultimate_rvc.rvc.infer.optimization.backends.exports import RECORD_NAME
    from ultimate_rvc.rvc.infer.optimization.backends.finding import backend_named
    from ultimate_rvc.rvc.infer.optimization.backends.opening import export_folder, planned
    from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer
    from ultimate_rvc.rvc.voice_file.read import load_voice_model

    found, torch_device = find_voice(voice), resolve_device(device)
    model = load_voice_model(found.model_path, torch_device)
    check_frame_rate(model, found.model_path.name)
    if isinstance(model.synthesizer, OnnxSynthesizer):
        raise SettingError(
            f"{found.model_path.name} is an ONNX file already, which is not exported again.", "model"
        )
    encoder = load_encoder(model, ConversionSettings(), torch_device, found.model_path.name)
    parts, plan = planned(precision, model, encoder, torch_device)
    described, left_out = [], {}
    for number, part in enumerate(parts):
        progress.report("export", number / len(parts), part.name)
        try:
            made = export_folder(backend_named(backend_name), part, plan)
        except SettingError:
            raise
        except Exception as error:  # of many libraries, with types of their own
            left_out[str(part.name)] = first_line(error)
            continue
        shutil.copytree(made, folder / part.name, ignore=shutil.ignore_patterns(RECORD_NAME))
        described.append(
            {
                "part": part.name,
                "inputs": [_port(port) for port in part.inputs],
                "outputs": [_port(port) for port in part.outputs],
                "steps": list(part.lengths) or {"fewest": part.fewest, "most": part.most},
            }
        )
    if not described:
        raise BackendError(
            f"The backend {backend_name} exports no part of {voice}: {next(iter(left_out.values()))}"
        )
    progress.report("export", 1.0)
    content = {
        "voice": found.name,
        "backend": backend_name,
        "precision": precision,
        "sample_rate": model.sample_rate,
        "hop_length": model.synthesizer.config.hop_length,
        "encoder": encoder.name,
        "parts": described,
    }
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return left_out


def _port(port: object) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(port).items()}
