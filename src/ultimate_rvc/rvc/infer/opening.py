"""What must fit together before a voice can convert: its frame rate, its encoder, its index."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ultimate_rvc.device import is_out_of_memory, release_cached_memory
from ultimate_rvc.errors import EncoderMismatchError, VoiceFileError
from ultimate_rvc.rvc.content import ContentEncoder, load_content_encoder
from ultimate_rvc.rvc.infer.encoder_choice import choose_encoder
from ultimate_rvc.rvc.infer.index_file import check_index_file
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.retrieval import Retriever, read_index
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.voice_file.read import VoiceModel

log = logging.getLogger(__name__)


def check_frame_rate(voice: VoiceModel, voice_name: str) -> None:
    hop_length = voice.synthesizer.config.hop_length
    if hop_length * 100 != voice.sample_rate:
        raise VoiceFileError(
            f"{voice_name} makes {hop_length} samples per frame at {voice.sample_rate} Hz; "
            "only voices with 100 frames per second are supported."
        )


def load_encoder(
    voice: VoiceModel, settings: ConversionSettings, device: torch.device, voice_name: str
) -> ContentEncoder:
    """The encoder the voice was trained with, as wide as the voice expects."""
    name, folder = choose_encoder(voice.embedder, voice.metadata.embedder_recorded, settings, voice_name)
    encoder = load_content_encoder(name, device, folder=folder)
    expected, given = voice.synthesizer.config.phone_dim, encoder.feature_dim(voice.version)
    if given != expected:
        raise EncoderMismatchError(
            f"{voice_name} expects {expected} features per frame, but the encoder '{name}' gives {given}; "
            "choose the one it was trained with as embedder_model.",
            "embedder_model",
        )
    return encoder


def check_index(retriever: Retriever, index_path: Path, voice: VoiceModel, voice_name: str) -> None:
    expected = voice.synthesizer.config.phone_dim
    if retriever.dim != expected:
        raise VoiceFileError(
            f"The index {index_path} holds vectors of {retriever.dim} numbers, but {voice_name} works "
            f"with {expected}; it belongs to another voice."
        )


def open_retriever(path: Path, device: torch.device | None) -> Retriever:
    """Read an ``.index`` file for a search on ``device``, or by faiss when that is None; as :func:`read_index`."""
    if device is None:
        return read_index(path)
    layout = check_index_file(path)
    try:
        return DeviceRetriever.load(layout, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, whose traceback would keep what was already loaded.
    release_cached_memory(device)
    log.warning(
        "%s has no memory left for the %d vectors of %s; faiss searches them.", device, layout.size, path
    )
    return read_index(path)
