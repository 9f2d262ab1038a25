"""What the experiment asks of Apple's Accelerate, answered by a stand-in that computes what Apple's header says."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import faiss
import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray

from ultimate_rvc.rvc.infer.highpass import HIGHPASS_HZ, HIGHPASS_ORDER, SAMPLE_RATE
from ultimate_rvc.rvc.infer.retrieval import FaissRetriever

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "accelerate_experiment.py"


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("accelerate_experiment", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(pointer: Any, count: int) -> NDArray[Any]:
    """What lies behind a pointer, to be read and written."""
    return np.ctypeslib.as_array(pointer, (count,))


class StandIn:
    """The three functions, on the memory that they are given."""

    def __init__(self) -> None:
        self.setups: dict[int, NDArray[np.float64]] = {}
        self.products = 0

    def vDSP_biquad_CreateSetupD(self, coefficients: Any, sections: int) -> int:  # noqa: N802 - Apple's name
        handle = len(self.setups) + 1
        self.setups[handle] = numbers(coefficients, 5 * sections).reshape(sections, 5).copy()
        return handle

    def vDSP_biquad_DestroySetupD(self, setup: int) -> None:  # noqa: N802
        del self.setups[setup]

    def vDSP_biquadD(  # noqa: N802
        self, setup: int, delay: Any, source: Any, source_stride: int, target: Any, stride: int, count: int
    ) -> None:
        assert (source_stride, stride) == (1, 1)
        sections = self.setups[setup]
        past = numbers(delay, 2 * len(sections) + 2).reshape(-1, 2)
        signal = np.concatenate([past[0], numbers(source, count)])
        for section, (b0, b1, b2, a1, a2) in enumerate(sections, start=1):
            assert not past[section].any()  # so that a filter from rest says the same
            fed = b0 * signal[2:] + b1 * signal[1:-1] + b2 * signal[:-2]
            filtered = scipy.signal.lfilter([1.0], [1.0, a1, a2], fed)
            past[section - 1] = signal[-2:]
            signal = np.concatenate([past[section], filtered])
        numbers(target, count)[:] = signal[2:]

    def cblas_sgemm(
        self, order: int, of_a: int, of_b: int, m: int, n: int, k: int,
        alpha: float, a: Any, lda: int, b: Any, ldb: int, beta: float, c: Any, ldc: int,
    ) -> None:  # fmt: skip
        assert (order, of_a, of_b, alpha, beta) == (101, 111, 112, 1.0, 0.0)
        assert (lda, ldb, ldc) == (k, k, n)
        numbers(c, m * n).reshape(m, n)[:] = (
            numbers(a, m * k).reshape(m, k) @ numbers(b, n * k).reshape(n, k).T
        )
        self.products += 1


@pytest.mark.parametrize("samples", [1, 2, 10, 160, 50_000])
def test_the_filter_is_scipys(experiment: ModuleType, samples: int) -> None:
    signal = np.random.default_rng(1).uniform(-0.5, 0.9, samples).astype(np.float32)
    b, a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)
    padding = min(3 * (HIGHPASS_ORDER + 1), samples - 1)
    expected = scipy.signal.filtfilt(b, a, signal.astype(np.float64), padlen=padding)
    library = StandIn()
    highpass = experiment.AccelerateHighpass(library)
    assert np.abs(highpass.apply(signal) - expected).max() < 1e-6
    highpass.close()
    assert library.setups == {}


@pytest.mark.parametrize(("frames", "vectors"), [(700, 400), (3, 5)])
def test_the_search_is_that_of_faiss(experiment: ModuleType, frames: int, vectors: int) -> None:
    random = np.random.default_rng(2)
    stored = random.standard_normal((vectors, 32), np.float32) + 3
    features = stored[random.integers(0, vectors, frames)] + 0.1 * random.standard_normal(
        (frames, 32), np.float32
    )
    features[0] = stored[0]  # becomes what it is
    index = faiss.IndexFlatL2(32)
    index.add(stored)
    expected = FaissRetriever(index, "v.index").blend(torch.from_numpy(features), 0.75).numpy()
    library = StandIn()
    blended = experiment.AccelerateRetriever(library, stored).blend(features, 0.75)
    assert np.abs(blended - expected).max() < 1e-4
    assert np.array_equal(blended[0], features[0])
    assert library.products == -(-frames // experiment.BLOCK_FRAMES)


def test_the_table_compares_every_way(experiment: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    experiment.main(["--minutes", "0.02", "--vectors", "300", "--repeats", "1"], StandIn())
    lines = capsys.readouterr().out.splitlines()
    cells = [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and "seconds" not in line
    ]
    assert [row[0] for row in cells[:3]] == ["scipy (in use)", "Accelerate", "torch on cpu"]
    assert [row[0] for row in cells if row[0] == "Accelerate"] == ["Accelerate"] * 2
    assert all(float(row[3]) < 1e-3 for row in cells)


@pytest.mark.skipif(platform.system() == "Darwin", reason="there it runs")
def test_elsewhere_it_says_what_it_needs(experiment: ModuleType) -> None:
    with pytest.raises(SystemExit) as caught:
        experiment.main([])
    assert str(caught.value) == "This experiment needs macOS: Accelerate is a part of it."
