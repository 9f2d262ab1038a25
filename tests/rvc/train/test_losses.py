"""The losses, on numbers whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ultimate_rvc.rvc.train.losses import discriminator_loss, feature_loss, generator_loss, kl_loss


def test_a_perfect_judge_has_no_loss_and_a_fooled_one_the_most() -> None:
    ones, zeros = [torch.ones(2, 5), torch.ones(2, 9)], [torch.zeros(2, 5), torch.zeros(2, 9)]
    assert discriminator_loss(ones, zeros) == 0
    assert discriminator_loss(zeros, ones) == 4
    assert generator_loss(ones) == 0
    assert generator_loss(zeros) == 2


def test_features_are_compared_layer_by_layer_and_teach_the_render_only() -> None:
    real = [[torch.zeros(2, 3, requires_grad=True)], [torch.ones(4, requires_grad=True), torch.zeros(1)]]
    fake = [[torch.full((2, 3), 0.5, requires_grad=True)], [torch.zeros(4), torch.full((1,), -2.0)]]
    loss = feature_loss(real, fake)
    assert loss == 2 * (0.5 + 1 + 2)
    loss.backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad is not None


@given(
    mean_q=st.floats(-2, 2),
    log_deviation_q=st.floats(-1, 1),
    mean_p=st.floats(-2, 2),
    log_deviation_p=st.floats(-1, 1),
)
@settings(max_examples=25, deadline=None)
def test_the_divergence_is_that_of_two_normal_distributions(
    mean_q: float, log_deviation_q: float, mean_p: float, log_deviation_p: float
) -> None:
    """Averaged over many samples; its constant part is estimated as -1/2, as VITS does."""
    deviation_q = torch.tensor(log_deviation_q).exp()
    sample = mean_q + deviation_q * torch.randn(1, 1, 200_000, generator=torch.Generator().manual_seed(0))
    ones = torch.ones_like(sample)
    found = kl_loss(sample, log_deviation_q * ones, mean_p * ones, log_deviation_p * ones, ones)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean_q, deviation_q),
        torch.distributions.Normal(mean_p, torch.tensor(log_deviation_p).exp()),
    )
    assert float(found) == pytest.approx(float(exact), rel=0.02, abs=0.02)


def test_what_is_masked_does_not_count() -> None:
    numbers = torch.Generator().manual_seed(1)
    latents = [torch.randn(2, 3, 10, generator=numbers) for _ in range(4)]
    mask = torch.ones(2, 1, 10)
    mask[1, :, 6:] = 0
    loss = kl_loss(*latents, mask)
    spoiled = [latent.masked_fill(mask == 0, 9.0) for latent in latents]
    assert torch.equal(kl_loss(*spoiled, mask), loss)
    per_item = [
        kl_loss(*(latent[item : item + 1, :, :frames] for latent in latents), mask[:1, :, :frames])
        for item, frames in ((0, 10), (1, 6))
    ]
    assert float(loss) == pytest.approx(float(10 * per_item[0] + 6 * per_item[1]) / 16, rel=1e-5)


def test_losses_are_computed_in_single_precision() -> None:
    """The square of 300 is beyond half precision."""
    scores = [torch.full((1, 4), 300.0, dtype=torch.float16)]
    assert generator_loss(scores) == 299.0**2
    assert discriminator_loss(scores, scores) == 299.0**2 + 300.0**2
    assert feature_loss([scores], [[-scores[0]]]) == 1200
