"""How long torch's threads wait for each other before they let others have the processor."""

from __future__ import annotations

import os

# About 20 microseconds. As long as usual between two layers, so nothing is lost on a quiet machine; on a busy
# one a thread that waits for one that is not running gives way. Measured in docs/performance.md.
SPIN_COUNT = "10000"
CHOSEN_BY = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Have the threads of GNU OpenMP, which Linux builds of torch use, wait briefly.

    Only before torch is imported, and not where the user has chosen.
    """
    if not any(name in os.environ for name in CHOSEN_BY):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
