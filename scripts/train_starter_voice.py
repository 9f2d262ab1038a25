"""Train the starter voice that ships with the package: one command from nothing to the voice.

    python scripts/train_starter_voice.py DIR                                # many hours on two cores
    python scripts/train_starter_voice.py DIR --name starter-male --voice rms
    python scripts/train_starter_voice.py DIR --max-steps 20000 --precision bf16 --ship
    python scripts/train_starter_voice.py DIR --voice anna --precision bf16  # by Kokoro, from the starter's weights

Makes the material (``make_starter_material.py``), lets others say the same (``make_other_readings.py``),
trains with ``urvc train voice``, and with ``--ship`` puts what came out where the package keeps its voices.
Kokoro's voices begin with the weights of the packaged voice, which has learnt what others' words are.
Stopped and started again, each part goes on where it stopped. docs/starter-voices.md says what the material
is and how good the voice became.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from kokoro_reading import READINGS_VARIABLE

from ultimate_rvc.paths import packaged_voice

SCRIPTS = Path(__file__).parent
# Small networks and an index of centres: less than 25 MB in all.
OPTIONS = {
    "embedder-model": "starter",
    "f0-method": "fcpe",
    "perturbed-copies": "2",
    "include-mutes": "10",
    "sample-rate": "32000",
    "network-size": "small",
    "index-algorithm": "KMeans",
    "batch-size": "8",
    "learn-from": "prior",
    "learning-rate": "4e-4",
    "warm-up-steps": "2850",
    "discriminator-width": "0.25",
    "num-epochs": "100000",  # --max-steps ends it
    "save-steps": "250",
    "save-seconds": "300",
}
# From weights that speak already: no step need be as long, and the discriminators can begin sooner.
OPTIONS_FROM_WEIGHTS = {"learning-rate": "3e-4", "warm-up-steps": "2000"}
VOICES = {"slt": "starter", "rms": "starter-rms", "anna": "starter-anna", "peter": "starter-peter"}
BY_KOKORO = ("anna", "peter")


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env={**os.environ, **(environment or {})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="where material and training lie")
    parser.add_argument("--voice", choices=VOICES, default="slt", help="who reads (default: %(default)s)")
    parser.add_argument(
        "--name", help="of the voice (default: starter, with the reader's name unless that is slt)"
    )
    parser.add_argument("--speech-minutes", default="25", metavar="N", help="default: %(default)s")
    parser.add_argument("--sung-minutes", default="15", metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--prompts", action="store_true", help="say Asterisk's prompts too (needs its packages)"
    )
    parser.add_argument("--versions", default="4", metavar="N", help="of each file (default: %(default)s)")
    parser.add_argument(
        "--pretrained",
        type=Path,
        metavar="FILE",
        help="weights to begin with (Kokoro's voices: the packaged voice)",
    )
    parser.add_argument(
        "--pretrained-discriminator",
        type=Path,
        metavar="FILE",
        help="D file of the training that made those weights: no steps without discriminators then",
    )
    parser.add_argument("--max-steps", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--ship", action="store_true", help="copy the voice into the package")
    asked = parser.parse_args()

    material, voices = asked.folder / f"material-{asked.voice}", asked.folder / "voices"
    name = asked.name or VOICES[asked.voice]
    run(
        *(sys.executable, str(SCRIPTS / "make_starter_material.py"), str(material), "--voice", asked.voice),
        *("--speech-minutes", asked.speech_minutes, "--sung-minutes", asked.sung_minutes),
        *(["--prompts"] if asked.prompts else []),
    )
    readings = asked.folder / "kokoro-readings"
    run(
        *(
            sys.executable,
            str(SCRIPTS / "make_other_readings.py"),
            str(material),
            "--versions",
            asked.versions,
        ),
        environment={READINGS_VARIABLE: os.environ.get(READINGS_VARIABLE, str(readings))},
    )
    options = {**OPTIONS, "max-steps": str(asked.max_steps), "precision": asked.precision}
    packaged = packaged_voice("starter")
    if pretrained := asked.pretrained or (packaged if asked.voice in BY_KOKORO else None):
        options |= {**OPTIONS_FROM_WEIGHTS, "pretrained-generator": str(pretrained)}
    if asked.pretrained_discriminator:
        options |= {"pretrained-discriminator": str(asked.pretrained_discriminator), "warm-up-steps": "0"}
    run(
        *(sys.executable, "-c", "from ultimate_rvc.cli.main import run; run()"),
        *("train", "voice", name, str(material), "--average-weights"),
        *("--versions", f"{material}-others"),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
        environment={
            "URVC_TRAINING_DIR": str(asked.folder / "training"),
            "URVC_VOICE_MODELS_DIR": str(voices),
        },
    )
    if asked.ship:
        shipped = packaged_voice(name).parent
        shutil.rmtree(shipped, ignore_errors=True)
        shutil.copytree(voices / name, shipped, ignore=shutil.ignore_patterns(".*"))
        print(f"{shipped}: {sum(file.stat().st_size for file in shipped.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
