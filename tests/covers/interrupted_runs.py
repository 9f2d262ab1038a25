"""Program of test_cover_interruption: one cover made in peace, one killed at random, one twice at once.

Arguments: song, number of kills, "whole" or "ahead", and the audio folders of the three. Writes, as JSON, how
many steps were finished at each kill that found a run at work. With "ahead" the song is cut into pieces, and the
disturbed runs sing the first while they take later ones apart.

The disturbed runs are forks of this process, which has made the cover in peace and so has everything
loaded and compiled: a kill lands in the making of the cover and not in seconds of imports.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from ultimate_rvc.choices import F0Method
from ultimate_rvc.covers import pieces
from ultimate_rvc.covers.recipe import make_cover
from ultimate_rvc.covers.settings import CoverSettings, StemSettings
from ultimate_rvc.rvc.infer.settings import ConversionSettings

SETTINGS = CoverSettings(
    conversion=ConversionSettings(f0_methods=(F0Method.DIO,), n_semitones=3, seed=5),
    stems=StemSettings(vocals_model="dsp"),
)


def make_in(audio_folder: str, song: str, device: str = "cpu") -> None:
    os.environ["URVC_AUDIO_DIR"] = audio_folder
    make_cover(song, "Bert", replace(SETTINGS, device=device))


def start(song: str, audio_folder: str, device: str) -> int:
    """Make the cover in a fork of this process; its process id."""
    if process := os.fork():
        return process
    try:
        make_in(audio_folder, song, device)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finish(process: int) -> None:
    _, status = os.waitpid(process, 0)
    assert status == 0, f"the run ended with status {status}"


def kill_after(process: int, seconds: float) -> bool:
    """Whether the kill found the process at work."""
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def cut_short_songs() -> None:
    """Into pieces of two seconds and a half."""
    pieces.LONGEST_WHOLE_SECONDS = pieces.PIECE_SECONDS = 2.5
    pieces.SEARCH_SECONDS = 0.5


def main(song: str, kills: int, way: str, undisturbed: str, killed: str, shared: str) -> None:
    device = "cpu"
    if way == "ahead":
        cut_short_songs()
        device = "cpu,cpu"
    make_in(undisturbed, song)
    started = time.monotonic()
    make_in(f"{undisturbed} again", song)  # the first time, compiling took longer than the work
    whole_seconds = time.monotonic() - started
    chance = random.Random(7)
    finished_steps: list[int] = []
    for _ in range(10 * kills):
        if len(finished_steps) == kills:
            break
        # Each run goes on where the last was killed; one that came to its end has to begin again.
        if kill_after(start(song, killed, device), chance.uniform(0, whole_seconds)):
            finished_steps.append(len(list(Path(killed).glob("intermediate/*/*/manifest.json"))))
        else:
            forget(Path(killed))
    finish(start(song, killed, device))
    for process in [start(song, shared, device), start(song, shared, device)]:
        finish(process)
    sys.stdout.write(json.dumps(finished_steps))


def forget(audio_folder: Path) -> None:
    """Take away the cover and every other step of it."""
    for output in (audio_folder / "output").iterdir():
        output.unlink()
    manifests = audio_folder.glob("intermediate/*/*/manifest.json")
    for manifest in sorted(manifests, key=lambda path: path.stat().st_mtime)[1::2]:
        manifest.unlink()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
