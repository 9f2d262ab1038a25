"""What is best on this machine where nothing was chosen."""

from __future__ import annotations

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.rvc.content import encoder_folder
from ultimate_rvc.rvc.train.data_settings import PreprocessSettings

# It knows what others' words are in the features of the starter encoder, which takes longest.
BASE, BASE_SAMPLE_RATE = "starter-anna", 32_000


def embedder_at_hand() -> EmbedderModel:
    """contentvec where its files are, else the starter encoder, which ships with the package."""
    has_contentvec = encoder_folder(EmbedderModel.CONTENTVEC) is not None
    return EmbedderModel.CONTENTVEC if has_contentvec else EmbedderModel.STARTER


def sample_rate_for(embedder: EmbedderModel) -> int:
    """In Hz: that of the voices in the package where a training can start from one, else what most voices have."""
    return BASE_SAMPLE_RATE if embedder is EmbedderModel.STARTER else PreprocessSettings().sample_rate
