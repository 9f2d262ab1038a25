"""Pitch: f0 curves from singing and speech, by methods that users choose by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ultimate_rvc.choices import F0Method
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.pitch.chunked import extract_f0
from ultimate_rvc.rvc.pitch.method import PitchMethod

__all__ = ["PitchMethod", "extract_f0", "load_pitch_methods", "resolve_auto"]


def load_pitch_methods(names: Sequence[F0Method], device: torch.device | str) -> PitchMethod:
    """The pitch method of one or several names.

    Parameters
    ----------
    names
        At least one; naming one twice changes nothing. ``auto`` stands for :func:`resolve_auto`. With
        several, the median is taken over those that call a frame voiced, if at least half of them do.
    device
        Where networks run; harvest and dio run on the CPU whatever it is.

    Raises
    ------
    SettingError
        No name was given.
    AssetMissingError
        The weights of rmvpe are absent and could not be fetched.
    """
    if not names:
        raise SettingError(f"The pitch method (f0_method) needs at least one of {', '.join(F0Method)}.")
    chosen = dict.fromkeys(resolve_auto() if name is F0Method.AUTO else F0Method(name) for name in names)
    methods = [_load(name, device) for name in chosen]
    if len(methods) == 1:
        return methods[0]
    from ultimate_rvc.rvc.pitch.hybrid import MedianPitch

    return MedianPitch(methods)


def resolve_auto() -> F0Method:
    """What ``auto`` means on this machine: rmvpe when its file is present, else fcpe."""
    from ultimate_rvc.rvc.pitch.rmvpe import rmvpe_file

    return F0Method.RMVPE if rmvpe_file() else F0Method.FCPE


def _load(name: F0Method, device: torch.device | str) -> PitchMethod:
    # Each imports its libraries only when it is chosen: together they take seconds.
    if name is F0Method.RMVPE:
        from ultimate_rvc.rvc.pitch.rmvpe import load_rmvpe

        return load_rmvpe(device)
    if name is F0Method.FCPE:
        from ultimate_rvc.rvc.pitch.fcpe import load_fcpe

        return load_fcpe(device)
    if name in (F0Method.CREPE, F0Method.CREPE_TINY):
        from ultimate_rvc.rvc.pitch.crepe import Crepe

        return Crepe("full" if name is F0Method.CREPE else "tiny", device)
    from ultimate_rvc.rvc.pitch.world import Dio, Harvest

    return Harvest() if name is F0Method.HARVEST else Dio()
