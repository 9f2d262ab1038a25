"""One step: the generator renders pieces, discriminators learn to tell them, the generator learns of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.discriminators import DiscriminatorOutput, Discriminators, frozen
from ultimate_rvc.rvc.networks.segments import slice_segments
from ultimate_rvc.rvc.networks.training_synthesizer import TrainingOutput, TrainingSynthesizer
from ultimate_rvc.rvc.train.batches import Batch
from ultimate_rvc.rvc.train.draws import ExampleDraws
from ultimate_rvc.rvc.train.losses import discriminator_loss, feature_loss, generator_loss, kl_loss
from ultimate_rvc.rvc.train.mel import MelSpectrogram, MultiScaleMelLoss, mel_loss
from ultimate_rvc.rvc.train.networks import Networks
from ultimate_rvc.rvc.train.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

MEL_WEIGHT = 45.0
MULTI_SCALE_MEL_WEIGHT = MEL_WEIGHT / 3
KL_WEIGHT = 1.0
BETAS = (0.8, 0.99)
EPSILON = 1e-9

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
LOSSES = (GENERATOR, DISCRIMINATOR, "adversarial", "feature", "mel", "kl")
NORMS = ("generator_gradient_norm", "discriminator_gradient_norm")
VALUES = (*LOSSES, *NORMS)  # what a step gives, in this order


class Learner:
    """Networks, optimizers and schedulers of one process, and the step they make together."""

    def __init__(self, accelerator: Accelerator, networks: Networks, settings: TrainingSettings) -> None:
        self._accelerator, self._settings, self._sizes = accelerator, settings, networks.sizes
        self.generator: TrainingSynthesizer = networks.generator
        self.discriminators: Discriminators = networks.discriminators
        self._from_prior = networks.from_prior
        if self._from_prior:  # nothing goes through it, which several processes would wait for
            networks.generator.enc_q.requires_grad_(False)
        self.average: TrainingSynthesizer | None = None
        if settings.average_weights:
            self.average = copy.deepcopy(networks.generator).requires_grad_(False).to(accelerator.device)
        self._generator_in_parallel, self._discriminators_in_parallel, *optimizers = accelerator.prepare(
            networks.generator,
            networks.discriminators,
            _optimizer(networks.generator, settings),
            _optimizer(networks.discriminators, settings),
        )
        self._generator_optimizer, self._discriminator_optimizer = optimizers
        # Not given to accelerate, which would step them once per process.
        self._schedulers = [
            ExponentialLR(_plain(optimizer), settings.learning_rate_decay) for optimizer in optimizers
        ]
        self.mel = MelSpectrogram(
            networks.config.sample_rate,
            n_fft=self._sizes.n_fft,
            hop_length=self._sizes.hop_length,
            mel_bands=self._sizes.mel_bands,
        )
        self._multi_scale = (
            MultiScaleMelLoss(networks.config.sample_rate) if settings.vocoder is Vocoder.REFINE_GAN else None
        )

    def step(self, batch: Batch, step: int, draws: ExampleDraws, frames_of_all: int) -> Tensor:
        """Learn from ``batch``, this process's share, on the device.

        ``step`` counts the steps made before this one, ``frames_of_all`` the frames of the shares of all
        processes, without padding; all random numbers come from ``draws``. Returns ``(len(VALUES),)`` on the
        device. Averaged over processes, the losses are those of the whole batch.
        """
        segment_frames = self._sizes.segment_frames
        output: TrainingOutput = self._generator_in_parallel(
            batch, segment_frames=segment_frames, generator=draws, from_prior=self._from_prior
        )
        hop = self._sizes.hop_length
        real = slice_segments(batch.waveform, output.slice_starts * hop, segment_frames * hop)
        mel = self._mel_loss(real, output.waveform)
        kl = KL_WEIGHT * self._share_of_kl(output, batch, frames_of_all)
        nothing = mel.new_zeros(())
        judged, adversarial, feature, discriminator_norm = nothing, nothing, nothing, nothing
        if step >= self._settings.warm_up_steps:
            judged, discriminator_norm = self._teach_discriminators(real, output.waveform)
            with frozen(self.discriminators):
                opinion: DiscriminatorOutput = self.discriminators(real, output.waveform)
            adversarial = generator_loss(opinion.fake_scores)
            feature = feature_loss(opinion.real_maps, opinion.fake_maps)
        loss = adversarial + feature + mel + kl
        generator_norm = self._learn(loss, self.generator, self._generator_optimizer)
        self._follow_average(step)
        values = (loss, judged, adversarial, feature, mel, kl, generator_norm, discriminator_norm)
        return torch.stack([value.detach().float() for value in values])

    def end_epoch(self, step: int) -> None:
        """Lower the learning rates, after ``step`` steps; those of discriminators that still wait stay."""
        generator, discriminators = self._schedulers
        generator.step()
        if step > self._settings.warm_up_steps:
            discriminators.step()

    @property
    def learning_rate(self) -> float:
        return float(self._schedulers[0].get_last_lr()[0])

    def voice_state(self) -> dict[str, Tensor]:
        """The weights to save as the voice: the moving average where there is one."""
        return (self.average or self.generator).voice_state()

    def _mel_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        if self._multi_scale is not None:
            return MULTI_SCALE_MEL_WEIGHT * self._multi_scale(real, fake)
        # Both spectrograms are made of the piece alone, so that its ends are reflected alike in both.
        return MEL_WEIGHT * mel_loss(self.mel(real), self.mel(fake))

    def _share_of_kl(self, output: TrainingOutput, batch: Batch, frames_of_all: int) -> Tensor:
        """The divergence such that its mean over processes is the mean over the frames of all."""
        own: Tensor = kl_loss(
            output.z_p, output.log_deviation_q, output.mean_p, output.log_deviation_p, output.mask
        )
        share = batch.lengths.sum() / frames_of_all
        processes: int = self._accelerator.num_processes
        return own * share * processes

    def _teach_discriminators(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        output: DiscriminatorOutput = self._discriminators_in_parallel(real, fake.detach())
        loss = discriminator_loss(output.real_scores, output.fake_scores)
        norm = self._learn(loss, self.discriminators, self._discriminator_optimizer)
        return loss, norm

    def _learn(self, loss: Tensor, network: nn.Module, optimizer: Any) -> Tensor:
        """Go one step down ``loss``; returns the gradient's length, 0 where it overflowed half precision."""
        optimizer.zero_grad()
        self._accelerator.backward(loss)
        self._accelerator.unscale_gradients(optimizer)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self._settings.max_gradient_norm)
        optimizer.step()
        return torch.where(torch.isfinite(norm), norm, torch.zeros_like(norm))

    def _follow_average(self, step: int) -> None:
        if self.average is None:
            return
        # The first weights are soon forgotten: they know nothing.
        decay = min(self._settings.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.generator.parameters()), 1 - decay
            )

    # --- what a checkpoint holds -----------------------------------------------------------------

    def generator_state(self, epoch: int) -> dict[str, Any]:
        return self._network_state(self.generator.state_dict(), self._generator_optimizer, epoch)

    def discriminator_state(self, epoch: int) -> dict[str, Any]:
        state = self.discriminators.state_dict()
        return self._network_state(state, self._discriminator_optimizer, epoch)

    def _network_state(self, model: Mapping[str, Tensor], optimizer: Any, epoch: int) -> dict[str, Any]:
        return {
            "model": dict(model),
            "optimizer": _plain(optimizer).state_dict(),
            "learning_rate": self.learning_rate,
            "iteration": epoch,
        }

    def other_state(self) -> dict[str, Any]:
        """Schedulers, the scaler of half precision, and the moving average."""
        scaler = self._accelerator.scaler
        return {
            "schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
            "scaler": scaler.state_dict() if scaler is not None else None,
            "average": dict(self.average.state_dict()) if self.average is not None else None,
            "learning_rate": self._settings.learning_rate,
        }

    def load(
        self, generator: Mapping[str, Any], discriminator: Mapping[str, Any], other: Mapping[str, Any]
    ) -> None:
        """Take back what the three methods above gave; a RuntimeError if the networks differ in size."""
        self.generator.load_state_dict(generator["model"])
        self.discriminators.load_state_dict(discriminator["model"])
        _plain(self._generator_optimizer).load_state_dict(generator["optimizer"])
        _plain(self._discriminator_optimizer).load_state_dict(discriminator["optimizer"])
        for scheduler, state in zip(self._schedulers, other["schedulers"], strict=True):
            scheduler.load_state_dict(state)
            scheduler.gamma = self._settings.learning_rate_decay
        if (change := self._settings.learning_rate / other["learning_rate"]) != 1:
            self._change_learning_rates(change)
        if self._accelerator.scaler is not None and other["scaler"]:
            self._accelerator.scaler.load_state_dict(other["scaler"])
        if self.average is not None:
            # Of a training that kept no average before now, the weights themselves are the beginning.
            self.average.load_state_dict(other["average"] or generator["model"])

    def _change_learning_rates(self, factor: float) -> None:
        for scheduler in self._schedulers:
            scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
            for group in scheduler.optimizer.param_groups:
                group["lr"] *= factor
                group["initial_lr"] *= factor
            scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]


def _optimizer(network: nn.Module, settings: TrainingSettings) -> Optimizer:
    return AdamW(network.parameters(), lr=settings.learning_rate, betas=BETAS, eps=EPSILON)


def _plain(optimizer: Any) -> Optimizer:
    """torch's optimizer inside accelerate's."""
    inside: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inside
