"""The judges of a training: sets, widths, gradients and states."""

from __future__ import annotations

import pytest
import torch

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.discriminators import DiscriminatorOutput, build_discriminator, frozen
from ultimate_rvc.rvc.networks.spectrogram_discriminator import Resolution, SpectrogramDiscriminator
from ultimate_rvc.rvc.networks.training_state import paired_state
from ultimate_rvc.rvc.networks.waveform_discriminators import PeriodDiscriminator, ScaleDiscriminator
from ultimate_rvc.rvc.train.losses import discriminator_loss, feature_loss, generator_loss

NARROW = 1 / 16
SETS = (
    (VoiceVersion.V1, Vocoder.HIFI_GAN, 7),
    (VoiceVersion.V2, Vocoder.HIFI_GAN, 9),
    (VoiceVersion.V2, Vocoder.MRF_HIFI_GAN, 9),
    (VoiceVersion.V2, Vocoder.REFINE_GAN, 9),
)
every_set = pytest.mark.parametrize(("version", "vocoder", "members"), SETS)


def waveforms(samples: int = 6000) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(3)
    real, fake = (0.3 * torch.randn(2, 1, samples, generator=numbers) for _ in range(2))
    return real, fake.requires_grad_()


@every_set
def test_each_member_judges_both_waveforms(version: VoiceVersion, vocoder: Vocoder, members: int) -> None:
    output = build_discriminator(version, vocoder, NARROW)(*waveforms())
    assert {len(group) for group in vars(output).values()} == {members}
    for real_scores, fake_scores, real_maps, fake_maps in zip(*vars(output).values(), strict=True):
        assert real_scores.shape == fake_scores.shape
        assert len(real_scores) == 2
        assert [values.shape for values in real_maps] == [values.shape for values in fake_maps]
        assert torch.equal(fake_maps[-1].flatten(1), fake_scores)
        assert not torch.equal(real_scores, fake_scores)


def test_the_sets_are_those_of_rvc() -> None:
    def periods(version: VoiceVersion, vocoder: Vocoder) -> list[int]:
        members = build_discriminator(version, vocoder, NARROW).discriminators
        assert isinstance(members[0], ScaleDiscriminator)
        return [member.period for member in members if isinstance(member, PeriodDiscriminator)]

    assert periods(VoiceVersion.V1, Vocoder.HIFI_GAN) == [2, 3, 5, 7, 11, 17]
    assert periods(VoiceVersion.V2, Vocoder.MRF_HIFI_GAN) == [2, 3, 5, 7, 11, 17, 23, 37]
    assert periods(VoiceVersion.V2, Vocoder.REFINE_GAN) == [2, 3, 5, 7, 11]
    members = build_discriminator(VoiceVersion.V2, Vocoder.REFINE_GAN, NARROW).discriminators
    resolutions = [vars(each.resolution) for each in members if isinstance(each, SpectrogramDiscriminator)]
    assert [tuple(sizes.values()) for sizes in resolutions] == [
        (1024, 120, 600),
        (2048, 240, 1200),
        (512, 50, 240),
    ]


@every_set
def test_frozen_judges_tell_the_render_the_same(
    version: VoiceVersion, vocoder: Vocoder, members: int
) -> None:
    """Frozen, both waveforms go through apart and the weights get no gradient: the render's is the same."""
    judges = build_discriminator(version, vocoder, NARROW)

    def gradient() -> tuple[DiscriminatorOutput, torch.Tensor]:
        real, fake = waveforms()
        output = judges(real, fake)
        loss = generator_loss(output.fake_scores) + feature_loss(output.real_maps, output.fake_maps)
        loss.backward()
        assert fake.grad is not None
        return output, fake.grad

    learning, expected = gradient()
    assert all(weight.grad is not None for weight in judges.parameters())
    judges.zero_grad()
    with frozen(judges):
        judging, found = gradient()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(judging.real_scores, learning.real_scores, rtol=1e-4, atol=1e-6)
    assert all(weight.grad is None and weight.requires_grad for weight in judges.parameters())


def test_freezing_leaves_what_was_frozen_before() -> None:
    judges = build_discriminator(VoiceVersion.V1, Vocoder.HIFI_GAN, NARROW)
    first = next(judges.parameters()).requires_grad_(False)
    with pytest.raises(RuntimeError, match="stop"), frozen(judges):
        raise RuntimeError("stop")
    assert [weight.requires_grad for weight in judges.parameters()].count(False) == 1
    assert not first.requires_grad


def test_judges_learn_to_tell_a_tone_from_noise() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judges = build_discriminator(VoiceVersion.V1, Vocoder.HIFI_GAN, NARROW)
    optimizer = torch.optim.AdamW(judges.parameters(), 3e-3, betas=(0.8, 0.99))
    real = 0.5 * torch.sin(torch.arange(3000) / 20).expand(2, 1, -1)
    fake = waveforms(3000)[1].detach()
    losses = []
    for _ in range(20):
        output = judges(real, fake)
        loss = discriminator_loss(output.real_scores, output.fake_scores)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("width", [1.0, 0.5, 1 / 3, 0.25, 0.01])
def test_any_width_gives_fitting_layers(width: float) -> None:
    scale, period = ScaleDiscriminator(width), PeriodDiscriminator(3, width)
    resolution = SpectrogramDiscriminator(Resolution(512, 50, 240), width)
    for member in (scale, period, resolution):
        scores, maps = member(torch.rand(1, 1, 1000))
        assert scores.shape[0] == 1
        assert maps[0].shape[1] == max(4, round(member.convs[0].out_channels / 4) * 4)
    assert scale.convs[0].out_channels == max(4, 4 * round(16 * width / 4))
    assert period.convs[3].out_channels == max(4, 4 * round(1024 * width / 4))


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be positive"):
        build_discriminator(VoiceVersion.V2, Vocoder.HIFI_GAN, 0)


@pytest.mark.parametrize("samples", [2520, 2521, 2546])
def test_periods_fold_what_they_do_not_divide(samples: int) -> None:
    period = PeriodDiscriminator(7, NARROW)
    _, maps = period(torch.rand(1, 1, samples))
    assert maps[0].shape[-1] == 7


def test_published_names_are_taken_in_either_dialect() -> None:
    judges = build_discriminator(VoiceVersion.V2, Vocoder.REFINE_GAN, NARROW)
    published = paired_state(judges.state_dict())
    assert "discriminators.0.convs.0.weight_g" in published
    assert not any("parametrizations" in key for key in published)
    for state in (published, judges.state_dict()):
        other = build_discriminator(VoiceVersion.V2, Vocoder.REFINE_GAN, NARROW)
        other.load_state(state)
        taken = other.state_dict()
        assert all(torch.equal(tensor, taken[key]) for key, tensor in judges.state_dict().items())


def test_judges_of_another_version_are_refused() -> None:
    judges = build_discriminator(VoiceVersion.V2, Vocoder.HIFI_GAN, NARROW)
    other = build_discriminator(VoiceVersion.V1, Vocoder.HIFI_GAN, NARROW)
    with pytest.raises(VoiceFileError, match=r"discriminators\.7\..* is missing.* and \d+ more"):
        judges.load_state(other.state_dict())
