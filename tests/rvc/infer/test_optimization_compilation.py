"""The compiled vocoder: the sound of the plain one, compiled at two lengths whatever is sung."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization.backends import torch_compile
from ultimate_rvc.rvc.infer.optimization.backends.torch_compile import CompiledRender
from ultimate_rvc.rvc.infer.optimization.fixed_tiles import Tile, plan_tiles, tile_lengths_for
from ultimate_rvc.rvc.infer.optimization.precision import Precision
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, render_whole

CPU = torch.device("cpu")
TILES = (64, 128)
# Each layer takes its time to compile.
FEW_LAYERS = replace(
    small_config((4, 2), 16), resblock_kernel_sizes=(3, 7), resblock_dilations=((1, 3), (1,))
)
CLOSE = {"atol": 2e-5, "rtol": 0.0}  # random weights reach full scale; float32 rounds at 6e-8 per layer

Wanted = Sequence[Sequence[tuple[int, int]]]


@pytest.fixture(autouse=True)
def forget_compiled_code() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def voice(vocoder: Vocoder = Vocoder.HIFI_GAN) -> Synthesizer:
    return small_synthesizer(vocoder, config=FEW_LAYERS)


def whole(
    vocoder: VocoderNetwork,
    latent: Tensor,
    source: Tensor | None,
    speaker: Tensor,
    noise: Noise,
    valid: Valid = None,
    wanted: Wanted | None = None,
) -> Tensor:
    return render_whole(vocoder, latent, source, speaker, noise, valid)


def not_expected(*arguments: Any) -> Tensor:
    raise AssertionError("the uncompiled way was taken")


def sung(
    synthesizer: Synthesizer,
    frames: int,
    render: Callable[..., Tensor] = whole,
    *,
    batch: int = 1,
    **how: Any,
) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return synthesizer.infer(*random_inputs(batch, frames), generator=generator, render=render, **how)


@given(
    frames=st.integers(64, 5000),
    context=st.integers(0, 31),
    lengths=st.lists(st.integers(64, 1100), min_size=1, max_size=3, unique=True),
    ends=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_run_once_and_reach_as_far_as_they_must(
    frames: int, context: int, lengths: list[int], ends: tuple[int, int]
) -> None:
    usable = sorted(length for length in lengths if length <= frames)
    span = min(*ends, frames), min(max(ends), frames)
    tiles = list(plan_tiles(span, frames, context, usable)) if usable else []
    covered = [frame for tile in tiles for frame in range(tile.start, tile.end)]
    assert covered == (list(range(*span)) if usable else [])
    for tile in tiles:
        assert tile.length in usable
        assert 0 <= tile.low <= max(tile.start - context, 0)
        assert min(tile.end + context, frames) <= tile.low + tile.length <= frames


def test_the_last_tile_is_the_shortest_that_reaches_the_end() -> None:
    assert list(plan_tiles((0, 1100), 1100, 12, (200, 1024))) == [
        Tile(0, 0, 1024, 0, 1012),
        Tile(0, 900, 200, 1012, 1100),
    ]


@pytest.mark.parametrize("vocoder", [Vocoder.HIFI_GAN, Vocoder.MRF_HIFI_GAN])
def test_ten_songs_of_different_length_compile_two_tiles(vocoder: Vocoder) -> None:
    synthesizer = voice(vocoder)
    counter = CompileCounter()
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=TILES)
    for frames in (64, 65, 100, 127, 128, 129, 150, 200, 333, 400):
        torch.testing.assert_close(sung(synthesizer, frames, render), sung(synthesizer, frames), **CLOSE)
    assert counter.frame_count == len(TILES)


def test_what_autograd_makes_of_the_vocoder_sounds_the_same() -> None:
    synthesizer = voice()
    counter = CompileCounterWithBackend("aot_eager")
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=TILES)
    for frames in (64, 150):
        torch.testing.assert_close(sung(synthesizer, frames, render), sung(synthesizer, frames), **CLOSE)
    assert counter.frame_count == len(TILES)


def test_a_voice_without_f0_is_compiled_too() -> None:
    synthesizer = small_synthesizer(has_f0=False, config=FEW_LAYERS)
    counter = CompileCounter()
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=TILES)
    given = random_inputs(1, 100, has_f0=False)
    rendered = synthesizer.infer(*given, noise_scale=0, render=render)
    torch.testing.assert_close(rendered, synthesizer.infer(*given, noise_scale=0), **CLOSE)
    assert counter.frame_count == 1


def test_another_voice_of_the_same_sizes_compiles_nothing() -> None:
    counter = CompileCounter()
    first, second = voice(), voice()
    with torch.no_grad():
        for weight in second.parameters():
            weight.mul_(1.1)
    for synthesizer in (first, second):
        render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=(64,))
        torch.testing.assert_close(sung(synthesizer, 90, render), sung(synthesizer, 90), **CLOSE)
    assert not torch.allclose(sung(first, 90), sung(second, 90), atol=1e-2)
    assert counter.frame_count == 1


def test_items_of_a_padded_batch_sound_as_alone_and_compile_nothing_more() -> None:
    synthesizer = voice()
    counter = CompileCounter()
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=(64,))
    lengths = [150, 64, 99]
    rendered = sung(synthesizer, 150, render, batch=3, lengths=lengths)
    torch.testing.assert_close(rendered, sung(synthesizer, 150, batch=3, lengths=lengths), **CLOSE)
    assert counter.frame_count == 1


def test_frames_nobody_wants_are_silent_and_not_rendered() -> None:
    synthesizer = voice()
    counter = CompileCounter()
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=TILES)
    wanted = [[(10, 30), (250, 400)]]

    def render_wanted(*arguments: Any) -> Tensor:
        return render(*arguments, wanted)

    hop = synthesizer.config.hop_length
    reference, rendered = sung(synthesizer, 400)[0], sung(synthesizer, 400, render_wanted)[0]
    heard = torch.zeros(400, dtype=torch.bool)
    heard[10:30] = heard[250:400] = True
    heard = heard.repeat_interleave(hop)
    torch.testing.assert_close(rendered[heard], reference[heard], **CLOSE)
    assert not rendered[~heard].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_compiled_and_redone_in_float32_without_compiling(dtype: torch.dtype) -> None:
    synthesizer = voice()
    reference = sung(synthesizer, 90)
    precision = Precision(CPU, dtype)
    precision.prepare(synthesizer)
    counter = CompileCounter()
    render = CompiledRender(CPU, not_expected, backend=counter, tile_lengths=(64,))
    half = sung(synthesizer, 90, render)
    torch.testing.assert_close(half, sung(synthesizer, 90), atol=1e-3, rtol=0)
    assert (half - reference).abs().max() > 1e-4
    with precision.float32():
        torch.testing.assert_close(sung(synthesizer, 90, render), reference, **CLOSE)
    torch.testing.assert_close(sung(synthesizer, 90, render), half, atol=0, rtol=0)
    assert counter.frame_count == 1


def test_compiled_code_tells_of_numbers_that_are_not_finite() -> None:
    synthesizer = voice()
    precision = Precision(CPU, torch.float16)
    precision.prepare(synthesizer)
    render = CompiledRender(CPU, not_expected, backend="aot_eager", tile_lengths=(64,))
    windows = precision.finite_windows()
    windows.accept(["sound"], list(sung(synthesizer, 90, render)))
    with torch.no_grad():
        synthesizer.dec.resblocks[-1].convs2[-1].bias.fill_(torch.inf)
        synthesizer.dec.conv_post.weight.abs_()
    rendered = sung(synthesizer, 90, render)
    assert rendered.isfinite().all()  # tanh hides it
    windows.accept(["overflowed"], list(rendered))
    assert windows.failed() == ["overflowed"]


def recording() -> tuple[list[int], Callable[..., Tensor]]:
    """Lengths that were rendered the uncompiled way, and that way."""
    lengths: list[int] = []

    def render(vocoder: VocoderNetwork, latent: Tensor, *rest: Any) -> Tensor:
        lengths.append(latent.shape[-1])
        return whole(vocoder, latent, *rest)

    return lengths, render


def test_windows_shorter_than_a_tile_are_rendered_uncompiled() -> None:
    synthesizer = voice()
    lengths, uncompiled = recording()
    counter = CompileCounter()
    render = CompiledRender(CPU, uncompiled, backend=counter, tile_lengths=TILES)
    assert torch.equal(sung(synthesizer, 63, render), sung(synthesizer, 63))
    assert (lengths, counter.frame_count) == ([63], 0)


def test_a_vocoder_that_draws_noise_in_its_layers_is_compiled_only_without() -> None:
    synthesizer = voice(Vocoder.REFINE_GAN)
    tile = 2 * synthesizer.vocoder.context_frames + 20
    lengths, uncompiled = recording()
    render = CompiledRender(CPU, uncompiled, backend="eager", tile_lengths=(tile,))
    frames = tile + 30
    assert torch.equal(sung(synthesizer, frames, render), sung(synthesizer, frames))
    assert lengths == [frames]
    quiet = sung(synthesizer, frames, render, source_noise_scale=0)
    torch.testing.assert_close(quiet, sung(synthesizer, frames, source_noise_scale=0), **CLOSE)
    assert lengths == [frames]


def test_without_a_compiler_the_voice_sings_uncompiled_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def no_compiler(graph: object, inputs: object) -> Callable[..., Any]:
        raise RuntimeError("No working C++ compiler found.\nMany more lines.")

    synthesizer = voice()
    lengths, uncompiled = recording()
    render = CompiledRender(CPU, uncompiled, backend=no_compiler, tile_lengths=TILES)
    for _ in range(2):
        assert torch.equal(sung(synthesizer, 100, render), sung(synthesizer, 100))
    assert lengths == [100, 100]
    (message,) = [record.message for record in caplog.records if record.name == torch_compile.log.name]
    assert "No working C++ compiler found" in message
    assert message.endswith("; the vocoder runs uncompiled.")
    assert not render.wait()


def test_lack_of_memory_is_the_pipelines_to_handle() -> None:
    def too_large(graph: object, inputs: object) -> Callable[..., Any]:
        def run(*arguments: object) -> object:
            raise RuntimeError("CUDA out of memory.")

        return run

    render = CompiledRender(CPU, not_expected, backend=too_large, tile_lengths=TILES)
    with pytest.raises(RuntimeError, match="out of memory"):
        sung(voice(), 100, render)
    assert render.wait()


def test_warm_up_compiles_every_length_in_the_background_within_the_stage() -> None:
    threads, stages = set(), []
    counter = CompileCounter()

    def backend(graph: Any, inputs: Any) -> Any:
        threads.add(threading.current_thread())
        return counter(graph, inputs)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        stages.append(name)
        yield

    synthesizer = voice()
    render = CompiledRender(CPU, not_expected, backend=backend, tile_lengths=TILES)
    before = torch.get_rng_state()
    render.warm_up(synthesizer, stage)
    assert render.wait()
    assert torch.equal(torch.get_rng_state(), before)
    assert threading.current_thread() not in threads
    assert (counter.frame_count, set(stages)) == (len(TILES), {"synthesize"})
    torch.testing.assert_close(sung(synthesizer, 200, render), sung(synthesizer, 200), **CLOSE)
    assert counter.frame_count == len(TILES)


def test_a_song_waits_for_the_warm_up_instead_of_compiling_beside_it() -> None:
    may_compile = threading.Event()
    compiling: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiling.append(threading.current_thread().name)
        may_compile.wait()
        return graph.forward

    synthesizer = voice()
    render = CompiledRender(CPU, not_expected, backend=backend, tile_lengths=(64,))
    render.warm_up(synthesizer)
    waveforms: list[Tensor] = []
    song = threading.Thread(target=lambda: waveforms.append(sung(synthesizer, 64, render)))
    song.start()
    assert not waveforms
    may_compile.set()
    song.join()
    torch.testing.assert_close(waveforms[0], sung(synthesizer, 64), **CLOSE)
    assert compiling == ["vocoder warm-up"]


def test_a_failed_warm_up_leaves_a_voice_that_sings_uncompiled(caplog: pytest.LogCaptureFixture) -> None:
    def no_compiler(graph: object, inputs: object) -> Callable[..., Any]:
        raise RuntimeError("no compiler")

    render = CompiledRender(CPU, whole, backend=no_compiler, tile_lengths=TILES)
    synthesizer = voice()
    render.warm_up(synthesizer)
    assert not render.wait()
    assert torch.equal(sung(synthesizer, 70, render), sung(synthesizer, 70))
    assert sum("runs uncompiled" in message for message in caplog.messages) == 1


def test_a_warm_up_that_finds_no_memory_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def too_large(graph: object, inputs: object) -> Callable[..., Any]:
        def run(*arguments: object) -> object:
            raise RuntimeError("CUDA out of memory.")

        return run

    render = CompiledRender(CPU, not_expected, backend=too_large, tile_lengths=TILES)
    render.warm_up(voice())
    render.wait()
    assert "The vocoder could not be warmed up (RuntimeError: CUDA out of memory.)." in caplog.messages


def test_each_device_has_its_tiles() -> None:
    lengths = {kind: tile_lengths_for(torch.device(kind)) for kind in ("cpu", "cuda", "mps")}
    assert lengths == {"cpu": (200, 512), "cuda": (200, 1024), "mps": (200, 1024)}
