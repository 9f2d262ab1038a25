"""The speaker encoder gives Resemblyzer's embeddings, and hears each recording once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import recordings
from mockingbird_material import RECORDINGS, numbered, reference
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.rvc.infer.optimization.feature_cache import FeatureCache
from ultimate_rvc.shared_cache import SharedCache
from ultimate_rvc.speech.mockingbird.embeddings import (
    EmbeddingCache,
    embedding_key,
    embedding_of,
    write_embedding,
)
from ultimate_rvc.speech.mockingbird.loading import encoder_file, load_encoder
from ultimate_rvc.speech.mockingbird.recording import read_recording, without_pauses
from ultimate_rvc.speech.mockingbird.speaker_encoder import SpeakerEncoder

FloatArray = NDArray[np.float32]


class Store:
    """A Redis in memory."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.entries.get(name)

    def set(self, name: str, value: bytes, *, ex: int) -> None:
        self.entries[name] = value


@pytest.mark.parametrize("name", RECORDINGS)
def test_embeddings_are_those_of_resemblyzer(name: str) -> None:
    embedding = numbered(SpeakerEncoder).embed(RECORDINGS[name]())
    cosines = {other: float(embedding @ reference("embeddings")[f"numbered_{other}"]) for other in RECORDINGS}
    assert cosines.pop(name) >= 0.9999
    assert max(cosines.values()) < 0.9  # the measure tells recordings apart


def test_embeddings_with_the_trained_weights_are_those_of_resemblyzer(tmp_path: Path) -> None:
    try:
        encoder = load_encoder(encoder_file(tmp_path))
    except SpeechError:
        pytest.skip("Resemblyzer, whose weights these are, is not installed")
    for name, recording in RECORDINGS.items():
        assert float(encoder.embed(recording()) @ reference("embeddings")[f"trained_{name}"]) >= 0.9999


def test_a_recording_shorter_than_a_part_is_filled_up() -> None:
    encoder = numbered(SpeakerEncoder)
    short = RECORDINGS["water"]()[:8000]
    np.testing.assert_allclose(encoder.embed(short), encoder.embed(np.pad(short, (0, 17_600))), atol=1e-5)


def test_pauses_are_cut_and_speech_is_kept() -> None:
    speech = recordings.speech(16_000)[: 2 * 16_000]
    pause = np.zeros(3 * 16_000, np.float32)
    kept = without_pauses(np.concatenate([speech, pause, speech]))
    assert len(kept) / 16_000 < 4.5
    assert len(kept) > 1.7 * len(without_pauses(speech))


@pytest.mark.parametrize(
    ("waveform", "told"),
    [
        (np.zeros(48_000, np.float32), "less than 1 s of sound"),
        (recordings.noise(0.3, sample_rate=16_000), "less than 1 s of sound"),
        (recordings.noise(601, sample_rate=16_000), "longer than 10 minutes"),
    ],
)
def test_a_recording_of_no_use_is_told(tmp_path: Path, waveform: FloatArray, told: str) -> None:
    path = recordings.write(tmp_path / "reference.wav", waveform, sample_rate=16_000)
    with pytest.raises(SpeechError, match=f"reference.wav .*{told}"):
        read_recording(path)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return recordings.write(tmp_path / "voice.wav", recordings.speech(16_000), sample_rate=16_000)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    path = tmp_path / "pretrained.pt"
    torch.save({"model_state": numbered(SpeakerEncoder).state_dict()}, path)
    return path


def no_encoder() -> Path:
    raise AssertionError("no encoder is needed for what is known")


def test_an_embedding_is_found_again_by_content(tmp_path: Path, voice: Path, encoder: Path) -> None:
    disk, store = FeatureCache(tmp_path / "cache", 10**6), Store()
    cache = EmbeddingCache(disk, SharedCache(store))
    first = embedding_of(voice, lambda: encoder, cache)
    voice.rename(tmp_path / "renamed.wav")
    heard: list[str] = []

    def hear() -> FloatArray:
        heard.append("again")
        return first

    key = embedding_key(_hash(tmp_path / "renamed.wav"), _hash(encoder))
    np.testing.assert_array_equal(cache.get(key, hear), first)
    # Another machine, whose disk is empty, finds it in Redis.
    other = EmbeddingCache(FeatureCache(tmp_path / "other", 10**6), SharedCache(store))
    np.testing.assert_array_equal(other.get(key, hear), first)
    assert not heard


def test_a_stored_embedding_needs_no_encoder(tmp_path: Path) -> None:
    cache = EmbeddingCache(FeatureCache(tmp_path / "cache", 10**6), SharedCache(None))
    values = np.linspace(1, 2, 256, dtype=np.float32)
    write_embedding(tmp_path / "who.npy", values)
    found = embedding_of(tmp_path / "who.npy", no_encoder, cache)
    np.testing.assert_allclose(found, values / np.linalg.norm(values), rtol=1e-6)


@pytest.mark.parametrize("content", [b"no numpy", np.zeros(3), np.full(256, np.nan), np.ones((2, 2)), None])
def test_a_file_that_holds_no_embedding_is_told(tmp_path: Path, content: object) -> None:
    path = tmp_path / "who.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, np.array([{"a": 1}], object) if content is None else content, allow_pickle=True)
    cache = EmbeddingCache(FeatureCache(tmp_path / "cache", 10**6), SharedCache(None))
    with pytest.raises(SpeechError, match=r"who\.npy .*embedding"):
        embedding_of(path, no_encoder, cache)


def test_without_an_encoder_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpeechError, match="install the package Resemblyzer without its dependencies"):
        encoder_file(tmp_path)


def _hash(path: Path) -> str:
    from ultimate_rvc.files import file_hash

    return file_hash(path)
