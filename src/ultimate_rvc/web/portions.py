"""Values of several groups of components, as an event brings them: one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any


def portions(values: Sequence[Any], lengths: Sequence[int]) -> Iterator[list[Any]]:
    """Give each group its share of ``values``, in order.

    Raises
    ------
    ValueError
        There are more or fewer values than ``lengths`` say.
    """
    if len(values) != sum(lengths):
        raise ValueError(f"{len(values)} values for groups of {list(lengths)}")
    rest = iter(values)
    return ([*islice(rest, length)] for length in lengths)
