"""Training in two processes is training in one with the doubled batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from small_training import SmallData, leave_out_what_takes_time, tiny_settings
from ultimate_rvc.rvc.train.checkpoints import load_checkpoint
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.loop import train

TESTS = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600  # other work may stop this process for a while
STEPS = 4  # more than an epoch
LOSSES = ("generator", "discriminator", "adversarial", "feature", "mel", "kl")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def train_in_processes(count: int, name: str, **settings: Any) -> dict[str, Any]:
    paths = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={count}", f"--master_port={free_port()}"]
    command = [sys.executable, *launcher, str(TESTS / "training_process.py"), name, json.dumps(settings)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def curve(name: str, loss: str) -> list[float]:
    events = EventAccumulator(str(TrainingFolder.named(name).logs / "tensorboard")).Reload()
    return [event.value for event in events.Scalars(f"train/{loss}")]


def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_what_takes_time(monkeypatch.setattr)
    settings: dict[str, Any] = {"num_epochs": 7, "max_steps": STEPS, "save_interval": 100, "log_steps": 1}
    ended = train_in_processes(2, "two", batch_size=1, **settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(SmallData(), TrainingFolder.named("one"), tiny_settings(batch_size=2, **settings))
    torch.set_num_threads(threads)

    assert ended == {"stopped": False, "step": STEPS, "reason": "all steps are done"}
    for loss in LOSSES:
        one, two = curve("one", loss), curve("two", loss)
        assert len(one) == len(two) == STEPS
        # By rounding alone: sums of a batch and of its halves differ in their last bits, and each step adds to it.
        assert max(abs(a - b) / max(abs(a), 1) for a, b in zip(one, two, strict=True)) < 1e-4
    checkpoint = load_checkpoint(TrainingFolder.named("two").checkpoints)
    assert checkpoint is not None
    assert len(checkpoint.state["random"]) == 2
