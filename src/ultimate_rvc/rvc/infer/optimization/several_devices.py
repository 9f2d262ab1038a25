"""Several devices for one job: each has networks of its own, and takes the next batch when it is free.

Threads of one process: the time goes into torch's kernels, which do not hold Python back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import torch

Worker = TypeVar("Worker")
Batch = TypeVar("Batch")
Result = TypeVar("Result")


def threads_each(devices: Sequence[torch.device]) -> int:
    """torch's threads for each of ``devices``: processors that are several share them."""
    processors = sum(device.type == "cpu" for device in devices)
    return max(torch.get_num_threads() // max(processors, 1), 1)


def in_parallel(
    workers: Sequence[Worker],
    batches: Sequence[Batch],
    compute: Callable[[Worker, Batch], Result],
    *,
    threads: int,
) -> Iterator[Result]:
    """What ``compute`` makes of each batch, in their order, whichever worker did it.

    A worker does one batch at a time, in a thread with so many ``threads`` of torch. What is raised in one is
    raised here; batches that nobody has begun by then are dropped, as when the iterator is closed.
    """
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def work(batch: Batch) -> Result:
        worker = free.get()
        try:
            return compute(worker, batch)
        finally:
            free.put(worker)

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(len(workers), "device", initializer=partial(torch.set_num_threads, threads))
    try:
        waiting = deque(pool.submit(work, batch) for batch in batches)
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the pool's threads have set what new ones begin with
