"""Recordings to pieces: decoded, filtered, levelled, cut, and written end to end into two arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ultimate_rvc.audio.level import peak
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import DatasetError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.arrays import ArrayWriter, writing_array
from ultimate_rvc.rvc.train.checks import RecordingMeasures, check_recordings, examine
from ultimate_rvc.rvc.train.data_settings import NormalizationMode, PreprocessSettings
from ultimate_rvc.rvc.train.dataset import Recording, find_recordings, recordings_identity
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.parallel import in_order
from ultimate_rvc.rvc.train.slicing import FRAMES_PER_SECOND, Span, covered_frames, cut
from ultimate_rvc.rvc.train.tables import Piece, PiecesTable, remove_others, table_key

VERSION = 1  # raised whenever the same recordings and settings would give other pieces
PIECES_FILE = "pieces.json"
KINDS = ("waveform", "waveform_16k")
ENCODER_RATE = 16_000
HIGHPASS_ORDER = 5
HIGHPASS_HZ = 48  # RVC's: removes what lies below the f0 floor of 50 Hz
LEVELLED_PEAK = 0.9  # RVC brings each piece 75 % of the way to this peak, and keeps 25 % of it as it was
LEVELLED_SHARE = 0.75
MAX_PEAK = 2.5  # a piece whose levelled peak is beyond is damaged
BLOCK_SAMPLES = 1 << 20
SECONDS_AT_ONCE = 1800.0  # of recordings in memory: half an hour of 48 kHz stereo takes 1.1 GB

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class _Prepared:
    """A recording, filtered, at both rates, and where its clips and their pieces lie in frames of 20 ms."""

    measures: RecordingMeasures
    waveform: FloatArray
    waveform_16k: FloatArray
    clips: list[list[Span]]


def preprocess_dataset(
    folder: TrainingFolder,
    dataset: Path,
    settings: PreprocessSettings,
    *,
    progress: Progress | None = None,
) -> PiecesTable:
    """Cut the recordings of ``dataset`` into pieces, or find the pieces of an earlier run again.

    Recordings are worked on one by one, ``settings.cpu_cores`` at once. What is wrong with them is in
    the table's ``warnings``.

    Raises
    ------
    DatasetError
        In sentences, when no voice can be trained on these recordings.
    CancelledError
        Through ``progress``. Whatever was there before is still there then.
    """
    progress = progress or Progress()
    recordings = find_recordings(dataset)
    progress.report("preprocess", 0.0, "reading")
    chosen = asdict(settings) | {"cpu_cores": None}  # which changes nothing of the result
    key = table_key("pieces", VERSION, recordings_identity(recordings), chosen)
    table = PiecesTable.read(folder.data / PIECES_FILE)
    if table is None or table.key != key or not _is_complete(folder, table):
        table = _make(folder, recordings, settings, key, progress)
    progress.report("preprocess", 1.0)
    return table


def _is_complete(folder: TrainingFolder, table: PiecesTable) -> bool:
    return all((folder.data / name).is_file() for name in table.arrays.values())


def _make(
    folder: TrainingFolder,
    recordings: list[Recording],
    settings: PreprocessSettings,
    key: str,
    progress: Progress,
) -> PiecesTable:
    arrays = {kind: f"{kind}-{key}.npy" for kind in KINDS}
    paths = [folder.data / arrays[kind] for kind in KINDS]
    with writing_array(paths[0]) as waveform, writing_array(paths[1]) as waveform_16k:
        table = _write_pieces(recordings, settings, key, (waveform, waveform_16k), arrays, progress)
    table.write(folder.data / PIECES_FILE)
    remove_others(folder.data, arrays.values(), KINDS)
    return table


def _write_pieces(
    recordings: list[Recording],
    settings: PreprocessSettings,
    key: str,
    writers: tuple[ArrayWriter, ArrayWriter],
    arrays: dict[str, str],
    progress: Progress,
) -> PiecesTable:
    pieces: list[Piece] = []
    measures: list[RecordingMeasures] = []
    frames = covered = 0
    prepared = in_order(
        lambda recording: _prepare(recording, settings), recordings, _threads(recordings, settings)
    )
    for recording, result in zip(recordings, prepared, strict=True):
        measures.append(result.measures)
        covered += sum(map(covered_frames, result.clips))
        for offset, waveform, waveform_16k in _pieces(result, settings):
            writers[0].append(waveform)
            writers[1].append(waveform_16k)
            length = len(waveform_16k) * FRAMES_PER_SECOND // ENCODER_RATE
            pieces.append(Piece(f"{recording.name}@{frames}", recording.speaker, frames, length, offset))
            frames += length
        progress.report("preprocess", len(measures) / (len(recordings) + 1), recording.name)
    warnings = check_recordings(measures, settings)
    if not pieces:
        raise DatasetError("No piece of the recordings is long and loud enough to train on; record more.")
    seconds = covered / FRAMES_PER_SECOND
    return PiecesTable(key, settings.sample_rate, seconds, tuple(pieces), arrays, tuple(warnings))


def _threads(recordings: list[Recording], settings: PreprocessSettings) -> int:
    """As many as asked for, but fewer for long recordings, which are in memory as a whole."""
    longest = max(recording.seconds() for recording in recordings)
    return min(settings.cpu_cores, max(int(SECONDS_AT_ONCE / max(longest, 1.0)), 1))


def _prepare(recording: Recording, settings: PreprocessSettings) -> _Prepared:
    measures, mono = examine(recording)
    if measures.fault is not None or measures.is_silent:
        return _Prepared(measures, mono[:0], mono[:0], [])
    rate = settings.sample_rate
    mono = _processed(resample(mono, measures.sample_rate, rate), settings)
    return _Prepared(measures, mono, resample(mono, rate, ENCODER_RATE), cut(mono, rate, settings))


def _pieces(
    prepared: _Prepared, settings: PreprocessSettings
) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """First frame of each piece, and the piece at the voice's rate and at the encoder's, at its level."""
    for start, end in itertools.chain.from_iterable(prepared.clips):
        piece = _samples(prepared.waveform, start, end, settings.sample_rate)
        piece_16k = _samples(prepared.waveform_16k, start, end, ENCODER_RATE)
        gain = _gain(piece) if settings.normalization_mode == NormalizationMode.POST else 1.0
        if peak(piece) * gain <= MAX_PEAK:
            yield start, piece * np.float32(gain), piece_16k * np.float32(gain)


def _processed(waveform: FloatArray, settings: PreprocessSettings) -> FloatArray:
    """Filter, noise reduction and level of a whole recording."""
    if settings.filter_audio:
        waveform = _without_rumble(waveform, settings.sample_rate)
    if settings.clean_audio:
        import noisereduce

        cleaned = noisereduce.reduce_noise(
            y=waveform, sr=settings.sample_rate, prop_decrease=settings.clean_strength
        )
        waveform = np.asarray(cleaned, np.float32)
    if settings.normalization_mode == NormalizationMode.PRE:
        waveform = waveform * np.float32(_gain(waveform))
    return waveform


def _without_rumble(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """The high-pass, in float64 as 48 Hz at 48 kHz needs, but not for the whole recording at once."""
    sections = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=sample_rate, output="sos")
    state = np.zeros((len(sections), 2))
    filtered = np.empty_like(waveform)
    for start in range(0, len(waveform), BLOCK_SAMPLES):
        block = waveform[start : start + BLOCK_SAMPLES].astype(np.float64)
        filtered[start : start + BLOCK_SAMPLES], state = scipy.signal.sosfilt(sections, block, zi=state)
    return filtered


def _gain(waveform: FloatArray) -> float:
    loudest = peak(waveform)
    return LEVELLED_PEAK * LEVELLED_SHARE / loudest + (1 - LEVELLED_SHARE) if loudest > 0 else 1.0


def _samples(waveform: FloatArray, start: int, end: int, sample_rate: int) -> FloatArray:
    """The frames ``[start, end)``; zeros where resampling came out a sample short."""
    frame = sample_rate // FRAMES_PER_SECOND
    samples = waveform[start * frame : end * frame]
    return np.pad(samples, (0, (end - start) * frame - len(samples)))
