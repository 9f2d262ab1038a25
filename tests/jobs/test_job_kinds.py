"""The real kinds of jobs, through a real worker and the voice that ships with the package."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.patience import eventually, finished
from ultimate_rvc.audio.decode import decode, decode_mono, probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.errors import AudioError, DatasetError, SettingError, SourceError, UltimateRVCError
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.new import new_job
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.paths import packaged_voice, voice_models_dir
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.result import WorkResult

DATA = Path(__file__).parents[1] / "data"
STARTER = packaged_voice("starter")
FAST = {"f0_methods": ["fcpe"]}


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    """One worker for all, as imports take longest."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        with JobQueue(tmp_path_factory.mktemp("jobs")) as queue:
            yield queue


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of singing and of a song."""
    folder = tmp_path_factory.mktemp("recordings")
    vocals, rate = decode(DATA / "songs" / "water_vocals.ogg")
    instruments, _ = decode(DATA / "songs" / "water_instrumental.ogg")
    second = slice(rate, 2 * rate)
    encode(folder / "singing.wav", vocals[:, second], rate)
    encode(folder / "song.wav", 0.5 * (instruments + vocals)[:, second], rate)
    (folder / "text.wav").write_text("no sound")
    return folder


def done(queue: JobQueue, kind: str, settings: dict[str, Any]) -> WorkResult:
    job = finished(queue, queue.submit(kind, settings))
    assert job.state is JobState.DONE, f"{job.error}\n{job.details}"
    assert job.result is not None
    return job.result


def most_memory_bytes(pid: int) -> int:
    """The most that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_many_files_sent_at_once_take_the_memory_of_one(queue: JobQueue, tmp_path: Path) -> None:
    """First of all tests of this worker, as the most it ever held is what is measured."""
    jobs = []
    for number in range(13):
        samples = 16_000 + 1_111 * number  # other lengths are what makes memory grow
        tone = 0.3 * np.sin(2 * np.pi * (200 + 9 * number) / 16_000 * np.arange(samples))
        source = tmp_path / f"{number}.wav"
        encode(source, tone.astype(np.float32), 16_000)
        settings = {"sources": [str(source)], "voice": "starter", "conversion": FAST}
        jobs.append(queue.submit("convert", settings, client=f"client {number % 3}"))
        if number == 0:
            assert finished(queue, jobs[0]).state is JobState.DONE
            (worker,) = queue.worker_pids
            alone = most_memory_bytes(worker)
    assert {finished(queue, job).state for job in jobs} == {JobState.DONE}
    assert queue.worker_pids == [worker]
    assert most_memory_bytes(worker) < 1.2 * alone
    for client in range(3):
        times = [queue.get(job.id).started for job in jobs[client::3]]
        assert times == sorted(times, key=lambda moment: moment or 0)


def test_files_are_converted_and_a_bad_one_does_not_cost_the_others(
    queue: JobQueue, recordings: Path
) -> None:
    names = ("singing.wav", "text.wav", "song.wav")
    sources = [str(recordings / name) for name in names]
    settings = {"sources": sources, "voice": "starter", "conversion": FAST, "output_format": "flac"}
    first = done(queue, "convert", settings)
    assert [file.source for file in first.files] == [sources[0], sources[2]]
    assert [file.path.name for file in first.files] == ["singing (starter).flac", "song (starter).flac"]
    for file in first.files:
        assert probe(file.path).duration_seconds == pytest.approx(1.0, abs=1e-3)
    (failure,) = first.facts["failed"]
    assert failure["source"] == sources[1]
    assert failure["error"] in first.warnings
    assert (first.device, first.precision) == ("cpu", "float32")
    assert [step.name for step in first.steps] == ["load voice", "convert"]

    again = done(queue, "convert", settings)
    assert not again.facts["was_loaded"]
    assert [file.path for file in again.files] == [file.path for file in first.files]  # the same bytes


def test_a_conversion_is_that_of_the_python_api(queue: JobQueue, recordings: Path) -> None:
    import ultimate_rvc

    source = recordings / "singing.wav"
    settings = {
        "sources": [str(source)],
        "voice": str(STARTER),
        "conversion": {**FAST, "n_semitones": 5},
    }
    result = done(queue, "convert", settings)
    expected, rate = ultimate_rvc.convert(source, STARTER, f0_methods=("fcpe",), n_semitones=5)
    converted, converted_rate = decode(result.files[0].path)
    assert converted_rate == rate
    np.testing.assert_allclose(converted[0], expected, atol=2e-3)


def test_when_no_file_can_be_converted_the_job_fails(queue: JobQueue, recordings: Path) -> None:
    job = queue.submit("convert", {"sources": [str(recordings / "text.wav")], "voice": "starter"})
    assert finished(queue, job).state is JobState.FAILED
    assert "text.wav" in (queue.get(job.id).error or "")


def test_a_cover_is_made_and_made_again_with_changes(queue: JobQueue, recordings: Path) -> None:
    settings = {
        "source": str(recordings / "song.wav"),
        "voice": "starter",
        "cover": {"conversion": FAST, "stems": {"vocals_model": "dsp"}, "output_format": "wav"},
        "optimization": {"enable_profiling": True},
    }
    first = queue.submit("cover", settings)
    cover = finished(queue, first).result
    assert cover is not None
    assert [(file.role, file.path.name) for file in cover.files] == [("cover", "song (starter Ver).wav")]
    assert cover.facts["duration_seconds"] == pytest.approx(1.0, abs=1e-3)
    assert {"separate", "convert", "mix", "encode"} <= {step.name for step in cover.steps}
    assert all(path.is_file() for step in cover.steps for path in step.files)

    again = finished(queue, queue.rerun(first.id, {"cover": {"inst_gain": -20}})).result
    assert again is not None
    assert {step.name for step in again.steps if not step.cached} == {"mix", "encode"}
    assert again.files[0].path != cover.files[0].path

    higher = finished(queue, queue.rerun(first.id, {"cover": {"conversion": {"n_semitones": 1}}})).result
    assert higher is not None
    assert "convert" in {step.name for step in higher.steps if not step.cached}
    assert not higher.facts["was_loaded"]  # the voice was still open


def test_a_song_is_taken_apart(queue: JobQueue, recordings: Path) -> None:
    song = recordings / "song.wav"
    result = done(queue, "separate", {"source": str(song), "model": "dsp"})
    assert [file.role for file in result.files] == ["vocals", "instrumental"]
    parts = sum(decode(file.path)[0] for file in result.files)
    np.testing.assert_allclose(parts, decode(song)[0], atol=1e-3)
    assert (result.device, result.facts["separation_model"]) == ("cpu", "dsp")


def test_vocals_get_effects_and_are_mixed_with_the_music(queue: JobQueue, recordings: Path) -> None:
    dry = recordings / "singing.wav"
    (wet,) = done(queue, "effects", {"source": str(dry), "effects": {"wet_level": 1.0}}).files
    assert probe(wet.path).duration_seconds > probe(dry).duration_seconds
    settings = {
        "sources": [str(wet.path), str(recordings / "song.wav")],
        "gains_db": [-60, 0],
        "semitones": [0, 12],
        "output_format": "flac",
        "output_name": "mixed here",
    }
    (mixed,) = done(queue, "mix", settings).files
    assert mixed.path.name == "mixed here.flac"
    assert probe(mixed.path).duration_seconds == pytest.approx(probe(wet.path).duration_seconds, abs=0.01)
    octave_up, rate = decode_mono(mixed.path, 16_000), 16_000
    plain = decode_mono(recordings / "song.wav", 16_000)
    assert centroid_hz(octave_up[: len(plain)], rate) > 1.5 * centroid_hz(plain, rate)


def centroid_hz(waveform: np.ndarray, sample_rate: int) -> float:
    magnitude = np.abs(np.fft.rfft(waveform))
    frequencies = np.fft.rfftfreq(len(waveform), 1 / sample_rate)
    return float((frequencies * magnitude**2).sum() / (magnitude**2).sum())


def test_a_voice_is_imported(queue: JobQueue) -> None:
    result = done(queue, "import-voice", {"source": str(STARTER), "name": "mine"})
    assert result.facts["voice"] == "mine"
    assert result.files[0].path.parent.name == "mine"
    taken = finished(queue, queue.submit("import-voice", {"source": str(STARTER), "name": "mine"}))
    assert taken.state is JobState.FAILED
    assert "mine" in (taken.error or "")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("import-voice", {"source": "https://127.0.0.1:1/voice.zip"}),
        ("download", {"names": ["rmvpe"]}),
    ],
)
def test_what_needs_a_network_fails_with_the_way_out(
    queue: JobQueue, kind: str, settings: dict[str, Any]
) -> None:
    job = finished(queue, queue.submit(kind, settings))
    assert job.state is JobState.FAILED
    assert "URVC_OFFLINE" in (job.error or "")


def test_a_training_that_is_stopped_leaves_a_voice_and_goes_on(queue: JobQueue, recordings: Path) -> None:
    speech = decode_mono(DATA / "training" / "speech.ogg", 16_000)
    encode(recordings / "speech.wav", speech[: 12 * 16_000], 16_000)
    settings = {
        "name": "trained",
        "recordings": [str(recordings / "speech.wav")],
        "preprocessing": {"sample_rate": 32000},
        "extraction": {"embedder_model": "starter", "f0_method": "dio"},
        "training": {"network_size": "tiny", "batch_size": 2, "num_epochs": 10000, "save_interval": 10000},
    }
    job = queue.submit("train", settings)
    eventually(lambda: queue.get(job.id).state.is_finished or queue.get(job.id).step == "train")
    queue.cancel(job.id)
    stopped = finished(queue, job)
    assert stopped.state is JobState.CANCELLED, stopped.details
    assert stopped.result is not None
    assert [file.role for file in stopped.result.files] == ["voice", "index"]
    assert all(file.path.is_file() for file in stopped.result.files)
    steps = stopped.result.facts["step"]
    assert steps >= 1
    changes = {"training": {"max_steps": steps + 2}}
    went_on = finished(queue, queue.rerun(job.id, changes))
    assert went_on.state is JobState.DONE, went_on.details
    assert went_on.result is not None
    assert went_on.result.facts["step"] == steps + 2


COVER = {"source": "demo", "voice": "starter"}


@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [
        ("cover", {**COVER, "source": "/nowhere.mp3"}, SourceError),
        ("cover", {**COVER, "voice": "nobody"}, UltimateRVCError),
        ("cover", {**COVER, "cover": {"backing": {"voice": "nobody"}}}, UltimateRVCError),
        ("convert", {"sources": ["/nowhere.wav"], "voice": "starter"}, AudioError),
        ("convert", {"sources": [str(STARTER)], "voice": "nobody"}, UltimateRVCError),
        (
            "convert",
            {"sources": [str(STARTER)], "voice": "starter", "index_path": "/no.index"},
            UltimateRVCError,
        ),
        ("separate", {"source": "/nowhere.wav"}, AudioError),
        ("effects", {"source": "/nowhere.wav"}, AudioError),
        ("effects", {"source": str(STARTER), "effects": {"room_size": 2}}, SettingError),
        ("mix", {"sources": ["/nowhere.wav"]}, AudioError),
        ("mix", {"sources": []}, SettingError),
        ("mix", {"sources": [str(STARTER)], "gains_db": [1, 2]}, SettingError),
        ("mix", {"sources": [str(STARTER)], "gains_db": [21]}, SettingError),
        ("mix", {"sources": [str(STARTER)], "semitones": [25]}, SettingError),
        ("import-voice", {"source": "/nowhere.zip"}, UltimateRVCError),
        ("import-voice", {"source": str(STARTER), "sha256": "0" * 64}, SettingError),
        ("download", {"names": ["rmvpe", "rmvp"]}, SettingError),
        ("train", {"name": "new"}, DatasetError),
        ("train", {"name": "new", "recordings": ["/nowhere"]}, DatasetError),
        ("train", {"name": "../new", "recordings": [str(DATA)]}, SettingError),
        ("train", {"name": "new", "recordings": [str(DATA)], "device": "tpu"}, SettingError),
        ("train", {"name": "new", "recordings": [str(DATA)], "device": "cpu,cpu"}, SettingError),
    ],
)
def test_what_is_not_there_is_told_at_the_door(
    kind: str, settings: dict[str, Any], error: type[UltimateRVCError]
) -> None:
    with pytest.raises(error):
        new_job(KINDS, kind, settings)


@pytest.mark.parametrize(
    ("kind", "settings", "title"),
    [
        ("cover", COVER, "demo by starter"),
        ("cover", {**COVER, "source": "https://example.org/song"}, "https://example.org/song by starter"),
        ("convert", {"sources": [str(STARTER)] * 4, "voice": "starter"},
         "starter.pth, starter.pth and 2 more by starter"),
        ("separate", {"source": str(STARTER)}, "starter.pth (vocals)"),
        ("import-voice", {"source": str(STARTER)}, "starter.pth"),
        ("download", {"names": ["rmvpe", "contentvec"]}, "rmvpe, contentvec"),
        ("train", {"name": "new", "recordings": [str(DATA)]}, "new"),
    ],
)  # fmt: skip
def test_a_job_has_a_title_for_people(kind: str, settings: dict[str, Any], title: str) -> None:
    assert new_job(KINDS, kind, settings).title == title


def test_a_training_of_a_dataset_needs_no_recordings() -> None:
    from ultimate_rvc.rvc.train.folders import dataset_folder

    dataset_folder("known").mkdir(parents=True)
    assert new_job(KINDS, "train", {"name": "known"}).title == "known"


def test_a_voice_of_the_library_may_be_named(tmp_path: Path) -> None:
    library = voice_models_dir() / "mine"
    library.mkdir(parents=True)
    shutil.copy(STARTER, library / "mine.pth")
    job: Job = new_job(KINDS, "convert", {"sources": [str(STARTER)], "voice": "mine"})
    assert job.settings["voice"] == "mine"
