"""What a training step is given, computed from pieces: content features, pitch and spectrograms."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.audio.level import rms
from ultimate_rvc.choices import EmbedderModel, F0Method, VoiceVersion
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import DatasetError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.content import ContentEncoder, encoder_identity, load_content_encoder
from ultimate_rvc.rvc.content.files import files_identity
from ultimate_rvc.rvc.content.frames import FRAME_SAMPLES, RECEPTIVE_SAMPLES, frame_count
from ultimate_rvc.rvc.pitch import PitchMethod, load_pitch_methods, resolve_auto
from ultimate_rvc.rvc.pitch.method import HOP_LENGTH
from ultimate_rvc.rvc.pitch.rmvpe import rmvpe_file
from ultimate_rvc.rvc.train.arrays import ArrayWriter, mapped_array, writing_array
from ultimate_rvc.rvc.train.data_settings import ExtractSettings
from ultimate_rvc.rvc.train.dataset import Recording, find_recordings, recordings_identity
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.mel import spectrogram
from ultimate_rvc.rvc.train.parallel import in_order
from ultimate_rvc.rvc.train.perturbation import PERTURBATION_VERSION, perturbed
from ultimate_rvc.rvc.train.preprocess import ENCODER_RATE, PIECES_FILE
from ultimate_rvc.rvc.train.sizes import spectrogram_sizes
from ultimate_rvc.rvc.train.slicing import FRAMES_PER_SECOND
from ultimate_rvc.rvc.train.tables import (
    DataDescription,
    ExamplesTable,
    Piece,
    PiecesTable,
    remove_others,
    table_key,
)

VERSION = 2  # raised whenever the same pieces and settings would give other numbers
EXAMPLES_FILE = "examples.json"
KINDS = ("features", "f0", "spectrogram", "versions", "perturbed")
MUTE_FRAMES = 150  # 3 s, the length of other pieces
CONTEXT_SAMPLES = RECEPTIVE_SAMPLES - FRAME_SAMPLES  # that the encoder wants behind its last frame
MOST_MISSING_SECONDS = 0.1  # at the end of a version
LEAST_VERSION_LEVEL = 1e-4  # RMS of a version; below, nobody says anything
PITCH_FRAMES = 2  # per frame of the encoder
ENCODED_AT_ONCE = 16
LEAST_VOICED_SECONDS = 2.0
PERCENTILES = (5, 50, 95)

FloatArray = NDArray[np.float32]
Item = TypeVar("Item")


def extract_features(
    folder: TrainingFolder, settings: ExtractSettings, *, progress: Progress | None = None
) -> ExamplesTable:
    """Compute what training needs of the pieces in ``folder``, as far as it is not there yet.

    Raises
    ------
    DatasetError
        There are no pieces, or no voice is found in them.
    AssetMissingError, DownloadError, EncoderFileError, EncoderMismatchError, SettingError
        As :func:`~ultimate_rvc.rvc.content.load_content_encoder` and
        :func:`~ultimate_rvc.rvc.pitch.load_pitch_methods` say.
    CancelledError
        Through ``progress``. Kinds that were finished by then are not computed again.
    """
    pieces = PiecesTable.read(folder.data / PIECES_FILE)
    if pieces is None:
        raise DatasetError(f"'{folder.name}' has no pieces yet: run `urvc train preprocess-dataset`.")
    with _threads(settings.cpu_cores):
        return _Extraction(folder, pieces, settings, progress or Progress()).table()


class _Extraction:
    """One run, with everything it needs at hand."""

    def __init__(
        self, folder: TrainingFolder, pieces: PiecesTable, settings: ExtractSettings, progress: Progress
    ) -> None:
        self._folder, self._pieces, self._settings, self._progress = folder, pieces, settings, progress
        self._device = resolve_device(settings.device)
        self._waveform_16k = mapped_array(folder.data / pieces.arrays["waveform_16k"])
        self._waveform = mapped_array(folder.data / pieces.arrays["waveform"])
        self._sizes = spectrogram_sizes(VoiceVersion(settings.version), pieces.sample_rate)
        chosen, custom = settings.embedder_model, settings.custom_embedder_model
        self._encoder_folder = Path(custom).expanduser() if custom else None
        self._encoder_name = EmbedderModel(chosen).value
        self._encoder_identity = encoder_identity(self._encoder_name, folder=self._encoder_folder)
        self._versions = _versions_in(settings.versions, pieces) if settings.versions else []
        # The pieces of a recording follow each other: each file is decoded once, and two are in memory.
        self._version_16k = functools.lru_cache(maxsize=2)(_version_16k)
        method = F0Method(settings.f0_method)
        self._f0_method = resolve_auto() if method is F0Method.AUTO else method

    def table(self) -> ExamplesTable:
        features = self._made("features", 0.0, 0.3, self._write_features, self._encoder_key())
        arrays = {"features": features.name}
        if self._versions:
            others = [recordings_identity(version.values()) for version in self._versions]
            key = [*others, *self._encoder_key()]
            arrays["versions"] = self._made("versions", 0.3, 0.45, self._write_versions, key).name
        if copies := self._settings.perturbed_copies:
            made = [PERTURBATION_VERSION, copies, *self._encoder_key()]
            arrays["perturbed"] = self._made("perturbed", 0.45, 0.6, self._write_perturbed, made).name
        if self._settings.has_f0:
            arrays["f0"] = self._made("f0", 0.6, 0.9, self._write_f0, self._pitch_key()).name
        sizes = [self._sizes.n_fft, self._sizes.hop_length]
        arrays["spectrogram"] = self._made("spectrogram", 0.9, 1.0, self._write_spectrograms, sizes).name
        phone_dim = int(np.load(features, mmap_mode="r").shape[1])
        table = ExamplesTable(
            table_key(self._pieces.key, arrays, self._settings.include_mutes),
            self._pieces.key,
            self._description(phone_dim, self._percentiles_hz(arrays)),
            self._settings.include_mutes,
            len(self._versions),
            self._settings.perturbed_copies,
            arrays,
        )
        table.write(self._folder.data / EXAMPLES_FILE)
        remove_others(self._folder.data, arrays.values(), KINDS)
        self._progress.report("extract", 1.0)
        return table

    # ------------------------------------------------------------------ arrays

    def _made(
        self, kind: str, start: float, end: float, write: Callable[[Path, Progress], None], key: object
    ) -> Path:
        """The array of one kind: found, or written now."""
        path = self._folder.data / f"{kind}-{table_key(kind, VERSION, self._pieces.key, key)}.npy"
        progress = self._progress.part("extract", start, end)
        progress.report(kind, 0.0)
        if not path.is_file():
            write(path, progress)
        return path

    def _encoder_key(self) -> list[str]:
        return [self._encoder_name, self._encoder_identity, self._settings.version]

    def _pitch_key(self) -> list[str]:
        file = rmvpe_file() if self._f0_method is F0Method.RMVPE else None
        return [self._f0_method, files_identity(file) if file else ""]

    def _write_features(self, path: Path, progress: Progress) -> None:
        """Features of every piece, and behind them those of silence."""
        encoder = load_content_encoder(self._encoder_name, self._device, folder=self._encoder_folder)
        with writing_array(path, encoder.feature_dim(self._settings.version)) as writer:
            for batch in self._batches(self._in_turn("features", progress)):
                samples = [self._samples(piece, self._waveform_16k, ENCODER_RATE) for piece in batch]
                for features in self._encoded(encoder, samples):
                    writer.append(features)
            silence = np.zeros(MUTE_FRAMES * FRAME_SAMPLES, np.float32)
            writer.append(self._encoded(encoder, [silence])[0])

    def _write_versions(self, path: Path, progress: Progress) -> None:
        self._write_others(path, "versions", len(self._versions), self._said_by_another, progress)

    def _write_perturbed(self, path: Path, progress: Progress) -> None:
        self._write_others(path, "perturbed", self._settings.perturbed_copies, self._perturbed, progress)

    def _write_others(
        self,
        path: Path,
        kind: str,
        copies: int,
        waveform_16k: Callable[[tuple[int, Piece]], FloatArray],
        progress: Progress,
    ) -> None:
        """Features of every piece as other speakers say it: all pieces once, then all of them again."""
        encoder = load_content_encoder(self._encoder_name, self._device, folder=self._encoder_folder)
        pieces = [(copy, piece) for copy in range(copies) for piece in self._pieces.pieces]
        with writing_array(path, encoder.feature_dim(self._settings.version)) as writer:
            spoken = in_order(waveform_16k, pieces, self._settings.cpu_cores)
            for done, batch in enumerate(self._batches(spoken)):
                progress.report(kind, min(done * pieces_at_once(self._device) / len(pieces), 1.0))
                for features in self._encoded(encoder, batch):
                    writer.append(features)

    def _perturbed(self, copy_and_piece: tuple[int, Piece]) -> FloatArray:
        copy, piece = copy_and_piece
        random = np.random.default_rng([PERTURBATION_VERSION, copy, piece.start])
        return perturbed(self._samples(piece, self._waveform_16k, ENCODER_RATE), random)

    def _said_by_another(self, copy_and_piece: tuple[int, Piece]) -> FloatArray:
        """The piece in one of the versions, as loud as it is in the recording."""
        copy, piece = copy_and_piece
        path = self._versions[copy][piece.recording].path
        frame = ENCODER_RATE // FRAMES_PER_SECOND
        version = self._version_16k(path)[piece.offset * frame :][: piece.frames * frame]
        missing = piece.frames * frame - len(version)
        if missing > MOST_MISSING_SECONDS * ENCODER_RATE:
            raise DatasetError(
                f'"{path}" is {missing / ENCODER_RATE:.1f} s shorter than the recording that it is a version '
                "of; a version says the same at the same time."
            )
        level, own_level = rms(version), rms(self._samples(piece, self._waveform_16k, ENCODER_RATE))
        return np.pad(version * np.float32(own_level / level if level > 0 else 0.0), (0, missing))

    def _batches(self, items: Iterator[Item]) -> Iterator[list[Item]]:
        """What to encode at once: a GPU is kept busy by many pieces, a processor by one."""
        size = pieces_at_once(self._device)
        while batch := list(itertools.islice(items, size)):
            yield batch

    def _encoded(self, encoder: ContentEncoder, waveforms_16k: Sequence[FloatArray]) -> list[FloatArray]:
        items = [
            torch.from_numpy(np.pad(waveform, (0, CONTEXT_SAMPLES), mode="reflect"))
            for waveform in waveforms_16k
        ]
        batch = pad_sequence(items, batch_first=True).to(self._device)
        lengths = [len(item) for item in items]
        features = encoder.encode(batch, self._settings.version, lengths).float().cpu().numpy()
        return [row[: frame_count(length)] for row, length in zip(features, lengths, strict=True)]

    def _write_f0(self, path: Path, progress: Progress) -> None:
        method = load_pitch_methods([self._f0_method], self._device)
        with writing_array(path) as writer:
            self._append(writer, lambda piece: self._f0_hz(method, piece), "f0", progress)

    def _f0_hz(self, method: PitchMethod, piece: Piece) -> FloatArray:
        samples = torch.from_numpy(self._samples(piece, self._waveform_16k, ENCODER_RATE)).to(self._device)
        return method.f0_hz(samples)[: PITCH_FRAMES * piece.frames].cpu().numpy()

    def _write_spectrograms(self, path: Path, progress: Progress) -> None:
        with writing_array(path, self._sizes.n_fft // 2 + 1) as writer:
            self._append(writer, self._spectrogram, "spectrogram", progress)

    def _spectrogram(self, piece: Piece) -> FloatArray:
        waveform = torch.from_numpy(self._samples(piece, self._waveform, self._pieces.sample_rate))
        magnitudes = spectrogram(waveform[None], self._sizes.n_fft, self._sizes.hop_length)[0]
        return magnitudes.T.contiguous().numpy()

    def _append(
        self, writer: ArrayWriter, compute: Callable[[Piece], FloatArray], kind: str, progress: Progress
    ) -> None:
        for piece in self._in_turn(kind, progress):
            writer.append(compute(piece))

    def _in_turn(self, kind: str, progress: Progress) -> Iterator[Piece]:
        for done, piece in enumerate(self._pieces.pieces):
            progress.report(kind, done / len(self._pieces.pieces), f"{kind}: {piece.name}")
            yield piece

    def _samples(self, piece: Piece, waveform: FloatArray, sample_rate: int) -> FloatArray:
        frame = sample_rate // FRAMES_PER_SECOND
        return np.array(waveform[piece.start * frame : (piece.start + piece.frames) * frame])

    # ------------------------------------------------------------- description

    def _description(
        self, phone_dim: int, f0_percentiles_hz: tuple[float, float, float] | None
    ) -> DataDescription:
        settings, pieces = self._settings, self._pieces
        return DataDescription(
            sample_rate=pieces.sample_rate,
            version=VoiceVersion(settings.version).value,
            has_f0=settings.has_f0,
            embedder=self._encoder_name,
            embedder_identity=self._encoder_identity,
            custom_embedder_model=settings.custom_embedder_model,
            phone_dim=phone_dim,
            speakers=tuple(str(speaker) for speaker in range(pieces.speakers)),
            n_fft=self._sizes.n_fft,
            hop_length=self._sizes.hop_length,
            f0_method=self._f0_method.value if settings.has_f0 else None,
            dataset_seconds=pieces.dataset_seconds,
            f0_percentiles_hz=f0_percentiles_hz,
        )

    def _percentiles_hz(self, arrays: Mapping[str, str]) -> tuple[float, float, float] | None:
        """Where the pitch of the recordings lies.

        Raises
        ------
        DatasetError
            Next to nothing of them has a pitch.
        """
        if not self._settings.has_f0:
            return None
        f0_hz = mapped_array(self._folder.data / arrays["f0"])
        voiced_hz = f0_hz[f0_hz > 0]
        seconds = len(voiced_hz) * HOP_LENGTH / ENCODER_RATE
        if seconds < LEAST_VOICED_SECONDS:
            raise DatasetError(
                f"Only {seconds:.1f} s of the recordings have a pitch, so they hold hardly any voice: train "
                "on speech or singing, or try another f0_method."
            )
        low, middle, high = np.percentile(voiced_hz, PERCENTILES)
        return float(low), float(middle), float(high)


def _versions_in(folder: Path, pieces: PiecesTable) -> list[dict[str, Recording]]:
    """The recordings of each version, by name.

    Raises
    ------
    DatasetError
        There are none, or a version lacks a recording.
    """
    folders = sorted(path for path in folder.expanduser().glob("*/") if not path.name.startswith("."))
    if not folders:
        raise DatasetError(
            f'The folder of versions "{folder}" holds no folders; it takes one folder for each version.'
        )
    versions = [{recording.name: recording for recording in find_recordings(path)} for path in folders]
    for path, version in zip(folders, versions, strict=True):
        for piece in pieces.pieces:
            if piece.recording not in version:
                raise DatasetError(
                    f'"{path}" has no version of "{piece.recording}"; add the file, or leave the folder out.'
                )
    return versions


def _version_16k(path: Path) -> FloatArray:
    version = decode_mono(path, ENCODER_RATE)
    if rms(version) < LEAST_VERSION_LEVEL:
        raise DatasetError(f'"{path}" is silent; a version says what the recording says, at the same time.')
    return version


def pieces_at_once(device: torch.device) -> int:
    """How many pieces the encoder is given together."""
    return 1 if device.type == "cpu" else ENCODED_AT_ONCE


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads for torch, as long as the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
