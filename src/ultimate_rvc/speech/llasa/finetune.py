"""Training of an adapter (LoRA, https://arxiv.org/abs/2106.09685) for LLASA, with an exact continuation.

Everything random depends on the seed and the step alone, so a run that was stopped has the same losses afterwards
as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory, out_of_memory_error
from ultimate_rvc.errors import CancelledError, SettingError, TrainingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.accelerators import open_accelerator
from ultimate_rvc.rvc.train.stopping import stop_wishes
from ultimate_rvc.speech.llasa.adapter_folder import AdapterFolder
from ultimate_rvc.speech.llasa.examples import NO_TARGET, Batch, Example, batch_of, order_of, read_examples
from ultimate_rvc.speech.llasa.folders import find_reader, llasa_dir
from ultimate_rvc.speech.llasa.loading import FORMATS, check_peft, load_language_model
from ultimate_rvc.speech.llasa.tool_settings import FinetuneSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

ADAPTED_LAYERS = ["q_proj", "v_proj"]
LONGEST_GRADIENT = 1.0  # longer ones are shortened to it
STEP = "finetune"
# What may change from run to run of one training: how long and how it is computed, not what it learns.
NOT_DECIDING = ("num_epochs", "max_steps", "save_steps", "device", "reduce_memory_usage", "base_model")


@dataclass(frozen=True)
class FinetuneResult:
    """How a training ended: the adapter's folder, the losses of its steps, the lines learnt from, those too long."""

    path: Path
    losses: tuple[float, ...]
    lines: int
    left_out: int
    was_stopped: bool


def finetune(data: Path, name: str, settings: FinetuneSettings, progress: Progress) -> FinetuneResult:
    """Train the adapter ``name`` on a dataset, from where an earlier run ended.

    Ctrl-C, or cancelling ``progress``, saves and ends.

    Raises
    ------
    SpeechError
        Dataset or model cannot be used, peft is not here, or the folder holds another training.
    TrainingError
        The loss is no number any more, or the disk is full.
    OutOfMemoryError
        The device has too little memory.
    """
    check_peft()
    reader = find_reader(settings.base_model)
    if reader.adapter is not None:
        raise SettingError("base_model must be a model, not an adapter.", "base_model")
    folder = AdapterFolder(llasa_dir() / name)
    with open_accelerator(settings.device, settings.precision) as accelerator:
        if accelerator.num_processes > 1:
            raise SettingError("An adapter is trained in one process: start it without accelerate launch.")
        base = load_language_model(reader, accelerator.device, FORMATS[settings.precision])
        examples, left_out = read_examples(data, base.tokenizer, base.vocabulary, settings.max_tokens)
        deciding = {key: value for key, value in asdict(settings).items() if key not in NOT_DECIDING}
        folder.begin({"model": str(reader.model), "data": file_hash(data), **deciding})
        learner = Learner(accelerator, base.network, settings)
        learner.restore(folder.load_checkpoint())
        was_stopped = _train(learner, examples, folder, settings, progress)
        folder.save_adapter(learner.network)
    return FinetuneResult(folder.path, tuple(learner.losses), len(examples), left_out, was_stopped)


def _train(
    learner: Learner,
    examples: list[Example],
    folder: AdapterFolder,
    settings: FinetuneSettings,
    progress: Progress,
) -> bool:
    """Steps up to the end, with checkpoints; whether somebody wished to stop before."""
    per_epoch = math.ceil(len(examples) / (settings.batch_size * settings.accumulation))
    steps = min(settings.num_epochs * per_epoch, settings.max_steps or settings.num_epochs * per_epoch)
    saved = learner.step
    with stop_wishes(progress) as wish:
        while learner.step < steps and not wish.is_there:
            epoch, place = divmod(learner.step, per_epoch)
            loss = learner.learn(_portions(examples, epoch, place, settings))
            with _not_cancelled():
                progress.report(
                    STEP, learner.step / steps, f"step {learner.step} of {steps}, loss {loss:.3f}"
                )
            if learner.step % settings.save_steps == 0:
                folder.save_checkpoint(learner.checkpoint(), learner.losses)
                saved = learner.step
        if learner.step != saved:
            folder.save_checkpoint(learner.checkpoint(), learner.losses)
        return learner.step < steps


def _portions(examples: list[Example], epoch: int, place: int, settings: FinetuneSettings) -> list[Batch]:
    """The batches of one step."""
    order = order_of(len(examples), epoch, settings.seed)
    size = settings.batch_size * settings.accumulation
    chosen = [examples[number] for number in order[place * size : (place + 1) * size]]
    starts = range(0, len(chosen), settings.batch_size)
    return [batch_of(chosen[start : start + settings.batch_size]) for start in starts]


class Learner:
    """The adapted network with its optimiser; after ``step`` steps, whose losses are ``losses``."""

    def __init__(self, accelerator: Accelerator, base: Any, settings: FinetuneSettings) -> None:
        from peft import LoraConfig, get_peft_model

        self._accelerator, self._settings = accelerator, settings
        config = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=ADAPTED_LAYERS,
            task_type="CAUSAL_LM",
        )  # fmt: skip
        with _seeded(settings.seed, 0, accelerator.device):
            self.network: Any = get_peft_model(base, config)
        if settings.reduce_memory_usage:
            self.network.enable_input_require_grads()
            # Under its new name where it has one: transformers 6 drops the old one.
            name = "activation_checkpointing_enable"
            getattr(base, name if hasattr(base, name) else "gradient_checkpointing_enable")()
        self.network.train()
        self._weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        self._optimizer: Any = accelerator.prepare(torch.optim.AdamW(self._weights, weight_decay=0.0))
        self.step = 0
        self.losses: list[float] = []

    def learn(self, batches: list[Batch]) -> float:
        """One step over ``batches``; the mean loss of what follows each token of speech.

        Raises
        ------
        TrainingError
            The loss is no number.
        OutOfMemoryError
            The device has too little memory.
        """
        count = sum(int((batch.targets != NO_TARGET).sum()) for batch in batches)
        self._set_learning_rate()
        total = torch.zeros((), device=self._accelerator.device)
        try:
            with _seeded(self._settings.seed, self.step + 1, self._accelerator.device):
                for batch in batches:
                    with self._accelerator.autocast():
                        loss = self._loss(batch) / count
                    self._accelerator.backward(loss)
                    total += loss.detach()
            self._accelerator.clip_grad_norm_(self._weights, LONGEST_GRADIENT)
            self._optimizer.step()
            self._optimizer.zero_grad()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise out_of_memory_error(self._accelerator.device) from error
            raise
        mean = float(total)
        if not math.isfinite(mean):
            raise TrainingError(
                f"The loss of step {self.step + 1} is no number any more: begin again with a lower learning rate."
            )
        self.step += 1
        self.losses.append(mean)
        return mean

    def checkpoint(self) -> dict[str, Any]:
        """All that a later run continues from, as plain values and tensors."""
        scaler = self._accelerator.scaler
        return {
            "step": self.step,
            "losses": self.losses,
            "weights": [weight.detach().cpu() for weight in self._weights],
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def restore(self, checkpoint: dict[str, Any] | None) -> None:
        """Continue from what :meth:`checkpoint` gave; None is the beginning."""
        if checkpoint is None:
            return
        with torch.no_grad():
            for weight, saved in zip(self._weights, checkpoint["weights"], strict=True):
                weight.copy_(saved)
        self._optimizer.load_state_dict(checkpoint["optimizer"])
        if self._accelerator.scaler is not None and checkpoint["scaler"] is not None:
            self._accelerator.scaler.load_state_dict(checkpoint["scaler"])
        self.step, self.losses = checkpoint["step"], list(checkpoint["losses"])

    def _loss(self, batch: Batch) -> Tensor:
        """The summed cross entropy.

        Scores are computed where something is learnt only: a row of them has 193,800 numbers in published models.
        """
        device = self._accelerator.device
        targets = batch.targets.to(device)
        base = self.network.get_base_model()
        hidden = base.model(
            input_ids=batch.tokens.to(device), attention_mask=batch.is_token.to(device), use_cache=False
        ).last_hidden_state
        is_learnt = targets != NO_TARGET
        scores = base.lm_head(hidden[is_learnt])
        return torch.nn.functional.cross_entropy(scores.float(), targets[is_learnt], reduction="sum")

    def _set_learning_rate(self) -> None:
        share = min(1.0, (self.step + 1) / (self._settings.warm_up_steps + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * share


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Random numbers that depend on seed and step alone; those of the caller go on afterwards as before."""
    # Apple's generator cannot be put aside for a while; its numbers are drawn by nobody else here.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + 1_000_003 * step)
        yield


@contextmanager
def _not_cancelled() -> Iterator[None]:
    """A cancelled progress is a wish to stop, which the loop sees before its next step."""
    try:
        yield
    except CancelledError:
        return
