"""Batches: grouping, padding, size by memory, what happens when memory runs out, and random numbers."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from small_synthesizer import PHONE_DIM, random_inputs, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.content.hubert import HubertEncoder
from ultimate_rvc.rvc.infer.optimization import batching
from ultimate_rvc.rvc.infer.optimization.batching import (
    BATCH_COST_FRAMES,
    ENCODER_BYTES_PER_FRAME,
    ItemGenerators,
    automatic_batch_size,
    bytes_per_frame,
    free_memory,
    pad_batch,
    plan_batches,
)
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

CPU = torch.device("cpu")
SMALL_HUBERT = Path(__file__).resolve().parents[2] / "data" / "content" / "small_hubert"
LENGTHS = st.lists(st.integers(1, 5_000), max_size=40)
GIB = 2**30


def planned_cost(groups: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    return sum(len(group) * max(lengths[index] for index in group) + BATCH_COST_FRAMES for group in groups)


@given(lengths=LENGTHS, batch_size=st.integers(1, 9))
def test_every_item_is_in_one_group_of_at_most_the_batch_size(lengths: list[int], batch_size: int) -> None:
    groups = plan_batches(lengths, batch_size)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(len(lengths)))
    assert all(1 <= len(group) <= batch_size for group in groups)
    longest_first = [lengths[index] for group in groups for index in group]
    assert longest_first == sorted(lengths, reverse=True)


@given(lengths=st.lists(st.integers(1, 1_000), min_size=1, max_size=7), batch_size=st.integers(1, 4))
def test_no_other_grouping_is_cheaper(lengths: list[int], batch_size: int) -> None:
    def groupings(items: list[int]) -> list[list[list[int]]]:
        """Every way to divide ``items``."""
        if not items:
            return [[]]
        first, rest = items[0], items[1:]
        found = []
        for others in groupings(rest):
            found.append([[first], *others])
            for index, group in enumerate(others):
                found.append([*others[:index], [first, *group], *others[index + 1 :]])
        return found

    allowed = [
        groups
        for groups in groupings(list(range(len(lengths))))
        if all(len(group) <= batch_size for group in groups)
    ]
    cheapest = min(planned_cost(groups, lengths) for groups in allowed)
    assert planned_cost(plan_batches(lengths, batch_size), lengths) == cheapest


def test_chunks_of_a_song_are_not_padded_by_the_short_ones() -> None:
    assert plan_batches([4_000, 300, 4_100, 350, 4_050], 4) == [[2, 4, 0], [3, 1]]


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        plan_batches([1], 0)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    more=st.integers(0, 5),
    dims=st.sampled_from([(), (3,)]),
)
def test_padding_keeps_the_items_and_adds_zeros(lengths: list[int], more: int, dims: tuple[int, ...]) -> None:
    items = [torch.rand(length, *dims) + 1 for length in lengths]
    padded, found = pad_batch(items, max(lengths) + more)
    assert found == tuple(lengths)
    assert padded.shape == (len(items), max(lengths) + more, *dims)
    for row, item in zip(padded, items, strict=True):
        assert torch.equal(row[: len(item)], item)
        assert not row[len(item) :].any()


def test_a_batch_shorter_than_its_items_is_refused() -> None:
    with pytest.raises(ValueError, match="length is 4, but the longest item has 5"):
        pad_batch([torch.zeros(5)], 4)


@pytest.mark.parametrize("vocoder", list(Vocoder))
def test_chunks_in_a_batch_sound_as_one_at_a_time(vocoder: Vocoder) -> None:
    """From waveform to waveform, as the pipeline does it."""
    encoder = HubertEncoder("contentvec", SMALL_HUBERT, "cpu")
    synthesizer = small_synthesizer(vocoder)
    random = torch.Generator().manual_seed(3)
    frames = [30, 12, 18]  # at 50 Hz
    waveforms = [torch.rand(320 * count + 80, generator=random) - 0.5 for count in frames]
    f0_curves = [100 + 300 * torch.rand(2 * count, generator=random) for count in frames]

    def convert(waveforms: Sequence[Tensor], f0_curves: Sequence[Tensor]) -> Tensor:
        padded, samples = pad_batch(waveforms)
        features = encoder.encode(padded, "v2", samples)[..., :PHONE_DIM].repeat_interleave(2, dim=1)
        f0_hz, lengths = pad_batch(f0_curves)
        assert features.shape[:2] == f0_hz.shape
        speaker_id = torch.zeros(len(waveforms), dtype=torch.long)
        pitch = (f0_hz / 10).long().clamp(1, 255)
        return synthesizer.infer(features, pitch, f0_hz, speaker_id, 0.0, 0.0, lengths=torch.tensor(lengths))

    together = convert(waveforms, f0_curves)
    for row, waveform, f0_hz in zip(together, waveforms, f0_curves, strict=True):
        alone = convert([waveform], [f0_hz])[0]
        assert alone.std() > 0.01
        difference = row[: len(alone)] - alone
        assert difference.std() < 1e-4 * alone.std()  # 80 dB
        assert not row[len(alone) :].any()


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made under it held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in self._sizes:
                storage = leaf.untyped_storage()
                self._sizes[storage._cdata] = storage.nbytes()
                self._now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata)
        self.peak = max(self.peak, self._now)
        return output

    def _freed(self, key: int) -> None:
        self._now -= self._sizes.pop(key)


def full_size(rates: tuple[int, ...], kernels: tuple[int, ...]) -> SynthesizerConfig:
    """A stock v2 voice."""
    return SynthesizerConfig(
        spec_channels=1025,
        segment_size=32,
        inter_channels=192,
        hidden_channels=192,
        filter_channels=768,
        heads=2,
        layers=6,
        kernel_size=3,
        dropout=0.0,
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilations=((1, 3, 5),) * 3,
        upsample_rates=rates,
        upsample_initial_channel=512,
        upsample_kernel_sizes=kernels,
        speakers=109,
        speaker_channels=256,
        sample_rate=100 * torch.tensor(rates).prod().item(),
        phone_dim=768,
    )


@pytest.mark.parametrize("vocoder", list(Vocoder))
@pytest.mark.parametrize(
    ("rates", "kernels"), [((10, 10, 2, 2), (16, 16, 4, 4)), ((12, 10, 2, 2), (24, 20, 4, 4))]
)
def test_the_memory_model_covers_what_a_full_size_voice_holds(
    vocoder: Vocoder, rates: tuple[int, ...], kernels: tuple[int, ...]
) -> None:
    """Counted on the device without memory, where a voice runs as it does on a GPU."""
    config, batch, frames = full_size(rates, kernels), 2, 1_000
    with torch.device("meta"), torch.inference_mode():
        synthesizer = Synthesizer(config, has_f0=True, vocoder=vocoder).eval()
        features, f0_hz = torch.empty(batch, frames, 768), torch.empty(batch, frames)
        ids = torch.empty(batch, dtype=torch.long)
        with LiveBytes() as live:
            speaker = synthesizer.speaker(ids)
            latent = synthesizer.latent(features, f0_hz.long(), speaker, Noise(1.0))
            source = synthesizer.vocoder.excitation(f0_hz, Noise(1.0))
            synthesizer.vocoder(latent, source, speaker, Noise(1.0))
    modelled = bytes_per_frame(config, vocoder) * batch * frames
    assert live.peak <= modelled <= 1.5 * live.peak


def test_the_encoder_counts_where_the_voice_is_small() -> None:
    assert bytes_per_frame(small_synthesizer().config, Vocoder.HIFI_GAN) == ENCODER_BYTES_PER_FRAME


@pytest.mark.parametrize(
    ("free", "longest", "expected"),
    [(0, 4_000, 1), (GIB, 4_000, 1), (10 * GIB, 4_000, 6), (10 * GIB, 400, 64), (10 * GIB, 0, 64)],
)
def test_the_batch_size_follows_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: int, longest: int, expected: int
) -> None:
    monkeypatch.setattr(batching, "free_memory", lambda device: free)
    assert automatic_batch_size(CPU, 250_000, longest) == expected


def write_memory(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    monkeypatch.setattr(batching, "MEMINFO", folder / "meminfo")
    monkeypatch.setattr(batching, "CGROUP", folder)
    monkeypatch.setattr(batching, "_installed_memory", lambda: 16 * GIB)


@pytest.mark.parametrize(
    ("files", "gibibytes"),
    [
        ({"meminfo": "MemFree: 1 kB\nMemAvailable:    6291456 kB\n"}, 6),
        ({}, 8),  # a Mac: half of what is installed
        ({"meminfo": "MemTotal: 5 kB\n"}, 8),
        ({"meminfo": "MemAvailable: 6291456 kB\n", "memory_max": "max\n", "memory_current": "1\n"}, 6),
        (
            {
                "meminfo": "MemAvailable: 6291456 kB\n",
                "memory_max": f"{4 * GIB}\n",
                "memory_current": f"{GIB}\n",
            },
            3,
        ),
    ],
    ids=["linux", "mac", "no figure", "container without limit", "container"],
)
def test_free_memory_of_a_cpu_is_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], gibibytes: int
) -> None:
    write_memory(tmp_path, monkeypatch, **files)
    assert free_memory(CPU) == gibibytes * GIB


def test_free_memory_of_a_full_container_is_not_the_whole_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_memory(tmp_path, monkeypatch, memory_max="1000\n", memory_current="1000\n")
    assert free_memory(CPU) == 1


def test_free_memory_of_cuda_counts_what_torch_keeps_for_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIB)
    assert free_memory(torch.device("cuda", 0)) == 8 * GIB


@pytest.mark.parametrize(("recommended", "gibibytes"), [(10, 7), (15, 8), (None, 8)])
def test_free_memory_of_an_apple_gpu_is_that_of_both_limits_which_is_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recommended: int | None, gibibytes: int
) -> None:
    write_memory(tmp_path, monkeypatch)
    calls: list[str] = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: calls.append("emptied"))
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: calls.append("read") or 3 * GIB)
    limit = None if recommended is None else lambda: recommended * GIB
    monkeypatch.setattr(torch.mps, "recommended_max_memory", limit)
    assert free_memory(torch.device("mps")) == gibibytes * GIB
    assert calls == ["emptied", "read"]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    more=st.integers(0, 7),
    rate=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40)
def test_items_of_a_batch_draw_the_numbers_they_draw_alone(
    lengths: list[int], more: int, rate: int, seed: int
) -> None:
    """In the order of a render: prior, phases, source; each tensor with its own place for time."""

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed + index) for index in range(len(lengths))]

    batch, frames = len(lengths), max(lengths) + more
    numbers = ItemGenerators(generators(), lengths, frames)
    prior = numbers.normal((batch, 5, frames), 2)
    phases = numbers.uniform((batch, 1, 3), None)
    source = numbers.normal((batch, frames * rate, 4), 1)
    for item, (generator, length) in enumerate(zip(generators(), lengths, strict=True)):
        samples = length * rate
        assert torch.equal(prior[item, :, :length], torch.randn(1, 5, length, generator=generator)[0])
        assert torch.equal(phases[item], torch.rand(1, 1, 3, generator=generator)[0])
        assert torch.equal(source[item, :samples], torch.randn(1, samples, 4, generator=generator)[0])
        assert not prior[item, :, length:].any()
        assert not source[item, samples:].any()


@pytest.mark.parametrize(
    ("vocoder", "has_f0"), [*((vocoder, True) for vocoder in Vocoder), (Vocoder.HIFI_GAN, False)]
)
def test_a_seeded_render_is_the_same_in_a_batch_and_alone(vocoder: Vocoder, has_f0: bool) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    features, pitch, f0_hz, speaker_id = random_inputs(3, 60, has_f0=has_f0)
    lengths = [60, 25, 41]

    def generator(item: int) -> torch.Generator:
        return torch.Generator().manual_seed(100 + item)

    numbers = ItemGenerators([generator(item) for item in range(3)], lengths, 60)
    batch = synthesizer.infer(
        features, pitch, f0_hz, speaker_id, generator=numbers, lengths=torch.tensor(lengths)
    )
    for item, length in enumerate(lengths):
        alone = synthesizer.infer(
            *(None if part is None else part[item : item + 1, :length] for part in (features, pitch, f0_hz)),
            speaker_id[item : item + 1],
            generator=generator(item),
        )[0]
        torch.testing.assert_close(batch[item, : len(alone)], alone, rtol=0, atol=1e-6)
        assert not batch[item, len(alone) :].any()
