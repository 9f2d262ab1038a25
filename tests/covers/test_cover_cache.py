"""The cache of steps: found by content, never half-written, safe for several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ultimate_rvc
from ultimate_rvc.covers.cache import MANIFEST_NAME, CacheEntry, StepCache, step_key
from ultimate_rvc.errors import AudioError, CacheError, CancelledError
from ultimate_rvc.paths import cache_dir, feature_cache_dir
from ultimate_rvc.progress import Progress

INPUTS = {"song": "a" * 64, "rate": 44100}


class Maker:
    """A step that writes one file and counts how often it was asked to."""

    def __init__(self, content: bytes = b"stem") -> None:
        self.calls = 0
        self._content = content

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        (folder / "stem.wav").write_bytes(self._content)
        return {"model": "dsp", "warnings": ["rough"]}


@pytest.fixture
def cache(tmp_path: Path) -> StepCache:
    return StepCache(tmp_path / "cache")


def make(cache: StepCache, maker: Maker, **changes: Any) -> CacheEntry:
    return cache.get("separate", 1, {**INPUTS, **changes}, maker)


# --------------------------------------------------------------------- keys

values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5))
def test_the_order_of_inputs_is_of_no_consequence(inputs: dict[str, Any]) -> None:
    backwards = dict(reversed(inputs.items()))
    assert step_key("mix", 1, inputs) == step_key("mix", 1, backwards)


def test_every_input_the_step_and_its_version_change_the_key() -> None:
    keys = {
        step_key("mix", 1, {"gain": 0, "stem": "a"}),
        step_key("mix", 1, {"gain": 1, "stem": "a"}),
        step_key("mix", 1, {"gain": 0, "stem": "b"}),
        step_key("mix", 1, {"gain": None, "stem": "a"}),
        step_key("mix", 2, {"gain": 0, "stem": "a"}),
        step_key("encode", 1, {"gain": 0, "stem": "a"}),
    }
    assert len(keys) == 6


def test_a_whole_number_is_the_same_setting_as_integer_and_as_float() -> None:
    assert step_key("mix", 1, {"gain": 3}) == step_key("mix", 1, {"gain": 3.0})
    assert step_key("mix", 1, {"gain": 3}) != step_key("mix", 1, {"gain": 3.0001})


# ------------------------------------------------------------ found and made


def test_the_second_time_the_step_is_found_with_its_facts(cache: StepCache) -> None:
    maker = Maker()
    first, second = make(cache, maker), make(cache, maker)
    assert (first.cached, second.cached, maker.calls) == (False, True, 1)
    assert second.path("stem.wav").read_bytes() == b"stem"
    assert first.facts == second.facts == {"model": "dsp", "warnings": ["rough"]}
    assert first.files == second.files


def test_another_input_is_another_entry(cache: StepCache) -> None:
    maker = Maker()
    make(cache, maker)
    make(cache, maker, song="b" * 64)
    assert maker.calls == 2


def _truncate(folder: Path) -> None:
    (folder / "stem.wav").write_bytes(b"st")


def _flip_a_bit(folder: Path) -> None:
    (folder / "stem.wav").write_bytes(b"stfm")


def _remove_file(folder: Path) -> None:
    (folder / "stem.wav").unlink()


def _remove_manifest(folder: Path) -> None:
    (folder / MANIFEST_NAME).unlink()


def _cut_manifest(folder: Path) -> None:
    manifest = folder / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes()[:-20])


def _change_facts(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    manifest["content"]["facts"]["model"] = "another"
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "damage", [_truncate, _flip_a_bit, _remove_file, _remove_manifest, _cut_manifest, _change_facts]
)
def test_a_damaged_entry_is_never_used_but_made_anew(cache: StepCache, damage: Any) -> None:
    maker = Maker()
    damage(make(cache, maker).folder)
    again = make(cache, maker)
    assert (again.cached, maker.calls) == (False, 2)
    assert again.path("stem.wav").read_bytes() == b"stem"
    assert again.facts["model"] == "dsp"
    assert make(cache, maker).cached


def test_a_step_that_fails_leaves_nothing_behind(cache: StepCache) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "stem.wav").write_bytes(b"half")
        raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        cache.get("separate", 1, INPUTS, fail)
    assert cache.list_entries() == []
    assert list((cache.folder / "partial").iterdir()) == []
    assert not make(cache, Maker()).cached


def test_a_cache_folder_that_is_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CacheError, match=r"cannot be written .* URVC_AUDIO_DIR"):
        make(StepCache(tmp_path / "cache"), Maker())


def test_a_full_disk_is_told_in_one_sentence(cache: StepCache) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    def encode(folder: Path) -> dict[str, Any]:
        try:
            return fill(folder)
        except OSError as error:
            raise AudioError(f"The file {folder} could not be written: {error.strerror}.") from error

    for make_step in (fill, encode):
        with pytest.raises(CacheError, match="is full; free some space with `urvc cache clear`"):
            cache.get("separate", 1, INPUTS, make_step)


def test_audio_that_cannot_be_used_is_no_full_disk(cache: StepCache) -> None:
    def refuse(folder: Path) -> dict[str, Any]:
        raise AudioError("song.mp3 is empty; get it again.")

    with pytest.raises(AudioError, match="is empty"):
        cache.get("separate", 1, INPUTS, refuse)


# ------------------------------------------------------------ list and clear


def test_entries_are_listed_with_their_size_and_cleared_by_step_or_key(cache: StepCache) -> None:
    stem = cache.get("separate", 1, INPUTS, Maker(b"12345"))
    mix = cache.get("mix", 1, INPUTS, Maker(b"123"))
    cache.get("mix", 1, {}, Maker(b"12"))
    assert [(entry.step, entry.size_bytes, entry.complete) for entry in cache.list_entries()] == [
        ("separate", 5, True),
        ("mix", 3, True),
        ("mix", 2, True),
    ]
    assert cache.total_size_bytes() == 10
    assert [entry.key for entry in cache.clear(steps=["mix"], keys=[mix.key[:8]])] == [mix.key]
    assert cache.total_size_bytes() == 7
    assert len(cache.clear(steps=["mix"])) == 1
    assert stem.path("stem.wav").exists()
    cache.clear()
    assert cache.list_entries() == []
    assert not cache.get("separate", 1, INPUTS, Maker()).cached


def test_clearing_what_is_not_there_is_an_error_that_lists_what_is(cache: StepCache) -> None:
    make(cache, Maker())
    with pytest.raises(CacheError, match=r"no step named 'mixx'; it holds separate\."):
        cache.clear(steps=["mixx"])
    with pytest.raises(CacheError, match="no entry whose key begins with 'zz'"):
        cache.clear(keys=["zz"])


def test_files_of_the_feature_cache_are_neither_listed_nor_cleared(cache: StepCache) -> None:
    features = cache.folder / feature_cache_dir().relative_to(cache_dir()) / "features-0.safetensors"
    features.parent.mkdir(parents=True)
    features.write_bytes(b"12345")
    make(cache, Maker())
    assert [entry.step for entry in cache.list_entries()] == ["separate"]
    assert len(cache.clear()) == 1
    assert features.exists()


def test_nothing_is_cleared_while_a_run_uses_the_cache(cache: StepCache) -> None:
    with cache.use():
        make(cache, Maker())
        with pytest.raises(CacheError, match="in use by another run"):
            StepCache(cache.folder).clear()
    assert len(StepCache(cache.folder).clear()) == 1


# --------------------------------------------------------- several processes

WORKER = """
import sys, time
from pathlib import Path
from ultimate_rvc.covers.cache import StepCache
cache, log, seconds = StepCache(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3])
def make(folder):
    with log.open("a") as file:
        file.write("made\\n")
    (folder / "stem.wav").write_bytes(b"half")
    print("started", flush=True)
    time.sleep(seconds)
    (folder / "stem.wav").write_bytes(b"stem")
    return {}
with cache.use():
    entry = cache.get("separate", 1, {"song": "a"}, make)
    assert entry.path("stem.wav").read_bytes() == b"stem"
    print("cached" if entry.cached else "made")
"""


def start_worker(cache: StepCache, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(cache.folder), str(log), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1])}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_of_several_processes_one_makes_the_step_and_the_others_wait_for_it(
    cache: StepCache, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    workers = [start_worker(cache, log, 0.5) for _ in range(3)]
    outputs = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], outputs
    assert log.read_text() == "made\n"
    assert sorted(out.split()[-1] for out, _ in outputs) == ["cached", "cached", "made"]


def test_a_killed_process_frees_its_lock_and_its_half_written_files_are_swept_up(
    cache: StepCache, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    doomed = start_worker(cache, log, 60)
    assert doomed.stdout is not None
    assert doomed.stdout.readline() == "started\n"
    assert len(list((cache.folder / "partial").iterdir())) == 1
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.communicate()
    assert cache.list_entries() == []
    with cache.use():
        assert list((cache.folder / "partial").iterdir()) == []
        assert len(list((cache.folder / "locks").glob("run-*.lock"))) == 1
    out, _ = start_worker(cache, log, 0).communicate(timeout=60)
    assert out.split()[-1] == "made"
    assert len(StepCache(cache.folder).clear()) == 1


def test_a_live_process_keeps_its_half_written_files(cache: StepCache, tmp_path: Path) -> None:
    worker = start_worker(cache, tmp_path / "log", 1.0)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "started\n"
    with cache.use():
        assert len(list((cache.folder / "partial").iterdir())) == 1
    out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    assert out == "made\n"


def test_waiting_for_another_run_can_be_cancelled(cache: StepCache) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(folder: Path) -> dict[str, Any]:
        entered.set()
        leave.wait(30)
        return {}

    holder = threading.Thread(target=lambda: cache.get("separate", 1, INPUTS, slow))
    holder.start()
    assert entered.wait(30)
    texts: list[str] = []
    progress = Progress(lambda step, fraction, text: texts.append(text))
    threading.Timer(0.5, progress.cancel).start()
    try:
        started = time.monotonic()
        with pytest.raises(CancelledError):
            StepCache(cache.folder).get("separate", 1, INPUTS, Maker(), progress)
        assert time.monotonic() - started < 20
    finally:
        leave.set()
        holder.join()
    assert texts[0] == "waiting for another run that makes this step"
