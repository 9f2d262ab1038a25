"""A whole cover, from song to mp3, with networks of the published sizes: where the time goes at each quality.

    python benchmarks/cover.py [--seconds 24] [--repeats 1] [--threads 2] [--only fast,balanced] [--json]
    python benchmarks/cover.py --seconds 15 25 35 45 60 --only fast,balanced      # how far the estimates are off
    python benchmarks/cover.py --seconds 180 1800 10800 --music 60 --only fast    # memory of long recordings

All networks have random weights, so nothing is downloaded; times do not depend on what weights say. Runs take
turns, each in a process of its own with an empty cache, as a user's first cover of a song. Every step's seconds, the
time for each second of song (RTF), the most memory that the process held, and what each step's share is.

``before`` is what every cover was made like before there were qualities: the best networks as pymss runs them, each
chunk overlapping the next by a quarter, in float32. ``Ultimate RVC`` stands for that program's own default chain:
the MDX-Net networks Voc_FT, KARA_2 and Reverb_HQ one after the other, a quarter of overlap, run here by the same code
and in ONNX Runtime (its own runs the first two in torch where their segment size differs from the network's, which
is slower), then a conversion as RVC programs do it: float32, eager, the whole song computed.

With ``--music`` only the first so many seconds of every half hour are music, the rest is silence, which costs next to
no time: memory is what this is for.

What random networks find is noise, so none of it is silent: the silence of real vocals, which is left out, is not in
these figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SONG_RATE = 44_100
SONG_FILES = ("water_vocals", "water_instrumental")
SONGS_DIR = Path(__file__).resolve().parent.parent / "tests" / "data" / "songs"
RIVAL, BEFORE = "Ultimate RVC", "before"
NAMES = ("fast", "balanced", RIVAL, "best", BEFORE)
USUAL_OVERLAP = 0.25
MACHINE_FILE = "machine.json"  # what is known of this machine, in its data folder
NETWORKS = ("demucs", "mdx-vocals", "mdx-light", "mdx-karaoke", "vocals", "karaoke", "dereverb")


def prepare(folder: Path, lengths: Sequence[float], music_seconds: float | None) -> None:
    """Write the songs and all networks below ``folder``."""
    import numpy as np

    from random_models import ModelSize, write_models  # beside this file, as are the others
    from separation_networks import REVERB_FILE, write_separation_model
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.encode import encode_blocks
    from ultimate_rvc.choices import AudioFormat

    models = folder / "models"
    for name in (*NETWORKS, REVERB_FILE):
        if not (models / "separation" / file_name(name)).is_file():
            write_separation_model(name, models / "separation")
    write_models(models, ModelSize.OFFICIAL, seed=0)
    parts = [decode(SONGS_DIR / f"{name}.ogg")[0] for name in SONG_FILES]
    ten = (
        sum(np.resize(np.broadcast_to(part, (2, part.shape[-1])), (2, 10 * SONG_RATE)) for part in parts)
        * 0.5
    )

    def blocks(seconds: float) -> Iterator[Any]:
        for start in range(0, math.ceil(seconds), 10):
            block = ten[:, : round(min(seconds - start, 10) * SONG_RATE)].astype(np.float32)
            silent = music_seconds is not None and start % 1800 >= music_seconds
            yield block * np.float32(not silent)

    for seconds in lengths:
        encode_blocks(song_file(folder, seconds), blocks(seconds), 2, SONG_RATE, audio_format=AudioFormat.WAV)


def file_name(network: str) -> str:
    from separation_networks import REVERB_FILE
    from ultimate_rvc.separation.models import SEPARATION_MODELS

    return REVERB_FILE if network == REVERB_FILE else SEPARATION_MODELS[network].file_name


def song_file(folder: Path, seconds: float) -> Path:
    return folder / f"song-{seconds:g}.wav"


def run_one(name: str, folder: Path, song_seconds: float) -> dict[str, Any]:
    """One cover in this process."""
    import time

    from random_models import INDEX_FILE, VOICE_FILE
    from separation_networks import REVERB_FILE
    from ultimate_rvc.choices import Quality, StepSwitch
    from ultimate_rvc.covers.recipe import make_cover
    from ultimate_rvc.covers.settings import CoverSettings, SourceSettings, StemSettings
    from ultimate_rvc.separation import pymss_network
    from ultimate_rvc.switches import OptimizationConfig
    from vocoder import own_peak_mb

    models = folder / "models"
    optimization: OptimizationConfig | None = None  # as every cover: by the device and RVC_* variables
    stems, quality = StemSettings(), Quality.BEST
    if name == RIVAL:
        stems = StemSettings(
            vocals_model="mdx-vocals",
            split_backing=StepSwitch.ON,
            backing_model="mdx-karaoke",
            remove_reverb=StepSwitch.ON,
            overlap=USUAL_OVERLAP,
        )
        # Covers offer the models of the table only, and this one has no download.
        object.__setattr__(stems, "reverb_model", str(models / "separation" / REVERB_FILE))
        optimization = OptimizationConfig()
    elif name == BEFORE:
        pymss_network.suit_to_processor = lambda *_, **__: None  # type: ignore[assignment]
        stems = StemSettings(overlap=USUAL_OVERLAP, exact_stems=True)
    else:
        quality = Quality(name)
    settings = CoverSettings(
        quality=quality, stems=stems, optimization=optimization, device="cpu", index_path=models / INDEX_FILE,
        output_path=folder / "cover.mp3", overwrite=True, source=SourceSettings(max_minutes=600),
    )  # fmt: skip
    started = time.perf_counter()
    cover = make_cover(str(song_file(folder, song_seconds)), str(models / VOICE_FILE), settings)
    return {
        "name": name,
        "seconds": time.perf_counter() - started,
        "steps": {step.name: step.seconds for step in cover.steps},
        "song_seconds": cover.duration_seconds,
        "estimate_seconds": cover.estimate_seconds,
        "peak_mb": own_peak_mb(),
        "warnings": cover.warnings,
    }


def run_in_process(name: str, folder: Path, song_seconds: float, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        # The machine's measurement is kept from run to run, the cache of covers is not.
        known = folder / MACHINE_FILE
        if known.is_file():
            (Path(home) / MACHINE_FILE).write_bytes(known.read_bytes())
        environment = os.environ | {
            "URVC_HOME": home,
            "URVC_MODELS_DIR": str(folder / "models"),
            "URVC_OFFLINE": "1",
            "OMP_NUM_THREADS": str(threads),
        }
        command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
        command += ["--seconds", f"{song_seconds:g}"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        known.write_bytes((Path(home) / MACHINE_FILE).read_bytes())
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(runs: list[dict[str, Any]]) -> str:
    """Medians of each configuration and song, beside the rival's, as Markdown."""
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["song_seconds"], run["name"]), []).append(run)
    medians = {key: statistics.median(run["seconds"] for run in group) for key, group in groups.items()}
    lines = [
        "| song | cover | s | RTF | against Ultimate RVC | against before | peak MB | said before | steps |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for (song_seconds, name), group in groups.items():
        total, last = medians[song_seconds, name], group[-1]
        others = [medians.get((song_seconds, other)) for other in (RIVAL, BEFORE)]
        ratios = [f"{other / total:.2f}x" if other else "-" for other in others]
        steps = ", ".join(
            f"{step} {seconds:.1f} ({seconds / last['seconds']:.0%})"
            for step, seconds in last["steps"].items()
            if seconds >= 0.05
        )
        said = [run["estimate_seconds"] for run in group]
        lines.append(
            f"| {song_seconds:.0f} s | {name} | {total:.1f} | {total / song_seconds:.2f} | {' | '.join(ratios)} | "
            f"{max(run['peak_mb'] for run in group):.0f} | {said[0]:.0f} s ({said[0] / total - 1:+.0%}) | {steps} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[24.0], help="lengths of the songs")
    parser.add_argument("--music", type=float, help="only so many seconds of each half hour are music")
    parser.add_argument("--forget", action="store_true", help="do not let estimates learn from run to run")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(NAMES), help="configurations, separated by commas")
    parser.add_argument("--json", action="store_true", help="print JSON after the table")
    parser.add_argument("--folder", type=Path, help="keep the networks here for the next run")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.folder, *arguments.seconds)))
        return
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"--only knows {', '.join(NAMES)}, not {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, arguments.seconds, arguments.music)
        runs = []
        for _ in range(arguments.repeats):
            for seconds, name in itertools.product(arguments.seconds, names):
                print(f"{seconds:g} s: {name} ...", file=sys.stderr, flush=True)
                runs.append(run_in_process(name, folder, seconds, arguments.threads))
                if arguments.forget:
                    (folder / MACHINE_FILE).unlink()
    print(table(runs))
    if arguments.json:
        print(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
