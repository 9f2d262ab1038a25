"""Several chunks at once: who goes with whom, how many fit, and random numbers for each.

Nothing here knows of files: the chunks of a song and those of ten songs are items with a length. The networks
take padded batches and give each item what it has alone; see ``ContentEncoder.encode`` and
``Synthesizer.infer``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.device import release_cached_memory
from ultimate_rvc.rvc.networks.config import SynthesizerConfig

MAX_BATCH_SIZE = 64
# What a batch costs beside its frames (launches, rounding up to the sizes of kernels), in frames of 10 ms.
BATCH_COST_FRAMES = 200
# Left to the allocator's fragments, the workspace of convolutions and other programs.
USABLE_SHARE = 0.6

FLOAT_BYTES = 4
# Tensors as wide as the vocoder's widest layer that are alive at once when it is rendered whole. HiFi-GAN
# holds up to six (a stage's input, the sum of its blocks, a block's running value, what a convolution reads
# and writes, a sum being made), RefineGAN thirteen with its skips and branches; one more is for the workspace
# of convolutions.
LIVE_TENSORS = {Vocoder.HIFI_GAN: 7, Vocoder.MRF_HIFI_GAN: 7, Vocoder.REFINE_GAN: 14}
# HuBERT's first convolution, the same in all sizes: 512 channels at 32 positions per 10 ms, before and after
# the norm and after the activation.
ENCODER_BYTES_PER_FRAME = 3 * 512 * 32 * FLOAT_BYTES

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
UNMEASURED_SHARE = 0.5  # of the installed memory, where the system does not say what is available


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Group items of similar length.

    Of all groupings of neighbours in length this is the one with the fewest frames, padding included, when
    every batch costs ``BATCH_COST_FRAMES`` more. ``lengths`` are the frames (10 ms) of the items, and
    ``batch_size`` the most items in a group, at least 1. The groups are indices of ``lengths``, each in one of
    them; the longest group first, so that what does not fit into memory shows at once.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    cost, start_of = [0], [0]  # of the cheapest grouping of the first n items; where its last group starts
    for end in range(1, len(order) + 1):
        choices = [
            (cost[start] + (end - start) * lengths[order[start]] + BATCH_COST_FRAMES, start)
            for start in range(max(end - batch_size, 0), end)
        ]
        cheapest, start = min(choices)
        cost.append(cheapest)
        start_of.append(start)
    groups, end = [], len(order)
    while end:
        groups.append(order[start_of[end] : end])
        end = start_of[end]
    return groups[::-1]


def pad_batch(items: Sequence[Tensor], length: int | None = None) -> tuple[Tensor, tuple[int, ...]]:
    """Stack items of unequal length, with zeros behind the shorter ones.

    Parameters
    ----------
    items : sequence of Tensor (length, ...)
        Time first: waveforms, f0 curves, features ``(frames, dim)``; at least one, of any type.
    length : int, optional
        Length of the batch, at least that of the longest item, which it is when left out.

    Returns
    -------
    Tensor (batch, length, ...)
        On the items' device.
    tuple of int
        Length of each item, as ``ContentEncoder.encode`` and ``Synthesizer.infer`` want it.
    """
    lengths = tuple(len(item) for item in items)
    longest = max(lengths)
    if length is not None and length < longest:
        raise ValueError(f"length is {length}, but the longest item has {longest}")
    padded = pad_sequence(list(items), batch_first=True)
    if length is not None and length > longest:
        missing = padded.new_zeros(len(items), length - longest, *padded.shape[2:])
        padded = torch.cat([padded, missing], dim=1)
    return padded, lengths


def bytes_per_frame(config: SynthesizerConfig, vocoder: Vocoder) -> int:
    """Memory that a conversion needs per frame (10 ms) and item, weights aside, in float32.

    Encoder and vocoder run one after the other, and all else is small beside them: the wider one counts.
    """
    widest = max(
        config.stage_channels(stage) * config.hop_length // config.source_stride(stage)
        for stage in range(len(config.upsample_rates))
    )
    return max(widest * LIVE_TENSORS[vocoder] * FLOAT_BYTES, ENCODER_BYTES_PER_FRAME)


def automatic_batch_size(device: torch.device, frame_bytes: int, longest: int) -> int:
    """How many items of ``longest`` frames fit into what ``device`` has free now, from 1 to 64.

    ``frame_bytes`` is that of :func:`bytes_per_frame`.
    """
    fitting = int(free_memory(device) * USABLE_SHARE) // (frame_bytes * max(longest, 1))
    return min(max(fitting, 1), MAX_BATCH_SIZE)


def free_memory(device: torch.device) -> int:
    """Bytes that new tensors on ``device`` can take, blocks that torch keeps for reuse included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        release_cached_memory(device)  # the driver counts what is kept for reuse
        return min(_mps_limit() - torch.mps.driver_allocated_memory(), _available_host_memory())
    return _available_host_memory()


def _mps_limit() -> int:
    # Older torch does not know the limit of an Apple GPU; three quarters of the memory is Apple's own rule.
    recommended = getattr(torch.mps, "recommended_max_memory", None)
    return int(recommended()) if recommended else _installed_memory() * 3 // 4


def _available_host_memory() -> int:
    """What the system says programs can still take; on a Mac, which does not say it, half the memory."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        found = None
    available = int(found[1]) * 1024 if found else int(_installed_memory() * UNMEASURED_SHARE)
    return min(available, _container_memory() or available)


def _container_memory() -> int | None:
    """What is left of a container's limit (control groups, version 2); None where there is none."""
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return max(int(limit) - int(used), 1) if limit.isdecimal() else None


def _installed_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Draw(Protocol):
    def __call__(
        self, size: Sequence[int], /, *, generator: torch.Generator, device: torch.device
    ) -> Tensor: ...


@dataclass(frozen=True)
class ItemGenerators:
    """Random numbers of a padded batch: each item gets exactly those it draws alone, zeros behind its end.

    Each item has a generator of its own, all on one device; ``lengths`` are the items' frames, ``frames``
    those of the batch.
    """

    generators: Sequence[torch.Generator]
    lengths: Sequence[int]
    frames: int

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Standard normal numbers, float32 of ``shape``; see :meth:`uniform`."""
        return self._drawn(torch.randn, shape, time_dim)

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Uniform numbers in [0, 1), float32 of ``shape`` on the generators' device.

        ``shape`` starts with the batch; its ``time_dim`` is a multiple of the batch's frames, or None when
        there is no time in it.
        """
        return self._drawn(torch.rand, shape, time_dim)

    def _drawn(self, draw: _Draw, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        device = self.generators[0].device
        numbers = torch.zeros(shape, device=device)
        for item, (generator, length) in enumerate(zip(self.generators, self.lengths, strict=True)):
            own = numbers[item : item + 1]
            if time_dim is not None:
                own = own.narrow(time_dim, 0, shape[time_dim] // self.frames * length)
            own.copy_(draw(own.shape, generator=generator, device=device))
        return numbers
