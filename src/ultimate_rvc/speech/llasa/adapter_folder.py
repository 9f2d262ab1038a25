"""An adapter in training, on disk: what decides it, its latest checkpoint, its losses, and the adapter itself.

The folder becomes a speaker when the adapter is there; its ``adapter_config.json`` is written last.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import SpeechError, TrainingError
from ultimate_rvc.files import atomic_path

FACTS_FILE = "training.json"
CHECKPOINT_FILE = "checkpoint.pt"
LOSSES_FILE = "losses.csv"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")  # in the order in which they are written


@dataclass(frozen=True)
class AdapterFolder:
    """The folder of one adapter, which need not be there yet."""

    path: Path

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Make the folder for a training that ``facts`` decide, or check that it is that training's.

        Raises
        ------
        SpeechError
            Something else is there, or a training that was decided otherwise: the first difference is named.
        """
        file = self.path / FACTS_FILE
        if not file.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise SpeechError(f"{self.path} is there already and is no training: choose another name.")
            self._write(FACTS_FILE, json.dumps(facts, indent=2))
            return
        try:
            before = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SpeechError(f"{file} is damaged: remove {self.path} to begin again.") from error
        for name, value in facts.items():
            if before.get(name) != value:
                raise SpeechError(
                    f"The training in {self.path} was begun with {name} {before.get(name)}, not {value}: use "
                    "the same, or choose another name.",
                    name,
                )

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The latest checkpoint, on the CPU; None where there is none yet.

        Raises
        ------
        TrainingError
            It is damaged.
        """
        import torch

        path = self.path / CHECKPOINT_FILE
        if not path.is_file():
            return None
        try:
            loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names a damaged file in a dozen ways
            raise TrainingError(f"{path} is damaged: remove {self.path} to begin again.") from error
        return loaded

    def save_checkpoint(self, checkpoint: Mapping[str, Any], losses: Sequence[float]) -> None:
        """Replace the checkpoint, and the table of losses.

        Raises
        ------
        TrainingError
            The disk is full or cannot be written; what was there stays.
        """
        import torch

        try:
            with atomic_path(self.path / CHECKPOINT_FILE) as unfinished:
                torch.save(dict(checkpoint), unfinished)
            rows = "".join(f"{step},{loss!r}\n" for step, loss in enumerate(losses, 1))
            self._write(LOSSES_FILE, f"step,loss\n{rows}")
        except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
            raise TrainingError(
                f"{self.path} cannot be written: {error}. Make room, and start again."
            ) from error

    def save_adapter(self, network: Any) -> None:
        """Write the adapter of a peft model in peft's own form."""
        with tempfile.TemporaryDirectory(prefix="urvc-") as folder:
            network.save_pretrained(folder)
            for name in ADAPTER_FILES:
                with atomic_path(self.path / name) as unfinished:
                    unfinished.write_bytes(Path(folder, name).read_bytes())

    def _write(self, name: str, text: str) -> None:
        with atomic_path(self.path / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
