"""Training data on disk, as a training step is given them: read piece by piece, never as a whole."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.errors import DatasetError
from ultimate_rvc.rvc.pitch.curve import coarse_pitch
from ultimate_rvc.rvc.train.arrays import mapped_array
from ultimate_rvc.rvc.train.batches import Example
from ultimate_rvc.rvc.train.extract import EXAMPLES_FILE, MUTE_FRAMES, PITCH_FRAMES
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.mel import MAGNITUDE_FLOOR
from ultimate_rvc.rvc.train.preprocess import PIECES_FILE
from ultimate_rvc.rvc.train.tables import DataDescription, ExamplesTable, Piece, PiecesTable

HELD_OUT_SHARE = 0.05
MOST_HELD_OUT = 8

FloatArray = NDArray[np.float32]


class TrainingSet:
    """The examples of one training, silent ones included; those held out are not among them.

    Copies of it, in processes that load data, open the files for themselves: what is sent to them is
    the tables alone.
    """

    def __init__(self, folder: TrainingFolder, pieces: PiecesTable, examples: ExamplesTable) -> None:
        self._folder, self._table, self._examples = folder, pieces, examples
        self._held_out = _chosen(pieces.pieces)
        held_out = {piece.name for piece in self._held_out} if len(pieces.pieces) > 1 else set()
        self._pieces = [piece for piece in pieces.pieces if piece.name not in held_out]
        speakers = sorted({piece.speaker for piece in pieces.pieces})
        self._pieces += [_mute(pieces, speaker) for speaker in speakers for _ in range(examples.mutes)]

    @classmethod
    def open(cls, folder: TrainingFolder) -> Self:
        """The data that were prepared in ``folder``.

        A :class:`DatasetError` where they are not there, or not of the pieces that are there, and a
        :class:`TrainingError` where they are damaged.
        """
        pieces = PiecesTable.read(folder.data / PIECES_FILE)
        examples = ExamplesTable.read(folder.data / EXAMPLES_FILE)
        if pieces is None:
            raise DatasetError(f"'{folder.name}' has no pieces yet: run `urvc train preprocess-dataset`.")
        if examples is None or examples.pieces_key != pieces.key:
            raise DatasetError(f"'{folder.name}' has no features yet: run `urvc train extract-features`.")
        opened = cls(folder, pieces, examples)
        opened._check_lengths()
        return opened

    @property
    def description(self) -> DataDescription:
        return self._examples.description

    @property
    def key(self) -> str:
        return self._examples.key

    @property
    def frames(self) -> list[int]:
        """Frames of 10 ms of each example."""
        return [PITCH_FRAMES * piece.frames for piece in self._pieces]

    @property
    def features(self) -> FloatArray:
        """Features of every piece, ``(frames, phone_dim)`` at 50 Hz, as a memory map: what an index holds."""
        return self._maps["features"][: self._table.frames]

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def copies(self) -> int:
        return self._examples.versions + self._examples.perturbed_copies

    def example(self, number: int, copy: int = 0) -> Example:
        """The piece, or with ``copy`` from 1 to ``copies`` the same, as others have said its words.

        Only the features are others'; what the voice is to make of them stays its speaker's.
        """
        return self._example(self._pieces[number], copy)

    def held_out(self) -> list[Example]:
        """Pieces kept for judging the voice: one in twenty, but 1 to 8, always the same ones.

        A single piece is held out and learnt from. Where others have said the pieces too, they come in turn
        as the speaker says them and as others do: those are whom the voice will have to understand.
        """
        return [self._example(piece, place % (self.copies + 1)) for place, piece in enumerate(self._held_out)]

    def _example(self, piece: Piece, copy: int = 0) -> Example:
        description = self.description
        features = torch.from_numpy(np.array(self._features_of(piece, copy)))
        f0_hz = self._curve("f0", piece) if description.has_f0 else None
        return Example(
            features=features.repeat_interleave(PITCH_FRAMES, dim=0),
            pitch=None if f0_hz is None else coarse_pitch(f0_hz),
            f0_hz=f0_hz,
            spectrogram=self._curve("spectrogram", piece),
            waveform=self._curve("waveform", piece, description.hop_length),
            speaker=piece.speaker,
        )

    def _curve(self, kind: str, piece: Piece, rows_per_frame: int = 1) -> Tensor:
        """The rows of ``piece``, so many per 10 ms; silence for silent pieces, which only features have."""
        array = self._maps[kind]
        rows = PITCH_FRAMES * rows_per_frame
        if self._is_mute(piece):
            value = MAGNITUDE_FLOOR**0.5 if kind == "spectrogram" else 0.0
            return torch.full((piece.frames * rows, *array.shape[1:]), value)
        return torch.from_numpy(np.array(array[piece.start * rows : (piece.start + piece.frames) * rows]))

    def _features_of(self, piece: Piece, copy: int) -> FloatArray:
        if copy == 0 or self._is_mute(piece):
            return self._maps["features"][piece.span]
        versions = self._examples.versions
        kind, before = ("versions", 1) if copy <= versions else ("perturbed", 1 + versions)
        first = (copy - before) * self._table.frames + piece.start
        return self._maps[kind][first : first + piece.frames]

    def _is_mute(self, piece: Piece) -> bool:
        return piece.start >= self._table.frames

    @cached_property
    def _maps(self) -> dict[str, FloatArray]:
        phone_dim, bins = self.description.phone_dim, self.description.n_fft // 2 + 1
        widths = dict.fromkeys(("features", "versions", "perturbed"), phone_dim) | {"spectrogram": bins}
        files = {"waveform": self._table.arrays["waveform"], **self._examples.arrays}
        return {
            kind: mapped_array(self._folder.data / file, widths.get(kind)) for kind, file in files.items()
        }

    def _check_lengths(self) -> None:
        frames = self._table.frames
        expected = {
            "features": frames + MUTE_FRAMES,
            "versions": self._examples.versions * frames,
            "perturbed": self._examples.perturbed_copies * frames,
            "f0": PITCH_FRAMES * frames,
            "spectrogram": PITCH_FRAMES * frames,
            "waveform": PITCH_FRAMES * frames * self.description.hop_length,
        }
        for kind, array in self._maps.items():
            if len(array) != expected[kind]:
                raise DatasetError(
                    f"The {kind} of '{self._folder.name}' do not belong to its pieces: delete the folder "
                    f"{self._folder.data} and prepare the data again."
                )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}


def _chosen(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Pieces to hold out, by a hash of their names: others stay the same when pieces are added."""
    count = min(max(round(len(pieces) * HELD_OUT_SHARE), 1), MOST_HELD_OUT)
    return tuple(sorted(pieces, key=lambda piece: hashlib.sha256(piece.name.encode()).digest())[:count])


def _mute(pieces: PiecesTable, speaker: int) -> Piece:
    """A silent piece: its features lie behind those of all others."""
    return Piece("silence", speaker, pieces.frames, MUTE_FRAMES, 0)
