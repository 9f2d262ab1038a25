"""Files on a cluster of two machines: each result once and as one process makes it, whoever dies meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from cluster_machines import Machines
from cluster_pipelines import BackwardsPipelines, DeadlyPipelines
from small_pipeline import tone
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.choices import F0Method
from ultimate_rvc.cluster import tasks
from ultimate_rvc.cluster.connecting import connected
from ultimate_rvc.cluster.convert import convert_on_cluster
from ultimate_rvc.cluster.records import FOLDER
from ultimate_rvc.cluster.tasks import ClusterSettings
from ultimate_rvc.errors import AudioError, ClusterError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.work.convert import convert
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.workbench import Workbench, own_workbench

pytest.importorskip("ray")

FILES = 1000
CONTENTS = 20  # that differ among them
PATIENCE_SECONDS = 60.0
FCPE = ConversionSettings(f0_methods=(F0Method.FCPE,))  # its weights come with a package


@pytest.fixture(scope="module", autouse=True)
def _connected(machines: Machines) -> Iterator[None]:
    """Runs of this process stay connected, so that their workers are warm."""
    with connected(machines.address):
        yield


def write_tones(folder: Path, count: int) -> None:
    """Files of a tenth of a second, :data:`CONTENTS` different ones, some in a subfolder."""
    folder.mkdir(parents=True)
    (folder / "more").mkdir()
    for number in range(CONTENTS):
        encode(folder / f"{number:04}.wav", tone(0.1 + number / 1000), 16_000)
    for number in range(CONTENTS, count):
        place = folder if number % 2 else folder / "more"
        (place / f"{number:04}.wav").write_bytes((folder / f"{number % CONTENTS:04}.wav").read_bytes())


def request_for(folder: Path, output: Path, conversion: ConversionSettings = FCPE) -> ConvertRequest:
    return ConvertRequest(sources=(folder,), voice="starter", output=output, conversion=conversion)


def on_cluster(
    request: ConvertRequest, machines: Machines, report: Callable[[int], None] = lambda done: None
) -> WorkResult:
    """With the mock voice; ``report`` hears how many files are done."""

    def heard(step: str, fraction: float, text: str) -> None:
        if step == "convert" and text:
            report(int(text.partition("/")[0]))

    with own_workbench(Progress(heard)) as bench:
        return convert_on_cluster(
            request, bench, ClusterSettings(address=machines.address), BackwardsPipelines
        )


def results_in(folder: Path) -> list[Path]:
    """While others write there: folders of unfinished files, which come and go, are not looked into."""
    return [*folder.glob("*(starter).wav"), *folder.glob("more/*(starter).wav")]


def results_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and FOLDER not in path.parts
    }


def expected_of(results: dict[str, bytes]) -> dict[int, bytes]:
    return {int(name.rpartition("/")[2][:4]): content for name, content in results.items()}


def in_one_process(folder: Path, output: Path, bench_folder: Path) -> dict[int, bytes]:
    bench_folder.mkdir()
    bench = Workbench(Progress(), bench_folder, "cpu", BackwardsPipelines())  # type: ignore[arg-type]
    convert(request_for(folder, output), bench)
    return expected_of(results_below(output))


def workers() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        if process.is_running() and process.name().startswith("ray::convert_fi"):
            yield process


def test_every_file_once_though_a_worker_and_a_machine_die(machines: Machines, tmp_path: Path) -> None:
    write_tones(tmp_path / "few", CONTENTS)
    write_tones(tmp_path / "many", FILES)
    died: list[str] = []

    def disturb(done: int) -> None:
        if done >= FILES // 5 and not died:
            next(workers()).send_signal(signal.SIGKILL)
            died.append("worker")
        if done >= FILES // 2 and len(died) == 1:
            machines.remove(machines.nodes.pop())
            died.append("machine")

    result = on_cluster(request_for(tmp_path / "many", tmp_path / "out"), machines, disturb)
    machines.nodes.append(machines.add())

    assert died == ["worker", "machine"]
    assert result.facts["failed"] == []
    # A worker may die between its result and its answer: then the next one finds the result.
    assert len(result.facts["kept"]) <= len(died)
    assert len(result.facts["converted"]) + len(result.facts["kept"]) == FILES
    results = results_below(tmp_path / "out")
    names = {
        path.relative_to(tmp_path / "many").with_suffix("") for path in (tmp_path / "many").rglob("*.wav")
    }
    assert set(results) == {f"{name.as_posix()} (starter).wav" for name in names}
    one_process = in_one_process(tmp_path / "few", tmp_path / "reference", tmp_path / "bench")
    assert len(set(one_process.values())) == CONTENTS
    for number, content in expected_of(results).items():
        assert content == one_process[number % CONTENTS]


DRIVER = """
import sys
from pathlib import Path
from cluster_pipelines import BackwardsPipelines, DeadlyPipelines
from ultimate_rvc.choices import F0Method
from ultimate_rvc.cluster.convert import convert_on_cluster
from ultimate_rvc.cluster.tasks import ClusterSettings
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.workbench import own_workbench

source, output, address = sys.argv[1:]
request = ConvertRequest(
    sources=(Path(source),), voice="starter", output=Path(output),
    conversion=ConversionSettings(f0_methods=(F0Method.FCPE,)),
)
with own_workbench(Progress()) as bench:
    convert_on_cluster(request, bench, ClusterSettings(address=address), BackwardsPipelines)
"""


def test_a_killed_run_goes_on_where_it_was(machines: Machines, tmp_path: Path) -> None:
    count, output = 60, tmp_path / "out"
    write_tones(tmp_path / "in", count)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "in"), str(output), machines.address]
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(results_in(output)) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while list(workers()) and time.monotonic() < deadline:  # they end when nobody waits for them
        time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in results_in(output)}
    assert 10 <= len(before) < count

    result = on_cluster(request_for(tmp_path / "in", output), machines)

    assert len(result.facts["kept"]) == len(before)
    assert len(result.facts["converted"]) == count - len(before)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(results_below(output)) == count
    assert list((output / FOLDER).rglob("*.wav")) == []  # nothing unfinished is left


def test_what_changed_is_done_again_and_nothing_else(machines: Machines, tmp_path: Path) -> None:
    write_tones(tmp_path / "in", CONTENTS)
    (tmp_path / "in" / "broken.wav").write_bytes(b"no audio")
    output = tmp_path / "out"
    first = on_cluster(request_for(tmp_path / "in", output), machines)
    assert [Path(each["source"]).name for each in first.facts["failed"]] == ["broken.wav"]
    assert "broken.wav" in first.facts["failed"][0]["error"]
    (tmp_path / "in" / "0003.wav").write_bytes((tmp_path / "in" / "0004.wav").read_bytes())
    (output / "0005 (starter).wav").unlink()
    (output / "0006 (starter).wav").write_bytes(b"somebody's own")

    second = on_cluster(request_for(tmp_path / "in", output), machines)

    done_again = sorted(Path(each["output"]).name for each in second.facts["converted"])
    assert done_again == ["0003 (starter).wav", "0005 (starter).wav", "0006 (starter) (1).wav"]
    assert len(second.facts["kept"]) == CONTENTS - 3
    assert (output / "0006 (starter).wav").read_bytes() == b"somebody's own"
    other = ConversionSettings(f0_methods=(F0Method.FCPE,), n_semitones=1)
    third = on_cluster(request_for(tmp_path / "in", output, other), machines)
    assert len(third.facts["converted"]) == CONTENTS
    # Ours are replaced; beside somebody's own a new number is taken, as one process does.
    assert len(results_below(output)) == CONTENTS + 2


def test_a_folder_may_be_converted_into_itself(machines: Machines, tmp_path: Path) -> None:
    write_tones(tmp_path / "in", CONTENTS)
    first = on_cluster(request_for(tmp_path / "in", tmp_path / "in"), machines)
    second = on_cluster(request_for(tmp_path / "in", tmp_path / "in"), machines)
    assert len(first.facts["converted"]) == len(second.facts["kept"]) == CONTENTS
    assert second.facts["converted"] == []


def test_a_real_voice_sounds_as_in_one_process(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        encode(tmp_path / "in" / f"{number}.wav", tone(0.5 + number / 10), 16_000)
    with own_workbench(Progress()) as bench:
        request = request_for(tmp_path / "in", tmp_path / "out")
        result = convert_on_cluster(request, bench, ClusterSettings(address=machines.address))
    assert result.device == "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with own_workbench(Progress()) as bench:
        convert(request_for(tmp_path / "in", tmp_path / "reference"), bench)
    torch.set_num_threads(threads)
    assert results_below(tmp_path / "out") == results_below(tmp_path / "reference")


def test_a_file_that_kills_its_workers_costs_only_itself(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(tmp_path / "in", CONTENTS)
    encode(tmp_path / "in" / "deadly.wav", tone(1.0), 16_000)
    monkeypatch.setattr(tasks, "RETRIES", 0)
    settings = ClusterSettings(address=machines.address)
    with own_workbench(Progress()) as bench:
        request = request_for(tmp_path / "in", tmp_path / "out")
        result = convert_on_cluster(request, bench, settings, DeadlyPipelines)
    (failed,) = result.facts["failed"]
    assert failed["error"].startswith("deadly.wav: every worker died that tried it (")
    assert len(result.facts["converted"]) == CONTENTS


def test_nothing_converted_is_an_error(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / "in" / f"{number}.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"10 more files could not be converted either\.$"):
        on_cluster(request_for(tmp_path / "in", tmp_path / "out"), machines)


def test_a_machine_of_another_version_is_named(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(tmp_path / "in", CONTENTS)
    from ultimate_rvc.cluster import convert as module

    made = module._order

    def other_version(*arguments: object) -> object:
        from dataclasses import replace

        return replace(made(*arguments), version="0.0.1")  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_order", other_version)
    with pytest.raises(ClusterError, match=r"and whoever started the work 0\.0\.1; install the same"):
        on_cluster(request_for(tmp_path / "in", tmp_path / "out"), machines)
