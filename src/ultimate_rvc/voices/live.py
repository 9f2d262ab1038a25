"""A voice of the library opened for a live conversion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ultimate_rvc.choices import Device
from ultimate_rvc.rvc.infer.live_settings import LiveSettings
from ultimate_rvc.switches import OptimizationConfig, config_for
from ultimate_rvc.voices.finding import VoiceRef

if TYPE_CHECKING:  # the settings are read before torch is wanted
    from ultimate_rvc.rvc.infer.live import LiveConverter


def open_live(
    voice: VoiceRef,
    settings: LiveSettings,
    optimization: OptimizationConfig | None = None,
    *,
    input_rate: int,
    output_rate: int,
) -> LiveConverter:
    """Load a voice, its index and its networks, and wait until the first block will be as quick as the others.

    Parameters
    ----------
    optimization : OptimizationConfig, optional
        Left out, the one that environment, settings file and hardware ask for.
    input_rate, output_rate : int
        As :class:`~ultimate_rvc.rvc.infer.live.LiveConverter` takes them, in Hz.

    Raises
    ------
    UltimateRVCError
        The voice cannot be opened, or a setting does not fit it.
    """
    from ultimate_rvc.rvc.infer.live import LiveConverter
    from ultimate_rvc.rvc.infer.pipeline import Pipeline

    config = config_for(Device.AUTO, optimization)
    pipeline = Pipeline.open(
        voice.model_path,
        settings.conversion,
        index_path=voice.index_path,
        # Features of what is said once are never wanted again.
        optimization=replace(config, feature_cache=False),
    )
    converter = LiveConverter(pipeline, settings, input_rate=input_rate, output_rate=output_rate)
    converter.warm_up()
    return converter
