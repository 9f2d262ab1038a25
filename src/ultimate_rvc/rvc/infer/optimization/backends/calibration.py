"""What the networks meet in real work, for backends that have to know ranges beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import F0Method
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner
from ultimate_rvc.rvc.infer.optimization.fixed_tiles import TiledRenderer
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer
from ultimate_rvc.rvc.pitch import load_pitch_methods
from ultimate_rvc.rvc.pitch.curve import coarse_pitch
from ultimate_rvc.rvc.voice_file.read import VoiceModel

RECORDING = "calibration.ogg"  # speech of a man and of a woman, and a sung line
SAMPLE_RATE = 16_000
MOST_INPUTS = 12  # of each part
SEED = 0


def recorded_inputs(
    parts: Sequence[Part], voice: VoiceModel, encoder: ContentEncoder, device: torch.device
) -> Mapping[PartName, Sequence[tuple[Tensor, ...]]]:
    """What ``parts`` are given, of any shape, while torch lets ``voice`` say and sing a packaged recording."""
    recorded: dict[PartName, list[tuple[Tensor, ...]]] = {part.name: [] for part in parts}

    def recording(part: Part) -> Runner:
        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            if len(recorded[part.name]) < MOST_INPUTS:
                recorded[part.name].append(tuple(tensor.detach().clone() for tensor in inputs))
            return part.run_once(run, *inputs)

        return run

    for part in parts:
        part.replace(recording(part))
    try:
        _convert(
            voice, encoder, device, next(part.lengths for part in parts if part.name is PartName.VOCODER)
        )
    finally:
        for part in parts:
            part.replace(None)
    return recorded


@torch.inference_mode()
def _convert(
    voice: VoiceModel, encoder: ContentEncoder, device: torch.device, tile_lengths: Sequence[int]
) -> None:
    waveform_16k = torch.from_numpy(decode_mono(packaged_assets_dir() / RECORDING, SAMPLE_RATE)).to(device)
    features = encoder.encode(waveform_16k[None], voice.version).repeat_interleave(2, dim=1)
    f0_hz = None
    if voice.has_f0:
        found = load_pitch_methods([F0Method.FCPE], device).f0_hz(waveform_16k)
        f0_hz = found[None, : features.shape[1]]
    render = TiledRenderer(tile_lengths, VocoderRenderer()) if tile_lengths else VocoderRenderer()
    voice.synthesizer.infer(
        features,
        None if f0_hz is None else coarse_pitch(f0_hz),
        f0_hz,
        torch.zeros(1, dtype=torch.long, device=device),
        generator=torch.Generator().manual_seed(SEED),
        render=render,
    )
