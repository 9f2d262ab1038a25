"""The encoder that ships with the package, against faster-whisper and against its own contract."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ultimate_rvc.rvc.content import ContentEncoder, encoder_identity, load_content_encoder
from ultimate_rvc.rvc.content.files import starter_file
from ultimate_rvc.rvc.content.starter import (
    OVERLAP_FRAMES,
    WINDOW_FRAMES,
    window_fade,
    window_starts,
)
from ultimate_rvc.rvc.content.whisper_encoder import MAX_FRAMES, WhisperEncoder, log10_mel, scale_log_mel

DATA = Path(__file__).resolve().parents[2] / "data" / "content"
WHISPER_SAMPLES = 30 * 16000


@pytest.fixture(scope="module")
def speech() -> Tensor:
    with wave.open(str(DATA / "speech.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    return torch.from_numpy(samples)[None]


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    with np.load(DATA / "whisper_reference.npz") as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


@pytest.fixture(scope="module")
def encoder() -> ContentEncoder:
    return load_content_encoder("starter", "cpu")


def whisper_log_mel(speech: Tensor) -> Tensor:
    """As Whisper wants it: followed by silence up to 30 s, 3000 frames."""
    log_mel = log10_mel(F.pad(speech, (0, WHISPER_SAMPLES - speech.shape[-1])))[..., : 2 * MAX_FRAMES]
    return scale_log_mel(log_mel, log_mel.amax())


def complete_whisper() -> tuple[WhisperEncoder, Tensor, Tensor]:
    """All four layers, and the final norm's weight and bias."""
    state = load_file(starter_file()) | load_file(DATA / "whisper_tiny_en_rest.safetensors")
    weight, bias = (state.pop(f"final_norm.{part}").float() for part in ("weight", "bias"))
    network = WhisperEncoder(4)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return network.eval(), weight, bias


def similarity(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first, second, dim=-1)


def test_log_mel_is_that_of_faster_whisper(speech: Tensor, reference: dict[str, NDArray[np.float32]]) -> None:
    expected = torch.from_numpy(reference["log_mel"])
    every = 2 * int(reference["kept_every"])
    ours = whisper_log_mel(speech)[0, :, : expected.shape[1] * every : every]
    # Whisper's scaled values span about 2; float32 against float64 transforms differ by 1e-5.
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_all_four_layers_agree_with_faster_whisper_on_recorded_speech(
    speech: Tensor, reference: dict[str, NDArray[np.float32]]
) -> None:
    network, weight, bias = complete_whisper()
    with torch.no_grad():
        encoded = F.layer_norm(network(whisper_log_mel(speech)), (384,), weight, bias)[0]
    expected = torch.from_numpy(reference["encoded"])
    assert expected.shape == (MAX_FRAMES // int(reference["kept_every"]), 384)
    assert similarity(encoded[:: int(reference["kept_every"])], expected).min() > 0.9999


def test_features_are_the_third_layer_normed_and_centred_in_their_frames(
    speech: Tensor, encoder: ContentEncoder
) -> None:
    network, _, _ = complete_whisper()
    network.layers = network.layers[:3]
    # A signal 160 samples earlier puts mel frame 2 i, which Whisper's frame i looks at, at 320 i + 160.
    log_mel = log10_mel(speech[:, 160:])
    with torch.no_grad():
        shifted = F.layer_norm(network(scale_log_mel(log_mel, log_mel.amax())), (384,))
    features = encoder.encode(speech, "v2")
    inner = slice(25, features.shape[1] - 25)  # the ends are reflected at other samples
    assert similarity(features[:, inner], shifted[:, inner]).min() > 0.999


@given(samples=st.integers(1, 3000))
@settings(max_examples=15)
def test_short_audio_gives_the_frames_of_hubert(encoder: ContentEncoder, samples: int) -> None:
    features = encoder.encode(torch.rand(1, samples) - 0.5, "v1")
    assert features.shape == (1, max(0, (samples - 80) // 320), 384)
    assert features.isfinite().all()


@pytest.mark.parametrize("seconds", [9.99, 10.0, 10.03, 21.7, 70.0])
def test_audio_of_any_length_gives_a_frame_per_320_samples(encoder: ContentEncoder, seconds: float) -> None:
    samples = round(seconds * 16000)
    features = encoder.encode(0.1 * torch.randn(1, samples), "v2")
    assert features.shape == (1, (samples - 80) // 320, 384)
    assert features.isfinite().all()


def test_both_versions_have_384_features(encoder: ContentEncoder) -> None:
    assert encoder.feature_dim("v1") == encoder.feature_dim("v2") == 384


def test_silence_gives_finite_features(encoder: ContentEncoder) -> None:
    assert encoder.encode(torch.zeros(1, 16000), "v2").isfinite().all()


def test_items_of_a_batch_do_not_touch_each_other(speech: Tensor, encoder: ContentEncoder) -> None:
    quiet = 0.01 * speech.flip(-1)
    # Three windows each, so that the windows of two items lie in one batch of the network.
    both = torch.cat([speech, quiet]).tile(3)
    together = encoder.encode(both, "v2")
    for item in range(2):
        alone = encoder.encode(both[item : item + 1], "v2")
        torch.testing.assert_close(together[item : item + 1], alone, atol=2e-4, rtol=0)


def test_items_of_a_padded_batch_have_the_features_they_have_alone(
    speech: Tensor, encoder: ContentEncoder
) -> None:
    long = speech.tile(4)[0]
    # Three windows, two windows, one whole window, parts of one, no frame, nothing.
    lengths = [300_000, 160_400, 160_080, 70_001, 47_000, 400, 399, 0]
    assert len(long) >= lengths[0]
    batch = torch.full((len(lengths), lengths[0]), torch.nan)
    for index, (row, length) in enumerate(zip(batch, lengths, strict=True)):
        row[:length] = (0.1 + 0.1 * index) * long.roll(5_000 * index)[:length]
    together = encoder.encode(batch, "v2", lengths)
    assert together.shape == (8, 937, 384)
    for row, length, features in zip(batch, lengths, together, strict=True):
        alone = encoder.encode(row[None, :length], "v2")[0]
        # Features have a standard deviation of one.
        torch.testing.assert_close(features[: len(alone)], alone, atol=1e-4, rtol=0)
        assert not features[len(alone) :].any()


def test_features_follow_neither_level_nor_window_more_than_speech_itself(
    speech: Tensor, encoder: ContentEncoder
) -> None:
    features = encoder.encode(speech, "v2")[0]
    step = similarity(features[1:], features[:-1]).mean()
    quiet = encoder.encode(0.1 * speech, "v2")[0]
    assert similarity(features, quiet).mean() > 0.95 > step
    # The same speech after 3.2 s of other speech: other positions, other neighbours.
    before = 160 * 320
    later = encoder.encode(torch.cat([speech.flip(-1)[:, :before], speech], dim=1), "v2")[0, 160:]
    assert similarity(features[25:], later[25 : len(features)])[:-25].mean() > step


def test_window_joins_deviate_less_than_one_frame_from_the_next(
    speech: Tensor, encoder: ContentEncoder
) -> None:
    """At a join the step from frame to frame is no larger than elsewhere."""
    features = encoder.encode(speech.tile(6)[:, : 16000 * 33], "v2")[0]
    steps = 1 - similarity(features[1:], features[:-1])
    starts = window_starts(len(features))[1:]
    in_joins = torch.cat([steps[start : start + OVERLAP_FRAMES] for start in starts])
    assert in_joins.mean() < 1.2 * steps.mean()
    assert in_joins.max() <= 1.2 * steps.max()


@given(frames=st.integers(WINDOW_FRAMES + 1, 9000))
@settings(max_examples=50)
def test_windows_cover_every_frame_and_their_fades_never_vanish_together(frames: int) -> None:
    weights = torch.zeros(frames)
    starts = window_starts(frames)
    assert starts == sorted(set(starts))
    for start in starts:
        weights[start : start + WINDOW_FRAMES] += window_fade(start > 0, start + WINDOW_FRAMES < frames)
    assert weights.min() > 0.99


def test_more_positions_than_whisper_has_are_refused() -> None:
    with pytest.raises(ValueError, match="1500 positions"):
        WhisperEncoder(0)(torch.zeros(1, 80, 3001))


def test_identity_is_that_of_the_weights(encoder: ContentEncoder) -> None:
    assert encoder.identity() == encoder_identity("starter")
    assert len(encoder.identity()) == 64


def test_the_weights_are_small_and_half_precision() -> None:
    assert starter_file().stat().st_size < 13_500_000
    assert {value.dtype for value in load_file(starter_file()).values()} == {torch.float16}
    assert "MIT License" in starter_file().with_suffix(".LICENSE.txt").read_text()
