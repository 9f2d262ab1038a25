"""Parts of the page that keep up with something, asked about in one request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ultimate_rvc.web.portions import portions

# Of events that only show something: no spinner, no place in a queue, no endpoint.
QUIET: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Follower:
    """A part of the page: ``look(*inputs)`` says what ``outputs`` become."""

    look: Callable[..., Sequence[Any]]
    inputs: Sequence[Any]
    outputs: Sequence[Any]


def follow_together(followers: Sequence[Follower], event: Callable[..., Any]) -> None:
    """Let all followers look again after an event.

    In one request: with one each, a browser without a graphics card falls behind by seconds.
    """

    def look(*given: Any) -> list[Any]:
        shares = portions(given, [len(each.inputs) for each in followers])
        return list(
            chain.from_iterable(each.look(*values) for each, values in zip(followers, shares, strict=True))
        )

    event(
        look,
        [part for each in followers for part in each.inputs],
        [part for each in followers for part in each.outputs],
        **QUIET,
    )
