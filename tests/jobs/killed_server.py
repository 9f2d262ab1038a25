"""Program of test_killed_server: opens the queue in a folder, submits three jobs, and waits to be killed.

Arguments: the folder, and the gate that the second and third job wait for.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from jobs.fake_kinds import TABLE
from ultimate_rvc.jobs.queue import JobQueue


def main(folder: str, gate: str) -> None:
    queue = JobQueue(Path(folder), kinds=TABLE)
    queue.submit("work", {"name": "first"})
    queue.submit("work", {"name": "second", "gate": gate}, client="other")
    queue.submit("work", {"name": "third", "gate": gate})
    while queue.get(2).step != "wait":
        time.sleep(0.01)
    sys.stdout.write(f"{queue.worker_pids[0]}\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
