"""The feature cache: the same numbers found as computed, and nothing on the disk stops a conversion."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ultimate_rvc
from ultimate_rvc.cli.main import run
from ultimate_rvc.errors import SettingError
from ultimate_rvc.paths import cache_dir, feature_cache_dir
from ultimate_rvc.rvc.infer.chunks import Chunk
from ultimate_rvc.rvc.infer.optimization import feature_cache, feature_files
from ultimate_rvc.rvc.infer.optimization.feature_cache import (
    FeatureCache,
    audio_hash,
    f0_key,
    features_key,
    open_feature_cache,
)
from ultimate_rvc.rvc.infer.optimization.feature_files import (
    ABANDONED_SECONDS,
    FeatureFiles,
    limit_bytes,
    list_feature_files,
)

CPU = torch.device("cpu")
MANY_BYTES = 10**9
KEY = "features-0123"


class Computation:
    """Gives the same features whenever it is called, and counts the calls."""

    def __init__(self, features: Tensor) -> None:
        self.calls = 0
        self._features = features

    def __call__(self) -> Tensor:
        self.calls += 1
        return self._features


class Clock:
    """A time that passes only when it is asked to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def features_of(cache: FeatureCache, key: str, compute: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Found, or computed and kept."""
    found = cache.find(key, device)
    return cache.keep_features(key, compute(), device) if found is None else found


def f0_of(cache: FeatureCache, key: str, compute: Callable[[], Tensor], device: torch.device) -> Tensor:
    found = cache.find(key, device)
    return cache.keep_unrounded(key, compute(), device) if found is None else found


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", MANY_BYTES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_within_half_a_step(kept: Tensor, features: Tensor) -> None:
    """Each feature has 65,536 steps over its own range; beyond that, only float32 may round."""
    if features.numel() == 0:
        return
    frames, difference = features.reshape(-1, features.shape[-1]), (kept - features).abs()
    half_step = (frames.amax(0) - frames.amin(0)) / 65_535 / 2
    assert (difference <= half_step * 1.01 + frames.abs().amax(0) * 2**-22).all()


def bits(values: Tensor) -> bytes:
    return values.numpy().tobytes()


# ---------------------------------------------------------------------- keys


def test_every_part_of_a_key_changes_it() -> None:
    def features(**changes: Any) -> str:
        parts = {
            "audio": "a",
            "encoder": "contentvec 1",
            "voice_version": "v2",
            "chunk": Chunk(0, 320),
            "computation": "cpu float32",
        }
        return features_key(**{**parts, **changes})

    def f0(**changes: Any) -> str:
        return f0_key(**{"audio": "a", "pitch": "rmvpe 1", "computation": "cpu float32", **changes})

    keys = [
        features(),
        features(audio="b"),
        features(encoder="contentvec 2"),
        features(voice_version="v1"),
        features(chunk=Chunk(0, 640)),
        features(chunk=Chunk(320, 640)),
        features(chunk=Chunk(0, 640, pad=320)),
        features(computation="cuda float16"),
        f0(),
        f0(audio="b"),
        f0(pitch="rmvpe 1 fcpe 1"),
        f0(pitch="fcpe 1 rmvpe 1"),
        f0(computation="cuda float32"),
    ]
    assert len(set(keys)) == len(keys)
    assert features() == features()
    assert f0() == f0()


@pytest.mark.parametrize("constant", ["PIPELINE_VERSION", "LAYOUT_VERSION", "ENCODER_TAIL"])
def test_a_new_algorithm_or_window_makes_old_features_unfindable(
    monkeypatch: pytest.MonkeyPatch, constant: str
) -> None:
    def key() -> str:
        return features_key("a", encoder="e", voice_version="v2", chunk=Chunk(0, 320), computation="cpu")

    before = key()
    monkeypatch.setattr(feature_cache, constant, 12345)
    assert key() != before


def test_one_sample_changes_the_hash_and_memory_layout_does_not() -> None:
    waveform = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    other = waveform.copy()
    other[-1] = np.nextafter(other[-1], np.float32(2))
    assert audio_hash(waveform) != audio_hash(other)
    assert audio_hash(waveform) != audio_hash(waveform[:-1])
    assert audio_hash(np.stack([waveform, other], axis=1)[:, 0]) == audio_hash(waveform)


# ---------------------------------------------------------------- round trips

shapes = st.lists(st.integers(0, 7), min_size=1, max_size=3).map(tuple)


@given(shape=shapes, scale=st.sampled_from([1e-9, 1e-5, 1.0, 300.0]), seed=st.integers(0, 99))
def test_features_are_the_same_bits_computed_and_found(
    shape: tuple[int, ...], scale: float, seed: int
) -> None:
    features = noise(*shape, seed=seed) * scale
    compute = Computation(features)
    with TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), MANY_BYTES)
        computed = features_of(cache, KEY, compute, CPU)
        found = features_of(FeatureCache(Path(folder), MANY_BYTES), KEY, compute, CPU)
    assert compute.calls == 1
    assert computed.dtype == found.dtype == torch.float32
    assert computed.shape == found.shape == features.shape
    assert bits(computed) == bits(found)
    assert_within_half_a_step(computed, features)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_features_that_are_not_finite_are_kept_exactly(cache: FeatureCache, value: float) -> None:
    features = noise(1, 5, 8)
    features[0, 2, 3] = value
    compute = Computation(features)
    computed, found = features_of(cache, KEY, compute, CPU), features_of(cache, KEY, compute, CPU)
    assert compute.calls == 1
    assert bits(computed) == bits(found) == bits(features)


def test_a_range_beyond_float32_is_kept_exactly(cache: FeatureCache) -> None:
    features = torch.tensor([[-3e38], [3e38]])
    assert bits(features_of(cache, KEY, Computation(features), CPU)) == bits(features)


def test_a_feature_that_never_changes_is_exact_and_a_large_one_spoils_no_other(cache: FeatureCache) -> None:
    features = noise(1, 50, 3) * torch.tensor([1.0, 1e6, 0.0]) + torch.tensor([0.0, 0.0, 7.1])
    kept = cache.keep_features(KEY, features, CPU)
    assert_within_half_a_step(kept, features)
    assert torch.equal(kept[..., 2], features[..., 2])


@given(curve=st.lists(st.floats(0, 1100, width=32), max_size=20), seed=st.integers(0, 9))
def test_f0_is_never_rounded(curve: list[float], seed: int) -> None:
    f0_hz = torch.tensor(curve, dtype=torch.float32)
    compute = Computation(f0_hz)
    with TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), MANY_BYTES)
        computed, found = f0_of(cache, KEY, compute, CPU), f0_of(cache, KEY, compute, CPU)
    assert compute.calls == 1
    assert bits(computed) == bits(found) == bits(f0_hz)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_of_any_precision_come_back_as_float32(cache: FeatureCache, dtype: torch.dtype) -> None:
    features = noise(1, 4, 6).to(dtype)
    computed, found = (features_of(cache, KEY, Computation(features), CPU) for _ in range(2))
    assert computed.dtype == found.dtype == torch.float32
    assert bits(computed) == bits(found)


def test_features_that_are_part_of_another_tensor_or_of_a_graph_are_kept(cache: FeatureCache) -> None:
    features = noise(8, 5).requires_grad_(True).T[1:4]
    computed, found = (features_of(cache, KEY, Computation(features), CPU) for _ in range(2))
    assert not computed.requires_grad
    assert bits(computed.contiguous()) == bits(found)
    assert_within_half_a_step(found, features.detach())


def test_results_come_on_the_device_that_is_asked_for(cache: FeatureCache) -> None:
    # The "meta" device has no numbers, but its tensors know where they are.
    meta = torch.device("meta")
    computed = features_of(cache, KEY, Computation(noise(1, 3, 4)), meta)
    found = cache.find(KEY, meta)
    assert found is not None
    assert computed.device == found.device == meta
    assert f0_of(cache, "f0-1", Computation(noise(3)), meta).device == meta


def test_in_a_batch_what_is_found_need_not_be_computed(cache: FeatureCache) -> None:
    features = noise(1, 3, 4)
    assert cache.find(KEY, CPU) is None
    kept = cache.keep_features(KEY, features, CPU)
    found = cache.find(KEY, CPU)
    assert found is not None
    assert bits(kept) == bits(found)
    assert cache.find("features-other", CPU) is None


def test_under_inference_mode_as_in_the_pipeline(cache: FeatureCache) -> None:
    with torch.inference_mode():
        computed = features_of(cache, KEY, lambda: noise(1, 3, 4) * 2, CPU)
        found = cache.find(KEY, CPU)
    assert found is not None
    assert bits(computed) == bits(found)


def test_what_the_computation_raises_passes_and_nothing_is_kept(cache: FeatureCache) -> None:
    def fail() -> Tensor:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        features_of(cache, KEY, fail, CPU)
    assert cache.find(KEY, CPU) is None


def test_features_take_two_bytes_a_number_on_disk(tmp_path: Path) -> None:
    FeatureCache(tmp_path, MANY_BYTES).keep_features(KEY, noise(1, 2000, 768), CPU)
    (file,) = list_feature_files(tmp_path)
    assert 2000 * 768 * 2 < file.size_bytes < 2000 * 768 * 2 + 10_000


# -------------------------------------------------------------------- damage


def _file(cache: FeatureCache) -> Path:
    return cache._files.path(KEY)


def assert_computed_again(cache: FeatureCache, caplog: pytest.LogCaptureFixture) -> None:
    compute = Computation(noise(1, 3, 4))
    with caplog.at_level(logging.WARNING):
        again = features_of(cache, KEY, compute, CPU)
        assert bits(features_of(cache, KEY, compute, CPU)) == bits(again)
    assert compute.calls == 1
    assert caplog.text.count("is damaged; it is removed and computed again") == 1
    assert_within_half_a_step(again, noise(1, 3, 4))


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_no_flipped_bit_or_missing_end_goes_unseen(place: float, bit: int, cut: bool) -> None:
    with TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), MANY_BYTES)
        kept = cache.keep_features(KEY, noise(1, 3, 4), CPU)
        content = bytearray(_file(cache).read_bytes())
        at = int(place * len(content))
        if cut:
            content = content[:at]
        else:
            content[at] ^= 1 << bit
        _file(cache).write_bytes(content)
        found = cache.find(KEY, CPU)
        # A space of the header may become another blank: harmless, and the numbers are still checked.
        assert found is None or bits(found) == bits(kept)
        assert _file(cache).exists() == (found is not None)


def test_a_truncated_file_is_removed_told_and_computed_again(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.keep_features(KEY, noise(1, 3, 4), CPU)
    _file(cache).write_bytes(_file(cache).read_bytes()[:-5])
    assert_computed_again(cache, caplog)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"\xff" * 500, b"not at all a file of tensors"])
def test_a_file_of_nonsense_is_removed_told_and_computed_again(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    _file(cache).parent.mkdir(parents=True)
    _file(cache).write_bytes(content)
    assert_computed_again(cache, caplog)


def test_a_file_under_the_name_of_another_is_not_believed(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.keep_features("features-other", noise(1, 9, 4), CPU)
    cache._files.path("features-other").rename(_file(cache))
    assert_computed_again(cache, caplog)


# ------------------------------------------------------------- size and order


def names(folder: Path) -> list[str]:
    return [file.path.stem for file in list_feature_files(folder)]


def test_what_was_unused_for_longest_goes_first(tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, 30, clock=Clock())
    for name in ("a", "b", "c"):
        files.write(name, b"0123456789")
    assert files.read("a") == b"0123456789"  # makes "b" the oldest
    files.write("d", b"0123456789")
    assert names(tmp_path) == ["c", "a", "d"]
    files.write("e", b"01234567890123456789")
    assert names(tmp_path) == ["d", "e"]
    assert files.read("b") is None


def test_a_file_written_again_counts_once(tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, 20, clock=Clock())
    for _ in range(5):
        files.write("a", b"0123456789")
        files.write("b", b"0123456789")
    assert names(tmp_path) == ["a", "b"]


def test_what_is_larger_than_the_limit_pushes_nothing_out(tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, 20, clock=Clock())
    files.write("a", b"0123456789")
    files.write("large", b"0" * 21)
    assert names(tmp_path) == ["a"]


def test_the_file_just_written_stays_even_if_the_clock_went_back(tmp_path: Path) -> None:
    FeatureFiles(tmp_path, 20, clock=lambda: 2000.0).write("a", b"0" * 15)
    FeatureFiles(tmp_path, 20, clock=lambda: 1000.0).write("b", b"0" * 15)
    assert names(tmp_path) == ["b"]


def test_a_smaller_limit_holds_from_the_next_write_on(tmp_path: Path) -> None:
    clock = Clock()
    large = FeatureFiles(tmp_path, 100, clock=clock)
    for name in "abcdefgh":
        large.write(name, b"0123456789")
    FeatureFiles(tmp_path, 30, clock=clock).write("i", b"0123456789")
    assert names(tmp_path) == ["g", "h", "i"]


@given(
    limit=st.integers(1, 60),
    steps=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40), st.booleans()), max_size=25),
)
def test_the_folder_holds_what_a_list_in_order_of_use_would(
    limit: int, steps: list[tuple[str, int, bool]]
) -> None:
    expected: dict[str, int] = {}  # name to size, least recently used first
    with TemporaryDirectory() as folder:
        files = FeatureFiles(Path(folder), limit, clock=Clock())
        for name, size, reads in steps:
            if reads:
                assert (files.read(name) is not None) == (name in expected)
                if name in expected:
                    expected[name] = expected.pop(name)
            elif size <= limit:
                files.write(name, b"0" * size)
                expected.pop(name, None)
                expected[name] = size
            assert sum(file.size_bytes for file in list_feature_files(Path(folder))) <= limit
            # A file written again is counted twice until the folder is looked through: nothing goes early.
            while sum(expected.values()) > limit:
                del expected[next(iter(expected))]
            assert names(Path(folder)) == list(expected)


def test_unfinished_files_of_dead_processes_are_swept_up(tmp_path: Path) -> None:
    clock = Clock()
    files = FeatureFiles(tmp_path, 30, clock=clock)
    for name, age in ((".dead.partial", ABANDONED_SECONDS + 100), (".alive.partial", 1.0)):
        files.path(name).write_bytes(b"0123456789")
        os.utime(files.path(name), (clock.now - age, clock.now - age))
    files.write("a", b"0123456789")
    assert names(tmp_path) == [".alive.partial", "a"]
    files.write("b", b"01234567890123456789")  # what is being written counts, but is not taken away
    assert names(tmp_path) == [".alive.partial", "b"]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine" * 100)
    files = FeatureFiles(tmp_path, 20, clock=Clock())
    files.write("a", b"0" * 15)
    files.write("b", b"0" * 15)
    assert feature_files.clear_feature_files(tmp_path)[0].path.stem == "b"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("text", "megabytes"), [("", 2048), ("1", 1), (" 500 ", 500)])
def test_the_limit_comes_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, text: str, megabytes: int
) -> None:
    monkeypatch.setenv("URVC_FEATURE_CACHE_MB", text)
    assert limit_bytes() == megabytes * 1_000_000
    cache = open_feature_cache()
    assert (cache._files.max_bytes, cache._files.folder) == (megabytes * 1_000_000, feature_cache_dir())


@pytest.mark.parametrize("text", ["0", "-5", "2 GB", "1.5", "many", "²"])
def test_a_limit_that_is_none_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(SettingError, match=r"URVC_FEATURE_CACHE_MB is '.+', but must be a whole number"):
        limit_bytes({"URVC_FEATURE_CACHE_MB": text})


# ------------------------------------------------------------ disks that fail


def assert_goes_on_with_one_warning(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    compute = Computation(noise(1, 3, 4))
    with caplog.at_level(logging.WARNING):
        results = [features_of(cache, KEY, compute, CPU) for _ in range(3)]
    assert compute.calls == 3
    assert len({bits(result) for result in results}) == 1
    assert [record.getMessage().count(reason) for record in caplog.records] == [1]


def test_a_full_disk_costs_one_warning_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = feature_files.atomic_path

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        with whole(path) as unfinished:
            yield unfinished
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_files, "atomic_path", full)
    cache = FeatureCache(tmp_path / "features", MANY_BYTES)
    assert_goes_on_with_one_warning(cache, caplog, "No space left on device")
    assert list((tmp_path / "features").iterdir()) == []
    monkeypatch.undo()
    cache.keep_features(KEY, noise(2), CPU)  # once there is room again, it is used
    assert cache.find(KEY, CPU) is not None


def test_a_folder_that_is_a_file_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "features").write_text("not a folder")
    cache = FeatureCache(tmp_path / "features", MANY_BYTES)
    assert_goes_on_with_one_warning(cache, caplog, f"{tmp_path / 'features'} cannot be used")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs folders that refuse their owner")
def test_a_read_only_folder_is_still_read(cache: FeatureCache, caplog: pytest.LogCaptureFixture) -> None:
    kept = cache.keep_features(KEY, noise(2), CPU)
    folder = _file(cache).parent
    folder.chmod(0o555)
    try:
        found = cache.find(KEY, CPU)
        cache.keep_features("features-new", noise(2), CPU)
    finally:
        folder.chmod(0o755)
    assert found is not None
    assert bits(found) == bits(kept)
    assert "cannot be used" in caplog.text


def test_a_file_whose_time_cannot_be_renewed_is_still_read(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep_features(KEY, noise(2), CPU)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(feature_files.os, "utime", refuse)
    assert cache.find(KEY, CPU) is not None


# --------------------------------------------------------- several processes

WORKER = """
import logging, sys
from pathlib import Path
import torch
from ultimate_rvc.rvc.infer.optimization.feature_cache import FeatureCache
logging.basicConfig(stream=sys.stdout, level=logging.WARNING)
torch.set_num_threads(1)
cpu = torch.device("cpu")
cache = FeatureCache(Path(sys.argv[1]), 60_000)  # room for half of the keys: reads meet removals
print("ready", flush=True)
sys.stdin.readline()
computed = 0
for turn in range(150):
    number = turn * 7 % 20
    key = f"features-{number}"
    features = cache.find(key, cpu)
    if features is None:
        computed += 1
        features = cache.keep_features(key, torch.full((50, 50), float(number)), cpu)
    assert features.shape == (50, 50) and (features == number).all()
print(computed)
"""


def start_worker(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1])}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], text=True, env=environment, **pipes)


def test_two_processes_read_write_and_remove_at_once(tmp_path: Path) -> None:
    workers = [start_worker(tmp_path) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    outputs = [worker.communicate("go\n", timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    for out, _ in outputs:
        (line,) = out.splitlines()  # no warning beside it
        assert int(line) >= 1
    assert sum(file.size_bytes for file in list_feature_files(tmp_path)) <= 2 * 60_000


# -------------------------------------------------------------- command line


def urvc(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(words)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def kept_features() -> int:
    """Two files in the user's own cache; returns their bytes."""
    cache = open_feature_cache()
    cache.keep_features(KEY, noise(1, 100, 768), CPU)
    f0_of(cache, "f0-1", Computation(noise(200)), CPU)
    return sum(file.size_bytes for file in list_feature_files(feature_cache_dir()))


@pytest.fixture
def kept_step() -> Path:
    """One result of a cover's step beside the features."""
    from ultimate_rvc.covers.cache import StepCache

    entry = StepCache(cache_dir()).get(
        "mix", 1, {}, lambda folder: {"bytes": (folder / "a").write_bytes(b"1")}
    )
    return entry.folder


def test_the_command_tells_number_size_and_limit(
    capsys: pytest.CaptureFixture[str], kept_features: int, kept_step: Path
) -> None:
    import json

    _, out, _ = urvc(capsys, "cache", "list", "--json")
    listed = json.loads(out)
    assert [entry["step"] for entry in listed["entries"]] == ["mix"]
    assert listed["features"] == {
        "folder": str(feature_cache_dir()),
        "bytes": kept_features,
        "limit_bytes": 2_048_000_000,
        "entries": 2,
    }
    code, out, _ = urvc(capsys, "cache", "list")
    assert code == 0
    assert "2 features of vocals, 0.2 MB of at most 2048.0 MB in" in " ".join(out.split())


def test_the_command_clears_features_alone_steps_alone_or_both(
    capsys: pytest.CaptureFixture[str], kept_features: int, kept_step: Path
) -> None:
    import json

    def clear(*words: str) -> tuple[int, int]:
        code, out, _ = urvc(capsys, "cache", "clear", "--json", *words)
        assert code == 0
        report = json.loads(out)
        return report["removed"], report["features"]["removed"]

    code, _, err = urvc(capsys, "cache", "clear", "--features", "--step", "mix")
    assert code == 2
    assert "leave out --step and --key" in " ".join(err.split())
    assert clear("--features") == (0, 2)
    assert list_feature_files(feature_cache_dir()) == []
    open_feature_cache().keep_features(KEY, noise(3), CPU)
    assert clear("--step", "mix") == (1, 0)
    assert not kept_step.exists()
    assert clear() == (0, 1)
    assert list_feature_files(feature_cache_dir()) == []
