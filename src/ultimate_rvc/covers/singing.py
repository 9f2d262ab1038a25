"""A voice that sings a song's pieces, of which it can begin the first while later ones are still taken apart."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from ultimate_rvc.covers.cache import CachedFile, CacheEntry
from ultimate_rvc.covers.conversion import CoverVoice, convert_vocals
from ultimate_rvc.covers.steps import Workshop
from ultimate_rvc.progress import Progress, ViewOfProgress
from ultimate_rvc.rvc.infer.settings import ConversionSettings

MOST_OCTAVES = 4  # that a setting takes; the semitones take the rest


class Singer:
    """Sings each piece with the shift of the first, where a shift is proposed.

    A context manager: leaving it ends what was begun and not fetched.
    """

    def __init__(self, voice: CoverVoice, shop: Workshop, step: str) -> None:
        self._voice, self._step = voice, step
        self._silent = _Silent(shop.progress)
        self._shop = replace(shop, progress=self._silent)
        self._pool = ThreadPoolExecutor(1, "singing")  # one, so that the first piece comes first
        self._begun: dict[str, Future[CacheEntry]] = {}

    def __enter__(self) -> Singer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._silent.end()
        self._pool.shutdown(cancel_futures=True)

    @property
    def has_begun(self) -> bool:
        return bool(self._begun)

    def begin(self, piece: CachedFile) -> None:
        """Sing ``piece`` in the background, after those that were begun before; :meth:`sing` has the result."""
        if piece.sha256 not in self._begun:
            self._begun[piece.sha256] = self._pool.submit(self._sing, piece, self._shop)

    def sing(self, piece: CachedFile, shop: Workshop) -> CacheEntry:
        """What ``piece`` becomes; as far as it was begun, this waits for it."""
        begun = self._begun.get(piece.sha256)
        return self._sing(piece, shop) if begun is None else begun.result()

    def _sing(self, piece: CachedFile, shop: Workshop) -> CacheEntry:
        entry = convert_vocals(piece, self._voice, shop, self._step)
        conversion = self._voice.conversion
        if conversion.proposed_pitch:
            shifted = _shifted_by(int(entry.facts["shift_semitones"]), conversion)
            self._voice = replace(self._voice, conversion=shifted)
        return entry


class _Silent(ViewOfProgress):
    """Says nothing, since another step is being shown; ends when the whole does, or when nobody waits any more."""

    def end(self) -> None:
        """Cancel what reports to this view, and not the whole."""
        Progress.cancel(self)

    def check(self) -> None:
        super().check()
        Progress.check(self)

    def report(self, step: str, fraction: float, text: str = "") -> None:
        self.check()

    def say(self, sentence: str) -> None:
        """Nothing."""


def _shifted_by(semitones: int, conversion: ConversionSettings) -> ConversionSettings:
    """The same conversion with this shift instead of a proposed one."""
    octaves = min(max(semitones // 12, -MOST_OCTAVES), MOST_OCTAVES)
    return replace(conversion, proposed_pitch=False, n_octaves=octaves, n_semitones=semitones - 12 * octaves)
