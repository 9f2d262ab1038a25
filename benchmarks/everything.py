"""Every way this machine has, and a whole cover: one table, and one file to send.

    ./urvc-macos.sh benchmark --all [--out FOLDER]

Makes a cover of the demo song at the quality that is usual here, then runs ``backends.py`` with the starter voice on
ten seconds of singing. Within ten minutes on a processor of two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import backends  # beside this file
from ultimate_rvc.paths import output_dir

SONG_SECONDS, REPEATS = 10.0, 2
COVER = ["generate", "song-cover", "--source", "demo", "--model", "starter", "--json"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the file to send")
    options = parser.parse_args(arguments)
    folder = options.out or output_dir() / "benchmark"
    words = ["--seconds", str(SONG_SECONDS), "--repeats", str(REPEATS), "--out", str(folder)]
    with tempfile.TemporaryDirectory() as audio:
        backends.tell("a whole cover")
        cover = measured_cover(Path(audio))
    print(f"A cover of the demo song: {cover['seconds']:.1f} s with loading, quality {cover['quality']}.\n")
    backends.main(words)
    path = folder / "backends-small.json"
    content = {**json.loads(path.read_text("utf-8")), "cover": cover}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"\nThe file to send: {path}")


def measured_cover(audio: Path) -> dict[str, Any]:
    """Make a cover with nothing kept from before, by the command line, as a user would."""
    environment = os.environ | {"URVC_AUDIO_DIR": str(audio)}
    started = time.perf_counter()
    command = [sys.executable, "-m", "ultimate_rvc.cli", *COVER]
    made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    report = json.loads(made.stdout)
    return {
        "seconds": seconds,
        "quality": report["quality"],
        "separation_model": report["separation_model"],
        "steps": {step["name"]: step["seconds"] for step in report["steps"]},
    }


if __name__ == "__main__":
    main()
