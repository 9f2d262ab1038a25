"""Retrieval against another implementation and brute force, and index files that must not be trusted."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer.retrieval import neighbour_weights, read_index

DATA = Path(__file__).parents[2] / "data" / "retrieval"
CLOUDS = DATA / "clouds.index"


def write_index(path: Path, kind: str, vectors: np.ndarray, *, probes: int | None = None) -> Path:
    index = faiss.index_factory(vectors.shape[1], kind)
    index.train(vectors)
    index.add(vectors)
    if probes is not None:
        index.nprobe = probes
    faiss.write_index(index, str(path))
    return path


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((600, 16)).astype(np.float32)


def brute_force_means(features: np.ndarray, vectors: np.ndarray, count: int = 8) -> np.ndarray:
    squared = ((features[:, None].astype(np.float64) - vectors[None]) ** 2).sum(-1)
    nearest = np.argsort(squared, axis=1)[:, :count]
    weights = 1 / np.take_along_axis(squared, nearest, 1) ** 2
    return (vectors[nearest] * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)


def test_blend_equals_the_other_implementations() -> None:
    """See scripts/oracles/retrieval_reference.py; 32 numbers, 24 cells, one of them searched."""
    with np.load(DATA / "clouds.npz") as reference:
        features, means = reference["features"], reference["neighbour_means"]
    retriever = read_index(CLOUDS)
    assert (retriever.dim, retriever.size) == (32, 1500)
    moved = retriever.blend(torch.from_numpy(features), 1.0).numpy()
    assert np.abs(moved - means).max() <= 1e-4
    partly = retriever.blend(torch.from_numpy(features), 0.3).numpy()
    assert np.abs(partly - (0.3 * means + 0.7 * features)).max() <= 1e-4


@pytest.mark.parametrize(("kind", "probes"), [("Flat", None), ("IVF10,Flat", 10), ("IVF1,Flat", 1)])
def test_indexes_that_search_everything_equal_brute_force(
    tmp_path: Path, vectors: np.ndarray, kind: str, probes: int | None
) -> None:
    retriever = read_index(write_index(tmp_path / "a.index", kind, vectors, probes=probes))
    features = np.random.default_rng(4).standard_normal((2500, 16)).astype(np.float32)  # several blocks
    moved = retriever.blend(torch.from_numpy(features), 1.0).numpy()
    assert np.abs(moved - brute_force_means(features, vectors)).max() < 1e-4


def test_a_map_of_ids_that_came_with_the_file_is_not_followed(tmp_path: Path, vectors: np.ndarray) -> None:
    index = faiss.index_factory(16, "IVF10,Flat")
    index.train(vectors)
    index.add(vectors)
    index.make_direct_map()
    faiss.write_index(index, str(tmp_path / "a.index"))
    content = (tmp_path / "a.index").read_bytes()
    begin = content.index(struct.pack("<BQ", 1, len(vectors))) + 9
    entries = struct.pack("<Q", 3 << 61) * len(vectors)
    (tmp_path / "b.index").write_bytes(content[:begin] + entries + content[begin + len(entries) :])
    features = torch.randn(30, 16)
    expected = read_index(tmp_path / "a.index").blend(features, 1.0)
    torch.testing.assert_close(read_index(tmp_path / "b.index").blend(features, 1.0), expected)


def test_the_number_of_searched_cells_is_the_files(tmp_path: Path, vectors: np.ndarray) -> None:
    features = torch.from_numpy(np.random.default_rng(5).standard_normal((50, 16)).astype(np.float32))
    one = read_index(write_index(tmp_path / "1.index", "IVF12,Flat", vectors, probes=1)).blend(features, 1.0)
    all_cells = read_index(write_index(tmp_path / "12.index", "IVF12,Flat", vectors, probes=12)).blend(
        features, 1.0
    )
    assert not torch.allclose(one, all_cells, atol=0.01)


def test_a_frame_of_the_index_becomes_itself(tmp_path: Path, vectors: np.ndarray) -> None:
    retriever = read_index(write_index(tmp_path / "a.index", "IVF12,Flat", vectors))
    frames = torch.from_numpy(vectors[:20])
    torch.testing.assert_close(retriever.blend(frames, 1.0), frames)


def test_fewer_vectors_than_neighbours_are_enough(tmp_path: Path, vectors: np.ndarray) -> None:
    retriever = read_index(write_index(tmp_path / "a.index", "Flat", vectors[:3]))
    features = torch.randn(10, 16)
    expected = brute_force_means(features.numpy(), vectors[:3], 3)
    assert np.abs(retriever.blend(features, 1.0).numpy() - expected).max() < 1e-4


def test_cells_with_few_vectors_give_no_nan_and_empty_ones_leave_the_frame(tmp_path: Path) -> None:
    corners = (np.eye(4) * 100).astype(np.float32)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(4), 4, 4)
    index.quantizer.add(corners)
    index.is_trained = True
    index.add(corners[:2] + 1)  # one vector in each of two cells, none in the others
    faiss.write_index(index, str(tmp_path / "a.index"))
    features = torch.from_numpy(corners + 0.5)
    moved = read_index(tmp_path / "a.index").blend(features, 1.0)
    torch.testing.assert_close(moved[:2], torch.from_numpy(corners[:2] + 1))
    torch.testing.assert_close(moved[2:], features[2:])


@given(
    squared=arrays.arrays(
        np.float32, (4, 8), elements=st.one_of(st.just(0.0), st.floats(0, 3.4028234663852886e38, width=32))
    ),
    missing=arrays.arrays(np.bool_, (4, 8)),
)
def test_weights_are_shares_whatever_the_distances(squared: np.ndarray, missing: np.ndarray) -> None:
    weights = neighbour_weights(squared, np.where(missing, -1, np.arange(8)))
    assert np.isfinite(weights).all()
    assert (weights[missing] == 0).all()
    np.testing.assert_allclose(weights.sum(1), (~missing).any(1).astype(float), atol=1e-5)


def test_weights_are_inverse_squares_of_the_squared_distance() -> None:
    weights = neighbour_weights(np.array([[1.0, 2.0, 4.0]], np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(weights[0], np.array([16, 4, 1]) / 21, rtol=1e-6)


def test_rate_zero_changes_nothing_and_dtype_and_device_are_kept() -> None:
    retriever = read_index(CLOUDS)
    features = torch.randn(5, 32, dtype=torch.float16)
    assert retriever.blend(features, 0.0) is features
    assert retriever.blend(features, 0.5).dtype == torch.float16
    assert retriever.blend(features[:0], 0.5).shape == (0, 32)


def test_features_of_another_dimension_name_the_index_and_both() -> None:
    with pytest.raises(
        VoiceFileError, match=r"clouds\.index holds vectors of 32 numbers.*have 768"
    ) as caught:
        read_index(CLOUDS).blend(torch.randn(5, 768), 0.5)
    assert "\n" not in str(caught.value)


# Offsets in clouds.index: header 33 bytes after the kind, cells at 37, probes at 45, quantizer at 53.
def _patched(position: int, form: str, value: float) -> Callable[[bytes], bytes]:
    def patch(content: bytes) -> bytes:
        changed = bytearray(content)
        struct.pack_into(form, changed, position, value)
        return bytes(changed)

    return patch


LAST_ID = CLOUDS.stat().st_size - 8
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda content: b"It was a dark and stormy night; " * 100,
    "zip": lambda content: b"PK\x03\x04" + content,
    "half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "header only": lambda content: content[:20],
    "empty": lambda content: b"",
    "huge dimension": _patched(4, "<i", 2**30),
    "negative dimension": _patched(4, "<i", -32),
    "huge size": _patched(8, "<q", 2**60),
    "one vector more": _patched(8, "<q", 1501),
    "one vector less": _patched(8, "<q", 1499),
    "inner product": _patched(33, "<i", 0),
    "untrained": _patched(32, "<B", 0),
    "huge number of cells": _patched(37, "<Q", 2**62),
    "no cell searched": _patched(45, "<Q", 0),
    "quantizer of another dimension": _patched(57, "<i", 31),
    "NaN among its cells": _patched(98, "<f", float("nan")),
    "id far outside": _patched(LAST_ID, "<q", 2**40),
    "negative id": _patched(LAST_ID, "<q", -5),
    "id twice": _patched(LAST_ID, "<q", 0),
    "lists in another file": lambda content: content.replace(b"ilar", b"ilod"),
    "another kind": lambda content: b"IwPQ" + content[4:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_hostile_files_are_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    content = CLOUDS.read_bytes()
    damaged = DAMAGES[damage](content)
    if damage != "id twice":
        assert damaged != content
    path = tmp_path / "strange.index"
    path.write_bytes(damaged)
    with pytest.raises(VoiceFileError, match=r"strange\.index .*convert without an index") as caught:
        read_index(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(VoiceFileError, match=r"absent\.index"):
        read_index(tmp_path / "absent.index")
    with pytest.raises(VoiceFileError, match=str(tmp_path)):
        read_index(tmp_path)


def test_a_trained_index_without_vectors_is_explained(tmp_path: Path, vectors: np.ndarray) -> None:
    index = faiss.index_factory(16, "IVF4,Flat")
    index.train(vectors)
    faiss.write_index(index, str(tmp_path / "trained_a.index"))
    with pytest.raises(VoiceFileError, match=r"holds no vectors.*added_"):
        read_index(tmp_path / "trained_a.index")


def test_sparse_lists_are_read(tmp_path: Path, vectors: np.ndarray) -> None:
    """faiss writes the lengths of mostly empty cells in another form."""
    index = faiss.index_factory(16, "IVF15,Flat")
    index.train(vectors)
    index.add(vectors[:4])
    faiss.write_index(index, str(tmp_path / "a.index"))
    assert b"sprs" in (tmp_path / "a.index").read_bytes()
    assert read_index(tmp_path / "a.index").size == 4


@given(position=st.integers(0, 2000), value=st.integers(0, 255))
def test_any_changed_byte_at_the_start_is_refused_or_gives_numbers(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    content = bytearray(CLOUDS.read_bytes())
    content[position] = value
    path = tmp_path_factory.mktemp("index") / "a.index"
    path.write_bytes(content)
    try:
        moved = read_index(path).blend(torch.ones(3, 32), 1.0)
    except VoiceFileError:
        return
    assert bool(torch.isfinite(moved).all())
