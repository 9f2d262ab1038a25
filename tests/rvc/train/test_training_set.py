"""Pieces to examples: curves that belong together, held-out pieces, silence, reuse."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recordings import RATE, glide, noise, singing, speech, write
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.choices import EmbedderModel, F0Method, VoiceVersion
from ultimate_rvc.errors import CancelledError, DatasetError, TrainingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.content import encoder_identity, load_content_encoder
from ultimate_rvc.rvc.pitch.curve import coarse_pitch
from ultimate_rvc.rvc.train import extract, store
from ultimate_rvc.rvc.train.batches import Batch, Example
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings, SplitMethod
from ultimate_rvc.rvc.train.dataset import find_recordings
from ultimate_rvc.rvc.train.extract import EXAMPLES_FILE, extract_features
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.mel import spectrogram
from ultimate_rvc.rvc.train.perturbation import perturbed
from ultimate_rvc.rvc.train.preprocess import preprocess_dataset
from ultimate_rvc.rvc.train.store import TrainingSet

HOP = RATE // 100
# The package's own encoder and DIO need no download and little time.
SETTINGS = ExtractSettings(
    f0_method=F0Method.DIO, embedder_model=EmbedderModel.STARTER, cpu_cores=1, device="cpu"
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def preprocessed(root: Path, split_method: SplitMethod = SplitMethod.AUTOMATIC) -> TrainingFolder:
    folder = TrainingFolder(root / "zwei Stimmen")
    settings = PreprocessSettings(sample_rate=RATE, split_method=split_method, cpu_cores=1)
    preprocess_dataset(folder, root / "dataset", settings)
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolder:
    """Speech of speaker 0 and singing of speaker 3, extracted; tests only read it."""
    root = tmp_path_factory.mktemp("voices")
    write(root / "dataset" / "speech.wav", speech())
    write(root / "dataset" / "3" / "singing.wav", singing())
    folder = preprocessed(root)
    extract_features(folder, SETTINGS)
    return folder


@pytest.fixture
def copied(voices: TrainingFolder, tmp_path: Path) -> TrainingFolder:
    """A copy to change."""
    folder = TrainingFolder(tmp_path / voices.path.name)
    folder.data.mkdir(parents=True)
    for path in voices.data.iterdir():
        (folder.data / path.name).write_bytes(path.read_bytes())
    return folder


def all_examples(training_set: TrainingSet) -> list[Example]:
    return [training_set.example(number) for number in range(len(training_set))]


def test_all_curves_of_an_example_have_its_frames(voices: TrainingFolder) -> None:
    training_set = TrainingSet.open(voices)
    examples = all_examples(training_set)
    assert training_set.frames == [example.frames for example in examples]
    for example in [*examples, *training_set.held_out()]:
        frames = example.frames
        assert example.features.shape == (frames, 384)
        assert example.pitch is not None
        assert example.f0_hz is not None
        assert example.pitch.shape == example.f0_hz.shape == (frames,)
        assert example.spectrogram.shape == (frames, 513)
        assert example.waveform.shape == (frames * HOP,)
        assert (example.waveform.dtype, example.pitch.dtype) == (torch.float32, torch.int64)


def test_curves_of_an_example_are_those_of_its_waveform(voices: TrainingFolder) -> None:
    examples = all_examples(TrainingSet.open(voices))
    encoder = load_content_encoder("starter", "cpu")
    for example in (examples[0], examples[-3]):
        expected = spectrogram(example.waveform[None], 1024, HOP)[0].T
        torch.testing.assert_close(example.spectrogram, expected)
        assert example.f0_hz is not None
        assert torch.equal(example.pitch, coarse_pitch(example.f0_hz))  # type: ignore[arg-type]
        waveform_16k = torch.nn.functional.interpolate(
            example.waveform[None, None], scale_factor=0.5, mode="linear"
        )[0]
        features = encoder.encode(waveform_16k, "v2")[0].repeat_interleave(2, dim=0)
        similarity = torch.cosine_similarity(example.features[: len(features)], features)
        assert similarity[4:-8].median() > 0.95
        shifted = torch.cosine_similarity(example.features[6 : len(features)], features[:-6])
        assert shifted.median() < similarity.median()


def test_pitch_lies_where_it_is_in_the_waveform(tmp_path: Path) -> None:
    write(tmp_path / "dataset" / "glide.wav", glide(12.0, 100, 400))
    folder = preprocessed(tmp_path, SplitMethod.SKIP)
    extract_features(folder, replace(SETTINGS, include_mutes=0))
    (example,) = all_examples(TrainingSet.open(folder))
    assert example.f0_hz is not None
    seconds = torch.arange(example.frames) / 100
    expected = 100 + 25 * seconds
    middle = slice(20, -20)
    # 10 ms, a frame, change the pitch by 0.25 Hz.
    assert (example.f0_hz - expected)[middle].abs().median() < 0.2
    loudest_hz = example.spectrogram[:, 1:40].argmax(1).add(1) * RATE / 1024
    assert ((loudest_hz - expected)[middle].abs() < RATE / 1024).float().mean() > 0.99


def test_the_description_says_what_the_data_were_made_with(voices: TrainingFolder) -> None:
    description = TrainingSet.open(voices).description
    assert description.sample_rate == RATE
    assert (description.n_fft, description.hop_length, description.phone_dim) == (1024, HOP, 384)
    assert (description.version, description.has_f0, description.f0_method) == ("v2", True, "dio")
    assert description.embedder == "starter"
    assert description.embedder_identity == encoder_identity("starter")
    assert description.speakers == ("0", "1", "2", "3")
    assert 14 < description.dataset_seconds < 16.1


def test_percentiles_are_of_the_voiced_frames_of_all_pieces(voices: TrainingFolder) -> None:
    training_set = TrainingSet.open(voices)
    curves = [example.f0_hz for example in [*all_examples(training_set), *training_set.held_out()]]
    f0_hz = torch.cat([curve for curve in curves if curve is not None]).numpy()
    percentiles = training_set.description.f0_percentiles_hz
    assert percentiles == pytest.approx(tuple(np.percentile(f0_hz[f0_hz > 0], (5, 50, 95))), rel=1e-6)


def test_each_speaker_has_silent_examples_whose_features_are_those_of_silence(voices: TrainingFolder) -> None:
    examples = all_examples(TrainingSet.open(voices))
    silent = [example for example in examples if not example.waveform.any()]
    assert [example.speaker for example in silent] == [0, 0, 3, 3]
    features = load_content_encoder("starter", "cpu").encode(torch.zeros(1, 48_080), "v2")[0]
    for example in silent:
        assert example.pitch is not None
        assert example.f0_hz is not None
        assert example.frames == 300
        torch.testing.assert_close(example.features, features.repeat_interleave(2, dim=0))
        assert (example.pitch == 1).all()
        assert (example.f0_hz == 0).all()
        torch.testing.assert_close(
            example.spectrogram, spectrogram(example.waveform[None], 1024, HOP)[0].T, rtol=1e-6, atol=1e-9
        )


def test_one_piece_of_twenty_is_held_out_and_is_no_example(voices: TrainingFolder) -> None:
    training_set = TrainingSet.open(voices)
    (held_out,) = training_set.held_out()
    assert held_out.waveform.any()
    assert not any(torch.equal(held_out.waveform, example.waveform) for example in all_examples(training_set))
    (again,) = TrainingSet.open(voices).held_out()
    assert torch.equal(held_out.waveform, again.waveform)


def test_copies_are_the_same_words_by_others_and_their_sound_stays_the_speakers(
    copied: TrainingFolder,
) -> None:
    before = arrays(copied)
    extract_features(copied, replace(SETTINGS, perturbed_copies=2, cpu_cores=2))
    assert {kind: file for kind, file in arrays(copied).items() if kind != "perturbed"} == before
    training_set = TrainingSet.open(copied)
    assert training_set.copies == 2
    for number in range(len(training_set)):
        own, *others = [training_set.example(number, copy) for copy in range(3)]
        for other in others:
            assert torch.equal(other.waveform, own.waveform)
            assert torch.equal(other.f0_hz, own.f0_hz)  # type: ignore[arg-type]
            if not own.waveform.any():  # silence is the same by anyone
                assert torch.equal(other.features, own.features)
        if own.waveform.any():
            assert not torch.equal(others[0].features, others[1].features)
            here = torch.cosine_similarity(own.features, others[0].features)[20:-20].median()
            later = torch.cosine_similarity(own.features[20:], others[0].features[:-20]).median()
            assert here < 0.999
            assert here > later + 0.1  # the words are where they were
    # Only the speaker's own features are what the index finds.
    assert (
        len(training_set.features)
        == sum(training_set.frames[:-4]) // 2 + len(training_set.held_out()[0].features) // 2
    )
    again = np.array(np.load(next(copied.data.glob("perturbed-*"))))
    next(copied.data.glob("perturbed-*")).unlink()
    extract_features(copied, replace(SETTINGS, perturbed_copies=2, cpu_cores=1))
    np.testing.assert_array_equal(np.load(next(copied.data.glob("perturbed-*"))), again)
    extract_features(copied, SETTINGS)
    assert "perturbed" not in arrays(copied)


@pytest.fixture(scope="module")
def made_versions(voices: TrainingFolder) -> Path:
    """Two versions of the recordings: one by a perturbed speaker, one that is nothing but noise."""
    dataset, folder = voices.path.parent / "dataset", voices.path.parent / "others"
    for recording in find_recordings(dataset):
        own = decode_mono(recording.path, 16_000)
        random = np.random.default_rng(2)
        write(folder / "1" / recording.name, perturbed(own, random), sample_rate=16_000)
        write(folder / "2" / recording.name, noise(len(own) / 16_000, sample_rate=16_000), sample_rate=16_000)
    return folder


@pytest.fixture
def versions(made_versions: Path, tmp_path: Path) -> Path:
    """A copy of them to change."""
    return Path(shutil.copytree(made_versions, tmp_path / "others"))


def test_versions_are_learnt_from_piece_by_piece(copied: TrainingFolder, versions: Path) -> None:
    before = arrays(copied)
    extract_features(copied, replace(SETTINGS, versions=versions, perturbed_copies=1))
    assert {kind for kind in arrays(copied) if kind not in before} == {"versions", "perturbed"}
    training_set = TrainingSet.open(copied)
    assert training_set.copies == 3
    for number in range(len(training_set) - 4):  # silence comes last
        own, same_words, no_words, perturbed_words = (training_set.example(number, copy) for copy in range(4))
        assert torch.equal(same_words.waveform, own.waveform)
        alike = [
            torch.cosine_similarity(own.features, other.features)[20:-20].median()
            for other in (same_words, no_words, perturbed_words)
        ]
        assert min(alike[0], alike[2]) > alike[1] + 0.2
        later = torch.cosine_similarity(own.features[20:], same_words.features[:-20])[20:-20].median()
        assert alike[0] > later + 0.1
    kept = arrays(copied)
    extract_features(copied, replace(SETTINGS, versions=versions, perturbed_copies=1))
    assert arrays(copied) == kept


def test_a_version_is_decoded_once_however_many_pieces_it_has(
    copied: TrainingFolder, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def counted(path: Path, sample_rate: int) -> np.ndarray:
        decoded.append(path)
        return decode_mono(path, sample_rate)

    monkeypatch.setattr(extract, "decode_mono", counted)
    extract_features(copied, replace(SETTINGS, versions=versions))
    assert len(TrainingSet.open(copied)) > 2 + 4  # more pieces than recordings, silence aside
    assert len(decoded) == len(set(decoded)) == 4


def test_the_key_is_another_for_other_words_by_as_many_speakers(
    copied: TrainingFolder, versions: Path
) -> None:
    def key() -> str:
        extract_features(copied, replace(SETTINGS, versions=versions))
        return TrainingSet.open(copied).key

    first = key()
    assert key() == first
    write(versions / "2" / "3" / "singing.wav", noise(60), sample_rate=RATE)
    assert key() != first


def test_held_out_pieces_are_heard_from_their_speaker_and_from_others_in_turn(
    copied: TrainingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(copied, replace(SETTINGS, perturbed_copies=1))
    monkeypatch.setattr(store, "HELD_OUT_SHARE", 0.5)
    training_set = TrainingSet.open(copied)
    shown = [example.features for example in training_set.held_out()]
    assert len(shown) >= 3
    extract_features(copied, SETTINGS)
    own = [example.features for example in TrainingSet.open(copied).held_out()]
    same = [torch.equal(one, other) for one, other in zip(shown, own, strict=True)]
    assert same == [place % 2 == 0 for place in range(len(shown))]


def test_versions_that_are_no_versions_are_told_in_one_sentence(
    copied: TrainingFolder, versions: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"versions .* holds no folders"):
        extract_features(copied, replace(SETTINGS, versions=empty))
    short = versions / "2" / "3" / "singing.wav"
    write(short, noise(2), sample_rate=RATE)
    with pytest.raises(DatasetError, match=r"singing\.wav.* s shorter than the recording"):
        extract_features(copied, replace(SETTINGS, versions=versions))
    write(short, np.zeros(60 * RATE, np.float32), sample_rate=RATE)
    with pytest.raises(DatasetError, match=r"singing\.wav. is silent; a version says"):
        extract_features(copied, replace(SETTINGS, versions=versions))
    short.unlink()
    with pytest.raises(DatasetError, match=r'has no version of "3/singing\.wav"'):
        extract_features(copied, replace(SETTINGS, versions=versions))
    assert TrainingSet.open(copied).copies == 0


def test_examples_become_batches(voices: TrainingFolder) -> None:
    batch = Batch.of(all_examples(TrainingSet.open(voices)))
    assert batch.waveform.shape[-1] == batch.spectrogram.shape[-1] * HOP


def test_copies_for_loader_processes_are_small_and_read_the_same(voices: TrainingFolder) -> None:
    training_set = TrainingSet.open(voices)
    _ = training_set.example(0)
    message = pickle.dumps(training_set)
    assert len(message) < 5000
    copy = pickle.loads(message)
    assert len(copy) == len(training_set)
    assert torch.equal(copy.example(1).spectrogram, training_set.example(1).spectrogram)


def test_features_for_the_index_are_those_of_all_pieces_without_silence(voices: TrainingFolder) -> None:
    training_set = TrainingSet.open(voices)
    examples = [*all_examples(training_set)[:-4], *training_set.held_out()]
    assert training_set.features.shape == (sum(example.frames for example in examples) // 2, 384)


# ---------------------------------------------------------------- reuse


def arrays(folder: TrainingFolder) -> dict[str, tuple[str, int]]:
    return {
        path.name.split("-")[0]: (path.name, path.stat().st_mtime_ns)
        for path in sorted(folder.data.glob("*.npy"))
    }


def test_a_second_run_computes_nothing_and_a_changed_setting_only_what_it_concerns(
    copied: TrainingFolder,
) -> None:
    before = arrays(copied)
    extract_features(copied, replace(SETTINGS, cpu_cores=2))
    assert arrays(copied) == before
    extract_features(copied, replace(SETTINGS, f0_method=F0Method.FCPE, include_mutes=0))
    after = arrays(copied)
    assert {kind for kind in before if after[kind] != before[kind]} == {"f0"}
    assert len(TrainingSet.open(copied)) == len(all_examples(TrainingSet.open(copied)))
    assert all(example.waveform.any() for example in all_examples(TrainingSet.open(copied)))


def test_a_voice_without_f0_has_no_pitch(copied: TrainingFolder) -> None:
    extract_features(copied, replace(SETTINGS, has_f0=False, version=VoiceVersion.V1))
    training_set = TrainingSet.open(copied)
    assert training_set.example(0).pitch is None
    assert training_set.example(0).f0_hz is None
    assert training_set.description.f0_percentiles_hz is None
    assert training_set.description.f0_method is None
    assert "f0" not in arrays(copied)


def test_cancelling_keeps_what_was_finished_and_the_examples_of_before(copied: TrainingFolder) -> None:
    before = arrays(copied)
    for path in copied.data.glob("f0-*"):
        path.unlink()
    progress = Progress(lambda step, fraction, text: progress.cancel() if "f0: speech.wav" in text else None)
    with pytest.raises(CancelledError):
        extract_features(copied, SETTINGS, progress=progress)
    after = arrays(copied)
    assert "f0" not in after
    assert after["features"] == before["features"]
    assert not list(copied.data.glob(".*partial*"))
    extract_features(copied, SETTINGS)
    assert len(TrainingSet.open(copied)) > 0


def test_pieces_encoded_together_as_on_a_gpu_have_the_features_they_have_alone(
    copied: TrainingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = np.array(TrainingSet.open(copied).features)
    for path in copied.data.glob("features-*"):
        path.unlink()
    monkeypatch.setattr(extract, "pieces_at_once", lambda device: 4)
    extract_features(copied, SETTINGS)
    np.testing.assert_allclose(TrainingSet.open(copied).features, alone, atol=2e-3)


def test_pieces_cut_anew_ask_for_features_anew(copied: TrainingFolder, voices: TrainingFolder) -> None:
    settings = PreprocessSettings(sample_rate=RATE, chunk_len=2.0)
    preprocess_dataset(copied, voices.path.parent / "dataset", settings)
    with pytest.raises(DatasetError, match="extract-features"):
        TrainingSet.open(copied)
    extract_features(copied, SETTINGS)
    assert max(TrainingSet.open(copied).frames[:-4]) <= 230


def test_what_is_missing_or_damaged_is_told(tmp_path: Path, copied: TrainingFolder) -> None:
    empty = TrainingFolder(tmp_path / "new")
    with pytest.raises(DatasetError, match="preprocess-dataset"):
        extract_features(empty, SETTINGS)
    with pytest.raises(DatasetError, match="preprocess-dataset"):
        TrainingSet.open(empty)
    (spectrograms,) = copied.data.glob("spectrogram-*")
    spectrograms.write_bytes(spectrograms.read_bytes()[:-5000])
    with pytest.raises(TrainingError, match="spectrogram"):
        TrainingSet.open(copied)
    (copied.data / EXAMPLES_FILE).unlink()
    with pytest.raises(DatasetError, match="extract-features"):
        TrainingSet.open(copied)


def test_recordings_without_a_pitch_are_refused_for_a_voice_with_f0(tmp_path: Path) -> None:
    write(tmp_path / "dataset" / "rain.wav", noise(12, 0.1))
    folder = preprocessed(tmp_path)
    with pytest.raises(DatasetError, match="hardly any voice"):
        extract_features(folder, SETTINGS)
