"""How far a whole job is, from its step, and how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping

SURE_SECONDS = 1.0  # before that nothing can be said
SURE_FRACTION = 0.02


def overall_fraction(shares: Mapping[str, float], step: str, step_fraction: float, before: float) -> float:
    """Fraction of a whole job, 0 to 1; never below ``before``.

    Parameters
    ----------
    shares : mapping
        Steps in their order and their share of the time; empty where the job is one step.
    step : str
        One that is not among them, such as a download on the way, moves nothing.
    """
    if not shares:
        return max(before, step_fraction)
    if step not in shares:
        return before
    names = list(shares)
    passed = sum(shares[name] for name in names[: names.index(step)])
    return max(before, min((passed + shares[step] * step_fraction) / sum(shares.values()), 1.0))


def seconds_left(elapsed_seconds: float, fraction: float) -> float | None:
    """If it goes on as it went so far; None as long as that says nothing."""
    if elapsed_seconds < SURE_SECONDS or fraction < SURE_FRACTION:
        return None
    return elapsed_seconds * (1 - fraction) / fraction
