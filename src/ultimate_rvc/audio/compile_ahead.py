"""Compile the loops of effects and mixing once, when the program is installed: no cover waits for that.

    python -m ultimate_rvc.audio.compile_ahead

numba keeps what it compiles beside the modules, for this processor and these versions.
"""

from __future__ import annotations

import numpy as np

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.audio.effects import apply_effects
from ultimate_rvc.audio.mix import Track, mix

SAMPLE_RATE = 44_100


def compile_loops() -> None:
    """Run every loop once, with arrays of the kinds that a cover gives them."""
    noise = np.random.default_rng(0).standard_normal((2, SAMPLE_RATE // 4)).astype(np.float32)
    voice = apply_effects(noise[:1] * np.float32(0.3), SAMPLE_RATE, EffectSettings())
    # Over full scale, so that it is limited.
    mix([Track(voice, SAMPLE_RATE, 0.0), Track(noise, SAMPLE_RATE, 0.0)], SAMPLE_RATE)


if __name__ == "__main__":
    compile_loops()
