"""Short work that does as tests want: turns sound round, waits, dies, refuses."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio_files import tone
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.errors import AudioError
from ultimate_rvc.work.heard import publish
from ultimate_rvc.work.requests import SpeechRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.short import SHORT_KINDS, ShortConvertRequest
from ultimate_rvc.work.workbench import Workbench

TABLE = "server.fake_short:KINDS"
RATE = 16_000
DIARY = "URVC_TEST_DIARY"  # a file to which each batch writes a line: the names of its sources
DIES = "dies"  # a source of such a name kills the worker, each time
DIES_ONCE = "dies_once"  # ... only if no file of its name lies beside the diary
WAITS = "waits"  # does not go on before a file "go" lies beside the diary
BAD = "bad"


def convert(request: ShortConvertRequest, bench: Workbench) -> WorkResult:
    """The sound the other way round, at 16 kHz."""
    diary = Path(os.environ[DIARY])
    with diary.open("a") as lines:
        lines.write(" ".join(source.stem for source in request.sources) + "\n")
    errors: list[str | None] = []
    for number, source in enumerate(request.sources):
        _misbehave(source, diary, bench)
        if source.stem.startswith(BAD):
            errors.append(str(AudioError(f"{source.name} is bad.")))
        else:
            errors.append(None)
            np.save(bench.folder / f"{number}.npy", decode_mono(source, RATE)[::-1])
    return bench.result((), facts={"sample_rate": RATE, "errors": errors, "shares_batches": True})


def _misbehave(source: Path, diary: Path, bench: Workbench) -> None:
    if source.stem.startswith(DIES_ONCE):
        mark = diary.with_name(source.stem)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif source.stem.startswith(DIES):
        os.kill(os.getpid(), signal.SIGKILL)
    while source.stem.startswith(WAITS) and not diary.with_name("go").exists():
        bench.progress.check()
        time.sleep(0.01)


def speak(request: SpeechRequest, bench: Workbench) -> WorkResult:
    """A tone for each letter, as long as a portion."""
    assert request.output is not None
    said = np.concatenate([tone(440, 0.05, RATE) for _ in request.text or ""])
    publish(bench.folder, 0, said, RATE)
    encode(request.output, said, RATE)
    return bench.result([ResultFile("speech", request.output)], facts={"sample_rate": RATE})


KINDS = {
    "convert": replace(SHORT_KINDS["convert"], work="server.fake_short:convert"),
    "speech": replace(SHORT_KINDS["speech"], work="server.fake_short:speak"),
}
