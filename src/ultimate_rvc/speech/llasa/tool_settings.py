"""How a dataset for LLASA is made, and how an adapter is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.choices import Device
from ultimate_rvc.rvc.train.settings import MAX_BATCH_SIZE, MAX_EPOCHS, MAX_SEED, MAX_STEPS, Precision
from ultimate_rvc.settings import check, setting


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """How recordings become codes; a value outside its range raises :class:`SettingError`."""

    codec: str | None = setting(
        None, "Folder of XCodec2; left out: the one below models/speech/llasa.", path=True
    )
    batch_size: int = setting(8, "Recordings encoded at once; more takes more memory.", 1, MAX_BATCH_SIZE)
    precision: Precision = setting(
        Precision.FP32, "fp32, fp16 or bf16; the latter two are faster on GPUs, and some codes differ."
    )
    device: str = setting(Device.AUTO.value, "Where to compute: auto, cpu, mps, cuda or cuda:N.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How an adapter is trained; a value outside its range raises :class:`SettingError`.

    Rank, alpha and the layers that are adapted (q_proj and v_proj) are those of the published fine-tuning of LLASA.
    """

    base_model: str | None = setting(
        None, "Model to adapt: a name or a folder; left out: the first.", path=True
    )
    num_epochs: int = setting(3, "Times to go through the dataset.", 1, MAX_EPOCHS)
    max_steps: int | None = setting(None, "Stop after so many steps.", 1, MAX_STEPS)
    batch_size: int = setting(1, "Lines computed at once; more takes more memory.", 1, MAX_BATCH_SIZE)
    accumulation: int = setting(
        8, "Batches whose gradients make one step: more of them for small memories.", 1, MAX_BATCH_SIZE
    )
    learning_rate: float = setting(2e-4, "Learning rate after the warm-up.", 1e-9, 1)
    warm_up_steps: int = setting(10, "First steps, over which the learning rate rises.", 0, MAX_STEPS)
    rank: int = setting(8, "Rank of the adapter (LoRA's r).", 1, 512)
    alpha: int = setting(32, "Weight of the adapter (LoRA's alpha).", 1, 4096)
    dropout: float = setting(0.0, "Share of the adapter's input that is left out at random.", 0, 0.9)
    max_tokens: int = setting(2048, "Context: lines of the dataset that are longer are left out.", 128, 8192)
    save_steps: int = setting(50, "Steps between checkpoints, from which a run continues.", 1, MAX_STEPS)
    seed: int = setting(0, "Of the first weights, the order and the dropout.", 0, MAX_SEED)
    precision: Precision = setting(
        Precision.FP32, "fp32, fp16 (GPU only) or bf16; the latter two halve the memory of the model."
    )
    reduce_memory_usage: bool = setting(
        False, "Compute activations twice instead of keeping them: slower, for small memories."
    )
    device: str = setting(Device.AUTO.value, "Where to compute: auto, cpu, mps, cuda or cuda:N.")

    def __post_init__(self) -> None:
        check(self)
