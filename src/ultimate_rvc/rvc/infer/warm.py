"""Voices that stay open between jobs, found by content: a changed file is another voice."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from ultimate_rvc.files import KnownHashes

if TYPE_CHECKING:
    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from ultimate_rvc.rvc.infer.settings import ConversionSettings
    from ultimate_rvc.switches import OptimizationConfig

MOST_OPEN = 2  # a cover may need two at once: the lead's and the backing's


class WarmPipelines:
    """The pipelines used last, at most :data:`MOST_OPEN` of them."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[object, ...], Pipeline] = OrderedDict()
        self._hashes = KnownHashes()
        self.opened = 0
        """How many were loaded so far."""

    def open(
        self,
        model_path: Path,
        settings: ConversionSettings,
        *,
        index_path: Path | None = None,
        optimization: OptimizationConfig,
    ) -> Pipeline:
        """As :meth:`Pipeline.open`, but loads only what is not open."""
        key = (
            self._hashes.of(model_path),
            self._hashes.of(index_path),
            settings.embedder_model,
            settings.custom_embedder_model,
            optimization,
        )
        if key not in self._open:
            self._close_down_to(MOST_OPEN - 1)  # before, so that there are never more in memory
            from ultimate_rvc.rvc.infer.pipeline import Pipeline

            self._open[key] = Pipeline.open(
                model_path, settings, index_path=index_path, optimization=optimization
            )
            self.opened += 1
        self._open.move_to_end(key)
        return self._open[key]

    def close(self) -> None:
        """Give all memory back that open voices hold."""
        self._close_down_to(0)

    def _close_down_to(self, count: int) -> None:
        while len(self._open) > count:
            import gc

            from ultimate_rvc.device import release_cached_memory

            _, pipeline = self._open.popitem(last=False)
            device = pipeline.device
            del pipeline
            gc.collect()  # networks hold references to each other
            release_cached_memory(device)
