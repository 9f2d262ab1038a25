"""What a figure was measured on: the machine, the versions, the state of the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from performance_log import Machine  # beside this file
from ultimate_rvc.choices import Device
from ultimate_rvc.doctor import Report

CHECKOUT = Path(__file__).resolve().parent.parent
GIT_SECONDS = 10


def platform_name() -> str:
    """macOS, Linux or what else the system calls itself."""
    system = platform.system()
    return "macOS" if system == "Darwin" else system


def machine_of(report: Report) -> Machine:
    """The machine that ``doctor`` looked at."""
    (cpu,) = [device for device in report.devices if device.name == Device.CPU]
    gpus = [device.description for device in report.devices if device is not cpu]
    return Machine(
        processor=cpu.description,
        cores=os.cpu_count() or 1,
        memory_gb=round((report.memory_total_bytes or 0) / 1e9),
        system=platform_name(),
        gpu=", ".join(gpus) or None,
    )


def commit() -> str | None:
    """Of the checkout, with ``-dirty`` when its files differ; None without git or a repository."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--abbrev=7", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
