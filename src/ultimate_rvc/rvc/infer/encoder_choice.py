"""Which content encoder a voice is run with: the one it was trained with, or a named error."""

from __future__ import annotations

from pathlib import Path

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.errors import EncoderMismatchError
from ultimate_rvc.rvc.infer.settings import ConversionSettings

CUSTOM_HINT = "choose custom as embedder_model, and its folder as custom_embedder_model."


def choose_encoder(
    recorded: str, is_recorded: bool, settings: ConversionSettings, voice_name: str
) -> tuple[str, Path | None]:
    """Name of the encoder for a voice, and its folder when it is a custom one.

    ``recorded`` is the encoder that the voice file names or, where not ``is_recorded``, the usual one: then
    any encoder may be asked for.

    Raises
    ------
    EncoderMismatchError
        If the settings ask for another encoder than the voice records, or the recorded one is unknown.
    """
    wanted = settings.embedder_model
    folder = Path(settings.custom_embedder_model).expanduser() if settings.custom_embedder_model else None
    if wanted is EmbedderModel.CUSTOM:
        # A custom folder may well hold the encoder the voice names; only its size can be checked.
        return wanted.value, folder
    if wanted is not None and is_recorded and wanted != recorded:
        raise EncoderMismatchError(
            f"{voice_name} was trained with the encoder '{recorded}', but '{wanted}' was asked for; "
            "leave embedder_model out to use the right one.",
            "embedder_model",
        )
    name = wanted or recorded
    if name not in set(EmbedderModel) or name == EmbedderModel.CUSTOM:
        raise EncoderMismatchError(
            f"{voice_name} was trained with the encoder '{name}', which is none of the known ones; "
            + CUSTOM_HINT
        )
    return str(name), None
