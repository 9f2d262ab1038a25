"""What is best on this machine where nothing was chosen."""

from __future__ import annotations

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.rvc.content import encoder_folder


def embedder_at_hand() -> EmbedderModel:
    """contentvec where its files are, else the starter encoder, which ships with the package."""
    has_contentvec = encoder_folder(EmbedderModel.CONTENTVEC) is not None
    return EmbedderModel.CONTENTVEC if has_contentvec else EmbedderModel.STARTER
