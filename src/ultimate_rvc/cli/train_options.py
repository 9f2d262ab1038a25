"""Options of the ``train`` commands, made from the settings they fill: with their names and defaults."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from ultimate_rvc.cli.options import was_asked_for
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings

PREPROCESSING = "Preprocessing"
EXTRACTION = "Features"
TRAINING = "Training"

PANELS = {PreprocessSettings: PREPROCESSING, ExtractSettings: EXTRACTION, TrainingSettings: TRAINING}
HELP = {
    "sample_rate": "Of the voice: 32000, 40000 or 48000 Hz.",
    "normalization_mode": "Bring the level of each file (pre) or piece (post) nearer to the others', or not.",
    "filter_audio": "Take out what lies below 48 Hz.",
    "clean_audio": "Reduce steady noise.",
    "clean_strength": "Share of the noise to remove, 0 to 1.",
    "split_method": "Skip: files are pieces already; Simple: equal pieces; Automatic: at silences first.",
    "chunk_len": "Seconds of a piece, 0.5 to 5.",
    "overlap_len": "Seconds a piece shares with the next, 0 to 0.4.",
    "cpu_cores": "Cores to use; left out: all.",
    "f0_method": "How pitch is found; auto: rmvpe when its file is here, else fcpe.",
    "embedder_model": "Content encoder; a voice works with the one it was trained with.",
    "custom_embedder_model": "Folder, or name below models/embedders, for --embedder-model custom.",
    "version": "v2 features are 768 wide, v1 256.",
    "has_f0": "Train a voice that follows pitch, as singing needs.",
    "include_mutes": "Silent pieces per speaker, 0 to 10.",
    "perturbed_copies": "Versions of each piece by made-up speakers to learn words from as well, 0 to 8.",
    "versions": "Folder of folders: the same recordings, in time, by other speakers, to learn words from.",
    "device": "auto, cpu, mps, cuda or cuda:N.",
    "num_epochs": "Times to go through the dataset.",
    "max_steps": "Stop after so many steps.",
    "batch_size": "Pieces per step and process.",
    "learning_rate": "Of the first epoch.",
    "learning_rate_decay": "Its factor after each epoch.",
    "seed": "Of first weights, order and noise.",
    "vocoder": "The last part of the network.",
    "network_size": "auto: that of the pretrained generator, else full; small is for processors.",
    "pretrained_generator": "f0G file, or any voice's .pth or .safetensors, to start from.",
    "pretrained_discriminator": "f0D file to start from.",
    "discriminator_width": "Channels of the discriminators as a share of RVC's.",
    "warm_up_steps": "First steps without discriminators.",
    "learn_from": "posterior, as RVC does, or prior: intelligible after far fewer steps, with less variety.",
    "average_weights": "Save the moving average of the weights.",
    "average_decay": "Of the moving average, per step.",
    "detect_overtraining": "Stop when the losses no longer fall.",
    "overtraining_threshold": "Epochs without a better generator that end it.",
    "save_interval": "Epochs between checkpoints.",
    "save_steps": "Also save every so many steps.",
    "save_seconds": "Also save every so many seconds.",
    "save_all_checkpoints": "Keep every checkpoint.",
    "save_all_weights": "Keep the voice of every saved epoch.",
    "clear_saved_data": "Forget an earlier training of this voice.",
    "log_steps": "Steps between entries in TensorBoard.",
    "precision": "fp32, fp16 (GPU only) or bf16.",
    "preload_dataset": "Hold the dataset in memory.",
    "reduce_memory_usage": "Slower, for small memories.",
    "max_gradient_norm": "Longer gradients are shortened to this.",
    "index_algorithm": "How the index is made.",
}

Settings = PreprocessSettings | ExtractSettings | TrainingSettings


def takes_settings(*kinds: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of ``kinds``.

    The command's first parameters receive one object of each kind. Fields of one name in several kinds
    (``device``, ``cpu_cores``) are one option. What the command line does not say, the settings file may.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        given = list(inspect.signature(command, eval_str=True).parameters.values())[len(kinds) :]
        taken = {parameter.name for parameter in given}
        options: dict[str, inspect.Parameter] = {}
        for kind in kinds:
            hints = get_type_hints(kind)
            for field in fields(kind):
                if field.name not in taken:
                    options.setdefault(field.name, _option(field, hints[field.name], PANELS[kind]))

        @functools.wraps(command)
        def with_settings(context: typer.Context, **values: Any) -> None:
            from ultimate_rvc.cli.settings_file import training_settings

            chosen = []
            for kind in kinds:
                filed = training_settings(kind).items()
                known = values | {name: value for name, value in filed if not was_asked_for(context, name)}
                chosen.append(
                    kind(**{field.name: known[field.name] for field in fields(kind) if field.name in options})
                )
                values |= {name: known[name] for name in taken & known.keys()}
            command(*chosen, **{name: value for name, value in values.items() if name in taken})

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in given]
        with_settings.__signature__ = inspect.Signature([context, *own, *options.values()])  # type: ignore[attr-defined]
        return with_settings

    return decorate


def _option(field: Field[Any], hint: Any, panel: str) -> inspect.Parameter:
    flag = "--" + field.name.replace("_", "-")
    if hint is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[
            _plain_type(hint), typer.Option(flag, help=HELP[field.name], rich_help_panel=panel)
        ],
    )


def _plain_type(hint: Any) -> Any:
    """``hint`` as Typer takes it: of several types, the one that is not None."""
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        return inner | None
    return hint


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
ModelName = Annotated[str, typer.Argument(help="Name of the voice.")]
AudioFiles = Annotated[list[Path], typer.Argument(help="Audio files, and folders of them.")]
