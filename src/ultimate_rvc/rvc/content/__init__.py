"""Content encoders ("embedders"): audio at 16 kHz in, features of what is said out, 50 per second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.rvc.content.files import (
    encoder_folder,
    files_identity,
    require_encoder_folder,
    starter_file,
    weights_file,
)

if TYPE_CHECKING:  # where files lie is asked without loading torch
    import torch
    from torch import Tensor, nn

__all__ = ["ContentEncoder", "encoder_folder", "encoder_identity", "load_content_encoder"]


class ContentEncoder(Protocol):
    """One encoder, loaded."""

    @property
    def name(self) -> str: ...

    def feature_dim(self, version: str) -> int:
        """Features per frame for a voice of ``version`` (``v1`` or ``v2``).

        Raises
        ------
        EncoderMismatchError
            Voices of that version cannot use this encoder.
        """

    def networks(self, version: str) -> Sequence[nn.Module]:
        """The networks that :meth:`encode` runs for voices of ``version``."""

    def identity(self) -> str:
        """Hash of the weights, for caches: equal exactly when :func:`encoder_identity` is."""

    def encode(self, waveform_16k: Tensor, version: str, lengths: Sequence[int] | None = None) -> Tensor:
        """Features of audio as it is: no normalisation before.

        Parameters
        ----------
        waveform_16k
            ``(batch, samples)`` float32 at 16 kHz, in [-1, 1].
        version
            Of the voice, ``v1`` or ``v2``.
        lengths
            Samples of each item in a padded batch; left out, every item fills it. Each item then has
            the features it has alone, up to rounding, whatever the padding holds.

        Returns
        -------
        ``(batch, (samples - 80) // 320, feature_dim(version))`` float32 on the encoder's device; no
        frames at all below 400 samples. Frame ``i`` stands for samples ``320 * i`` to ``320 * i + 320``;
        frames behind an item's ``(length - 80) // 320`` are zero.

        Raises
        ------
        ValueError
            ``lengths`` are not as many as the items, or one of them lies outside 0 to ``samples``.
        """


def load_content_encoder(
    name: str, device: torch.device | str, *, folder: Path | None = None
) -> ContentEncoder:
    """Load the encoder ``name`` onto ``device``, fetching its files if they are not there.

    Parameters
    ----------
    name
        One of :class:`EmbedderModel`, or a folder's name below ``models/embedders``.
    folder
        Where its files are; a relative path that does not exist is looked up below ``models/embedders``.

    Raises
    ------
    AssetMissingError, DownloadError
        Its files are not on this machine and cannot be fetched.
    EncoderFileError
        Its files are there and cannot be used.
    SettingError
        No encoder has that name.
    """
    if name == EmbedderModel.STARTER and folder is None:
        from ultimate_rvc.rvc.content.starter import StarterEncoder

        return StarterEncoder(starter_file(), device)
    from ultimate_rvc.rvc.content.hubert import HubertEncoder

    return HubertEncoder(name, require_encoder_folder(name, folder), device)


def encoder_identity(name: str, *, folder: Path | None = None) -> str:
    """Hash of the encoder's files, without loading it; raises as :func:`load_content_encoder`."""
    if name == EmbedderModel.STARTER and folder is None:
        return files_identity(starter_file())
    found = require_encoder_folder(name, folder)
    return files_identity(weights_file(found), found / "config.json")
