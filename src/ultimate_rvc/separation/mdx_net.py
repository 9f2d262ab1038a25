"""MDX-Net: networks in ONNX files that map a spectrogram of a song to that of one stem.

The networks are KUIELab's (Kim et al., "KUIELab-MDX-Net: A Two-Stream Neural Network for Music Demixing", 2021), as
Ultimate Vocal Remover publishes them. A file says nothing of its transform, so its parameters come from a table by
the file's hash, or from a YAML file beside it.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SeparationError
from ultimate_rvc.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, open_session
from ultimate_rvc.separation.models import Effort

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

SAMPLE_RATE = 44_100
HOP_LENGTH = 1024
SPECTRUM_PLANES = 4  # real and imaginary part, left and right
SILENCED_BINS = 3  # of the lowest frequencies: the networks were trained without them
HASHED_BYTES = 10_000 * 1024  # at the end of a file, as Ultimate Vocal Remover tells models apart
PARAMETERS_TABLE = Path(__file__).parent / "configs" / "mdx_net.tsv"
# What runs the network on which device; where it is not installed, the processor does.
PROVIDERS = {"cuda": CUDA_PROVIDER, "mps": "CoreMLExecutionProvider"}

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class MdxParameters:
    """The transform that a network was trained with, at 44.1 kHz and a hop of 1024 samples."""

    n_fft: int
    dim_f: int
    """Bins that the network sees; the others are silent in its output."""
    dim_t: int
    """Frames of one chunk."""
    compensate: float
    """What its output is multiplied by."""
    stem: str
    """What its output is, such as vocals or instrumental."""

    @property
    def chunk_length(self) -> int:
        """Samples of one chunk."""
        return HOP_LENGTH * (self.dim_t - 1)

    @property
    def lead_in(self) -> int:
        """Samples of silence before the song, so that no sample of it is at the very edge of a chunk."""
        return self.n_fft // 2


def parameters_of(checkpoint: Path, config: Path | None) -> MdxParameters:
    """The parameters of a network: those of the YAML ``config`` if there is one, else by the file's hash.

    Raises
    ------
    SeparationError
        The YAML does not tell them, or nothing is known of the file.
    """
    if config is not None:
        return _read_parameters(config)
    if known := _known_parameters().get(file_identity(checkpoint)):
        return known
    names = ", ".join(field.name for field in fields(MdxParameters))
    raise SeparationError(
        f"The separation model {checkpoint} is not one of the MDX-Net models known here: put a file "
        f"{checkpoint.with_suffix('.yaml').name} with {names} beside it."
    )


def _read_parameters(config: Path) -> MdxParameters:
    try:
        given = yaml.safe_load(config.read_text("utf-8"))
        return MdxParameters(
            **{field.name: _TYPES[field.name](given[field.name]) for field in fields(MdxParameters)}
        )
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        names = ", ".join(field.name for field in fields(MdxParameters))
        raise SeparationError(
            f"The configuration {config} of an MDX-Net model should give {names}, for example "
            f"{asdict(MdxParameters(7680, 3072, 256, 1.021, 'vocals'))}."
        ) from error


def file_identity(checkpoint: Path) -> str:
    """MD5 of the last 10,240,000 bytes, by which Ultimate Vocal Remover knows its models."""
    with checkpoint.open("rb") as file:
        file.seek(max(checkpoint.stat().st_size - HASHED_BYTES, 0))
        return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


_TYPES: dict[str, Callable[[Any], Any]] = {
    "n_fft": int, "dim_f": int, "dim_t": int, "compensate": float, "stem": str,
}  # fmt: skip


@cache
def _known_parameters() -> dict[str, MdxParameters]:
    with PARAMETERS_TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {
            row.pop("md5"): MdxParameters(**{name: _TYPES[name](row[name]) for name in row}) for row in rows
        }


class MdxNetwork:
    """An open network: a block of audio in, its stem by name out.

    Raises
    ------
    SeparationError
        The file is no ONNX network, nothing is known of it, or it does not fit its parameters.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, name: str, checkpoint: Path, config: Path | None, device: str, effort: Effort) -> None:
        self.parameters = parameters_of(checkpoint, config)
        self._session = _open_session(name, checkpoint, device)
        self._effort = effort
        self._input = self._session.get_inputs()[0].name
        self._window = torch.hann_window(self.parameters.n_fft)
        _check_shape(name, checkpoint, self._session.get_inputs()[0].shape, self.parameters)

    def stems(self, block: FloatArray, done: Callable[[float], None]) -> dict[str, FloatArray]:
        """The stem of ``block`` ``(channels, samples)`` of one or two channels, of the same shape."""
        if block.shape[0] == 2:
            return {self.parameters.stem: self._stem(block, done)}
        both = self._stem(np.repeat(block, 2, axis=0), done)
        return {self.parameters.stem: both.mean(axis=0, keepdims=True)}

    def close(self) -> None:
        """Nothing is held beyond the object itself."""

    def _stem(self, waveform: FloatArray, done: Callable[[float], None]) -> FloatArray:
        """The stem of ``waveform`` ``(2, samples)``, of the same shape; a silent chunk stays silent."""
        parameters, length = self.parameters, waveform.shape[-1]
        chunk, lead_in = parameters.chunk_length, parameters.lead_in
        step = int((1 - self._effort.own_or_usual_overlap) * chunk)
        useful = chunk - 2 * lead_in
        total = lead_in + length + useful + lead_in - length % useful
        padded = np.zeros((2, total), np.float32)
        padded[:, lead_in : lead_in + length] = waveform
        stem, weights = np.zeros_like(padded), np.zeros(total)
        starts = range(0, lead_in + length, step)
        usual_window = np.hanning(chunk)
        for number, start in enumerate(starts):
            part = padded[:, start : start + chunk]
            # A last chunk that the padding cuts off has a window of its own length.
            window = usual_window if part.shape[-1] == chunk else np.hanning(part.shape[-1])
            if np.abs(part).max() > self._effort.silent_below:
                whole = np.pad(part, ((0, 0), (0, chunk - part.shape[-1])))
                stem[:, start : start + chunk] += window * self._stem_of_chunk(whole)[:, : part.shape[-1]]
            weights[start : start + chunk] += window
            done((number + 1) / len(starts))
        kept = slice(lead_in, lead_in + length)
        return (stem[:, kept] / weights[kept] * parameters.compensate).astype(np.float32)

    def _stem_of_chunk(self, chunk: FloatArray) -> FloatArray:
        """One chunk ``(2, samples)`` through the network, its level not yet compensated."""
        n_fft, dim_f = self.parameters.n_fft, self.parameters.dim_f
        spectrum = torch.stft(
            torch.from_numpy(np.ascontiguousarray(chunk)),
            n_fft,
            HOP_LENGTH,
            window=self._window,
            return_complex=True,
        )
        planes = torch.view_as_real(spectrum[:, :dim_f]).permute(0, 3, 1, 2)
        planes = planes.reshape(1, SPECTRUM_PLANES, dim_f, -1).contiguous()
        planes[:, :, :SILENCED_BINS] = 0
        (output,) = self._session.run(None, {self._input: planes.numpy()})
        planes = torch.from_numpy(output).reshape(2, 2, dim_f, -1)
        planes = torch.nn.functional.pad(planes, (0, 0, 0, n_fft // 2 + 1 - dim_f))
        stem = torch.istft(
            torch.complex(planes[:, 0].contiguous(), planes[:, 1].contiguous()),
            n_fft, HOP_LENGTH, window=self._window, length=chunk.shape[-1],
        )  # fmt: skip
        result: FloatArray = stem.numpy()
        return result


def _open_session(name: str, checkpoint: Path, device: str) -> InferenceSession:
    try:
        return open_session(checkpoint, _providers(device), threads=torch.get_num_threads())
    except Exception as error:  # onnxruntime's own, whose classes change
        raise SeparationError(
            f"The separation model '{name}' ({checkpoint}) is not a network that ONNX Runtime can open: it is "
            "damaged or of another kind; fetch it again."
        ) from error


def _check_shape(name: str, checkpoint: Path, shape: list[Any], parameters: MdxParameters) -> None:
    wanted = (SPECTRUM_PLANES, parameters.dim_f, parameters.dim_t)
    fits = len(shape) == 4 and all(
        not isinstance(size, int) or size == want for size, want in zip(shape[1:], wanted, strict=True)
    )
    if not fits:
        raise SeparationError(
            f"The separation model '{name}' ({checkpoint}) takes {shape}, not (1, {', '.join(map(str, wanted))}): "
            "it is no MDX-Net, or its YAML gives other sizes."
        )


def _providers(device: str) -> list[str]:
    """What runs the network: for ``auto`` the best that this ONNX Runtime has, else that of ``device``."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    kind = device.partition(":")[0]
    wanted = [provider for each, provider in PROVIDERS.items() if kind in (each, Device.AUTO)]
    found = [provider for provider in wanted if provider in available]
    if kind in PROVIDERS and not found:
        log.warning("This ONNX Runtime has no %s; MDX-Net models run on the processor.", PROVIDERS[kind])
    return [*found, CPU_PROVIDER]
