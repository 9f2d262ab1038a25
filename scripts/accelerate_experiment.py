"""Apple's Accelerate for the high-pass and the search of an index, beside torch: an experiment for owners of Macs.

    python scripts/accelerate_experiment.py [--minutes 3] [--vectors 50000] [--repeats 5]

These are the two parts of a conversion that numpy's own arrays go through: the zero-phase filter, which Accelerate
has as ``vDSP_biquadD``, and the distances to the vectors of an index, a matrix product (``cblas_sgemm``). Both are
called through ctypes, without a package. Each is timed in turn with what the program uses (scipy, faiss) and with
torch, on the processor and on the Apple GPU, and compared with scipy and faiss.

The script needs macOS. It has not been run on a Mac so far; please send what it prints. If Accelerate is several
times as fast as what the program uses there, the program should use it. The tests call it with a stand-in for the
library that computes what Apple's header says of the three functions.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray

from ultimate_rvc.rvc.infer.highpass import (
    HIGHPASS_HZ,
    HIGHPASS_ORDER,
    SAMPLE_RATE,
    ScipyHighpass,
    odd_padding,
)
from ultimate_rvc.rvc.infer.optimization.device_highpass import TorchHighpass
from ultimate_rvc.rvc.infer.optimization.device_retrieval import CANDIDATES, DeviceRetriever
from ultimate_rvc.rvc.infer.retrieval import NEIGHBOURS, FaissRetriever, neighbour_weights

FRAMEWORK = "/System/Library/Frameworks/Accelerate.framework/Accelerate"
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # of CBLAS
FEATURE_DIM = 768
FRAMES_PER_SECOND = 50
BLOCK_FRAMES = 512  # frames searched at once: 100 MB of distances to 50,000 vectors

Doubles, Floats = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_float)
FloatArray = NDArray[np.float32]


def load_accelerate() -> ctypes.CDLL:
    """Accelerate, with the types of what is called; ``SystemExit`` where it is not."""
    if platform.system() != "Darwin":
        raise SystemExit("This experiment needs macOS: Accelerate is a part of it.")
    library = ctypes.CDLL(FRAMEWORK)
    stride, length = ctypes.c_long, ctypes.c_ulong
    library.vDSP_biquad_CreateSetupD.argtypes = [Doubles, length]
    library.vDSP_biquad_CreateSetupD.restype = ctypes.c_void_p
    library.vDSP_biquad_DestroySetupD.argtypes = [ctypes.c_void_p]
    library.vDSP_biquad_DestroySetupD.restype = None
    library.vDSP_biquadD.argtypes = [ctypes.c_void_p, Doubles, Doubles, stride, Doubles, stride, length]
    library.vDSP_biquadD.restype = None
    whole, real = ctypes.c_int, ctypes.c_float
    library.cblas_sgemm.argtypes = [
        *(whole, whole, whole, whole, whole, whole),
        *(real, Floats, whole, Floats, whole, real, Floats, whole),
    ]
    library.cblas_sgemm.restype = None
    return library


class AccelerateHighpass:
    """The high-pass of the program, forwards and backwards, by vDSP in float64."""

    def __init__(self, library: Any) -> None:
        sections = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos")
        coefficients = np.ascontiguousarray(sections[:, [0, 1, 2, 4, 5]])  # a0 is 1 and not asked for
        self._library, self._sections = library, len(sections)
        self._setup = library.vDSP_biquad_CreateSetupD(_doubles(coefficients), len(sections))

    def close(self) -> None:
        self._library.vDSP_biquad_DestroySetupD(self._setup)

    def apply(self, waveform_16k: FloatArray) -> FloatArray:
        """Filter ``(samples,)`` at 16 kHz, with scipy's odd padding at the ends."""
        padding = odd_padding(len(waveform_16k))
        signal = waveform_16k.astype(np.float64)
        left = 2 * signal[0] - signal[padding:0:-1]
        right = 2 * signal[-1] - signal[-2 : -2 - padding : -1]
        extended = np.concatenate([left, signal, right])
        filtered = self._forwards(self._forwards(extended)[::-1])[::-1]
        return filtered[padding : padding + len(signal)].astype(np.float32)

    def _forwards(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        # A high-pass answers a constant with 0: so this is filtfilt's start in the steady state of the first sample.
        from_rest = np.ascontiguousarray(signal - signal[0])
        filtered = np.empty_like(from_rest)
        delay = np.zeros(2 * self._sections + 2)
        self._library.vDSP_biquadD(
            self._setup, _doubles(delay), _doubles(from_rest), 1, _doubles(filtered), 1, len(from_rest)
        )
        return filtered


class AccelerateRetriever:
    """Eight nearest neighbours among all vectors by ``cblas_sgemm``, weighed as by faiss."""

    def __init__(self, library: Any, vectors: FloatArray) -> None:
        self._library, self._vectors = library, vectors
        # Distances by products lose digits where vectors are nearly the same; about their mean they lose fewer.
        self._centre = vectors.mean(axis=0)
        self._centred = np.ascontiguousarray(vectors - self._centre)
        self._squares = np.square(self._centred).sum(axis=1)

    def blend(self, features: FloatArray, index_rate: float) -> FloatArray:
        """Move ``features`` (frames, dim) towards the mean of their neighbours."""
        blended = np.empty_like(features)
        for start in range(0, len(features), BLOCK_FRAMES):
            block = features[start : start + BLOCK_FRAMES]
            moved = self._neighbour_means(block)
            blended[start : start + BLOCK_FRAMES] = block + index_rate * (moved - block)
        return blended

    def _neighbour_means(self, block: FloatArray) -> FloatArray:
        count = min(CANDIDATES, len(self._vectors))
        order = self._squares - 2 * self._products(np.ascontiguousarray(block - self._centre))
        candidates = np.argpartition(order, count - 1, axis=1)[:, :count]
        squared = np.square(self._vectors[candidates] - block[:, None]).sum(axis=2)
        nearest = np.argsort(squared, axis=1)[:, : min(NEIGHBOURS, count)]
        ids = np.take_along_axis(candidates, nearest, axis=1)
        weights = neighbour_weights(np.take_along_axis(squared, nearest, axis=1), ids)
        means: FloatArray = np.einsum("fk,fkd->fd", weights, self._vectors[ids])
        return means

    def _products(self, centred: FloatArray) -> FloatArray:
        """Of each frame with each vector, (frames, vectors)."""
        frames, dim = centred.shape
        vectors = len(self._centred)
        products = np.empty((frames, vectors), np.float32)
        self._library.cblas_sgemm(
            *(ROW_MAJOR, AS_IT_IS, TRANSPOSED, frames, vectors, dim),
            *(1.0, _floats(centred), dim, _floats(self._centred), dim, 0.0, _floats(products), vectors),
        )
        return products


def _doubles(array: NDArray[np.float64]) -> Any:
    return array.ctypes.data_as(Doubles)


def _floats(array: FloatArray) -> Any:
    return array.ctypes.data_as(Floats)


# --- side by side --------------------------------------------------------------------------------

Way = Callable[[], FloatArray]


def torch_devices() -> list[torch.device]:
    names = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
    return [torch.device(name) for name in names]


def filters(library: Any, minutes: float) -> dict[str, Way]:
    """Each way to filter the same noise; the first is what the program uses on a processor."""
    signal = np.random.default_rng(0).uniform(-0.9, 0.9, round(minutes * 60 * SAMPLE_RATE)).astype(np.float32)
    plain, ours = ScipyHighpass(), AccelerateHighpass(library)
    ways: dict[str, Way] = {
        "scipy (in use)": lambda: plain.apply(torch.from_numpy(signal)).numpy(),
        "Accelerate": lambda: ours.apply(signal),
    }
    for device in torch_devices():
        there = torch.from_numpy(signal).to(device)
        ways[f"torch on {device}"] = _by_torch(TorchHighpass(device).apply, there)
    return ways


def searches(library: Any, minutes: float, vectors: int) -> dict[str, Way]:
    """Each way to search the same index; the first is what the program uses on a processor."""
    import faiss

    random = np.random.default_rng(0)
    stored = random.standard_normal((vectors, FEATURE_DIM), np.float32)
    frames = round(minutes * 60 * FRAMES_PER_SECOND)
    places = random.integers(0, vectors, frames)
    features = stored[places] + 0.3 * random.standard_normal((frames, FEATURE_DIM), np.float32)
    index = faiss.IndexFlatL2(FEATURE_DIM)
    index.add(stored)
    by_faiss, ours = FaissRetriever(index, "made for this"), AccelerateRetriever(library, stored)
    ways: dict[str, Way] = {
        "faiss (in use)": lambda: by_faiss.blend(torch.from_numpy(features), 0.75).numpy(),
        "Accelerate": lambda: ours.blend(features, 0.75),
    }
    for device in torch_devices():
        retriever = DeviceRetriever(torch.from_numpy(stored).to(device), "made for this")
        there = torch.from_numpy(features).to(device)
        ways[f"torch on {device}"] = _by_torch(lambda each, by=retriever: by.blend(each, 0.75), there)
    return ways


def _by_torch(compute: Callable[[torch.Tensor], torch.Tensor], there: torch.Tensor) -> Way:
    return lambda: compute(there).cpu().numpy()


def rows(ways: dict[str, Way], repeats: int) -> Iterator[str]:
    """A line for each way: the best of its runs, which take turns, and its largest deviation from the first."""
    results = {name: way() for name, way in ways.items()}  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    usual = next(iter(ways))
    for name, runs in seconds.items():
        ratio = min(seconds[usual]) / min(runs)
        deviation = float(np.abs(results[name] - results[usual]).max())
        yield f"| {name} | {min(runs):.4f} | {ratio:.2f} | {deviation:.1e} |"


def main(arguments: Sequence[str] | None = None, library: Any = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="Of audio.")
    parser.add_argument("--vectors", type=int, default=50_000, help="In the index.")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    library = load_accelerate() if library is None else library
    threads = torch.get_num_threads()
    print(f"{platform.platform()}, {platform.processor()}, torch {torch.__version__}, {threads} threads")
    for title, ways in (
        (f"High-pass, {options.minutes:g} minutes", filters(library, options.minutes)),
        (f"Search, {options.vectors} vectors", searches(library, options.minutes, options.vectors)),
    ):
        print(f"\n| {title} | seconds | times faster | largest deviation |\n|---|---|---|---|", flush=True)
        print("\n".join(rows(ways, options.repeats)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
