"""From a model's name to the files that run it, or to signal processing."""

from __future__ import annotations

import importlib.util
import logging
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.assets import registry
from ultimate_rvc.assets.download import Patience
from ultimate_rvc.errors import AssetMissingError, DownloadError, SeparationError, SettingError
from ultimate_rvc.paths import models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.models import (
    AUTO_MODEL,
    DEFAULT_MODELS,
    DSP_MODEL,
    MDX_NET,
    SEPARATION_MODELS,
    SeparationModel,
    SeparationTask,
    model_names,
)

log = logging.getLogger(__name__)

CONFIGS_DIR = Path(__file__).parent / "configs"
ONNX_SUFFIX = ".onnx"
CHECKPOINT_SUFFIXES = (".ckpt", ".chpt", ".pth", ".pt", ".th", ONNX_SUFFIX)
CATALOG_HOSTS = {"huggingface": "https://huggingface.co", "modelscope": "https://www.modelscope.cn"}
CONNECT_SECONDS = 5.0  # without a network the answer must come quickly
TRANSFER_SECONDS = 30
SUBJECT = "The separation model"


@dataclass(frozen=True)
class ModelFiles:
    """What is needed to run a model; ``architecture`` ``auto`` reads it off the configuration."""

    name: str
    architecture: str
    checkpoint: Path
    config: Path | None
    target: str | None = None


@dataclass(frozen=True)
class Choice:
    """The model to use: its name, its files (None for signal processing), and what to tell the user."""

    name: str
    files: ModelFiles | None
    warnings: tuple[str, ...] = ()


def choose(name: str, task: SeparationTask, progress: Progress, usual: str | None = None) -> Choice:
    """Find the model ``name`` for ``task``, downloading it if need be.

    ``auto`` is the model ``usual``, left out: the best one of the task. Only ``auto`` falls back to signal
    processing; a model asked for by name is used or is an error.

    Raises
    ------
    SeparationError
        Unknown name, a model of another task, or no neural models on this machine.
    AssetMissingError, DownloadError
        The file is absent and could not be fetched.
    """
    if name == DSP_MODEL:
        return Choice(DSP_MODEL, None)
    if name != AUTO_MODEL:
        return Choice(name, find_files(name, task, progress))
    default = usual or DEFAULT_MODELS[task]
    try:
        return Choice(default, find_files(default, task, progress))
    except (SeparationError, AssetMissingError, DownloadError) as error:
        return Choice(DSP_MODEL, None, (_fallback_warning(task, default, error),))


def check_name(name: str, task: SeparationTask, field: str) -> None:
    """Refuse a model that :func:`choose` would not find, before any work; ``field`` is the setting that names it.

    Raises
    ------
    SettingError
        It is for another task, or neither known nor a file.
    """
    if name in (AUTO_MODEL, DSP_MODEL):
        return
    model = SEPARATION_MODELS.get(name)
    if model is not None and task not in model.tasks:
        raise SettingError(_wrong_task(field, model, task), field)
    if model is None and _own_files(name) is None:
        has_catalog = importlib.util.find_spec("pymss") is not None
        entry = _catalog_entry(name) if has_catalog else None
        if entry is None or not entry.supported:
            raise SettingError(_unknown(field, name, task), field)


def _wrong_task(subject: str, model: SeparationModel, task: SeparationTask) -> str:
    return (
        f"{subject} '{model.name}' is for {' and '.join(model.tasks)}, not for {task}: "
        f"choose one of {', '.join(model_names(task))}."
    )


def _unknown(subject: str, name: str, task: SeparationTask) -> str:
    return (
        f"{subject} '{name}' is neither known nor a file: choose one of {', '.join(model_names(task))}, a name of "
        f"pymss's catalog, or a checkpoint in {separation_dir()} with its YAML beside it."
    )


def is_here(name: str) -> bool:
    """Whether a model can be used without a download."""
    model = SEPARATION_MODELS.get(name)
    if name == DSP_MODEL:
        return True
    if model is not None and model.asset is not None:
        return (separation_dir() / model.file_name).is_file() or registry.locate(model.asset) is not None
    file_name = model.file_name if model is not None else name
    if any(path.is_file() for candidate in (name, file_name) for path in _own_candidates(candidate)):
        return True
    entry = _catalog_entry(file_name) if importlib.util.find_spec("pymss") is not None else None
    return entry is not None and _catalog_paths(entry)[0].is_file()


def missing_bytes(names: Iterable[str]) -> int:
    """Bytes of the models of the table that are not here."""
    models = (SEPARATION_MODELS[name] for name in names if name in SEPARATION_MODELS)
    return sum(model.bytes for model in models if not is_here(model.name))


def separation_dir() -> Path:
    """Where separation models lie: ``separation`` below the models folder."""
    return models_dir() / "separation"


def find_files(name: str, task: SeparationTask, progress: Progress) -> ModelFiles:
    """Files of a neural model, from the table, pymss's catalog, or the user's own."""
    model = SEPARATION_MODELS.get(name)
    if model is not None and task not in model.tasks:
        raise SeparationError(_wrong_task(SUBJECT, model, task))
    if model is not None and model.asset is not None:
        if model.architecture != MDX_NET:
            _require_pymss(name)
        return _files_of_asset(model, progress)
    if (own := _own_files(name)) is not None:
        return own
    _require_pymss(name)
    return _files_of_catalog(name, model.file_name if model else name, task, progress)


def _require_pymss(name: str) -> None:
    if importlib.util.find_spec("pymss") is None:
        raise SeparationError(
            f"The separation model '{name}' needs the package pymss, which is not installed here "
            "(it does not exist for Intel Macs): use the model 'dsp'."
        )


def _fallback_warning(task: SeparationTask, default: str, error: Exception) -> str:
    work = {
        SeparationTask.VOCALS: "Vocals are separated",
        SeparationTask.LEAD: "Lead and backing vocals are split",
        SeparationTask.REVERB: "Reverb is removed",
    }[task]
    return (
        f"{work} by signal processing ('dsp'), which is rougher than a network, "
        f"because the model '{default}' is not available: {error}"
    )


# --- the table's own checkpoints ----------------------------------------------------------------


def _files_of_asset(model: SeparationModel, progress: Progress) -> ModelFiles:
    assert model.asset is not None
    checkpoint = separation_dir() / model.file_name
    if not checkpoint.is_file():
        located = registry.locate(model.asset) or _fetch_asset(model.asset, progress)
        checkpoint = located / model.file_name if located.is_dir() else located
    config = _config_beside(checkpoint)
    if config is None and model.config_name:
        config = CONFIGS_DIR / model.config_name
    return ModelFiles(model.name, model.architecture, checkpoint, config)


def _fetch_asset(name: str, progress: Progress) -> Path:
    if registry.is_offline():
        return registry.require(name, progress)  # raises, with the way out
    return registry.download(name, progress, patience=Patience(connect_seconds=CONNECT_SECONDS))


def _config_beside(checkpoint: Path) -> Path | None:
    beside = (checkpoint.with_name(checkpoint.name + ".yaml"), checkpoint.with_suffix(".yaml"))
    return next((path for path in beside if path.is_file()), None)


# --- the user's own checkpoints -----------------------------------------------------------------


def _own_files(name: str) -> ModelFiles | None:
    """A checkpoint by path or by name in the separation folder; its YAML lies beside it, where it needs one."""
    for checkpoint in _own_candidates(name):
        if not checkpoint.is_file():
            continue
        config = _config_beside(checkpoint)
        if checkpoint.suffix == ONNX_SUFFIX:
            return ModelFiles(name, MDX_NET, checkpoint, config)
        _require_pymss(name)
        if config is not None:
            return ModelFiles(name, "auto", checkpoint, config)
        if checkpoint.suffix in CHECKPOINT_SUFFIXES and _catalog_entry(checkpoint.name) is None:
            raise SeparationError(
                f"The separation model {checkpoint} has no configuration: put its YAML beside it as "
                f"{checkpoint.with_suffix('.yaml').name}."
            )
    return None


def _own_candidates(name: str) -> Iterable[Path]:
    path = Path(name).expanduser()
    if path.suffix in CHECKPOINT_SUFFIXES:
        yield path
        yield separation_dir() / path.name
    if path.name == name:
        for suffix in CHECKPOINT_SUFFIXES:
            yield separation_dir() / f"{name}{suffix}"


# --- pymss's catalog ----------------------------------------------------------------------------


def _catalog_entry(name: str) -> Any | None:
    from pymss.model_registry import load_model_catalog

    wanted = name.lower()
    for entry in load_model_catalog()["models"]:
        if wanted in {entry.name.lower(), entry.stem.lower(), *(alias.lower() for alias in entry.aliases)}:
            return entry
    return None


def _files_of_catalog(name: str, catalog_name: str, task: SeparationTask, progress: Progress) -> ModelFiles:
    entry = _catalog_entry(catalog_name)
    if entry is None or not entry.supported:
        raise SeparationError(_unknown(SUBJECT, name, task))
    checkpoint, config, others = _catalog_paths(entry)
    if not all(path.is_file() for path in (checkpoint, *([config] if config else []), *others)):
        _download_from_catalog(name, entry, progress)
    return ModelFiles(
        name, entry.model_type, checkpoint, config, target=entry.target_instrument_override or None
    )


def _catalog_paths(entry: Any) -> tuple[Path, Path | None, list[Path]]:
    """Checkpoint, configuration, further files: as a user may have put them, else where pymss puts them."""
    folder = separation_dir()
    flat = folder / entry.name
    if flat.is_file() and (entry.model_type == "vr" or _config_beside(flat)):
        return flat, _config_beside(flat), []
    # VR models carry their settings inside pymss; the YAML of the catalog is not read.
    config = folder / entry.config_relpath if entry.config_relpath and entry.model_type != "vr" else None
    return folder / entry.relpath, config, [folder / path for path in entry.auxiliary_relpaths]


def _download_from_catalog(name: str, entry: Any, progress: Progress) -> None:
    folder = separation_dir()
    way_out = f"put {entry.name} and its YAML into {folder}, or use the model 'dsp'"
    if registry.is_offline():
        raise AssetMissingError(
            f"The separation model '{name}' is not present and {registry.OFFLINE_VARIABLE} forbids "
            f"downloading: {way_out}."
        )
    source = _reachable_source()
    if source is None:
        raise DownloadError(
            f"The separation model '{name}' is not present and there is no network: {way_out}."
        )
    from pymss.model_download import DownloadError as PymssDownloadError
    from pymss.model_download import download_model

    def report(done: int, total: int, message: str) -> None:
        progress.report(f"download {name}", done / max(total, 1), message)

    log.info(
        "Downloading the separation model %s (%d MB) from %s", name, entry.size_bytes // 1_000_000, source
    )
    try:
        download_model(
            entry.name, model_dir=folder, source=source, verify=source == "modelscope",
            timeout=TRANSFER_SECONDS, progress_callback=report,
        )  # fmt: skip
    except (PymssDownloadError, OSError) as error:
        raise DownloadError(
            f"The separation model '{name}' could not be downloaded ({error}): {way_out}."
        ) from error


def _reachable_source() -> str | None:
    """The first host of the catalog that answers at all, within a few seconds each."""
    for source, url in CATALOG_HOSTS.items():
        try:
            urllib.request.urlopen(
                urllib.request.Request(url, method="HEAD"), timeout=CONNECT_SECONDS
            ).close()
        except urllib.error.HTTPError:
            return source  # it answered
        except OSError:
            continue
        return source
    return None
