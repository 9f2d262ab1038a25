"""How jobs are run: how many at once, where, and how long models stay open."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.settings import check_range

SLOTS_VARIABLE = "URVC_JOB_SLOTS"
IDLE_VARIABLE = "URVC_IDLE_SECONDS"
MOST_SLOTS = 16
_DEVICE = re.compile(r"auto|mps|cpu|cuda(:[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """All are validated at construction; a value outside its range raises :class:`SettingError`."""

    slots: tuple[str, ...] = (Device.AUTO.value,)
    """One job at a time for each; its device is for the jobs that name none."""
    idle_seconds: float = 600.0
    """After so long without a job, 1 to 86400 s, the models' memory is released."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.slots) <= MOST_SLOTS:
            raise SettingError(
                f"{SLOTS_VARIABLE} asks for {len(self.slots)} jobs at once, not 1 to {MOST_SLOTS}."
            )
        for device in self.slots:
            if not _DEVICE.fullmatch(device):
                raise SettingError(
                    f"{SLOTS_VARIABLE} holds {device!r}, but must be a number of jobs at once or "
                    "devices such as 'cuda:0,cuda:1'."
                )
        check_range("idle_seconds", self.idle_seconds, 1, 86_400)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> QueueSettings:
        """As ``URVC_JOB_SLOTS`` (a number, or devices with commas) and ``URVC_IDLE_SECONDS`` say.

        Raises
        ------
        SettingError
            One of them is out of range.
        """
        slots, idle_seconds = cls.slots, cls.idle_seconds
        if text := environment.get(SLOTS_VARIABLE, "").replace(" ", "").lower():
            number = int(text) if re.fullmatch("[0-9]{1,4}", text) else None
            slots = (Device.AUTO.value,) * number if number is not None else tuple(text.split(","))
        if text := environment.get(IDLE_VARIABLE, "").strip():
            try:
                idle_seconds = float(text)
            except ValueError:
                raise SettingError(f"{IDLE_VARIABLE} is {text!r}, but must be a number of seconds.") from None
        return cls(slots=slots, idle_seconds=idle_seconds)
