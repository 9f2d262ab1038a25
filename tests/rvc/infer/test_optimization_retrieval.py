"""Exact search on the device against float64 by definition, and against faiss."""

from __future__ import annotations

import logging
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer.optimization import retrieval
from ultimate_rvc.rvc.infer.optimization.retrieval import DeviceRetriever, FaissRetriever

CPU = torch.device("cpu")
FloatArray = NDArray[np.float32]


def by_definition(vectors: FloatArray, frames: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances of the 8 nearest and the blended mean, in float64 and without any trick."""
    squared = ((frames[:, None].astype(np.float64) - vectors[None].astype(np.float64)) ** 2).sum(axis=2)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :8]
    distances = np.take_along_axis(squared, nearest, axis=1)
    means = np.empty(frames.shape)
    for row, (ids, far) in enumerate(zip(nearest, distances, strict=True)):
        weights = (far == 0).astype(np.float64) if (far == 0).any() else (far[0] / far) ** 2
        means[row] = (weights / weights.sum()) @ vectors[ids].astype(np.float64)
    return distances, means


def flat(vectors: FloatArray) -> FaissRetriever:
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return FaissRetriever(index, "flat.index")


@pytest.mark.parametrize("dim", [256, 768])
def test_neighbours_and_blend_are_those_of_faiss_flat(dim: int) -> None:
    random = np.random.default_rng(dim)
    # Steps of a walk: near neighbours stand out, as they do in speech, so that there are no ties.
    vectors = np.cumsum(random.normal(size=(1500, dim)) * 0.05, axis=0).astype(np.float32) + 1
    frames = vectors[random.integers(0, 1500, 60)] + (random.normal(size=(60, dim)) * 0.02).astype(np.float32)
    reference = flat(vectors)
    searched = reference.on_device(CPU)
    _, expected_ids = reference._index.search(frames, 8)
    _, ids = searched.search(torch.from_numpy(frames))
    assert np.mean(np.sort(ids.numpy()) == np.sort(expected_ids)) > 0.999
    blended = searched.blend(torch.from_numpy(frames), 0.75)
    expected = frames + 0.75 * (by_definition(vectors, frames)[1] - frames)
    np.testing.assert_allclose(blended.numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_blend_is_the_definition_for_any_shape_scale_duplicates_and_zeros(data: st.DataObject) -> None:
    size, dim = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 20))
    scale, offset = (
        data.draw(st.sampled_from([1e-4, 1.0, 1e4])),
        data.draw(st.sampled_from([0.0, 3.0, -50.0])),
    )
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    vectors = ((random.normal(size=(size, dim)) + offset) * scale).astype(np.float32)
    if data.draw(st.booleans()):
        vectors[random.integers(0, size, size // 2)] = vectors[0]
    if data.draw(st.booleans()):
        vectors[random.integers(0, size, size // 3)] = 0
    frames = ((random.normal(size=(30, dim)) + offset) * scale).astype(np.float32)
    frames[:10] = vectors[random.integers(0, size, 10)]
    distances, means = by_definition(vectors, frames)
    searched = DeviceRetriever(vectors, "x.index", CPU)
    squared, _ = searched.search(torch.from_numpy(frames))
    np.testing.assert_allclose(squared.numpy(), distances, rtol=1e-5, atol=1e-30)
    blended = searched.blend(torch.from_numpy(frames), 1.0)
    np.testing.assert_allclose(blended.numpy(), means, rtol=0, atol=1e-5 * max(np.abs(vectors).max(), 1e-30))


def test_nearly_identical_vectors_far_from_the_rest_are_told_apart() -> None:
    random = np.random.default_rng(5)
    # A crowd whose members differ by less than the rounding of their squares; outliers spoil the mean.
    crowd = 30 + random.normal(size=(400, 64)) * 1e-4
    vectors = np.concatenate([crowd, 1e4 * random.normal(size=(20, 64))]).astype(np.float32)
    frames = (30 + random.normal(size=(40, 64)) * 1e-4).astype(np.float32)
    squared, _ = DeviceRetriever(vectors, "x.index", CPU).search(torch.from_numpy(frames))
    np.testing.assert_allclose(squared.numpy(), by_definition(vectors, frames)[0], rtol=1e-5)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(500, 12)).astype(np.float32)
    frames = torch.from_numpy(random.normal(size=(70, 12)).astype(np.float32))
    whole = DeviceRetriever(vectors, "x.index", CPU).blend(frames, 0.5)
    for name, value in (
        ("BLOCK_FRAMES", 16),
        ("BLOCK_VECTORS", 10),
        ("REFINED_FRAMES", 7),
        ("DIRECT_FRAMES", 3),
    ):
        monkeypatch.setattr(retrieval, name, value)
    blocks = DeviceRetriever(vectors, "x.index", CPU).blend(frames, 0.5)
    torch.testing.assert_close(blocks, whole, rtol=1e-6, atol=1e-6)


def test_memory_of_a_search_does_not_grow_with_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[tuple[int, ...]] = []
    original = torch.addmm

    def spy(*tensors: torch.Tensor, **options: Any) -> torch.Tensor:
        product = original(*tensors, **options)
        products.append(tuple(product.shape))
        return product

    monkeypatch.setattr(torch, "addmm", spy)
    vectors = np.random.default_rng(0).normal(size=(40_000, 4)).astype(np.float32)
    DeviceRetriever(vectors, "x.index", CPU).search(torch.from_numpy(vectors[:2000]))
    assert max(rows * columns for rows, columns in products) <= 1024 * 16_384
    assert sum(rows * columns for rows, columns in products) == 2000 * 40_000


def test_a_frame_that_is_no_number_stays_itself_and_spoils_no_other() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    frames = torch.from_numpy(vectors[:3] + 0.1)
    clean = DeviceRetriever(vectors, "x.index", CPU).blend(frames, 1.0)
    frames[1, 2] = torch.nan
    blended = DeviceRetriever(vectors, "x.index", CPU).blend(frames, 1.0)
    torch.testing.assert_close(blended[[0, 2]], clean[[0, 2]])
    torch.testing.assert_close(blended[1], frames[1], equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_blend_keeps_shape_and_dtype(dtype: torch.dtype) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    features = torch.zeros(5, 4, dtype=dtype)
    blended = DeviceRetriever(vectors, "x.index", CPU).blend(features, 0.5)
    assert (blended.shape, blended.dtype) == (features.shape, dtype)


def test_rate_0_and_no_frames_give_the_features_back() -> None:
    retriever = DeviceRetriever(np.ones((9, 4), np.float32), "x.index", CPU)
    features = torch.zeros(2, 4)
    assert retriever.blend(features, 0) is features
    assert retriever.blend(torch.zeros(0, 4), 1).shape == (0, 4)


def test_features_of_another_voice_are_refused_by_name() -> None:
    retriever = DeviceRetriever(np.ones((9, 4), np.float32), "mine.index", CPU)
    assert (retriever.dim, retriever.size) == (4, 9)
    with pytest.raises(VoiceFileError, match=r"mine\.index holds vectors of 4 numbers.*5"):
        retriever.blend(torch.zeros(2, 5), 0.5)


def test_loading_says_how_much_went_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        DeviceRetriever(np.ones((9, 4), np.float32), "x.index", CPU)
    assert "Loaded 9 embeddings to cpu for GPU-accelerated retrieval" in caplog.messages


def test_no_memory_for_the_vectors_leaves_the_search_to_faiss_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = flat(np.ones((9, 4), np.float32))

    def refuse(self: FaissRetriever, device: torch.device) -> DeviceRetriever:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(retrieval, "read_index", lambda path: index)
    monkeypatch.setattr(FaissRetriever, "on_device", refuse)
    opened = retrieval.open_retriever("voice.index", CPU)  # type: ignore[arg-type]
    assert opened is index
    assert "no memory left for the 9 vectors of voice.index; faiss searches them" in caplog.text
