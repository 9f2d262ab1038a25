"""What a training step does to batches, random numbers, gradients and states, for every kind of voice."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.segments import draw_starts, slice_segments
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.training_synthesizer import TrainingOutput, TrainingSynthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.train.batches import Batch, Example
from ultimate_rvc.rvc.train.losses import kl_loss
from ultimate_rvc.rvc.train.settings import NetworkChoice
from ultimate_rvc.rvc.train.sizes import named_config, spectrogram_sizes
from ultimate_rvc.rvc.voice_file.describe import Dialect, Speaker, VoiceFile, VoiceMetadata
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from ultimate_rvc.rvc.voice_file.write import write_rvc_voice

PHONE_DIM = 12
SPEAKERS = 2
SEGMENT_FRAMES = 8


@dataclass(frozen=True)
class Kind:
    version: VoiceVersion
    sample_rate: int
    vocoder: Vocoder
    has_f0: bool

    def __str__(self) -> str:
        return f"{self.version}-{self.sample_rate}-{self.vocoder}-{'f0' if self.has_f0 else 'no f0'}"


NSF = Kind(VoiceVersion.V2, 40000, Vocoder.HIFI_GAN, has_f0=True)
KINDS = (
    NSF,
    Kind(VoiceVersion.V1, 48000, Vocoder.HIFI_GAN, has_f0=False),
    Kind(VoiceVersion.V2, 32000, Vocoder.MRF_HIFI_GAN, has_f0=True),
    Kind(VoiceVersion.V2, 32000, Vocoder.REFINE_GAN, has_f0=True),
)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def build(
    kind: Kind, speakers: int = SPEAKERS, seed: int = 0, *, few_layers: bool = True
) -> TrainingSynthesizer:
    """A tiny network, every weight moved off what it begins with: a flow of zeros would hide its mistakes."""
    return deepcopy(_built(kind, speakers, seed, few_layers))


@cache
def _built(kind: Kind, speakers: int, seed: int, few_layers: bool) -> TrainingSynthesizer:
    config = named_config(
        NetworkChoice.TINY,
        kind.version,
        kind.sample_rate,
        phone_dim=PHONE_DIM,
        speakers=speakers,
        vocoder=kind.vocoder,
    )
    if few_layers:
        config = replace(config, resblock_kernel_sizes=(3, 7), resblock_dilations=((1, 3),) * 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrainingSynthesizer(config, has_f0=kind.has_f0, vocoder=kind.vocoder)
        with torch.no_grad():
            for weight in network.parameters():
                weight += 0.05 * torch.randn_like(weight)
    return network


def example(kind: Kind, frames: int, seed: int = 0) -> Example:
    numbers = torch.Generator().manual_seed(seed)
    sizes = spectrogram_sizes(kind.version, kind.sample_rate)
    f0_hz = 100 + 300 * torch.rand(frames, generator=numbers)
    f0_hz[3:6] = 0
    return Example(
        features=torch.randn(frames, PHONE_DIM, generator=numbers),
        pitch=torch.randint(1, 256, (frames,), generator=numbers) if kind.has_f0 else None,
        f0_hz=f0_hz if kind.has_f0 else None,
        spectrogram=torch.rand(frames, sizes.n_fft // 2 + 1, generator=numbers),
        waveform=0.1 * torch.randn(frames * sizes.hop_length, generator=numbers),
        speaker=seed % SPEAKERS,
    )


def batch(kind: Kind, *frames: int) -> Batch:
    return Batch.of([example(kind, count, seed) for seed, count in enumerate(frames)])


def step(
    network: TrainingSynthesizer, given: Batch, seed: int = 7, noise_scale: float = 1.0
) -> TrainingOutput:
    generator = torch.Generator().manual_seed(seed)
    output: TrainingOutput = network(
        given, segment_frames=SEGMENT_FRAMES, generator=generator, noise_scale=noise_scale
    )
    return output


def loss_of(output: TrainingOutput) -> Tensor:
    divergence = kl_loss(
        output.z_p, output.log_deviation_q, output.mean_p, output.log_deviation_p, output.mask
    )
    return output.waveform.square().mean() + divergence


def gradients(network: TrainingSynthesizer, output: TrainingOutput) -> dict[str, Tensor]:
    network.zero_grad()
    loss_of(output).backward()
    found = {key: weight.grad for key, weight in network.named_parameters()}
    return {key: gradient.clone() for key, gradient in found.items() if gradient is not None}


# --- what comes out ----------------------------------------------------------------------------


@every_kind
def test_shapes_are_as_promised_and_every_weight_learns(kind: Kind) -> None:
    network, given = build(kind), batch(kind, 30, 22)
    output = step(network, given)
    channels = network.config.inter_channels
    assert output.waveform.shape == (2, 1, SEGMENT_FRAMES * network.config.hop_length)
    assert output.mask.sum(dim=(1, 2)).tolist() == [30, 22]
    for latent in (output.z_p, output.mean_p, output.log_deviation_p, output.mean_q, output.log_deviation_q):
        assert latent.shape == (2, channels, 30)
        assert latent.dtype == torch.float32
        assert not latent[1, :, 22:].any()
    found = gradients(network, output)
    silent = [key for key, _ in network.named_parameters() if key not in found or not found[key].any()]
    assert silent == []


@every_kind
def test_the_vocoder_renders_what_the_finished_voice_renders(kind: Kind) -> None:
    """The piece of the posterior's latent that is rendered, and the way back through the flow."""
    network, given = build(kind), batch(kind, 30, 22)
    output = step(network, given, noise_scale=0.0)
    state = fold_weight_norm(network.voice_state())
    voice = Synthesizer.from_state(network.config, state, has_f0=kind.has_f0, vocoder=kind.vocoder)
    speaker = voice.speaker(given.speaker)
    latent = voice.flow(output.z_p.detach(), speaker, output.mask)
    torch.testing.assert_close(latent, output.mean_q.detach(), rtol=1e-4, atol=1e-5)
    piece = slice_segments(output.mean_q.detach(), output.slice_starts, SEGMENT_FRAMES)
    silent = Noise(0.0)
    source = None
    if given.f0_hz is not None:
        f0_hz = slice_segments(given.f0_hz, output.slice_starts, SEGMENT_FRAMES)
        source = voice.vocoder.excitation(f0_hz, silent)
    rendered = voice.vocoder(piece, source, speaker, silent)
    torch.testing.assert_close(rendered, output.waveform.detach(), rtol=1e-4, atol=1e-5)


@every_kind
def test_from_the_prior_it_renders_what_a_conversion_renders(kind: Kind) -> None:
    network, given = build(kind), batch(kind, 30, 22)
    output: TrainingOutput = network(given, segment_frames=SEGMENT_FRAMES, noise_scale=0.0, from_prior=True)
    state = fold_weight_norm(network.voice_state())
    voice = Synthesizer.from_state(network.config, state, has_f0=kind.has_f0, vocoder=kind.vocoder)
    speaker, silent = voice.speaker(given.speaker), Noise(0.0)
    latent = voice.latent(given.features, given.pitch, speaker, silent, tuple(given.lengths.tolist()))
    piece = slice_segments(latent, output.slice_starts, SEGMENT_FRAMES)
    source = None
    if given.f0_hz is not None:
        source = voice.vocoder.excitation(
            slice_segments(given.f0_hz, output.slice_starts, SEGMENT_FRAMES), silent
        )
    rendered = voice.vocoder(piece, source, speaker, silent)
    torch.testing.assert_close(rendered, output.waveform.detach(), rtol=1e-4, atol=1e-5)


@every_kind
def test_from_the_prior_every_weight_but_the_posteriors_learns_of_the_waveform(kind: Kind) -> None:
    network = build(kind)
    output: TrainingOutput = network(
        batch(kind, 30, 22),
        segment_frames=SEGMENT_FRAMES,
        generator=torch.Generator().manual_seed(1),
        from_prior=True,
    )
    found = gradients(network, output)
    silent = {key for key, _ in network.named_parameters() if key not in found or not found[key].any()}
    assert silent == {key for key, _ in network.named_parameters() if key.startswith("enc_q.")}


@every_kind
def test_padding_changes_nothing_inside_an_item(kind: Kind) -> None:
    network = build(kind)
    alone = step(network, batch(kind, 22), noise_scale=0.0)
    padded_batch = Batch.of([example(kind, 22, 0), example(kind, 40, 1)])
    padded = step(network, padded_batch, noise_scale=0.0)
    for name in ("z_p", "mean_p", "log_deviation_p", "mean_q", "log_deviation_q"):
        expected, found = getattr(alone, name)[0], getattr(padded, name)[0, :, :22]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_another_speaker_or_pitch_gives_another_output() -> None:
    network, given = build(NSF), batch(NSF, 30, 22)
    assert given.pitch is not None
    assert given.f0_hz is not None
    plain = step(network, given)
    for changed, name in (
        (replace(given, speaker=1 - given.speaker), "waveform"),
        (replace(given, f0_hz=given.f0_hz * 1.5), "waveform"),
        (replace(given, spectrogram=given.spectrogram * 0.5), "z_p"),
        (replace(given, pitch=given.pitch.flip(1)), "mean_p"),
        (replace(given, features=given.features * 0.5), "log_deviation_p"),
    ):
        assert not torch.equal(getattr(step(network, changed), name), getattr(plain, name))


@pytest.mark.parametrize("segment_frames", [0, 31])
def test_a_segment_must_fit_the_batch(segment_frames: int) -> None:
    with pytest.raises(ValueError, match="segment_frames must be 1 to 30"):
        build(NSF)(batch(NSF, 30), segment_frames=segment_frames)


def test_pitch_and_voice_must_agree() -> None:
    without = replace(batch(NSF, 30), pitch=None, f0_hz=None)
    with pytest.raises(ValueError, match="with f0"):
        build(NSF)(without, segment_frames=SEGMENT_FRAMES)


def test_a_recorded_dropout_is_not_passed_on() -> None:
    config = replace(build(NSF).config, dropout=0.1)
    assert TrainingSynthesizer(config, has_f0=True, vocoder=Vocoder.HIFI_GAN).config.dropout == 0


def test_a_vocoder_that_needs_f0_is_refused_without() -> None:
    with pytest.raises(VoiceFileError, match="no f0"):
        build(replace(KINDS[2], has_f0=False))


# --- random numbers ----------------------------------------------------------------------------


@every_kind
def test_one_seed_gives_one_step_whatever_torch_drew_before(kind: Kind) -> None:
    network, given = build(kind), batch(kind, 30, 22)
    first = step(network, given)
    torch.rand(5)
    second, other = step(network, given), step(network, given, seed=8)
    assert torch.equal(first.waveform, second.waveform)
    assert torch.equal(first.z_p, second.z_p)
    assert not torch.equal(first.z_p, other.z_p)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    segment_frames=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_segments_lie_inside_their_items(lengths: list[int], segment_frames: int, seed: int) -> None:
    starts = draw_starts(torch.tensor(lengths), segment_frames, torch.Generator().manual_seed(seed))
    assert starts.dtype == torch.int64
    for start, length in zip(starts.tolist(), lengths, strict=True):
        assert 0 <= start <= max(length - segment_frames, 0)


def test_segments_start_everywhere_alike() -> None:
    starts = draw_starts(torch.full((6000,), 12), 8, torch.Generator().manual_seed(0))
    counts = torch.bincount(starts, minlength=5)
    assert counts.tolist() == pytest.approx([1200] * 5, rel=0.1)


def test_slices_are_cut_from_each_item_at_its_own_place() -> None:
    signal = torch.arange(2 * 3 * 10).reshape(2, 3, 10)
    sliced = slice_segments(signal, torch.tensor([1, 6]), 4)
    assert torch.equal(sliced, torch.stack((signal[0, :, 1:5], signal[1, :, 6:10])))
    assert torch.equal(slice_segments(signal[:, 0], torch.tensor([1, 6]), 4), sliced[:, 0])


# --- gradients ---------------------------------------------------------------------------------


@every_kind
def test_checkpointing_keeps_every_gradient(kind: Kind) -> None:
    network, given = build(kind), batch(kind, 30, 22)
    plain = gradients(network, step(network, given))
    network.gradient_checkpointing = True
    recomputed = gradients(network, step(network, given))
    assert plain.keys() == recomputed.keys()
    for key, gradient in plain.items():
        torch.testing.assert_close(recomputed[key], gradient, rtol=1e-5, atol=1e-7, msg=key)


def test_checkpointing_keeps_fewer_values_for_the_way_back() -> None:
    def kept_values(network: TrainingSynthesizer) -> int:
        kept = 0

        def count(value: Tensor) -> Tensor:
            nonlocal kept
            kept += value.numel()
            return value

        with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
            step(network, batch(NSF, 30, 22))
        return kept

    network = build(NSF, few_layers=False)
    plain = kept_values(network)
    network.gradient_checkpointing = True
    assert kept_values(network) < 0.5 * plain


@every_kind
def test_gradients_are_the_slope_of_the_loss(kind: Kind) -> None:
    """Measured where it is steepest, along the gradient itself, by a small step either way."""
    network, given = build(kind), batch(kind, 24)
    slopes = gradients(network, step(network, given, noise_scale=0.0))
    steepness = torch.sqrt(sum(slope.square().sum() for slope in slopes.values()))

    def loss_at(distance: float) -> float:
        moved = build(kind)
        with torch.no_grad():
            for key, weight in moved.named_parameters():
                weight += distance / steepness * slopes[key] if key in slopes else 0
            return float(loss_of(step(moved, given, noise_scale=0.0)).double())

    distance = 3e-3
    measured = (loss_at(distance) - loss_at(-distance)) / (2 * distance)
    assert float(steepness) == pytest.approx(measured, rel=0.01)


@every_kind
def test_half_precision_gives_nearly_the_same_step(kind: Kind) -> None:
    network, given = build(kind, few_layers=False), batch(kind, 30, 22)
    plain = step(network, given)
    with torch.autocast("cpu", torch.bfloat16):
        halved = step(network, given)
    for name, value in vars(halved).items():
        expected = getattr(plain, name)
        assert value.dtype == expected.dtype
        spread = float(expected.detach().float().std()) + 1e-3
        difference = float((value - expected).detach().float().square().mean().sqrt())
        assert difference < 0.15 * spread, name
    loss_of(halved).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


# --- states ------------------------------------------------------------------------------------


def test_the_flow_begins_by_changing_nothing() -> None:
    config = build(NSF).config
    network = TrainingSynthesizer(config, has_f0=True, vocoder=Vocoder.HIFI_GAN)
    output = step(network, batch(NSF, 30), noise_scale=0.0)
    # Four reversals of the channels cancel.
    assert torch.equal(output.z_p, output.mean_q)


@pytest.mark.parametrize("seed", range(8))
def test_the_source_is_open_from_the_first_step_whatever_the_seed(seed: int) -> None:
    """A vocoder that begins without the sine finds no way to it, and never follows the pitch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrainingSynthesizer(build(NSF).config, has_f0=True, vocoder=Vocoder.HIFI_GAN)
    source = network.vocoder.excitation(torch.full((1, 20), 200.0), Noise(0.0))
    assert source is not None
    assert 0.05 < source.std() < 0.1  # a sine of amplitude 0.1


@every_kind
def test_a_voice_state_becomes_a_voice_that_loads(kind: Kind, tmp_path: Path) -> None:
    network = build(kind)
    state = network.voice_state()
    assert not any(key.startswith("enc_q.") or "parametrizations" in key for key in state)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    metadata = VoiceMetadata(
        config=network.config,
        version=kind.version,
        has_f0=kind.has_f0,
        vocoder=kind.vocoder,
        speakers=tuple(Speaker(number) for number in range(SPEAKERS)),
        dialect=Dialect.RVC,
    )
    write_rvc_voice(tmp_path / "voice.pth", VoiceFile(metadata, state))
    voice = load_voice_model(tmp_path / "voice.pth")
    folded = fold_weight_norm(state)
    for key, tensor in voice.synthesizer.state_dict().items():
        torch.testing.assert_close(tensor, folded[key], rtol=2e-3, atol=1e-4, msg=key)


@every_kind
def test_a_voice_state_is_taken_in_again_but_for_the_posterior(kind: Kind) -> None:
    network, other = build(kind), build(kind, seed=1)
    posterior = {key: tensor.clone() for key, tensor in other.enc_q.state_dict().items()}
    state = network.voice_state()
    assert other.load_state(state) == ["enc_q"]
    taken = other.voice_state()
    assert all(torch.equal(tensor, taken[key]) for key, tensor in state.items())
    assert all(torch.equal(tensor, posterior[key]) for key, tensor in other.enc_q.state_dict().items())


def published(network: TrainingSynthesizer, names: str) -> dict[str, Tensor]:
    """The state of a ``G`` file, as older and newer tools and parallel trainings name its layers."""
    state = network.state_dict()
    if names == "newer":
        return dict(state)
    for old, new in (("original0", "weight_g"), ("original1", "weight_v")):
        state = {key.replace(f"parametrizations.weight.{old}", new): value for key, value in state.items()}
    if names == "half, in parallel":
        return {f"module.{key}": tensor.half() for key, tensor in state.items()}
    return state


@pytest.mark.parametrize("names", ["newer", "older", "half, in parallel"])
def test_a_published_generator_is_taken_in_whole(names: str) -> None:
    network, other = build(NSF), build(NSF, seed=1)
    assert other.load_state(published(network, names)) == []
    taken = other.state_dict()
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(taken[key], tensor, rtol=1e-3, atol=1e-4, msg=key)


def test_plain_weights_are_taken_in_as_their_pairs() -> None:
    network, other = build(NSF), build(NSF, seed=1)
    other.load_state(fold_weight_norm(network.voice_state()))
    other.enc_q.load_state_dict(network.enc_q.state_dict())
    ours, theirs = (step(each, batch(NSF, 30)).waveform for each in (network, other))
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("rows", "fresh"), [(5, []), (1, ["emb_g.weight from row 1 on"])])
def test_speakers_are_copied_as_far_as_they_go(rows: int, fresh: list[str]) -> None:
    network, other = build(NSF), build(NSF, speakers=rows, seed=1)
    own_rows = network.emb_g.weight.detach().clone()
    assert network.load_state(other.state_dict()) == fresh
    expected = torch.cat((other.emb_g.weight[:SPEAKERS], own_rows[rows:])).detach()
    assert torch.equal(network.emb_g.weight.detach(), expected)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("enc_p.emb_phone.weight", torch.zeros(16, 99), r"emb_phone.weight has shape \(16, 99\) instead of"),
        ("enc_p.emb_pitch.weight", None, "emb_pitch.weight is missing"),
        ("enc_q.proj.bias", None, "enc_q.proj.bias is missing"),
        ("dec.surprise", torch.zeros(1), "dec.surprise is unknown"),
        ("dec.cond.bias", torch.full((32,), torch.nan), "dec.cond.bias holds values that are no numbers"),
        ("emb_g.weight", torch.zeros(2, 5), r"emb_g.weight has shape \(2, 5\)"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_changed(
    key: str, value: Tensor | None, said: str
) -> None:
    network = build(NSF)
    state = published(build(NSF, seed=1), "older")
    if value is None:
        del state[key]
    else:
        state[key] = value
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(VoiceFileError, match=said):
        network.load_state(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
