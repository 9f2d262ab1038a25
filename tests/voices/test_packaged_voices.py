"""What every voice that ships promises, on recorded speech and singing: melody, silence, size, a home, a sample."""

from __future__ import annotations

import numpy as np
import pytest
import pyworld
from numpy.typing import NDArray

from starter_voice import SAMPLE_RATE, recording
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.cards import list_cards, voice_card
from ultimate_rvc.voices.finding import packaged_voices

NAMES = [ref.name for ref in packaged_voices()]
FRAME_MS = 10.0
MEGABYTE = 1e6
SECONDS = 6.0

FloatArray = NDArray[np.float32]


@pytest.fixture(scope="module", params=NAMES)
def voice(request: pytest.FixtureRequest) -> tuple[str, Pipeline]:
    ref = next(ref for ref in packaged_voices() if ref.name == request.param)
    return (
        ref.name,
        Pipeline.open(ref.model_path, ConversionSettings(), index_path=ref.index_path, device="cpu"),
    )


def pitch_of(waveform: FloatArray, sample_rate: int) -> NDArray[np.float64]:
    curve: NDArray[np.float64] = pyworld.harvest(
        waveform.astype(np.float64), sample_rate, frame_period=FRAME_MS
    )[0]
    return curve


def test_it_sings_the_melody(voice: tuple[str, Pipeline]) -> None:
    song = recording("song", seconds=SECONDS)
    sung, rate = voice[1].convert(song, SAMPLE_RATE, ConversionSettings(seed=1))
    wanted, found = pitch_of(song, SAMPLE_RATE), pitch_of(sung, rate)
    frames = min(len(wanted), len(found))
    both = (wanted[:frames] > 0) & (found[:frames] > 0)
    assert both.sum() > frames / 3
    cents = 1200 * np.abs(np.log2(found[:frames][both] / wanted[:frames][both]))
    assert np.median(cents) < 26
    assert (cents > 300).mean() < 0.05  # where a note begins or ends, Harvest itself wavers


def test_silence_stays_silent(voice: tuple[str, Pipeline]) -> None:
    speech = recording("speech", seconds=2.0)
    waveform = np.concatenate([speech, np.zeros(2 * SAMPLE_RATE, np.float32)])
    converted, rate = voice[1].convert(waveform, SAMPLE_RATE, ConversionSettings(seed=1))
    silent = np.asarray(converted)[3 * rate :]
    assert 20 * np.log10(np.sqrt(np.mean(silent**2)) + 1e-9) <= -60


def test_its_home_is_where_people_speak(voice: tuple[str, Pipeline]) -> None:
    """The median that the card shows is what Suggest brings a song to, so it lies where people speak."""
    name, pipeline = voice
    home_hz = voice_card(name).pitch_median_hz
    assert home_hz is not None
    assert home_hz == pytest.approx(pipeline.voice.metadata.f0_median_hz)
    assert 75 < home_hz < 225


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_can_be_heard_before_it_is_chosen(name: str) -> None:
    card = next(card for card in list_cards(packaged=True) if card.packaged and card.name == name)
    assert (card.model_bytes or 0) + (card.index_bytes or 0) <= 25 * MEGABYTE
    assert (packaged_assets_dir() / f"sample_{name}.ogg").is_file()
