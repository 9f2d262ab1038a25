"""Exact search on the device against float64 by definition, and against faiss."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.infer import index_file
from ultimate_rvc.rvc.infer.index_file import check_index_file
from ultimate_rvc.rvc.infer.opening import open_retriever
from ultimate_rvc.rvc.infer.optimization import device_retrieval
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.retrieval import FaissRetriever

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


def on_cpu(vectors: FloatArray) -> DeviceRetriever:
    return DeviceRetriever(torch.from_numpy(vectors), "mine.index")


def on_waiting_device(vectors: FloatArray) -> DeviceRetriever:
    """As on a GPU, where the host must not wait for a result."""
    retriever = on_cpu(vectors)
    retriever._host_waits_free = False
    return retriever


def flat(vectors: FloatArray) -> Any:
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return index


class Operations(TorchDispatchMode):
    """The operations that a device would be asked for, without those that only look at a tensor anew."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not any(output.alias_info is not None for output in function._schema.returns):
            self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dim", [256, 768])
def test_neighbours_and_blend_are_those_of_faiss_flat(dim: int) -> None:
    random = np.random.default_rng(dim)
    # Steps of a walk: near neighbours stand out, as they do in speech, so that there are no ties.
    vectors = np.cumsum(random.normal(size=(1500, dim)) * 0.05, axis=0).astype(np.float32) + 1
    frames = vectors[random.integers(0, 1500, 60)] + (random.normal(size=(60, dim)) * 0.02).astype(np.float32)
    searched = on_cpu(vectors)
    _, expected_ids = flat(vectors).search(frames, 8)
    _, ids = searched.search(torch.from_numpy(frames))
    assert np.mean(np.sort(ids.numpy()) == np.sort(expected_ids)) > 0.999
    blended = searched.blend(torch.from_numpy(frames), 0.75)
    expected = frames + 0.75 * (by_definition(vectors, frames)[1] - frames)
    np.testing.assert_allclose(blended.numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@st.composite
def problems(draw: st.DrawFn) -> tuple[FloatArray, FloatArray]:
    """Vectors and frames: crowds of any width, far from 0 or not, with duplicates, zeros and few vectors."""
    size, dim = draw(st.one_of(st.integers(1, 12), st.integers(33, 200))), draw(st.integers(1, 40))
    scale = draw(st.sampled_from([1e-3, 1e-1, 1.0, 1e1, 1e3]))
    offset = draw(st.sampled_from([0.0, 3.0, -50.0, 1000.0]))  # in units of the width of a crowd
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = random.normal(size=(draw(st.integers(1, 4)), dim)) * draw(st.sampled_from([0.0, 1.0, 100.0]))
    vectors, frames = (
        centres[random.integers(0, len(centres), count)] + random.normal(size=(count, dim)) + offset
        for count in (size, 30)
    )
    vectors, frames = (vectors * scale).astype(np.float32), (frames * scale).astype(np.float32)
    if draw(st.booleans()):
        vectors[random.integers(0, size, size // 2)] = vectors[0]
    if draw(st.booleans()):
        vectors[random.integers(0, size, size // 3)] = 0
    if draw(st.booleans()):
        frames[:10] = vectors[random.integers(0, size, 10)]
    if draw(st.booleans()):
        frames[10:20] = 0
    return vectors, frames


@given(problem=problems())
@settings(deadline=None, max_examples=120)
def test_blend_is_the_definition_for_any_shape_scale_offset_duplicates_and_zeros(
    problem: tuple[FloatArray, FloatArray],
) -> None:
    vectors, frames = problem
    distances, means = by_definition(vectors, frames)
    searched = on_cpu(vectors)
    squared, _ = searched.search(torch.from_numpy(frames))
    np.testing.assert_allclose(squared.numpy(), distances, rtol=1e-5, atol=1e-30)
    blended = searched.blend(torch.from_numpy(frames), 1.0)
    np.testing.assert_allclose(blended.numpy(), means, rtol=0, atol=1e-5 * np.abs(vectors).max())
    assert searched.needs_exact is None


@given(problem=problems())
@settings(deadline=None, max_examples=60)
def test_neighbours_are_those_of_faiss_but_for_ties(problem: tuple[FloatArray, FloatArray]) -> None:
    vectors, frames = problem
    squared, ids = on_cpu(vectors).search(torch.from_numpy(frames))
    _, expected_ids = flat(vectors).search(frames, 8)
    largest = np.square(vectors.astype(np.float64)).sum(axis=1).max()
    for row, frame in enumerate(frames.astype(np.float64)):
        others = list(set(expected_ids[row]) - {-1} - set(ids[row].tolist()))
        distances = np.square(vectors[others] - frame).sum(axis=1)
        # faiss measures from 0 and in float32; what it takes for nearer must be as near as its digits say.
        rounding = 1e-6 * (np.square(frame).sum() + largest)
        np.testing.assert_allclose(distances, squared[row, -1], rtol=1e-5, atol=rounding)


@given(problem=problems())
@settings(deadline=None, max_examples=120)
def test_a_device_that_is_not_waited_for_is_exact_or_says_that_it_may_not_be(
    problem: tuple[FloatArray, FloatArray],
) -> None:
    vectors, frames = problem
    searched = on_waiting_device(vectors)
    distances, _ = by_definition(vectors, frames)
    squared, _ = searched.search(torch.from_numpy(frames))
    if searched.needs_exact is not None and bool(searched.needs_exact):
        squared, _ = searched.search(torch.from_numpy(frames), exact=True)
    np.testing.assert_allclose(squared.numpy(), distances, rtol=1e-5, atol=1e-30)


def near_identical(width: float = 1e-4) -> tuple[FloatArray, torch.Tensor]:
    """A crowd whose members differ by less than the rounding of their squares; outliers spoil the mean."""
    random = np.random.default_rng(5)
    crowd = 30 + random.normal(size=(400, 64)) * width
    vectors = np.concatenate([crowd, 1e4 * random.normal(size=(20, 64))]).astype(np.float32)
    return vectors, torch.from_numpy((30 + random.normal(size=(200, 64)) * width).astype(np.float32))


@pytest.mark.parametrize("width", [1e-4, 0.1, 0.2])  # all, most and few of the frames are in doubt
def test_nearly_identical_vectors_far_from_the_rest_are_told_apart(width: float) -> None:
    vectors, frames = near_identical(width)
    squared, _ = on_cpu(vectors).search(frames)
    np.testing.assert_allclose(squared.numpy(), by_definition(vectors, frames.numpy())[0], rtol=1e-5)


def test_a_job_that_met_them_on_a_device_is_to_be_repeated_exactly() -> None:
    vectors, frames = near_identical()
    searched = on_waiting_device(vectors)
    assert searched.needs_exact is None
    searched.blend(frames, 0.5)
    searched.blend(torch.from_numpy(vectors[-5:]), 0.5)  # outliers: no doubt, and the doubt before is kept
    doubt = searched.needs_exact
    assert doubt is not None
    assert (bool(doubt), doubt.shape, doubt.dtype) == (True, (), torch.bool)
    searched.forget_doubts()
    assert searched.needs_exact is None
    exact = searched.blend(frames, 1.0, exact=True)
    assert searched.needs_exact is None
    torch.testing.assert_close(exact, on_cpu(vectors).blend(frames, 1.0), rtol=0, atol=0)


def test_a_common_offset_and_repeated_vectors_raise_no_doubt() -> None:
    random = np.random.default_rng(2)
    vectors = (random.normal(size=(2000, 256)) + 100).astype(np.float32)
    vectors[500:600] = vectors[0]
    searched = on_waiting_device(vectors)
    frames = np.concatenate([vectors[:3], random.normal(size=(50, 256)).astype(np.float32) + 100])
    searched.blend(torch.from_numpy(frames), 0.5)
    doubt = searched.needs_exact
    assert doubt is not None
    assert not bool(doubt)


def test_a_device_is_not_waited_for_and_asked_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    # As 50,000 vectors and 3,200 frames are in blocks of their sizes.
    for name, value in (("BLOCK_FRAMES", 128), ("BLOCK_VECTORS", 1024), ("REFINED_FRAMES", 32)):
        monkeypatch.setattr(device_retrieval, name, value)
    random = np.random.default_rng(0)
    searched = on_waiting_device(random.normal(size=(3125, 8)).astype(np.float32))
    features = torch.from_numpy(random.normal(size=(200, 8)).astype(np.float32))
    with Operations() as operations:
        searched.blend(features, 0.75)
    waiting = {"nonzero", "_local_scalar_dense", "masked_select", "unique_dim", "_unique2", "equal"}
    assert not waiting & set(operations.names)
    assert "addmm" in operations.names
    assert len(operations.names) <= 150


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(500, 12)).astype(np.float32)
    frames = torch.from_numpy(random.normal(size=(70, 12)).astype(np.float32))
    whole = on_cpu(vectors).blend(frames, 0.5)
    for name, value in (
        ("BLOCK_FRAMES", 16),
        ("BLOCK_VECTORS", 10),
        ("REFINED_FRAMES", 7),
        ("DIRECT_FRAMES", 3),
    ):
        monkeypatch.setattr(device_retrieval, name, value)
    blocks = on_cpu(vectors).blend(frames, 0.5)
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
    on_cpu(vectors).search(torch.from_numpy(vectors[:3000]))
    assert max(rows * columns for rows, columns in products) <= 2048 * 16_384
    assert sum(rows * columns for rows, columns in products) == 3000 * 40_000


def test_a_frame_that_is_no_number_stays_itself_and_spoils_no_other() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    frames = torch.from_numpy(vectors[:3] + 0.1)
    clean = on_cpu(vectors).blend(frames, 1.0)
    frames[1, 2] = torch.nan
    blended = on_cpu(vectors).blend(frames, 1.0)
    torch.testing.assert_close(blended[[0, 2]], clean[[0, 2]])
    torch.testing.assert_close(blended[1], frames[1], equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_blend_keeps_shape_and_dtype(dtype: torch.dtype) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    features = torch.zeros(5, 4, dtype=dtype)
    blended = on_cpu(vectors).blend(features, 0.5)
    assert (blended.shape, blended.dtype) == (features.shape, dtype)


def test_rate_0_and_no_frames_give_the_features_back() -> None:
    retriever = on_cpu(np.ones((9, 4), np.float32))
    features = torch.zeros(2, 4)
    assert retriever.blend(features, 0) is features
    assert retriever.blend(torch.zeros(0, 4), 1).shape == (0, 4)


def test_features_of_another_voice_are_refused_by_name() -> None:
    retriever = on_cpu(np.ones((9, 4), np.float32))
    assert (retriever.dim, retriever.size) == (4, 9)
    with pytest.raises(VoiceFileError, match=r"mine\.index holds vectors of 4 numbers.*5"):
        retriever.blend(torch.zeros(2, 5), 0.5)


def test_loading_says_how_much_went_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        on_cpu(np.ones((9, 4), np.float32))
    assert "Loaded 9 embeddings to cpu for GPU-accelerated retrieval" in caplog.messages


def test_products_are_float32_whatever_is_set_outside() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 64)).astype(np.float32)
    frames = torch.from_numpy(random.normal(size=(20, 64)).astype(np.float32))
    expected, _ = on_cpu(vectors)._candidates(frames)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16), device_retrieval._float32_products(CPU):
            rough, _ = on_cpu(vectors)._candidates(frames)
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(rough, expected, rtol=0, atol=0)


def test_tf32_is_off_for_the_products_of_a_gpu_and_on_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_retrieval, "_autocast_off", lambda device: torch.no_grad())
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with device_retrieval._float32_products(torch.device("cuda")):
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def written(path: Path, vectors: FloatArray, kind: str) -> Path:
    index = faiss.index_factory(vectors.shape[1], kind)
    index.train(vectors)
    index.add(vectors)
    if kind != "Flat":
        index.nprobe = index.nlist
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize("kind", ["Flat", "IVF7,Flat"])
def test_a_file_opened_for_faiss_and_for_a_device_blends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(
        device_retrieval, "BLOCK_VECTORS", 100
    )  # so that blocks and cells end at different places
    random = np.random.default_rng(9)
    vectors = random.normal(size=(730, 24)).astype(np.float32)
    path = written(tmp_path / "a.index", vectors, kind)
    frames = torch.from_numpy(random.normal(size=(100, 24)).astype(np.float32))
    by_faiss, on_device = open_retriever(path, None), open_retriever(path, CPU)
    assert isinstance(by_faiss, FaissRetriever)
    assert isinstance(on_device, DeviceRetriever)
    assert (by_faiss.dim, by_faiss.size) == (on_device.dim, on_device.size) == (24, 730)
    torch.testing.assert_close(on_device._vectors, torch.from_numpy(vectors), rtol=0, atol=0)
    torch.testing.assert_close(by_faiss.blend(frames, 0.8), on_device.blend(frames, 0.8), rtol=0, atol=1e-5)
    for retriever in (by_faiss, on_device):
        retriever.blend(frames, 0.8, exact=True)
        retriever.forget_doubts()
        assert retriever.needs_exact is None


def test_loading_holds_the_vectors_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(9).normal(size=(40_000, 32)).astype(np.float32)
    path = written(tmp_path / "a.index", vectors, "Flat")
    monkeypatch.setattr(device_retrieval, "BLOCK_VECTORS", 1000)
    monkeypatch.setattr(index_file, "CHECKED_BYTES", 1 << 18)
    tracemalloc.start()  # sees numpy and bytes, not torch
    try:
        assert open_retriever(path, CPU).size == 40_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * vectors.nbytes


def test_a_file_that_shrinks_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.index", np.ones((50, 4), np.float32), "Flat")
    layout = check_index_file(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(VoiceFileError, match=r"a\.index was cut short while it was read"):
        DeviceRetriever.load(layout, CPU)
    path.unlink()
    with pytest.raises(VoiceFileError, match=r"a\.index cannot be read"):
        DeviceRetriever.load(layout, CPU)


def test_no_memory_for_the_vectors_leaves_the_search_to_faiss_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "voice.index", np.ones((9, 4), np.float32), "Flat")

    def refuse(layout: object, device: torch.device) -> DeviceRetriever:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DeviceRetriever, "load", refuse)
    assert isinstance(open_retriever(path, CPU), FaissRetriever)
    assert "no memory left for the 9 vectors" in caplog.text
    assert "voice.index; faiss searches them" in caplog.text
