"""A training in a process of its own, to be killed, interrupted or launched several times.

    python tests/training_process.py NAME '{"num_epochs": 2}'

trains ``NAME`` on ``small_training.SmallData`` and prints how it ended as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_training import SmallData, leave_out_what_takes_time, tiny_settings
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.loop import train


def main() -> None:
    torch.set_num_threads(1)
    leave_out_what_takes_time(setattr)
    result = train(SmallData(), TrainingFolder.named(sys.argv[1]), tiny_settings(**json.loads(sys.argv[2])))
    if result.voice is not None:
        ended = {"stopped": result.stopped, "step": result.step, "reason": result.reason}
        sys.stdout.write(json.dumps(ended) + "\n")


if __name__ == "__main__":
    main()
