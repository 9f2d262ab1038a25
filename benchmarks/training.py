"""Steps of training a second on a CPU, beside rvc-next's training loop in an environment of its own.

    python -m venv /tmp/other && /tmp/other/bin/pip install torch==2.11.0 rvc-next==0.2.16
    python benchmarks/training.py --python /tmp/other/bin/python [--network full] [--steps 40] [--threads 2]

Prints a Markdown table, or JSON with ``--json``. ``--work FOLDER`` prepares there, or finds what is prepared.

Compared: the loops as users start them (``loop.run_training`` here, ``engine.train.loop.run`` there), from
the end of the warm-up steps to the end of the last step: reading data, generator, discriminators, both
optimisers, log entries of each step. Runs take turns, each in a process of its own, with the same number of
threads; figures are medians of the runs.

Both train a v2 voice at 40 kHz in float32, from the same weights of generator and discriminators, on the
same pieces of 3 s of speech (cut, levelled and measured by this project) and two silent ones, in batches of
the same size, of which the same 0.32 s are rendered, by AdamW with the same settings. The discriminators are
RVC's nine at full width, also with ``--network tiny``, which makes the generator alone smaller. Content
features are as wide as ContentVec's: those of the packaged encoder, twice side by side. Spectrograms are on
disk before time is taken.

Different, as each program has it:

- order of the pieces, places of the rendered parts and noise, so losses are alike, not the same. rvc-next
  gives mel and divergence only up to 75 and 9, so their sum is taken from the total;
- in the generator's step rvc-next also finds the gradients of the discriminators' weights, which nobody uses;
  here they are frozen meanwhile, and recordings go through them without a way back. While discriminators
  learn, recordings and renders go through them together here, one after the other there;
- the mel of a recording is made of the rendered part here and of the whole piece there, where it also goes
  down to 2e-6 instead of 1e-5, so that silence weighs more in its loss;
- gradients longer than 1000 are shortened here; there their length is measured alone;
- data come from a thread here, and from four processes there, whose memory is not counted.

Not compared: imports, building of networks, checkpoints, scores. Peak memory is the most that the process
held up to the last step. The share of waiting is of our loop, over all its steps. CPU seconds, which on a
busy machine say more than seconds, are those of the process and mean most with ``--threads 1``, as threads
that wait for each other count as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import wavfile

from machine import commit  # beside this file
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import EmbedderModel, F0Method, VoiceVersion
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.training_state import paired_state
from ultimate_rvc.rvc.train.arrays import mapped_array, writing_array
from ultimate_rvc.rvc.train.batches import Example
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings, SplitMethod
from ultimate_rvc.rvc.train.extract import EXAMPLES_FILE, PITCH_FRAMES, extract_features
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.logs import TENSORBOARD_FOLDER
from ultimate_rvc.rvc.train.loop import PROGRESS_STEP, run_training
from ultimate_rvc.rvc.train.networks import build_networks
from ultimate_rvc.rvc.train.preprocess import preprocess_dataset
from ultimate_rvc.rvc.train.settings import MAX_EPOCHS, NetworkChoice, Precision, TrainingSettings
from ultimate_rvc.rvc.train.store import TrainingSet
from ultimate_rvc.rvc.train.tables import ExamplesTable
from vocoder import own_peak_mb

Run = dict[str, Any]
OURS, RIVAL = "ours", "rvc-next"
RIVAL_SCRIPT = Path(__file__).with_name("training_rvc_next.py")
SPEECH_FILE = Path(__file__).resolve().parent.parent / "tests" / "data" / "training" / "speech.ogg"
SAMPLE_RATE, SPEECH_RATE = 40_000, 48_000
V2_WIDTH = 768  # of content features; rvc-next knows no other
FULL_WIDTH = 1.0  # of the discriminators; rvc-next knows no other
# rvc-next's residual blocks have three pairs of convolutions, which the small network's have not.
NETWORKS = (NetworkChoice.FULL, NetworkChoice.TINY)
TASK_FILE, GENERATOR_FILE, DISCRIMINATOR_FILE = "task.json", "f0G40k.pth", "f0D40k.pth"
MEL_AND_KL = "mel and kl"
LOSSES = ("generator", "discriminator", "adversarial", "feature", MEL_AND_KL)
MEDIANS = ("steps_per_second", "seconds_per_step", "cpu_seconds_per_step", "waited_share")


# --- what both read -----------------------------------------------------------------------------


def write_work(
    folder: Path,
    network: NetworkChoice,
    batch_size: int,
    seconds: float,
    discriminator_width: float = FULL_WIDTH,
) -> None:
    """Prepare the data for both loops, and the weights that both start from."""
    training = _prepared(folder, seconds)
    data = TrainingSet.open(training)
    settings = TrainingSettings(network_size=network, discriminator_width=discriminator_width)
    networks = build_networks(data.description, settings)
    generator = paired_state(networks.generator.state_dict())
    torch.save({"model": generator}, folder / GENERATOR_FILE)
    torch.save({"model": paired_state(networks.discriminators.state_dict())}, folder / DISCRIMINATOR_FILE)
    table = ExamplesTable.read(training.data / EXAMPLES_FILE)
    assert table is not None
    silent = table.mutes  # rvc-next adds as many of its own
    _write_rival_data(folder / RIVAL, [data.example(number) for number in range(len(data) - silent)])
    task = {
        "network": network,
        "batch_size": batch_size,
        "seconds": seconds,
        "discriminator_width": discriminator_width,
        "model": _model_settings(networks.config),
        "segment_size": networks.sizes.segment_frames * networks.sizes.hop_length,
    }
    (folder / TASK_FILE).write_text(json.dumps(task), encoding="ascii")


def _prepared(folder: Path, seconds: float) -> TrainingFolder:
    """Our own training data: equal pieces of 3 s, as rvc-next leaves out what is shorter than 0.75 s."""
    dataset, training = folder / "recordings", TrainingFolder(folder / OURS)
    dataset.mkdir(parents=True)
    speech = decode_mono(SPEECH_FILE, SPEECH_RATE)[: round(seconds * SPEECH_RATE)]
    wavfile.write(dataset / "speech.wav", SPEECH_RATE, speech)
    cut = PreprocessSettings(sample_rate=SAMPLE_RATE, split_method=SplitMethod.SIMPLE)
    preprocess_dataset(training, dataset, cut)
    extraction = ExtractSettings(
        embedder_model=EmbedderModel.STARTER, f0_method=F0Method.FCPE, version=VoiceVersion.V2, device="cpu"
    )
    _widen_features(training, extract_features(training, extraction))
    return training


def _widen_features(training: TrainingFolder, table: ExamplesTable) -> None:
    """Repeat the features side by side until they are as wide as those of ContentVec."""
    width = table.description.phone_dim
    features = mapped_array(training.data / table.arrays["features"], width)
    path = training.data / "features-wide.npy"
    with writing_array(path, V2_WIDTH) as writer:
        writer.append(np.tile(features, (1, V2_WIDTH // width)))
    description = replace(table.description, phone_dim=V2_WIDTH)
    wide = replace(table, description=description, arrays={**table.arrays, "features": path.name})
    wide.write(training.data / EXAMPLES_FILE)


def _write_rival_data(folder: Path, examples: Sequence[Example]) -> None:
    """The folder that rvc-next's stages before the training would leave."""
    waveforms, features = folder / "0_gt_wavs", folder / "3_feature768"
    coarse, pitch = folder / "2a_f0", folder / "2b-f0nsf"
    for part in (waveforms, features, coarse, pitch):
        part.mkdir(parents=True)
    for number, example in enumerate(examples):
        assert example.pitch is not None
        assert example.f0_hz is not None
        name = f"0_{number}"
        wavfile.write(waveforms / f"{name}.wav", SAMPLE_RATE, example.waveform.numpy())
        np.save(features / f"{name}.npy", example.features[::PITCH_FRAMES].numpy())
        np.save(coarse / f"{name}.wav.npy", example.pitch.numpy())
        np.save(pitch / f"{name}.wav.npy", example.f0_hz.numpy())


def _model_settings(config: SynthesizerConfig) -> dict[str, Any]:
    """The sizes under the names of RVC's ``config.json``."""
    return {
        "inter_channels": config.inter_channels,
        "hidden_channels": config.hidden_channels,
        "filter_channels": config.filter_channels,
        "n_heads": config.heads,
        "n_layers": config.layers,
        "kernel_size": config.kernel_size,
        "resblock_kernel_sizes": config.resblock_kernel_sizes,
        "resblock_dilation_sizes": config.resblock_dilations,
        "upsample_rates": config.upsample_rates,
        "upsample_kernel_sizes": config.upsample_kernel_sizes,
        "upsample_initial_channel": config.upsample_initial_channel,
        "gin_channels": config.speaker_channels,
        "spk_embed_dim": config.speakers,
    }


# --- one run, in a process of its own --------------------------------------------------------------


class Steps:
    """Notes when each step ended, as the loop tells of it; the memory is that at the last one."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.cpu_ends: list[float] = []
        self.peak_mb = 0.0

    def __call__(self, step: str, fraction: float, text: str) -> None:
        if step == PROGRESS_STEP and text.startswith("step "):
            self.ends.append(time.perf_counter())
            self.cpu_ends.append(time.process_time())
            self.peak_mb = own_peak_mb()


def run_own(folder: Path, steps: int, warm_up: int) -> Run:
    """Train ``warm_up + steps`` steps on what :func:`write_work` prepared, from its weights."""
    task = json.loads((folder / TASK_FILE).read_text(encoding="ascii"))
    training = TrainingFolder(folder / OURS)
    settings = TrainingSettings(
        num_epochs=MAX_EPOCHS,
        max_steps=warm_up + steps,
        batch_size=task["batch_size"],
        network_size=NetworkChoice(task["network"]),
        discriminator_width=task["discriminator_width"],
        pretrained_generator=folder / GENERATOR_FILE,
        pretrained_discriminator=folder / DISCRIMINATOR_FILE,
        save_interval=MAX_EPOCHS,
        clear_saved_data=True,
        log_steps=1,
        device="cpu",
        precision=Precision.FP32,
    )
    noted = Steps()
    result = run_training(training, settings, Progress(noted))
    seconds = noted.ends[-1] - noted.ends[warm_up - 1]
    return {
        "steps_per_second": steps / seconds,
        "seconds_per_step": seconds / steps,
        "cpu_seconds_per_step": (noted.cpu_ends[-1] - noted.cpu_ends[warm_up - 1]) / steps,
        "waited_share": result.waited_share,
        "peak_mb": noted.peak_mb,
        "losses": _logged_losses(training),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "version": commit(),
    }


def _logged_losses(training: TrainingFolder) -> list[dict[str, float]]:
    """The losses of each step, read from TensorBoard's file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(training.logs / TENSORBOARD_FOLDER), {"scalars": 0})
    events.Reload()
    names = ("generator", "discriminator", "adversarial", "feature", "mel", "kl")
    curves = {name: [entry.value for entry in events.Scalars(f"train/{name}")] for name in names}
    curves[MEL_AND_KL] = [mel + kl for mel, kl in zip(curves.pop("mel"), curves.pop("kl"), strict=True)]
    return [dict(zip(curves, step, strict=True)) for step in zip(*curves.values(), strict=True)]


def start(name: str, folder: Path, other_python: str, steps: int, warm_up: int, threads: int) -> Run:
    """Run one of the two loops and give back what it measured.

    Raises
    ------
    SystemExit
        It failed (what it told stands above), or did not run with ``threads`` threads.
    """
    script = [other_python, str(RIVAL_SCRIPT)]
    if name == OURS:
        script = [sys.executable, str(Path(__file__).resolve()), "--run-own"]
    command = [*script, "--work", str(folder), "--steps", str(steps), "--warm-up", str(warm_up)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "URVC_VOICE_MODELS_DIR": str(folder / "voices"),
    }
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed with status {done.returncode}.")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    if run["threads"] != threads:
        raise SystemExit(f"{name} ran with {run['threads']} threads instead of {threads}.")
    return run


# --- the table ------------------------------------------------------------------------------------


def row(name: str, runs: list[Run], rival_steps_per_second: float) -> Run:
    """The medians of ``runs``; losses are those of the first step of all and the mean of every step."""
    medians = {
        key: statistics.median(run[key] for run in runs) if key in runs[0] else None for key in MEDIANS
    }
    losses = [step for run in runs for step in run["losses"]]
    return {
        "program": name,
        **medians,
        "ratio": medians["steps_per_second"] / rival_steps_per_second,
        "all_seconds_per_step": [run["seconds_per_step"] for run in runs],
        "peak_mb": max(run["peak_mb"] for run in runs),
        "first_losses": runs[0]["losses"][0],
        "mean_losses": {loss: statistics.mean(step[loss] for step in losses) for loss in LOSSES},
        **{key: runs[0][key] for key in ("threads", "torch", "version")},
    }


def print_table(rows: list[Run], title: str) -> None:
    columns = ("steps/s", "seconds per step", "of the runs", "ratio", "CPU s per step", "waiting", "peak MB")
    losses = tuple(f"{loss}: first, mean" for loss in LOSSES)
    header = (title, *columns, *losses, "torch", "version")
    print("| " + " | ".join(header) + " |")
    print("|" + len(header) * "---|")
    for entry in rows:
        waited = entry["waited_share"]
        cells = (
            entry["program"],
            f"{entry['steps_per_second']:.3f}",
            f"{entry['seconds_per_step']:.3f}",
            ", ".join(f"{seconds:.3f}" for seconds in entry["all_seconds_per_step"]),
            f"{entry['ratio']:.2f}",
            f"{entry['cpu_seconds_per_step']:.3f}",
            "" if waited is None else f"{100 * waited:.2f} %",
            f"{entry['peak_mb']:.0f}",
            *(f"{entry['first_losses'][loss]:.2f}, {entry['mean_losses'][loss]:.2f}" for loss in LOSSES),
            entry["torch"],
            str(entry["version"]),
        )
        print("| " + " | ".join(cells) + " |")


def compare(folder: Path, options: argparse.Namespace) -> list[Run]:
    """One row for each program, after ``repeats`` runs in turn."""
    runs: dict[str, list[Run]] = {RIVAL: [], OURS: []}
    for repeat in range(1, options.repeats + 1):
        for name, kept in runs.items():
            run = start(name, folder, options.python, options.steps, options.warm_up, options.threads)
            kept.append(run)
            speed = f"{run['seconds_per_step']:.3f} s a step, peak {run['peak_mb']:.0f} MB"
            print(f"{name}: run {repeat} of {options.repeats}, {speed}", file=sys.stderr)
    rival = statistics.median(run["steps_per_second"] for run in runs[RIVAL])
    return [row(name, kept, rival) for name, kept in runs.items()]


def work_in(folder: Path, options: argparse.Namespace) -> None:
    """Prepare ``folder``, unless that was done with the same options before.

    Raises
    ------
    SystemExit
        It was prepared with other options.
    """
    file = folder / TASK_FILE
    if not file.is_file():
        write_work(folder, NetworkChoice(options.network), options.batch_size, options.seconds)
        return
    task = json.loads(file.read_text(encoding="ascii"))
    for option in ("network", "batch_size", "seconds"):
        if task[option] != getattr(options, option):
            raise SystemExit(f"{folder} was prepared with --{option.replace('_', '-')} {task[option]}.")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="the Python of the environment that has rvc-next")
    parser.add_argument(
        "--network", choices=[str(size) for size in NETWORKS], default=str(NetworkChoice.FULL)
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=2, help="steps before time is taken, at least 1")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech, at most 60")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="prepare in this folder and keep it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run-own", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.steps, options.warm_up, options.repeats) < 1:
        parser.error("--steps, --warm-up and --repeats must be at least 1")
    if not options.run_own and not options.python:
        parser.error("--python is missing: the Python of an environment with rvc-next==0.2.16")
    return options


def main() -> None:
    options = parsed()
    if options.run_own:
        print(json.dumps(run_own(options.work, options.steps, options.warm_up)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        work_in(folder, options)
        rows = compare(folder, options)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print_table(rows, f"{options.network}, batch of {options.batch_size}, {options.threads} threads")


if __name__ == "__main__":
    main()
