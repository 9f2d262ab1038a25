"""One timed training by rvc-next, in a Python that has it: the other half of ``training.py``.

    python benchmarks/training_rvc_next.py --work FOLDER --steps N --warm-up N

``FOLDER`` holds what ``training.write_work`` writes. rvc-next (GPL: run, never a dependency) trains on the
CPU in float32 as installed, with its four processes that load data; it is cancelled after the last step, by
the token it has for that. The last line printed is a JSON object of what was measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rvc_next.engine.cancel import CancelToken
from rvc_next.engine.errors import Cancelled
from rvc_next.engine.train import loop
from rvc_next.engine.train.dataset import TextAudioLoaderMultiNSFsid
from rvc_next.engine.train.hparams import HParams

NEVER = 100_000  # epochs
SEED = 1234


def own_peak_mb() -> float:
    """Peak memory of this program; Linux's ``ru_maxrss`` begins at that of the program that started it."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def request_of(folder: Path) -> loop.TrainRequest:
    task = json.loads((folder / "task.json").read_text(encoding="ascii"))
    return loop.TrainRequest(
        exp_dir=str(folder / "rvc-next"),
        sample_rate="40k",
        version="v2",
        pitch_guidance=True,
        epochs=NEVER,
        save_every=NEVER,
        batch_size=task["batch_size"],
        pretrained_g=str(folder / "f0G40k.pth"),
        pretrained_d=str(folder / "f0D40k.pth"),
        config_override={"model": task["model"], "train": {"segment_size": task["segment_size"]}},
        log_interval=1,
        seed=SEED,
        precision="fp32",
    )


def write_spectrograms(request: loop.TrainRequest) -> None:
    """Have the dataset keep its spectrograms, which the first epoch would compute otherwise."""
    prepared = loop.prepare(request)
    data = HParams(**prepared["data"])
    dataset = TextAudioLoaderMultiNSFsid(data.training_files, data)
    for number in range(len(dataset)):
        dataset[number]


def named_losses(values: dict[str, float]) -> dict[str, float]:
    return {
        "generator": values["g_total"],
        "discriminator": values["d_total"],
        "adversarial": values["gen"],
        "feature": values["fm"],
        "mel and kl": values["g_total"] - values["gen"] - values["fm"],  # their own figures are cut off
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    options = parser.parse_args()
    request = request_of(options.work)
    write_spectrograms(request)

    ends: list[float] = []
    cpu_ends: list[float] = []
    peaks: list[float] = []
    losses: list[dict[str, float]] = []
    token = CancelToken()

    def step_ended(fraction: float | None, text: str | None) -> None:
        ends.append(time.perf_counter())
        cpu_ends.append(time.process_time())
        peaks.append(own_peak_mb())
        if len(ends) == options.warm_up + options.steps:
            token.cancel()

    def logged(item: dict[str, Any]) -> None:
        if item["kind"] == "step":
            losses.append(named_losses(item["losses"]))

    with suppress(Cancelled):
        loop.run(request, progress=step_ended, cancel=token, metrics=logged)
    seconds = ends[-1] - ends[options.warm_up - 1]
    print(
        json.dumps(
            {
                "steps_per_second": options.steps / seconds,
                "seconds_per_step": seconds / options.steps,
                "cpu_seconds_per_step": (cpu_ends[-1] - cpu_ends[options.warm_up - 1]) / options.steps,
                "peak_mb": peaks[-1],
                "losses": losses,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "version": version("rvc-next"),
            }
        )
    )


if __name__ == "__main__":
    main()
