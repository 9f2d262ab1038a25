"""What each quality of a cover means for its stems: which networks, which steps, how much overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ultimate_rvc.choices import Quality
from ultimate_rvc.separation.models import Effort, SeparationTask


@dataclass(frozen=True)
class StemPlan:
    """How a song is taken apart; a task without a model is left out."""

    models: Mapping[SeparationTask, str]
    effort: Effort


# Chosen by the figures in docs/separation.md: published quality against measured time.
PLANS: Mapping[Quality, StemPlan] = {
    Quality.FAST: StemPlan({SeparationTask.VOCALS: "mdx-light"}, Effort(overlap=1 / 16)),
    Quality.BALANCED: StemPlan(
        {SeparationTask.VOCALS: "demucs", SeparationTask.LEAD: "mdx-karaoke"}, Effort(overlap=1 / 16)
    ),
    Quality.BEST: StemPlan(
        {
            SeparationTask.VOCALS: "vocals",
            SeparationTask.LEAD: "karaoke",
            SeparationTask.REVERB: "dereverb",
        },
        Effort(overlap=1 / 16),
    ),
}
"""The plan of each quality but ``auto``, which is one of them, from fast to best."""
