"""Indexes: of the kind, the size and the content that other RVC tools expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ultimate_rvc.errors import CancelledError, TrainingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.index_file import check_index_file
from ultimate_rvc.rvc.infer.retrieval import read_index
from ultimate_rvc.rvc.train import index as index_module
from ultimate_rvc.rvc.train.clusters import cluster_centres
from ultimate_rvc.rvc.train.index import build_index, cell_count
from ultimate_rvc.rvc.train.settings import IndexAlgorithm

FloatArray = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clouds(count: int, dim: int = 16, centres: int = 8) -> FloatArray:
    """Vectors around ``centres`` well separated points, in turn."""
    generator = np.random.default_rng(3)
    middles = 20 * generator.normal(size=(centres, dim))
    return (middles[np.arange(count) % centres] + generator.normal(size=(count, dim))).astype(np.float32)


def test_an_index_holds_every_frame_in_its_place_and_passes_the_strict_check(
    tmp_path: Path,
) -> None:
    features, path = clouds(2000), tmp_path / "Größe é.index"
    assert build_index(features, path) == 2000
    assert check_index_file(path).size == 2000
    index = faiss.read_index(str(path))
    assert isinstance(index, faiss.IndexIVFFlat)
    assert (index.nlist, index.nprobe, index.metric_type) == (51, 1, faiss.METRIC_L2)
    index.make_direct_map()
    np.testing.assert_array_equal(index.reconstruct_n(0, 2000), features)
    distances, neighbours = index.search(features[:100], 1)
    np.testing.assert_array_equal(neighbours[:, 0], np.arange(100))
    assert distances.max() == 0
    assert read_index(path).dim == 16


def test_cells_are_as_good_as_those_that_faiss_finds(tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(size=(4000, 24)).astype(np.float32)
    build_index(features, tmp_path / "a.index")
    ours = faiss.read_index(str(tmp_path / "a.index"))
    theirs = faiss.index_factory(24, f"IVF{ours.nlist},Flat")
    theirs.train(features)

    def distance_to_cells(index: faiss.IndexIVFFlat) -> float:
        return float(index.quantizer.search(features, 1)[0].mean())

    assert distance_to_cells(ours) < 1.01 * distance_to_cells(theirs)


def test_the_same_features_and_seed_give_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build_index(clouds(1000), tmp_path / name, seed=seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_kmeans_keeps_one_centre_for_twenty_frames(tmp_path: Path) -> None:
    assert build_index(clouds(2000), tmp_path / "a.index", IndexAlgorithm.KMEANS) == 100
    index = faiss.read_index(str(tmp_path / "a.index"))
    index.make_direct_map()
    centres = index.reconstruct_n(0, 100)
    nearest = np.linalg.norm(clouds(2000)[:, None] - centres, axis=2).min(1)
    assert nearest.max() < 8  # every cloud (of radius 4, 100 apart) has centres of its own


@pytest.mark.parametrize(("algorithm", "vectors"), [("Auto", 50), ("KMeans", 50), ("Faiss", 1001)])
def test_auto_changes_to_kmeans_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, vectors: int
) -> None:
    monkeypatch.setattr(index_module, "MOST_VECTORS", 1000)
    assert build_index(clouds(1001), tmp_path / "a.index", IndexAlgorithm(algorithm)) == vectors


@pytest.mark.parametrize("count", [1, 2, 38, 39, 80])
def test_a_few_frames_make_an_index_too(tmp_path: Path, count: int) -> None:
    build_index(clouds(count), tmp_path / "a.index")
    assert check_index_file(tmp_path / "a.index").size == count


@given(st.integers(1, 10**7))
def test_cells_follow_rvcs_formula(vectors: int) -> None:
    assert cell_count(vectors) == (min(int(16 * vectors**0.5), vectors // 39) or 1)


@pytest.mark.parametrize(
    "features", [np.zeros((0, 8), np.float32), np.full((50, 8), np.nan, np.float32)], ids=["none", "NaN"]
)
def test_nothing_and_what_is_no_number_is_refused_without_leaving_a_file(
    tmp_path: Path, features: FloatArray
) -> None:
    with pytest.raises(TrainingError, match="features"):
        build_index(features, tmp_path / "a.index")
    assert list(tmp_path.iterdir()) == []


def test_building_can_be_cancelled_and_leaves_the_old_index(tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    path.write_bytes(b"old")
    progress = Progress(lambda step, fraction, text: progress.cancel() if fraction > 0.4 else None)
    with pytest.raises(CancelledError):
        build_index(clouds(1000), path, progress=progress)
    assert [file.name for file in tmp_path.iterdir()] == ["a.index"]
    assert path.read_bytes() == b"old"


def test_progress_of_an_index_only_grows(tmp_path: Path) -> None:
    told: list[float] = []
    progress = Progress(lambda step, fraction, text: told.append(fraction))
    build_index(clouds(2000), tmp_path / "a.index", IndexAlgorithm.KMEANS, progress=progress)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_clusters_are_found_where_they_are() -> None:
    features = clouds(800, dim=4, centres=5)
    centres = cluster_centres(features, 5, seed=4)
    means = np.stack([features[start::5].mean(0) for start in range(5)])
    nearest = np.linalg.norm(means[:, None] - centres, axis=2)
    # Lloyd's algorithm may put two centres into one cloud, but never one where nothing is.
    assert (nearest.min(0) < 15).all()
    assert np.linalg.norm(features[:, None] - centres, axis=2).min(1).mean() < 12


def test_equal_vectors_give_as_many_centres_as_asked_for() -> None:
    centres = cluster_centres(np.ones((30, 3), np.float32), 4)
    np.testing.assert_array_equal(centres, np.ones((4, 3), np.float32))
