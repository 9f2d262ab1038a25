"""Files on a Ray cluster of machines with one thread each, against one process on the same files.

    python benchmarks/cluster.py [--files 40] [--seconds 2] [--repeats 3] [--wait 0.2] [--json]

All machines are on this one, so that two of them need two idle cores. Three ways take turns: one process, a cluster
of one machine, a cluster of two; models are loaded before. ``--wait`` measures what handing out costs by itself: in
place of a model, each file waits for so many seconds, as for a device of its own, whatever else the processor does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ultimate_rvc.audio.encode import encode
from ultimate_rvc.choices import Device, F0Method
from ultimate_rvc.cluster.connecting import connected
from ultimate_rvc.cluster.convert import convert_on_cluster
from ultimate_rvc.cluster.tasks import ClusterSettings
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.work.convert import convert
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.workbench import Workbench

LOOPBACK = "127.0.0.1"
HERE = Path(__file__).resolve().parent
# Of all processes that compute, which inherit it; ray reads some of it when it is imported, which is later.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE), os.environ.get("PYTHONPATH", "")]),
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RVC_FEATURE_CACHE": "false",  # no repeat may profit from the one before
}
SAMPLE_RATE = 16_000
WAIT_VARIABLE = "BENCHMARK_WAIT_SECONDS"
STORE_BYTES = 200_000_000


class WaitingPipelines:
    """As ``WarmPipelines``, for a voice that takes a fixed time for each file and gives it back as it came."""

    opened = 1

    def open(self, model_path: Path, settings: ConversionSettings, **options: Any) -> Any:
        def convert_all(recordings: Any, settings: Any, progress: Any = None) -> list[Any]:
            time.sleep(float(os.environ[WAIT_VARIABLE]) * len(recordings))
            return [waveform[0] for waveform, _ in recordings]

        return SimpleNamespace(
            convert_all=convert_all,
            shifts_semitones=(0,),
            voice=SimpleNamespace(sample_rate=SAMPLE_RATE),
            device="none",
            precision=SimpleNamespace(dtype="none"),
            profiler=SimpleNamespace(reset=lambda: None, report=list),
        )

    def close(self) -> None:
        """Nothing is open."""


def write_files(folder: Path, count: int, seconds: float) -> None:
    """Tones that swell, of slightly different lengths."""
    folder.mkdir()
    for number in range(count):
        at = np.arange(round((seconds + number / 100) * SAMPLE_RATE)) / SAMPLE_RATE
        swell = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * at)
        encode(
            folder / f"{number:04}.wav",
            (swell * np.sin(2 * np.pi * 220 * at)).astype(np.float32),
            SAMPLE_RATE,
        )


def request(sources: Path, output: Path) -> ConvertRequest:
    return ConvertRequest(
        sources=(sources,),
        voice="starter",
        output=output,
        conversion=ConversionSettings(f0_methods=(F0Method.FCPE,)),
    )


def own_bench(pipelines: Any) -> Workbench:
    return Workbench(Progress(), Path(tempfile.mkdtemp()), Device.AUTO, pipelines)


def seconds_of(work: Callable[[ConvertRequest], Any], sources: Path, count: int) -> float:
    """How long the step ``convert`` took over all files, into a new folder."""
    result = work(request(sources, Path(tempfile.mkdtemp(dir=sources.parent))))
    if len(result.facts["converted"]) != count:
        raise SystemExit(f"{len(result.facts['converted'])} of {count} files were converted.")
    (step,) = (step for step in result.steps if step.name == "convert")
    return float(step.seconds)


_own_pipelines: list[Any] = []


def alone(sources: Path, count: int, make: Callable[[], Any]) -> float:
    """In the one process of a pool, whose models stay open."""
    if not _own_pipelines:
        _own_pipelines.append(make())
    return seconds_of(lambda asked: convert(asked, own_bench(_own_pipelines[0])), sources, count)


def on_cluster(address: str, make: Callable[[], Any], sources: Path, count: int) -> float:
    """Models are open from the run before: whoever stays connected keeps the same workers."""

    def work(asked: ConvertRequest) -> Any:
        return convert_on_cluster(asked, own_bench(WarmPipelines()), ClusterSettings(address=address), make)

    with connected(address):
        seconds_of(work, sources.parent / "warm-up", len(list((sources.parent / "warm-up").iterdir())))
        return seconds_of(work, sources, count)


@contextmanager
def cluster(machines: int) -> Iterator[str]:
    """The address of a cluster of machines with one core each, beside a head that does no work."""
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": LOOPBACK, "object_store_memory": STORE_BYTES}
    started = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **node}
    )
    for _ in range(machines):
        started.add_node(num_cpus=1, **node)
    yield started.address
    started.shutdown()


def measure(folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each repeat, by way; the ways take turns."""
    make = WaitingPipelines if options.wait else WarmPipelines
    write_files(folder / "files", options.files, options.seconds)
    write_files(folder / "warm-up", 8, options.seconds)
    found: dict[str, list[float]] = {}
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        ways: dict[str, Callable[[], float]] = {
            "one process": lambda: process.submit(alone, folder / "files", options.files, make).result()
        }
        process.submit(alone, folder / "warm-up", 8, make).result()
        for repeat in range(options.repeats):
            for name, way in ways.items():
                found.setdefault(name, []).append(way())
            for machines, name in ((1, "cluster of one machine"), (2, "cluster of two machines")):
                with cluster(machines) as address:
                    run = partial(on_cluster, address, make, folder / "files", options.files)
                    found.setdefault(name, []).append(run())
            print(f"repeat {repeat + 1} of {options.repeats}: {_last(found)}", file=sys.stderr)
    return found


def _last(found: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {seconds[-1]:.1f} s" for name, seconds in found.items())


def rows_of(found: dict[str, list[float]], options: argparse.Namespace) -> list[dict[str, Any]]:
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    one_process, one_machine = medians["one process"], medians["cluster of one machine"]
    return [
        {
            "way": name,
            "files": options.files,
            "audio_seconds": options.seconds,
            "wait_seconds": options.wait,
            "repeats": options.repeats,
            "seconds": seconds,
            "seconds_min": min(found[name]),
            "seconds_max": max(found[name]),
            "files_per_second": options.files / seconds,
            "overhead": seconds / one_process - 1 if name != "cluster of two machines" else None,
            "times_one_machine": one_machine / seconds,
        }
        for name, seconds in medians.items()
    ]


def print_table(rows: list[dict[str, Any]]) -> None:
    print(
        "| way | seconds | min to max | files/s | overhead | times one machine |\n|---|---|---|---|---|---|"
    )
    for row in rows:
        overhead = "" if row["overhead"] is None else f"{row['overhead']:+.0%}"
        print(
            f"| {row['way']} | {row['seconds']:.1f} | {row['seconds_min']:.1f} to {row['seconds_max']:.1f} "
            f"| {row['files_per_second']:.1f} | {overhead} | {row['times_one_machine']:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds a file waits in place of a model")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ |= ENVIRONMENT | {WAIT_VARIABLE: str(options.wait)}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["URVC_AUDIO_DIR"] = f"{folder}/audio"
        rows = rows_of(measure(Path(folder), options), options)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
