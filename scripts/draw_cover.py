"""Draw the stages of a cover as spectrograms.

./urvc-macos.sh cli generate song-cover --source demo --model starter-anna --json > cover.json
python scripts/draw_cover.py cover.json docs/images/demo-cover.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import librosa
import numpy as np
from matplotlib.figure import Figure

from ultimate_rvc.audio.decode import decode_mono

SAMPLE_RATE = 22_050
STAGES = {
    "the song": ("retrieve", None),
    "its vocals, separated": ("separate", "vocals.wav"),
    "the vocals in the new voice": ("convert", None),
    "the cover": ("encode", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what song-cover --json printed")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    steps = {step["name"]: step["files"] for step in json.loads(options.report.read_text())["steps"]}
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(len(STAGES), 1, sharex=True)
    for axis, (title, (step, name)) in zip(axes, STAGES.items(), strict=True):
        path = next(Path(file) for file in steps[step] if name is None or file.endswith(name))
        mel = librosa.feature.melspectrogram(y=decode_mono(path, SAMPLE_RATE), sr=SAMPLE_RATE, n_mels=128)
        decibels = librosa.power_to_db(mel, ref=np.max, top_db=70)
        seconds = mel.shape[1] * 512 / SAMPLE_RATE
        axis.imshow(decibels, origin="lower", aspect="auto", extent=(0, seconds, 0, 1), cmap="magma")
        axis.set_title(title, loc="left")
        axis.set_yticks([])
    axes[-1].set_xlabel("seconds")
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.picture, dpi=70)


if __name__ == "__main__":
    main()
