"""Whether a training can continue with the settings that it is given now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.errors import TrainingError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.train.checkpoints import load_state
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.networks import config_of, discriminator_width
from ultimate_rvc.rvc.train.settings import NetworkChoice, TrainingSettings
from ultimate_rvc.rvc.train.sizes import size_here
from ultimate_rvc.rvc.train.tables import DataDescription

NETWORKS = "networks"  # in the state of a checkpoint; those of earlier versions lack it
WIDTH = "phone_dim"


def deciding_settings(
    description: DataDescription, settings: TrainingSettings, config: SynthesizerConfig
) -> dict[str, Any]:
    """What decides the sizes of the networks, by the names of the settings; None: not known by its name."""
    size = size_here(settings)
    return {
        "sample_rate": description.sample_rate,
        "version": str(description.version),
        "has_f0": description.has_f0,
        "embedder_model": str(description.embedder),
        WIDTH: description.phone_dim,
        "vocoder": str(settings.vocoder),
        "network_size": None if size is NetworkChoice.AUTO else str(size),
        "discriminator_width": discriminator_width(config, settings),
        "speakers": len(description.speakers),
    }


def refuse_other_networks(name: str, then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raise TrainingError, with the settings that differ, where the training ``name`` has other networks."""
    differing = _differing(then, now) if then is not None else []
    if then is None or not differing:
        return
    listed = " and ".join(f"{setting} {then[setting]}, not {now[setting]}" for setting in differing)
    raise TrainingError(
        f"The training of {name!r} was begun with {listed}: use the same again, train under another name, or "
        "set clear_saved_data to forget that training."
    )


def refuse_other_networks_early(
    folder: TrainingFolder, expected: DataDescription, settings: TrainingSettings
) -> None:
    """The same before the data are prepared, which replaces those of the training that is there."""
    state = None if settings.clear_saved_data else load_state(folder.checkpoints)
    if state is None:
        return
    now = deciding_settings(expected, settings, config_of(expected, settings))
    if expected.embedder == EmbedderModel.CUSTOM:  # its width is known when it is loaded
        now[WIDTH] = None
    refuse_other_networks(folder.name, state.get(NETWORKS), now)


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [
        name
        for name in now
        if None not in (then.get(name), now[name]) and then[name] != now[name] and name != WIDTH
    ]
    # Encoders of one width have the same networks, and each version has widths of its own.
    if "version" in names or None in (then.get(WIDTH), now[WIDTH]) or then[WIDTH] == now[WIDTH]:
        names = [name for name in names if name != "embedder_model"]
    if len(names) > 1:  # left out, the discriminators' width follows from the others
        names = [name for name in names if name != "discriminator_width"]
    return names
