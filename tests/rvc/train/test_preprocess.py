"""Recordings to pieces: level, alignment, reuse, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recordings import RATE, glide, instruments, noise, singing, speech, write
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import CancelledError, DatasetError, SettingError, TrainingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train import checks
from ultimate_rvc.rvc.train.arrays import FloatArray, mapped_array, writing_array
from ultimate_rvc.rvc.train.checks import refuse_hopeless
from ultimate_rvc.rvc.train.data_settings import (
    ExtractSettings,
    NormalizationMode,
    PreprocessSettings,
    SplitMethod,
)
from ultimate_rvc.rvc.train.dataset import find_recordings
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.preprocess import PIECES_FILE, preprocess_dataset
from ultimate_rvc.rvc.train.tables import PiecesTable


@pytest.fixture
def folder(tmp_path: Path) -> TrainingFolder:
    return TrainingFolder(tmp_path / "Ünser voice")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "наши records"


def settings(**changes: object) -> PreprocessSettings:
    chosen: dict[str, object] = {"sample_rate": RATE, "cpu_cores": 1, "filter_audio": False}
    return PreprocessSettings(**chosen | changes)  # type: ignore[arg-type]


def piece_waveforms(folder: TrainingFolder, table: PiecesTable) -> list[FloatArray]:
    waveform = mapped_array(folder.data / table.arrays["waveform"])
    frame = table.sample_rate // 50
    return [waveform[piece.start * frame : (piece.start + piece.frames) * frame] for piece in table.pieces]


def test_pieces_of_all_recordings_lie_end_to_end_at_both_rates(folder: TrainingFolder, dataset: Path) -> None:
    write(dataset / "eins zwei.wav", speech(), speech())
    write(dataset / "4" / "песня.flac", singing())
    table = preprocess_dataset(folder, dataset, settings())
    waveform = mapped_array(folder.data / table.arrays["waveform"])
    waveform_16k = mapped_array(folder.data / table.arrays["waveform_16k"])
    assert len(waveform) == table.frames * RATE // 50
    assert len(waveform_16k) == table.frames * 320
    ends = [piece.start + piece.frames for piece in table.pieces]
    assert [piece.start for piece in table.pieces] == [0, *ends[:-1]]
    assert {piece.name.split("@")[0]: piece.speaker for piece in table.pieces} == {
        "eins zwei.wav": 0,
        "4/песня.flac": 4,
    }
    assert table.speakers == 5
    assert 18 < table.dataset_seconds <= 22


def test_both_rates_of_a_piece_are_the_same_sound_at_the_same_time(
    folder: TrainingFolder, dataset: Path
) -> None:
    write(dataset / "glide.wav", glide(12.0, 100, 400))
    table = preprocess_dataset(folder, dataset, settings())
    waveform_16k = mapped_array(folder.data / table.arrays["waveform_16k"])
    for piece, waveform in zip(table.pieces, piece_waveforms(folder, table), strict=True):
        given = waveform_16k[piece.start * 320 : (piece.start + piece.frames) * 320]
        expected = resample(np.array(waveform), RATE, 16_000)
        middle = slice(400, -400)  # resampling alone does not know what lies around the piece
        assert np.abs(given[middle] - expected[middle]).max() < 2e-3


@pytest.mark.parametrize(
    ("mode", "expected_peaks"),
    [
        (NormalizationMode.NONE, (0.2, 0.8)),
        (NormalizationMode.PRE, (0.2 * (0.675 / 0.8 + 0.25), 0.675 + 0.25 * 0.8)),
        (NormalizationMode.POST, (0.675 + 0.25 * 0.2, 0.675 + 0.25 * 0.8)),
    ],
)
def test_levels_come_nearer_to_each_other_by_rvcs_rule(
    folder: TrainingFolder, dataset: Path, mode: NormalizationMode, expected_peaks: tuple[float, float]
) -> None:
    buzz = glide(6.0, 150, 150)
    buzz /= np.abs(buzz).max()
    write(dataset / "a.wav", 0.2 * buzz, noise(1, 0), 0.8 * buzz)
    table = preprocess_dataset(folder, dataset, settings(normalization_mode=mode))
    peaks = [float(np.abs(waveform).max()) for waveform in piece_waveforms(folder, table)]
    assert peaks[0] == pytest.approx(expected_peaks[0], rel=1e-3)
    assert peaks[-1] == pytest.approx(expected_peaks[1], rel=1e-3)


def test_the_filter_takes_rumble_out_and_leaves_the_voice(folder: TrainingFolder, dataset: Path) -> None:
    time = np.arange(12 * RATE) / RATE
    rumble = (0.3 * np.sin(2 * np.pi * 12 * time)).astype(np.float32)
    write(dataset / "a.wav", 0.5 * glide(12.0, 200, 200) + rumble)
    plain = settings(normalization_mode=NormalizationMode.NONE)
    without = piece_waveforms(folder, preprocess_dataset(folder, dataset, plain))[1]
    filtered_settings = settings(normalization_mode=NormalizationMode.NONE, filter_audio=True)
    filtered = piece_waveforms(folder, preprocess_dataset(folder, dataset, filtered_settings))[1]

    def level(waveform: FloatArray, hertz: float) -> float:
        time = np.arange(len(waveform)) / RATE
        return float(np.abs(waveform @ np.exp(-2j * np.pi * hertz * time)) / len(waveform))

    assert level(filtered, 12) < 0.01 * level(without, 12)
    assert level(filtered, 200) == pytest.approx(level(without, 200), rel=0.01)


def test_cleaning_makes_steady_noise_quieter_by_the_chosen_share(
    folder: TrainingFolder, dataset: Path
) -> None:
    write(dataset / "a.wav", speech() + noise(6, 0.01)[: len(speech())], speech())
    levels = []
    for strength in (0.0, 0.5, 1.0):
        mode = NormalizationMode.NONE
        chosen = settings(normalization_mode=mode, clean_audio=True, clean_strength=strength)
        waveform = np.concatenate(piece_waveforms(folder, preprocess_dataset(folder, dataset, chosen)))
        levels.append(np.percentile(np.abs(waveform), 25))
    assert levels[0] > 1.2 * levels[1] > 1.2 * 1.2 * levels[2]


def test_a_second_run_reuses_everything_and_a_changed_setting_nothing(
    folder: TrainingFolder, dataset: Path
) -> None:
    write(dataset / "a.wav", speech(), speech())
    first = preprocess_dataset(folder, dataset, settings())
    written = (folder.data / first.arrays["waveform"]).stat().st_mtime_ns
    again = preprocess_dataset(folder, dataset, settings(cpu_cores=2))
    assert again == first
    assert (folder.data / first.arrays["waveform"]).stat().st_mtime_ns == written
    changed = preprocess_dataset(folder, dataset, settings(chunk_len=2.0))
    assert changed.key != first.key
    assert not (folder.data / first.arrays["waveform"]).exists()
    write(dataset / "b.wav", singing())
    assert preprocess_dataset(folder, dataset, settings(chunk_len=2.0)).frames > changed.frames


def test_several_at_once_give_the_same_pieces_as_one_by_one(tmp_path: Path, dataset: Path) -> None:
    for number in range(5):
        write(dataset / f"{number}.wav", glide(3.0 + 0.3 * number, 100 + 50 * number, 200))
    results = []
    for cores in (1, 3):
        folder = TrainingFolder(tmp_path / str(cores))
        table = preprocess_dataset(folder, dataset, settings(cpu_cores=cores))
        results.append((table, (folder.data / table.arrays["waveform"]).read_bytes()))
    assert results[0] == results[1]


def test_a_cancelled_run_leaves_what_was_there(folder: TrainingFolder, dataset: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write(dataset / name, speech())
    before = preprocess_dataset(folder, dataset, settings())
    files = sorted(path.name for path in folder.data.iterdir())
    progress = Progress(lambda step, fraction, text: progress.cancel() if text == "a.wav" else None)
    with pytest.raises(CancelledError):
        preprocess_dataset(folder, dataset, settings(chunk_len=1.0), progress=progress)
    assert sorted(path.name for path in folder.data.iterdir()) == files
    assert PiecesTable.read(folder.data / PIECES_FILE) == before


def test_a_table_that_a_power_cut_left_broken_is_made_anew(folder: TrainingFolder, dataset: Path) -> None:
    write(dataset / "a.wav", speech(), speech())
    table = preprocess_dataset(folder, dataset, settings())
    (folder.data / PIECES_FILE).write_text('{"key": "ab')
    assert preprocess_dataset(folder, dataset, settings()) == table
    os.truncate(folder.data / PIECES_FILE, 0)
    assert preprocess_dataset(folder, dataset, settings()) == table


def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    def fill() -> None:
        with writing_array(tmp_path / "array.npy") as writer:
            writer.append(np.ones(3, np.float32))
            raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match="No space left on device"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [None, 3])
@pytest.mark.parametrize("blocks", [(), (4,), (1, 0, 5)])
def test_an_array_written_by_rows_is_read_as_numpy_writes_it(
    tmp_path: Path, columns: int | None, blocks: tuple[int, ...]
) -> None:
    shape = () if columns is None else (columns,)
    rows = [np.random.default_rng(count).random((count, *shape)).astype(np.float32) for count in blocks]
    with writing_array(tmp_path / "array.npy", columns) as writer:
        for block in rows:
            writer.append(block)
    expected = np.concatenate([np.zeros((0, *shape), np.float32), *rows])
    np.testing.assert_array_equal(mapped_array(tmp_path / "array.npy", columns), expected)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"sample_rate": 44_100}, "sample_rate"),
        ({"normalization_mode": "loud"}, "normalization_mode"),
        ({"split_method": "Random"}, "split_method"),
        ({"clean_strength": 1.1}, "clean_strength"),
        ({"chunk_len": 0.4}, "chunk_len"),
        ({"overlap_len": 0.5}, "overlap_len"),
        ({"cpu_cores": 0}, "cpu_cores"),
    ],
)
def test_preprocess_settings_out_of_range_name_the_option(changes: dict[str, object], option: str) -> None:
    with pytest.raises(SettingError, match=option):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"f0_method": "guess"}, "f0_method"),
        ({"embedder_model": "wav2vec"}, "embedder_model"),
        ({"embedder_model": "custom"}, "custom_embedder_model"),
        ({"custom_embedder_model": "folder"}, "custom_embedder_model"),
        ({"version": "v3"}, "version"),
        ({"include_mutes": 11}, "include_mutes"),
        ({"perturbed_copies": 9}, "perturbed_copies"),
        ({"cpu_cores": 0}, "cpu_cores"),
    ],
)
def test_extract_settings_out_of_range_name_the_option(changes: dict[str, object], option: str) -> None:
    with pytest.raises(SettingError, match=option):
        ExtractSettings(**changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------- bad data


def refusal(folder: TrainingFolder, dataset: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        preprocess_dataset(folder, dataset, settings())
    assert not (folder.data / PIECES_FILE).exists()
    return str(caught.value)


def test_too_little_sound_is_refused_however_long_the_files_are(
    folder: TrainingFolder, dataset: Path
) -> None:
    write(dataset / "a.wav", speech(), noise(20, 0.0))
    assert "s of sound, too little for a voice: at least 10 s are needed" in refusal(folder, dataset)


def test_silence_alone_is_refused(folder: TrainingFolder, dataset: Path) -> None:
    write(dataset / "a.wav", noise(20, 1e-4))
    assert "silent" in refusal(folder, dataset)


def test_hopeless_recordings_are_refused_as_their_preparation_would(
    folder: TrainingFolder, dataset: Path
) -> None:
    dataset.mkdir()
    (dataset / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(DatasetError, match=r"None of the recordings can be read\..*broken\.wav"):
        refuse_hopeless(find_recordings(dataset))
    write(dataset / "silent.wav", noise(30, 0.0))
    with pytest.raises(DatasetError, match=r'are silent\. .*broken.*"silent\.wav" is silent and left out'):
        refuse_hopeless(find_recordings(dataset))
    write(dataset / "short.wav", speech(), noise(20, 0.0))
    with pytest.raises(DatasetError, match=r"hold \d\.\d s of sound, too little") as early:
        refuse_hopeless(find_recordings(dataset))
    assert str(early.value).split(":")[0] == refusal(folder, dataset).split(":")[0]


def test_of_good_recordings_only_as_many_are_decoded_as_it_takes(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    decode = checks.decode_stereo
    monkeypatch.setattr(checks, "decode_stereo", lambda path: (decoded.append(path.name), decode(path))[1])
    for name, seconds in (("long.wav", 60), ("a.wav", 7), ("b.wav", 6), ("middle.wav", 20)):
        write(dataset / name, noise(seconds))
    refuse_hopeless(find_recordings(dataset))
    assert decoded == ["b.wav", "a.wav"]


def test_files_none_of_which_can_be_read_are_refused_by_name(folder: TrainingFolder, dataset: Path) -> None:
    dataset.mkdir()
    (dataset / "kaputt.wav").write_bytes(b"RIFF nonsense" * 100)
    (dataset / "leer.mp3").write_bytes(b"")
    told = refusal(folder, dataset)
    assert "None of the recordings can be read" in told
    assert "kaputt.wav" in told
    assert "leer.mp3" in told


def upsampled(waveform: FloatArray, sample_rate: int) -> FloatArray:
    return resample(resample(waveform, sample_rate, 16_000), 16_000, sample_rate)


def test_every_flaw_is_a_sentence_that_names_its_files_and_clean_ones_are_not_named(
    folder: TrainingFolder, dataset: Path
) -> None:
    hiss = noise(10, 0.002)  # up to half the sample rate, as a microphone gives it
    sung = singing() + hiss[: len(singing())]
    write(dataset / "clean é.wav", sung)
    write(dataset / "silent.wav", noise(2, 0.0))
    (dataset / "broken.wav").write_bytes(b"RIFF")
    write(dataset / "clipped.wav", (6 * sung).clip(-0.9, 0.9))
    write(dataset / "song.wav", 0.5 * (sung + instruments()[: len(sung)]))
    write(dataset / "telephone.wav", upsampled(sung, RATE))
    write(dataset / "other rate.wav", resample(sung, RATE, 48_000), sample_rate=48_000)
    table = preprocess_dataset(folder, dataset, settings())
    for words, name in (
        ("cannot be opened", "broken.wav"),
        ("is silent and left out", "silent.wav"),
        ("is clipped", "clipped.wav"),
        ("is not a voice alone, it seems", "song.wav"),
        ("is without sound above 7 kHz", "telephone.wav"),
    ):
        (warning,) = [warning for warning in table.warnings if words in warning]
        assert name in warning
        assert warning.count(".wav") == 1
    assert any("different sample rates (32000 Hz, 48000 Hz)" in warning for warning in table.warnings)
    assert any("below 3 minutes" in warning for warning in table.warnings)
    assert not any("clean é.wav" in warning for warning in table.warnings)
    assert {piece.name.split("@")[0] for piece in table.pieces} == {
        *("clean é.wav", "clipped.wav", "song.wav", "telephone.wav", "other rate.wav")
    }


def test_whole_files_that_are_long_are_warned_about(folder: TrainingFolder, dataset: Path) -> None:
    write(dataset / "a.wav", *[speech()] * 6)
    write(dataset / "b.wav", singing())
    table = preprocess_dataset(folder, dataset, settings(split_method=SplitMethod.SKIP))
    (warning,) = [warning for warning in table.warnings if "split_method" in warning]
    assert '"a.wav"' in warning
    assert '"b.wav"' not in warning
