"""Handing work to the machines of a cluster: a bounded number of tasks in flight, answers as they come."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ultimate_rvc.errors import ClusterError, UltimateRVCError, first_line
from ultimate_rvc.progress import Progress
from ultimate_rvc.settings import check, setting

Item = TypeVar("Item")

RETRIES = 3  # of work whose worker or machine died; Ray's own default, which fewer or more made no better
IN_FLIGHT_PER_WORKER = 2  # one that is worked on and one that waits, so that no worker does
LEAST_IN_FLIGHT = 8  # also on a small cluster: tasks that wait are what an autoscaler adds machines for
WAIT_SECONDS = 0.5  # how often a wish to cancel is looked for
SIZE_SECONDS = 5.0  # how often the size of the cluster is looked at


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where the cluster is, and what of its machines one file gets."""

    address: str | None = setting(
        None,
        "The cluster: host:6379 on one of its machines, ray://host:10001 from outside; left out: RAY_ADDRESS, "
        "else this machine alone.",
    )
    cpus: float = setting(1.0, "Processor cores for one file, which is also its number of threads.", 0.1, 256)
    gpus: float = setting(0.0, "GPUs for one file; 0.5 lets two files share one.", 0, 16)

    def __post_init__(self) -> None:
        check(self)


class TaskRunner:
    """Runs functions of the package as tasks of the cluster that ``ray`` is connected to."""

    def __init__(self, ray: Any, settings: ClusterSettings) -> None:
        self._ray, self._settings = ray, settings
        self._room, self._looked_at = LEAST_IN_FLIGHT, float("-inf")

    def say_if_none_fits(self, progress: Progress) -> None:
        """Tell that work will wait, if no machine is large enough for it now."""
        cpus, gpus = self._settings.cpus, self._settings.gpus
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in machines):
            progress.say(
                f"No machine of the cluster has {cpus:g} cores and {gpus:g} GPUs now; the work waits until one "
                "comes. Ctrl-C ends it."
            )

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function gives that runs once, on any machine.

        Raises
        ------
        ClusterError
            It failed, or no worker could finish it.
        """
        answer = self._answer(self._remote(function).remote(*arguments))
        if isinstance(answer, Exception):
            raise ClusterError(f"No worker of the cluster could begin: {first_line(answer)}") from answer
        return answer

    def run_all(
        self,
        function: Callable[..., Any],
        items: Sequence[Item],
        arguments: Callable[[Item], tuple[Any, ...]],
        progress: Progress,
    ) -> Iterator[tuple[Item, Any]]:
        """Each item with what the function gave for it, in the order in which they are done.

        In place of an answer stands an exception of Ray where the worker of an item died as often as it was retried.

        Raises
        ------
        ClusterError
            The function failed, or the cluster is gone.
        """
        remote, waiting = self._remote(function), iter(items)
        running: dict[Any, Item] = {}
        try:
            while True:
                for item in itertools.islice(waiting, max(self._most_in_flight() - len(running), 0)):
                    running[remote.remote(*arguments(item))] = item
                if not running:
                    return
                progress.check()
                for done in self._ray.wait(list(running), timeout=WAIT_SECONDS)[0]:
                    yield running.pop(done), self._answer(done)
        except ConnectionError as error:
            raise ClusterError(
                f"The cluster does not answer any more ({first_line(error).rstrip('.')}); start the same command "
                "again, and it goes on."
            ) from error
        finally:
            with suppress(ConnectionError, self._ray.exceptions.RayError):  # then they end with the cluster
                for left in running:
                    self._ray.cancel(left, force=True)

    def _remote(self, function: Callable[..., Any]) -> Any:
        share = self._settings
        return self._ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=RETRIES)(function)

    def _answer(self, reference: Any) -> Any:
        """What a task gave, or the exception that says how its worker died."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # raised by the function, or by what it needs
            cause = error.cause
            if isinstance(cause, UltimateRVCError):
                raise ClusterError(str(cause)) from None
            raise ClusterError(
                f"A machine of the cluster cannot do the work: {first_line(cause)} Is Ultimate RVC installed on "
                "all machines?"
            ) from error
        except self._ray.exceptions.RayError as error:
            return error

    def _most_in_flight(self) -> int:
        if (now := time.monotonic()) - self._looked_at >= SIZE_SECONDS:
            self._looked_at = now
            there, share = self._ray.cluster_resources(), self._settings
            workers = there.get("CPU", 0) / share.cpus
            if share.gpus:
                workers = min(workers, there.get("GPU", 0) / share.gpus)
            self._room = max(LEAST_IN_FLIGHT, int(IN_FLIGHT_PER_WORKER * workers))
        return self._room
