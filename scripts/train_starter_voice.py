"""Train the starter voice that ships with the package: one command from nothing to the voice.

    python scripts/train_starter_voice.py DIR                                # many hours on two cores
    python scripts/train_starter_voice.py DIR --name starter-male --voice rms
    python scripts/train_starter_voice.py DIR --max-steps 20000 --precision bf16 --ship
    python scripts/train_starter_voice.py DIR --voice anna --precision bf16 --max-steps 4000 --singing-steps 600

The last makes a voice by Kokoro from the starter's weights.

Makes the material (``make_starter_material.py``), lets others say the same (``make_other_readings.py``),
trains with ``urvc train voice``, and with ``--ship`` puts what came out where the package keeps its voices.
Kokoro's voices begin with the weights of the packaged voice, which has learnt what others' words are.
Stopped and started again, each part goes on where it stopped. docs/starter-voices.md says what the material
is and how good the voice became.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyworld
import soundfile
from kokoro_reading import READINGS_VARIABLE

from ultimate_rvc.paths import packaged_voice
from ultimate_rvc.rvc.train.checkpoints import DISCRIMINATOR_FILE, GENERATOR_FILE, checkpoint_folders
from ultimate_rvc.rvc.voice_file.read import read_voice_file
from ultimate_rvc.rvc.voice_file.write import write_rvc_voice
from ultimate_rvc.voices.blending import blend, blend_source
from ultimate_rvc.voices.record import change_record, fingerprints

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
SINGING_MINUTES = ("0", "10")  # spoken and sung, of the stage in which words are learnt as they are sung
SINGING_SHARE = 0.7  # of its weights in the voice that ships: the rest of the first stage's keep the likeness


@dataclass(frozen=True)
class Stage:
    """A training, and how much is said and sung in its material."""

    folder: Path
    speech_minutes: str
    sung_minutes: str
    steps: int
    by_others: bool = True
    """Whether the same by other readers is learnt from: stretched to a song, it blurs the consonants."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="where material and training lie")
    add("--voice", choices=VOICES, default="slt", help="who reads (default: %(default)s)")
    add("--name", help="of the voice (default: starter, with the reader's name unless that is slt)")
    add("--speech-minutes", default="25", metavar="N", help="default: %(default)s")
    add("--sung-minutes", default="15", metavar="N", help="default: %(default)s")
    add("--prompts", action="store_true", help="say Asterisk's prompts too (needs its packages)")
    add("--versions", default="4", metavar="N", help="of each file (default: %(default)s)")
    add(
        "--pretrained",
        type=Path,
        metavar="FILE",
        help="weights to begin with (Kokoro's voices: the packaged voice)",
    )
    add(
        "--pretrained-discriminator",
        type=Path,
        metavar="FILE",
        help="D file of the training that made those weights: no steps without discriminators then",
    )
    add("--max-steps", type=int, default=100_000, metavar="N", help="default: %(default)s")
    add(
        "--singing-steps",
        type=int,
        default=0,
        metavar="N",
        help="steps after those on singing alone (default: %(default)s)",
    )
    add("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    add("--ship", action="store_true", help="copy the voice into the package")
    asked = parser.parse_args()

    stages = [Stage(asked.folder, asked.speech_minutes, asked.sung_minutes, asked.max_steps)]
    if asked.singing_steps:
        stages.append(Stage(asked.folder / "singing", *SINGING_MINUTES, asked.singing_steps, by_others=False))
    name = asked.name or VOICES[asked.voice]
    weights, discriminator = asked.pretrained, asked.pretrained_discriminator
    if weights is None and asked.voice in BY_KOKORO:
        weights = packaged_voice("starter")
    for stage in stages:
        material = make_material(stage, asked)
        train(stage, name, material, weights, discriminator, asked.precision)
        *_, last = checkpoint_folders(stage.folder / "training" / name / "checkpoints")
        weights, discriminator = last / GENERATOR_FILE, last / DISCRIMINATOR_FILE
    if asked.ship:
        trained = [stage.folder / "voices" / name for stage in stages]
        first_material = asked.folder / f"material-{asked.voice}"
        ship(trained, packaged_voice(name).parent, first_material, with_index=asked.voice not in BY_KOKORO)


def make_material(stage: Stage, asked: argparse.Namespace) -> Path:
    """The recordings of a stage; the same by other readers beside them, if it learns from these."""
    material = stage.folder / f"material-{asked.voice}"
    run(
        *(sys.executable, str(SCRIPTS / "make_starter_material.py"), str(material), "--voice", asked.voice),
        *("--speech-minutes", stage.speech_minutes, "--sung-minutes", stage.sung_minutes),
        *(["--prompts"] if asked.prompts and stage.by_others else []),
    )
    if not stage.by_others:
        return material
    readings = os.environ.get(READINGS_VARIABLE, str(asked.folder / "kokoro-readings"))
    script = str(SCRIPTS / "make_other_readings.py")
    run(
        *(sys.executable, script, str(material), "--versions", asked.versions),
        environment={READINGS_VARIABLE: readings},
    )
    return material


def train(
    stage: Stage, name: str, material: Path, weights: Path | None, discriminator: Path | None, precision: str
) -> None:
    options = {**OPTIONS, "max-steps": str(stage.steps), "precision": precision}
    if weights is not None:
        options |= {**OPTIONS_FROM_WEIGHTS, "pretrained-generator": str(weights)}
    if discriminator is not None:
        options |= {"pretrained-discriminator": str(discriminator), "warm-up-steps": "0"}
    if not stage.by_others:
        options |= {"perturbed-copies": "0"}
    run(
        *(sys.executable, "-c", "from ultimate_rvc.cli.main import run; run()"),
        *("train", "voice", name, str(material), "--average-weights"),
        *(["--versions", f"{material}-others"] if stage.by_others else []),
        *(part for option, value in options.items() for part in (f"--{option}", value)),
        environment={
            "URVC_AUDIO_DIR": str(stage.folder / "audio"),  # where the recordings of a voice add up
            "URVC_TRAINING_DIR": str(stage.folder / "training"),
            "URVC_VOICE_MODELS_DIR": str(stage.folder / "voices"),
        },
    )


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env={**os.environ, **(environment or {})})


def ship(trained: list[Path], shipped: Path, material: Path, *, with_index: bool) -> None:
    """Put the voice of one stage, or a mixture of two, into the package, at home where its reader speaks.

    The median of all recordings would lie higher: the sung ones are spread over all pitches.
    """
    shutil.rmtree(shipped, ignore_errors=True)
    shutil.copytree(
        trained[0], shipped, ignore=shutil.ignore_patterns(".*", *([] if with_index else ["*.index"]))
    )
    name = shipped.name
    changes: dict[str, object] = {"pitch_percentiles_hz": None}  # of all recordings
    paths = [folder / f"{name}.pth" for folder in trained]
    voice, *singing = (read_voice_file(path) for path in paths)
    if singing:
        voice = blend(singing[0], voice, SINGING_SHARE, ("singing", "speech"))
        changes |= {"info": voice.metadata.info, "epoch": None, "step": None}
        shares = (("speech", 1 - SINGING_SHARE), ("singing", SINGING_SHARE))
        changes["blended_from"] = [
            blend_source(stage, path, share) for path, (stage, share) in zip(paths, shares, strict=True)
        ]
    home_hz = spoken_median_hz(material)
    voice = replace(voice, metadata=replace(voice.metadata, f0_median_hz=home_hz, model_name=name))
    write_rvc_voice(shipped / f"{name}.pth", voice)
    files = [path for path in shipped.iterdir() if path.suffix in (".pth", ".index")]
    change_record(shipped, {**changes, "pitch_median_hz": home_hz, "files": fingerprints(files)})
    size = sum(file.stat().st_size for file in files)
    print(f"{shipped}: {size / 1e6:.1f} MB, at home at {home_hz:.0f} Hz")


def spoken_median_hz(material: Path) -> float:
    """Of the speech that is as its reader spoke it, by Harvest."""
    files = json.loads((material / "material.json").read_text(encoding="utf-8"))["files"]
    spoken = [file["file"] for file in files if file["kind"] == "speech" and file["pitch_factor"] == 1]
    curves = [pyworld.harvest(*soundfile.read(material / name))[0] for name in spoken]
    pitch = np.concatenate(curves)
    return float(np.median(pitch[pitch > 0]))


if __name__ == "__main__":
    main()
