"""Long songs in pieces, so that an hour of music takes no more memory than a few minutes.

A long song is cut where it is quietest, into pieces that overlap by a second. Each goes through the recipe by itself;
in the end the mixes of the pieces are crossfaded where they overlap. Songs of ten minutes and less stay whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_sides_in_blocks, probe
from ultimate_rvc.audio.encode import encode_blocks
from ultimate_rvc.audio.level import db_to_gain, limit_true_peak, true_peak
from ultimate_rvc.audio.mix import CEILING_DBTP, added, turned_down_db
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, Facts
from ultimate_rvc.covers.settings import OVERLAP_SECONDS
from ultimate_rvc.covers.steps import MixTrack, Workshop, encoded, fitted, mix_inputs, mix_track
from ultimate_rvc.covers.wave_file import read_stem, write_stem

CUT_VERSION = 1
SUM_VERSION = 1
LONGEST_WHOLE_SECONDS = 600.0
PIECE_SECONDS, SEARCH_SECONDS = 300.0, 60.0  # a cut is sought within a minute around every fifth
FRAME_SAMPLES = 2048  # in which loudness is measured

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Span:
    """Where a piece lies in its song, in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Piece:
    """A part of a song as a file of its own."""

    file: CachedFile
    span: Span


def cut_song(song: CachedFile, shown_as: str | None, shop: Workshop) -> list[Piece]:
    """Cut a long song into files of its own; a short one is one piece, the file that it is.

    Neighbours share a second. Errors call the song ``shown_as``.
    """
    seconds = probe(song.path).duration_seconds
    if seconds <= LONGEST_WHOLE_SECONDS:
        return [Piece(song, Span(0.0, seconds))]

    def make(folder: Path) -> Facts:
        return _cut(song.path, shown_as, folder, shop)

    entry = shop.cache.get("cut", CUT_VERSION, {"song": song.sha256}, make, shop.progress)
    files = [entry.files[name] for name in sorted(entry.files)]
    return [Piece(file, Span(*span)) for file, span in zip(files, entry.facts["spans"], strict=True)]


def _cut(song: Path, shown_as: str | None, folder: Path, shop: Workshop) -> Facts:
    """Decode ``song`` once, block by block, and write its pieces."""
    raw = folder / "song.raw"
    loudness: list[FloatArray] = []
    channels = sample_rate = total = 0
    with raw.open("wb") as file:
        for block, sample_rate in decode_sides_in_blocks(song, shown_as):
            shop.progress.report("cut", 0.0, f"{total / sample_rate / 60:.0f} min read")
            channels, total = len(block), total + block.shape[1]
            loudness.append(_frame_power(block))
            file.write(np.ascontiguousarray(block.T).data)
    bounds = piece_bounds(np.concatenate(loudness), sample_rate, total)
    for number, (start, end) in enumerate(bounds):
        shop.progress.report("cut", number / len(bounds))
        count, offset = (end - start) * channels, start * channels * 4
        samples = np.fromfile(raw, np.float32, count, offset=offset).reshape(-1, channels)
        write_stem(folder / f"song-{number:03}.wav", samples.T, sample_rate)
    raw.unlink()
    return {"spans": [[start / sample_rate, end / sample_rate] for start, end in bounds]}


def _frame_power(block: FloatArray) -> FloatArray:
    """Power of each frame of :data:`FRAME_SAMPLES`; a last, shorter one counts as one."""
    power = np.square(block).mean(axis=0)
    sums: FloatArray = np.add.reduceat(power, np.arange(0, len(power), FRAME_SAMPLES))
    return sums


def piece_bounds(frame_power: FloatArray, sample_rate: int, total: int) -> list[tuple[int, int]]:
    """``(start, end)`` in samples of pieces that cover ``total`` samples and overlap by a second.

    ``frame_power`` is that of frames of 2048 samples, shape ``(frames,)``. Every cut lies in the middle of the
    quietest second within a minute around five minutes after the cut before.
    """
    half = round(OVERLAP_SECONDS / 2 * sample_rate)
    second = max(round(OVERLAP_SECONDS * sample_rate / FRAME_SAMPLES), 1)
    quiet = np.convolve(frame_power, np.ones(second, np.float32), mode="same")
    piece, search = round(PIECE_SECONDS * sample_rate), round(SEARCH_SECONDS * sample_rate)
    cuts, last = [], 0
    while total - last > piece * 3 // 2:
        first, stop = ((last + piece + side * search) // FRAME_SAMPLES for side in (-1, 1))
        last = int(first + np.argmin(quiet[first:stop])) * FRAME_SAMPLES
        cuts.append(last)
    starts = [0, *(cut - half for cut in cuts)]
    ends = [*(cut + half for cut in cuts), total]
    return list(zip(starts, ends, strict=True))


def sum_stems(tracks: Sequence[MixTrack], seconds: float, sample_rate: int, shop: Workshop) -> CacheEntry:
    """Add the stems of a piece of a song to ``sum.wav``, its level as it comes; the facts tell its ``true_peak``."""

    def make(folder: Path) -> Facts:
        shop.progress.report("mix", 0.0)
        summed = fitted(
            added([mix_track(track, seconds) for track in tracks], sample_rate), sample_rate, seconds
        )
        write_stem(folder / "sum.wav", summed, sample_rate)
        shop.progress.report("mix", 1.0)
        return {"true_peak": true_peak(summed, sample_rate)}

    return shop.cache.get("sum", SUM_VERSION, mix_inputs(tracks, seconds, sample_rate), make, shop.progress)


def encode_pieces(
    sums: Sequence[CacheEntry],
    spans: Sequence[Span],
    sample_rate: int,
    audio_format: AudioFormat,
    bitrate_kbps: int | None,
    shop: Workshop,
) -> CacheEntry:
    """As :func:`encode_mix`, of what :func:`sum_stems` made of the pieces; ``spans`` tell where each lies."""
    gain_db = turned_down_db(max(float(entry.facts["true_peak"]) for entry in sums))
    files = [entry.files["sum.wav"] for entry in sums]
    inputs = {"sums": [file.sha256 for file in files], "spans": [[span.start, span.end] for span in spans]}
    paths = [file.path for file in files]

    def write(path: Path, quieter_db: float) -> None:
        gain = np.float32(db_to_gain(quieter_db))
        blocks = (block * gain for block in joined_blocks(paths, spans, gain_db, CEILING_DBTP))
        encode_blocks(path, blocks, 2, sample_rate, audio_format=audio_format, bitrate_kbps=bitrate_kbps)

    return encoded(inputs, write, audio_format, bitrate_kbps, shop)


def joined_blocks(
    mixes: Sequence[Path], spans: Sequence[Span], gain_db: float, ceiling_dbtp: float
) -> Iterator[FloatArray]:
    """The pieces' mixes as one, block by block ``(channels, samples)``, no true peak above the ceiling.

    ``mixes`` are files of :func:`~ultimate_rvc.covers.wave_file.write_stem` of one rate; all are brought to
    ``gain_db`` and then limited, and crossfaded where their ``spans`` overlap.
    """
    tail = np.zeros((2, 0), np.float32)
    for number, (path, span) in enumerate(zip(mixes, spans, strict=True)):
        waveform, sample_rate = read_stem(path)
        if gain_db:
            waveform *= np.float32(db_to_gain(gain_db))
        waveform = limit_true_peak(waveform, sample_rate, ceiling_dbtp)
        shared = min(tail.shape[1], waveform.shape[1])
        if shared:
            rise = ((np.arange(shared, dtype=np.float32) + 0.5) / shared)[None]
            waveform[:, :shared] = waveform[:, :shared] * rise + tail[:, :shared] * (1 - rise)
        begin = round(span.start * sample_rate)
        following = spans[number + 1].start if number + 1 < len(spans) else span.end
        kept = round(following * sample_rate) - begin
        yield waveform[:, :kept]
        tail = waveform[:, kept:]
