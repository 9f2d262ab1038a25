"""Peak memory of a conversion by length: it must not grow with the recording.

    python benchmarks/memory.py [--minutes 5 30] [--f0-method fcpe] [--json]

Each length runs in a process of its own, on the demo song's mix repeated. The audio itself (input,
its copy at 16 kHz and the output, as float32) is taken off: whoever holds a recording holds that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

MEASURE = """
import json, resource, sys, time
import numpy as np
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import F0Method
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import find_voice

minutes, method = float(sys.argv[1]), F0Method(sys.argv[2])
settings = ConversionSettings(f0_methods=(method,), rms_mix_rate=0.5)
pipeline = Pipeline.open(find_voice("starter").model_path, settings, device="cpu")
song = decode_mono(packaged_assets_dir() / "demo.ogg", 16_000)
audio = np.tile(song, -(-int(minutes * 60 * 16_000) // len(song)))[: int(minutes * 60 * 16_000)]
started = time.perf_counter()
converted, rate = pipeline.convert(audio, 16_000, settings)
scale = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
print(json.dumps({
    "minutes": minutes,
    "seconds": round(time.perf_counter() - started, 1),
    "peak_mb": round(peak / 1e6),
    "audio_mb": round((2 * audio.nbytes + converted.nbytes) / 1e6),
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 30])
    parser.add_argument("--f0-method", default="fcpe")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for minutes in options.minutes:
        command = [sys.executable, "-c", MEASURE, str(minutes), options.f0_method]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for row in rows:
        row["beyond_audio_mb"] = row["peak_mb"] - row["audio_mb"]
        row["ratio"] = round(row["beyond_audio_mb"] / rows[0]["beyond_audio_mb"], 2)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| minutes | peak MB | of it audio MB | beyond MB | ratio | seconds |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['minutes']:g} | {row['peak_mb']} | {row['audio_mb']} | {row['beyond_audio_mb']} "
            f"| {row['ratio']} | {row['seconds']} |"
        )


if __name__ == "__main__":
    main()
