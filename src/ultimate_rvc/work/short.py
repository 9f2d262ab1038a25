"""Short work whose sound is wanted at once: nothing of it is kept, and several requests may share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.settings import REQUIRED, check, setting
from ultimate_rvc.switches import check_switches
from ultimate_rvc.work.kinds import KINDS, Kind
from ultimate_rvc.work.requests import VOICE_HELP

if TYPE_CHECKING:
    from ultimate_rvc.work.result import WorkResult
    from ultimate_rvc.work.workbench import Workbench

TABLE = "ultimate_rvc.work.short:SHORT_KINDS"


@dataclass(frozen=True, kw_only=True)
class ShortConvertRequest:
    """Recordings of one or several requests through one voice, with the same settings."""

    sources: tuple[Path, ...] = setting(REQUIRED, "Files to convert.")
    voice: str = setting(REQUIRED, VOICE_HELP)
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    optimization: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        check_switches(self.optimization)


def convert(request: ShortConvertRequest, bench: Workbench) -> WorkResult:
    """Write what became of source ``N`` to ``N.npy`` in the folder of the work: float32 ``(samples,)``.

    The facts hold ``sample_rate``, ``errors``: a sentence, or None, for each source; and ``shares_batches``: whether
    several sources are done faster together.
    """
    import numpy as np

    from ultimate_rvc.errors import AudioError
    from ultimate_rvc.voices.library import find_voice
    from ultimate_rvc.work.apart import convert_apart, sentence_with

    resolved, voice = bench.optimization(request.optimization), find_voice(request.voice)
    with bench.step("load voice"):
        pipeline = bench.pipelines.open(
            voice.model_path, request.conversion, index_path=voice.index_path, optimization=resolved.config
        )
    pipeline.profiler.reset()
    with bench.step("convert"):
        converted = convert_apart(pipeline, request.sources, request.conversion, bench.progress)
    errors: list[str | None] = []
    for number, (source, made) in enumerate(zip(request.sources, converted, strict=True)):
        if isinstance(made, AudioError):
            errors.append(sentence_with(source, made))
        else:
            errors.append(None)
            np.save(bench.folder / f"{number}.npy", made.waveform)
    facts = {
        "sample_rate": pipeline.voice.sample_rate,
        "errors": errors,
        "shares_batches": resolved.config.batch_size != 1,
    }
    return bench.result((), device=str(pipeline.device), facts=facts)


SHORT_KINDS: dict[str, Kind] = {
    "convert": Kind(
        settings=ShortConvertRequest,
        work="ultimate_rvc.work.short:convert",
        title=lambda job: job.voice,
    ),
    "speech": KINDS["speech"],
}
