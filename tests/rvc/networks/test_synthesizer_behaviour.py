"""What holds for every voice: randomness, batches, tiles, long inputs, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from small_synthesizer import PHONE_DIM, random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import EncoderMismatchError, SettingError, VoiceFileError
from ultimate_rvc.rvc.networks import text_encoder
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

QUIET = {"noise_scale": 0.0, "source_noise_scale": 0.0}
KINDS = [(vocoder, True) for vocoder in Vocoder] + [(Vocoder.HIFI_GAN, False)]
each_kind = pytest.mark.parametrize(("vocoder", "has_f0"), KINDS, ids=lambda value: str(value))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each_kind
def test_without_noise_renders_are_equal_and_audible(vocoder: Vocoder, has_f0: bool) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0)
    inputs = random_inputs(2, 30, has_f0=has_f0)
    first = synthesizer.infer(*inputs, **QUIET)
    torch.manual_seed(1)
    assert torch.equal(first, synthesizer.infer(*inputs, **QUIET))
    assert first.shape == (2, 30 * synthesizer.config.hop_length)
    assert first.dtype == torch.float32
    assert first.std() > 0.01
    assert first.abs().max() <= 1


@each_kind
def test_a_seed_makes_renders_byte_identical(vocoder: Vocoder, has_f0: bool) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0)
    inputs = random_inputs(2, 30, has_f0=has_f0)
    first = synthesizer.infer(*inputs, generator=seeded(4))
    torch.manual_seed(1)
    assert torch.equal(first, synthesizer.infer(*inputs, generator=seeded(4)))
    assert not torch.equal(first, synthesizer.infer(*inputs, generator=seeded(5)))


@each_kind
@pytest.mark.parametrize("scale", ["noise_scale", "source_noise_scale"])
def test_each_scale_switches_its_own_noise(vocoder: Vocoder, has_f0: bool, scale: str) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0)
    inputs = random_inputs(1, 30, has_f0=has_f0)
    options = QUIET | {scale: 1.0}
    first = synthesizer.infer(*inputs, **options, generator=seeded(1))
    second = synthesizer.infer(*inputs, **options, generator=seeded(2))
    has_noise = has_f0 or scale == "noise_scale"  # without f0 the vocoder has no random numbers
    assert torch.equal(first, second) is not has_noise


@each_kind
def test_an_item_of_a_padded_batch_sounds_as_it_does_alone(vocoder: Vocoder, has_f0: bool) -> None:
    # In float64, where a wrong edge cannot hide behind rounding.
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    features, pitch, f0_hz, speaker_id = random_inputs(3, 60, has_f0=has_f0)
    lengths = (60, 25, 41)
    batch = synthesizer.infer(features, pitch, f0_hz, speaker_id, **QUIET, lengths=lengths)
    for item, length in enumerate(lengths):
        alone = synthesizer.infer(
            *(None if part is None else part[item : item + 1, :length] for part in (features, pitch, f0_hz)),
            speaker_id[item : item + 1],
            **QUIET,
        )[0]
        torch.testing.assert_close(batch[item, : len(alone)], alone, rtol=0, atol=1e-7)
        assert not batch[item, len(alone) :].any()


def test_padding_is_never_heard_whatever_it_holds() -> None:
    synthesizer = small_synthesizer()
    features, pitch, f0_hz, speaker_id = random_inputs(2, 40)
    lengths = (40, 22)
    before = synthesizer.infer(features, pitch, f0_hz, speaker_id, lengths=lengths, generator=seeded(1))
    features[1, 22:], pitch[1, 22:], f0_hz[1, 22:] = 1000.0, 1, 900.0
    after = synthesizer.infer(features, pitch, f0_hz, speaker_id, lengths=lengths, generator=seeded(1))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def vocoder_inputs(
    synthesizer: Synthesizer, frames: int, has_f0: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    features, pitch, f0_hz, speaker_id = random_inputs(1, frames, has_f0=has_f0)
    speaker = synthesizer.speaker(speaker_id)
    latent = synthesizer.latent(features, pitch, speaker, Noise(0.0))
    return latent, None if f0_hz is None else synthesizer.vocoder.excitation(f0_hz, Noise(0.0)), speaker


@each_kind
def test_vocoder_renders_in_tiles_what_it_renders_whole(vocoder: Vocoder, has_f0: bool) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    hop, context = synthesizer.config.hop_length, synthesizer.vocoder.context_frames
    frames = 2 * context + 60
    with torch.inference_mode():
        latent, source, speaker = vocoder_inputs(synthesizer, frames, has_f0)
        whole = synthesizer.vocoder(latent, source, speaker, Noise(0.0))
        tiles = []
        for start in range(0, frames, 23):
            end = min(start + 23, frames)
            low, high = max(start - context, 0), min(end + context, frames)
            tile_source = None if source is None else source[..., low * hop : high * hop]
            tile = synthesizer.vocoder(latent[..., low:high], tile_source, speaker, Noise(0.0))
            tiles.append(tile[..., (start - low) * hop : (end - low) * hop])
    torch.testing.assert_close(torch.cat(tiles, dim=-1), whole, rtol=0, atol=1e-12)


@each_kind
def test_context_is_no_wider_than_it_must_be(vocoder: Vocoder, has_f0: bool) -> None:
    """Changing one frame changes samples nearly ``context_frames`` away: tiles waste little."""
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    hop, context = synthesizer.config.hop_length, synthesizer.vocoder.context_frames
    frames, middle = 2 * context + 41, context + 20
    with torch.inference_mode():
        latent, source, speaker = vocoder_inputs(synthesizer, frames, has_f0)
        whole = synthesizer.vocoder(latent, source, speaker, Noise(0.0))
        latent[..., middle] += 1.0
        if source is not None:
            source[..., middle * hop : (middle + 1) * hop] += 1.0
        touched = (synthesizer.vocoder(latent, source, speaker, Noise(0.0)) != whole)[0, 0].nonzero()
    reach = max(middle - int(touched.min()) // hop, int(touched.max()) // hop - middle)
    assert reach <= context <= 1.05 * reach + 2


@pytest.mark.parametrize("rates", [(7, 7, 3, 3), (9, 7, 7), (5, 4, 3, 2, 2)])
def test_odd_rates_give_exactly_the_hop_per_frame(rates: tuple[int, ...]) -> None:
    config = small_config(rates, initial_channels=2 ** (len(rates) + 1))
    for vocoder in Vocoder:
        synthesizer = small_synthesizer(vocoder, config=config)
        assert synthesizer.infer(*random_inputs(1, 13), **QUIET).shape == (1, 13 * math.prod(rates))


@pytest.mark.parametrize("frames", [1, 2, 7, 21])
def test_attention_is_right_for_fewer_frames_than_its_window(frames: int) -> None:
    synthesizer = small_synthesizer()
    rendered = synthesizer.infer(*random_inputs(1, frames), **QUIET)
    assert rendered.shape == (1, frames * synthesizer.config.hop_length)
    assert torch.isfinite(rendered).all()


def full_relative_attention(layer: text_encoder.RelativeAttention, hidden: Tensor) -> Tensor:
    """The formula of Shaw et al. with every matrix written out."""
    frames = hidden.shape[2]
    query, key, value = (
        conv(hidden).reshape(layer.heads, layer.head_channels, frames)
        for conv in (layer.conv_q, layer.conv_k, layer.conv_v)
    )
    distance = torch.arange(frames) - torch.arange(frames)[:, None]
    near = (distance.abs() <= 10)[..., None]
    key_offsets = layer.emb_rel_k[0][distance.clamp(-10, 10) + 10] * near
    value_offsets = layer.emb_rel_v[0][distance.clamp(-10, 10) + 10] * near
    scores = torch.einsum("hdi,hdj->hij", query, key) + torch.einsum("hdi,ijd->hij", query, key_offsets)
    weights = torch.softmax(scores / layer.head_channels**0.5, dim=-1)
    mixed = torch.einsum("hij,hdj->hdi", weights, value) + torch.einsum(
        "hij,ijd->hdi", weights, value_offsets
    )
    return layer.conv_o(mixed.reshape(1, -1, frames))


@pytest.mark.parametrize("frames", [1, 5, 30, 100])
def test_banded_attention_equals_the_written_out_formula(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoder, "QUERY_BLOCK", 16)  # several blocks, the last one partial
    torch.manual_seed(2)
    layer = text_encoder.RelativeAttention(8, 2).double()
    hidden = torch.randn(1, 8, frames).double()
    torch.testing.assert_close(layer(hidden, None), full_relative_attention(layer, hidden))


def test_a_block_of_rows_bounds_what_attention_holds() -> None:
    """40 s at full width: no tensor of frames x frames is ever made."""
    layer = text_encoder.RelativeAttention(192, 2)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = function(*arguments, **(options or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.untyped_storage().nbytes())
            return result

    with torch.inference_mode(), Watch():
        layer(torch.randn(1, 192, 4000), None)
    assert largest < 64 * 2**20  # 4000 x 4000 scores of two heads alone are 128 MB


def test_features_of_another_encoder_are_refused_with_both_widths() -> None:
    _, pitch, f0_hz, speaker_id = random_inputs(1, 10)
    with pytest.raises(EncoderMismatchError, match=f"384 .* {PHONE_DIM}"):
        small_synthesizer().infer(torch.zeros(1, 10, 384), pitch, f0_hz, speaker_id)


@pytest.mark.parametrize("speaker", [3, -1])
def test_an_unknown_speaker_is_refused_with_the_range(speaker: int) -> None:
    features, pitch, f0_hz, _ = random_inputs(1, 10)
    with pytest.raises(SettingError, match=r"Speaker -?[13] .* 0 to 2"):
        small_synthesizer().infer(features, pitch, f0_hz, torch.tensor([speaker]))


def test_vocoders_that_need_a_pitch_are_refused_without() -> None:
    for vocoder in (Vocoder.MRF_HIFI_GAN, Vocoder.REFINE_GAN):
        with pytest.raises(VoiceFileError, match=vocoder):
            Synthesizer(small_config(), has_f0=False, vocoder=vocoder)


@each_kind
def test_a_state_dict_rebuilds_the_voice(vocoder: Vocoder, has_f0: bool) -> None:
    voice = small_synthesizer(vocoder, has_f0=has_f0)
    rebuilt = Synthesizer.from_state(voice.config, voice.state_dict(), has_f0=has_f0, vocoder=vocoder)
    inputs = random_inputs(1, 12, has_f0=has_f0)
    assert torch.equal(rebuilt.infer(*inputs, **QUIET), voice.infer(*inputs, **QUIET))


def test_building_a_voice_leaves_the_callers_random_numbers_alone() -> None:
    voice = small_synthesizer()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Synthesizer.from_state(voice.config, voice.state_dict(), has_f0=True, vocoder=Vocoder.HIFI_GAN)
    assert torch.equal(torch.rand(1), expected)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    voice = small_synthesizer()

    def build(state: dict[str, Tensor]) -> None:
        Synthesizer.from_state(voice.config, state, has_f0=True, vocoder=Vocoder.HIFI_GAN)

    state = voice.state_dict()
    with pytest.raises(VoiceFileError, match=r"emb_g\.weight is missing"):
        build({key: value for key, value in state.items() if key != "emb_g.weight"})
    with pytest.raises(VoiceFileError, match=r"enc_q\.pre\.weight is unknown"):
        build(state | {"enc_q.pre.weight": torch.zeros(1)})
    with pytest.raises(VoiceFileError, match=r"emb_g\.weight has shape \(7, 5\) instead of \(3, 5\)"):
        build(state | {"emb_g.weight": torch.zeros(7, 5)})
