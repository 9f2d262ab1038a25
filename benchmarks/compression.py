"""Fewer bits and fewer weights in torch itself: int8 by torchao, pruned weights, pruned channels.

    pip install --target FOLDER --no-deps torchao
    PYTHONPATH=FOLDER python benchmarks/compression.py [--seconds 6] [--repeats 5]

The starter voice, each way beside plain float32 torch, in turn in one process, and each in one of its own for
memory. Times are the least of all runs, and ratios are of CPU seconds, on one thread: neighbours change them
least. Noise is off, so an SNR is that of the whole output. Nothing is trained again after pruning.
docs/performance.md says what came out, and why none of it is in the program.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from interleaved import Measurement, accuracy, run_in_turn
from random_models import SAMPLE_RATE, ModelSize, conversion_settings, open_pipeline, vocal, write_models
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.switches import OptimizationConfig
from vocoder import own_peak_mb  # beside this file

PLAIN = OptimizationConfig()
IN_FORCE = OptimizationConfig(fast_vocoder=True)  # what the program does on a CPU
WARM_UP_SECONDS = 1.0

Change = Callable[[Pipeline], None]


def networks(pipeline: Pipeline) -> list[nn.Module]:
    return [pipeline.voice.synthesizer, *pipeline.encoder.networks(pipeline.voice.version)]


# --- int8 ----------------------------------------------------------------------------------------


class ConvolutionAsLinear(nn.Module):
    """A convolution as a matrix product over copied pieces of its input: torchao knows no other."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        outputs, inputs, self.taps = convolution.weight.shape
        self.dilation, self.padding = convolution.dilation[0], convolution.padding[0]
        self.linear = nn.Linear(inputs * self.taps, outputs, bias=convolution.bias is not None)
        self.linear.weight = nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
        self.linear.bias = convolution.bias

    def forward(self, hidden: Tensor) -> Tensor:
        padded = F.pad(hidden, (self.padding, self.padding))[..., None]
        pieces = F.unfold(padded, (self.taps, 1), dilation=(self.dilation, 1))
        products: Tensor = self.linear(pieces.transpose(1, 2))
        return products.transpose(1, 2)


def in_int8(pipeline: Pipeline, *, dynamic: bool, convolutions: bool) -> None:
    """The convolutions of the vocoder's residual blocks, or else all linear layers, by torchao."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    config = Int8DynamicActivationInt8WeightConfig() if dynamic else Int8WeightOnlyConfig()
    if convolutions:
        for pair in pairs_of(pipeline):
            for layers, name, layer in pair:
                replace_layer(layers, name, ConvolutionAsLinear(layer))
        quantize_(pipeline.voice.synthesizer.dec.resblocks, config)
        return
    for network in networks(pipeline):
        # Not the one layer with a single input, which torchao cannot take.
        quantize_(network, config, lambda layer, _: isinstance(layer, nn.Linear) and layer.in_features > 1)


# --- pruning -------------------------------------------------------------------------------------


def without_smallest_weights(pipeline: Pipeline, *, share: float) -> None:
    """Zeros for the smallest weights of each layer of the vocoder's residual blocks.

    torch computes with zeros as with any number.
    """
    for pair in pairs_of(pipeline):
        for _, _, layer in pair:
            prune.l1_unstructured(layer, "weight", amount=share)
            prune.remove(layer, "weight")


def without_smallest_channels(pipeline: Pipeline, *, share: float) -> None:
    """The channels inside each pair of a residual block, where no other layer sees them, less the smallest."""
    for (firsts, name, first), (seconds, _, second) in pairs_of(pipeline):
        prune.ln_structured(first, "weight", amount=share, n=2, dim=0)
        prune.remove(first, "weight")
        kept = first.weight.flatten(1).norm(dim=1) > 0
        replace_layer(firsts, name, _convolution(first, first.weight[kept], first.bias[kept]))
        replace_layer(seconds, name, _convolution(second, second.weight[:, kept], second.bias))


def _convolution(like: nn.Conv1d, weight: Tensor, bias: Tensor) -> nn.Conv1d:
    made = nn.Conv1d(
        weight.shape[1], weight.shape[0], weight.shape[2], dilation=like.dilation, padding=like.padding
    )
    made.weight, made.bias = (nn.Parameter(each.clone(), requires_grad=False) for each in (weight, bias))
    return made


Named = tuple[nn.Module, str, Any]


def pairs_of(pipeline: Pipeline) -> Iterator[tuple[Named, Named]]:
    """The two convolutions of each pair of the vocoder's residual blocks, with where they are."""
    for block in pipeline.voice.synthesizer.dec.resblocks:
        for number, (first, second) in enumerate(zip(block.convs1, block.convs2, strict=True)):
            yield (block.convs1, str(number), first), (block.convs2, str(number), second)


def replace_layer(parent: nn.Module, name: str, layer: nn.Module) -> None:
    parent._modules[name] = layer


# --- measuring -----------------------------------------------------------------------------------

WAYS: dict[str, tuple[OptimizationConfig, Change]] = {
    "plain float32": (PLAIN, lambda _: None),
    "plain float32 again": (PLAIN, lambda _: None),
    "fast vocoder (in force)": (IN_FORCE, lambda _: None),
    "int8 weights, linear layers": (PLAIN, partial(in_int8, dynamic=False, convolutions=False)),
    "int8 dynamic, linear layers": (PLAIN, partial(in_int8, dynamic=True, convolutions=False)),
    "int8 weights, convolutions": (PLAIN, partial(in_int8, dynamic=False, convolutions=True)),
    "int8 dynamic, convolutions": (PLAIN, partial(in_int8, dynamic=True, convolutions=True)),
    "30 % of weights zero": (PLAIN, partial(without_smallest_weights, share=0.3)),
    "70 % of weights zero": (PLAIN, partial(without_smallest_weights, share=0.7)),
    "10 % of channels out": (PLAIN, partial(without_smallest_channels, share=0.1)),
    "50 % of channels out": (PLAIN, partial(without_smallest_channels, share=0.5)),
}
NEEDS_TORCHAO = "int8"


def opened(way: str, models: Path) -> Pipeline:
    config, change = WAYS[way]
    pipeline = open_pipeline(models, ModelSize.SMALL, config)
    with torch.no_grad():
        change(pipeline)
    return pipeline


def peak_mb(way: str, models: Path, seconds: float) -> float:
    """Of this process, which is to be a fresh one."""
    torch.set_num_threads(1)
    opened(way, models).convert(vocal(seconds), SAMPLE_RATE, conversion_settings(ModelSize.SMALL, seed=0))
    return own_peak_mb()


def measured_row(measurement: Measurement, reference: Measurement, models: Path, options: Any) -> str:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        job = pool.submit(peak_mb, measurement.name, models, options.seconds)
        peak = job.result()
    ratio = min(reference.cpu_seconds) / min(measurement.cpu_seconds)
    snr = accuracy(reference.output, measurement.output)["snr_db"]
    cells = (
        measurement.name,
        f"{min(measurement.seconds):.2f}",
        f"{min(measurement.cpu_seconds):.2f}",
        f"{ratio:.2f}",
        "same" if snr is None else f"{snr:.1f}",
        f"{peak:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    has_torchao = importlib.util.find_spec("torchao") is not None
    if not has_torchao:
        print(
            "torchao is not installed, so its ways are left out; see the first lines of this file.",
            file=sys.stderr,
        )
    ways = [way for way in WAYS if has_torchao or not way.startswith(NEEDS_TORCHAO)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["URVC_MODELS_DIR"] = os.environ["URVC_AUDIO_DIR"] = folder
        models, settings = Path(folder), conversion_settings(ModelSize.SMALL, seed=0)
        write_models(models, ModelSize.SMALL, seed=0)
        measurements = [Measurement(way, opened(way, models)) for way in ways]
        audio = vocal(options.seconds)
        for measurement in measurements:
            measurement.pipeline.convert(audio[: round(WARM_UP_SECONDS * SAMPLE_RATE)], SAMPLE_RATE, settings)
        run_in_turn(measurements, audio, settings, options.repeats, partial(print, file=sys.stderr))
        print("| way | seconds | CPU seconds | times faster | SNR dB | peak MB |\n|---|---|---|---|---|---|")
        for measurement in measurements:
            print(measured_row(measurement, measurements[0], models, options), flush=True)


if __name__ == "__main__":
    main()
