"""Covers and conversions through the real command line, on real audio."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultimate_rvc.audio.decode import decode, probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.true_peak import true_peak
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.cli.main import run
from ultimate_rvc.errors import AudioError
from voice_factory import (
    write_discriminator,
    write_executing_voice,
    write_index,
    write_voice,
)

SONG = Path(__file__).parent.parent / "data" / "songs" / "real_song.ogg"
ALL_STEPS = ("retrieve", "separate", "convert", "effects", "mix", "encode")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The last line of standard error: the one sentence a user reads."""
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def urvc(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*words: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="module")
def short_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five of the real song's twenty seconds."""
    path = tmp_path_factory.mktemp("song") / "short song.flac"
    song, rate = decode(SONG)
    encode(path, song[:, 5 * rate : 10 * rate], rate)
    return path


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    path = write_voice(tmp_path / "voices" / "tester.pth", "Applio", embedder="starter", sample_rate=32000)
    write_index(path.with_suffix(".index"), dim=384)
    return path


def assert_refused(outcome: Outcome, *words: str, code: int = 1) -> None:
    """One sentence on standard error with these words in it, and no traceback anywhere."""
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.err + outcome.out
    for word in words:
        assert word in outcome.sentence


# ------------------------------------------------------------------------------ covers


def test_a_real_song_becomes_a_cover_and_the_second_run_does_no_work(
    urvc, short_song, voice, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "cover.mp3"
    first = urvc(
        "generate", "song-cover", "--source", short_song, "--model", voice, "--output", target, "--json"
    )
    assert first.code == 0, first.err
    report = first.json
    assert Path(report["path"]) == target
    assert [step["name"] for step in report["steps"] if step["name"] in ALL_STEPS] == list(ALL_STEPS)
    assert not any(step["cached"] for step in report["steps"])
    assert report["separation_model"] == "dsp"
    assert any("dsp" in warning for warning in report["warnings"])

    song, song_rate = decode(short_song)
    cover, cover_rate = decode(target)
    assert probe(target).codec.startswith("mp3")
    assert abs(cover.shape[-1] / cover_rate - song.shape[-1] / song_rate) <= 0.05
    assert true_peak(cover, cover_rate) <= 1.0
    assert np.abs(cover).max() > 0.1

    bytes_before = target.read_bytes()
    second = urvc("generate", "song-cover", short_song, voice, "--output", target, "--json")
    assert second.code == 0, second.err
    assert all(step["cached"] for step in second.json["steps"])
    assert target.read_bytes() == bytes_before

    other = write_voice(tmp_path / "voices" / "other.pth", "Applio", embedder="starter", seed=5)
    third = urvc("generate", "song-cover", short_song, other, "--output", tmp_path / "other.flac", "--json")
    cached = {step["name"]: step["cached"] for step in third.json["steps"]}
    assert cached["retrieve"]
    assert cached["separate"]
    assert not cached["convert"]


def test_source_and_model_are_needed_and_must_not_disagree(urvc, voice) -> None:  # type: ignore[no-untyped-def]
    assert_refused(urvc("generate", "song-cover", "--model", voice), "--source is missing", code=2)
    assert_refused(urvc("generate", "song-cover", SONG), "--model is missing", code=2)
    assert_refused(
        urvc("generate", "song-cover", SONG, voice, "--model", "another"), "--model is given twice", code=2
    )


@pytest.mark.parametrize(
    ("option", "value", "range_text"),
    [
        ("--index-rate", "1.5", "from 0 to 1"),
        ("--protect-rate", "0.6", "from 0 to 0.5"),
        ("--n-semitones", "99", "from -48 to 48"),
        ("--proposed-pitch-threshold", "20", "from 50 to 1200"),
        ("--room-size", "-1", "from 0 to 1"),
        ("--output-sr", "12345", "44100"),
        ("--main-gain", "99", "from -60"),
    ],
)
def test_values_out_of_range_are_named_with_their_range(urvc, voice, option, value, range_text) -> None:  # type: ignore[no-untyped-def]
    assert_refused(urvc("generate", "song-cover", SONG, voice, option, value), option, range_text, code=2)


def test_an_unknown_choice_lists_the_choices(urvc, voice) -> None:  # type: ignore[no-untyped-def]
    outcome = urvc("generate", "song-cover", SONG, voice, "--f0-method", "guess")
    assert outcome.code == 2
    assert "rmvpe" in outcome.err
    assert "Traceback" not in outcome.err


def test_options_of_backing_vocals_need_their_switch(urvc, voice) -> None:  # type: ignore[no-untyped-def]
    outcome = urvc("generate", "song-cover", SONG, voice, "--backing-semitones", "3")
    assert_refused(outcome, "--convert-backing", code=2)


# ------------------------------------------------------------------------- conversions


def spoken(path: Path, seconds: float, sample_rate: int = 16_000, channels: int = 1) -> Path:
    """A voice-like tone with pauses, in any format."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12)) * (
        np.sin(2 * np.pi * time) > -0.5
    )
    encode(path, np.tile((0.1 * tone).astype(np.float32), (channels, 1)), sample_rate)
    return path


def test_several_files_and_folders_are_converted_in_one_go(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "takes"
    folder.mkdir()
    spoken(folder / "one.wav", 1.0)
    spoken(folder / "zwei und drei ü.flac", 0.7, 44_100)
    alone = spoken(tmp_path / "alone.mp3", 0.5, 44_100)
    outcome = urvc(
        "generate", "convert-voice", folder, alone, "--model", voice, "--output", tmp_path / "out", "--json"
    )
    assert outcome.code == 0, outcome.err
    written = {Path(row["output"]).name: row for row in outcome.json["converted"]}
    assert set(written) == {
        "one (tester).wav",
        "zwei und drei ü (tester).wav",
        "alone (tester).wav",
    }
    for row in written.values():
        assert probe(Path(row["output"])).duration_seconds == pytest.approx(row["audio_seconds"], abs=1e-3)


def test_one_bad_file_does_not_cost_the_others(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    good = spoken(tmp_path / "good.wav", 0.5)
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no audio")
    outcome = urvc("generate", "convert-voice", bad, good, "--model", voice, "--output", tmp_path / "out")
    assert_refused(outcome, "1 of 2 files")
    assert "bad.wav" in outcome.err
    assert (tmp_path / "out" / "good (tester).wav").exists()


def test_files_that_share_batches_sound_as_they_do_alone_and_a_bad_one_is_named(
    urvc, voice, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    sources = [spoken(tmp_path / f"take {number}.wav", 0.4 + 0.2 * number) for number in range(3)]
    nan_wave(tmp_path / "take 9.wav")
    sources.insert(1, tmp_path / "take 9.wav")
    read = {}
    for batch_size in (1, 4):
        outcome = urvc(
            "generate", "convert-voice", *sources, "-m", voice, "--batch-size", batch_size,
            "--no-feature-cache", "--output", tmp_path / str(batch_size), "--json",
        )  # fmt: skip
        assert_refused(outcome, "1 of 4 files")
        report = outcome.json
        assert [Path(row["source"]).name for row in report["failed"]] == ["take 9.wav"]
        assert "take 9.wav" in report["failed"][0]["error"]
        rows = report["converted"]
        assert [row["audio_seconds"] for row in rows] == pytest.approx([0.4, 0.6, 0.8])
        assert all(row["elapsed_seconds"] > 0 for row in rows)
        read[batch_size] = [decode(Path(row["output"]))[0] for row in rows]
    for alone, together in zip(read[1], read[4], strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize(
    ("batch_size", "minutes", "groups"),
    [
        (1, [1, 1, 1], [1, 1, 1]),
        (4, [1, 1, 1], [3]),
        ("auto", [4, 4, 4, 1], [2, 2]),
        (4, [25, 1, 9, 1], [1, 2, 1]),
        (4, [None, 10, 0.1], [2, 1]),
    ],
)
def test_files_are_grouped_by_their_length(  # type: ignore[no-untyped-def]
    monkeypatch, batch_size, minutes, groups
) -> None:
    from ultimate_rvc.audio import decode as decoding
    from ultimate_rvc.outputs import Target
    from ultimate_rvc.work import convert as converting

    def probe(path: Path) -> decoding.AudioInfo:
        seconds = minutes[int(path.stem)]
        if seconds is None:
            raise AudioError("no audio")
        return decoding.AudioInfo(seconds * 60, 16_000, 1, "pcm")

    monkeypatch.setattr(converting, "probe", probe)
    jobs = [
        converting.Task(Path(f"{number}.wav"), Target(Path("out.wav"), is_named=True))
        for number in range(len(minutes))
    ]
    planned = converting.plan_groups(jobs, batch_size)
    assert [len(group) for group in planned] == groups
    assert [job for group in planned for job in group] == jobs


def test_the_same_seed_writes_the_same_bytes(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    source = spoken(tmp_path / "take.wav", 1.0)
    results = []
    for number, seed in enumerate([7, 7, 8]):
        target = tmp_path / f"{number}.flac"
        assert (
            urvc("generate", "convert-voice", source, "-m", voice, "--output", target, "--seed", seed).code
            == 0
        )
        results.append(target.read_bytes())
    assert results[0] == results[1] != results[2]


def test_a_source_is_never_overwritten_by_its_conversion(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = spoken(tmp_path / "a" / "take.wav", 0.3) if (tmp_path / "a").mkdir() is None else None
    (tmp_path / "b").mkdir()
    second = spoken(tmp_path / "b" / "take.wav", 0.3)
    outcome = urvc(
        "generate", "convert-voice", first, second, "-m", voice, "--output", tmp_path / "a", "--json"
    )
    assert sorted(Path(row["output"]).name for row in outcome.json["converted"]) == [
        "take (tester) (1).wav",
        "take (tester).wav",
    ]


# ------------------------------------------------------- odd audio is converted or refused


def nan_wave(path: Path) -> None:
    import soundfile

    samples = np.full(16_000, 0.1, np.float32)
    samples[5000] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def silent_wave(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))


def half_mp3(path: Path) -> None:
    spoken(path, 3.0, 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


ODD_AUDIO: dict[str, tuple[str, Callable[[Path], object], str | None]] = {
    "silence": ("silence.wav", silent_wave, None),
    "10 ms": ("short.wav", lambda path: spoken(path, 0.01), None),
    "NaN samples": ("nan.wav", nan_wave, "NaN"),
    "192 kHz": ("high.wav", lambda path: spoken(path, 0.5, 192_000), None),
    "8 channels": ("eight.wav", lambda path: spoken(path, 0.5, 48_000, channels=8), None),
    "an mp3 cut in half": ("half.mp3", half_mp3, None),
    "spaces and letters": ("Ein schönes Lied 歌.wav", lambda path: spoken(path, 0.5), None),
    "an empty file": ("empty.wav", lambda path: path.write_bytes(b""), "empty.wav"),
}


@pytest.mark.parametrize("case", ODD_AUDIO)
def test_odd_audio_is_converted_or_refused_in_one_sentence(urvc, voice, tmp_path, case) -> None:  # type: ignore[no-untyped-def]
    name, make, refused = ODD_AUDIO[case]
    source, target = tmp_path / name, tmp_path / "out.wav"
    make(source)
    outcome = urvc("generate", "convert-voice", source, "--model", voice, "--output", target)
    if refused:
        assert outcome.code == 1
        assert refused in outcome.err
        assert "Traceback" not in outcome.err
        assert not target.exists()
    else:
        assert outcome.code == 0, outcome.err
        assert np.isfinite(decode(target)[0]).all()
        samples, sample_rate = decode(source)
        assert probe(target).duration_seconds == pytest.approx(samples.shape[-1] / sample_rate, abs=1e-3)


# -------------------------------------------------------------------- files that are refused


def test_files_that_are_no_voice_are_refused_before_anything_runs(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    source = spoken(tmp_path / "take.wav", 0.3)
    marker = tmp_path / "executed"

    def refused(path: Path, *words: str) -> None:
        outcome = urvc("generate", "convert-voice", source, "--model", path, "--output", tmp_path / "out.wav")
        assert_refused(outcome, *words)
        assert not (tmp_path / "out.wav").exists()

    refused(write_executing_voice(tmp_path / "harmful.pth", marker), "harmful.pth", "system")
    refused(write_executing_voice(tmp_path / "old harmful.pth", marker, legacy=True), "system")
    assert not marker.exists()
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(voice.read_bytes()[: voice.stat().st_size // 2])
    refused(truncated, "truncated.pth")
    text = tmp_path / "text.pth"
    text.write_text("not a voice")
    refused(text, "text.pth")
    refused(write_discriminator(tmp_path / "D_7.pth"), "D_7.pth", "discriminator")
    refused(tmp_path / "absent.pth", "absent.pth")
    for_other = write_voice(tmp_path / "korean.pth", "Applio", embedder="korean-hubert-base")
    outcome = urvc("generate", "convert-voice", source, "-m", for_other, "--embedder-model", "contentvec")
    assert_refused(outcome, "korean-hubert-base", "contentvec")
    mismatched = tmp_path / "mismatched.pth"
    shutil.copy(write_voice(tmp_path / "wide.pth", "Applio", embedder="starter"), mismatched)
    outcome = urvc(
        "generate", "convert-voice", source, "-m", mismatched, "--index",
        write_index(tmp_path / "other.index", dim=768),
    )  # fmt: skip
    assert_refused(outcome, "other.index", "768", "384")


# ---------------------------------------------------------------------------- single steps


def test_each_step_is_a_command_of_its_own(urvc, short_song, tmp_path) -> None:  # type: ignore[no-untyped-def]
    parted = urvc("generate", "separate", short_song, "--model", "dsp", "--output", tmp_path, "--json")
    assert parted.code == 0, parted.err
    vocals, instrumental = (Path(parted.json["files"][name]) for name in ("vocals", "instrumental"))
    song, _ = decode(short_song)
    np.testing.assert_allclose(decode(vocals)[0] + decode(instrumental)[0], song, atol=2e-4)

    wet = tmp_path / "wet.flac"
    assert urvc("generate", "effects", vocals, "--output", wet, "--room-size", "0.9").code == 0
    assert probe(wet).duration_seconds > probe(vocals).duration_seconds + 0.2
    higher = tmp_path / "higher.wav"
    assert urvc("generate", "transpose", instrumental, "3", "--output", higher).code == 0
    mixed = tmp_path / "mixed.mp3"
    assert urvc("generate", "mix", wet, higher, "--gain", "-3", "--gain", "0", "--output", mixed).code == 0
    assert probe(mixed).duration_seconds == pytest.approx(probe(wet).duration_seconds, abs=0.05)
    assert_refused(urvc("generate", "mix", wet, higher, "--gain", "1", "--output", mixed), "--gain", code=2)
    assert urvc("generate", "wavify", mixed, "--output", tmp_path / "plain.wav").code == 0


@pytest.mark.parametrize(
    ("command", "names"), [("split-backing", ["lead", "backing"]), ("dereverb", ["dry", "reverb"])]
)
def test_vocals_are_parted_beside_their_file(urvc, tmp_path, command, names) -> None:  # type: ignore[no-untyped-def]
    vocals = spoken(tmp_path / "take.wav", 2.0, channels=2)
    outcome = urvc("generate", command, vocals, "--model", "dsp", "--output-format", "flac")
    assert outcome.code == 0, outcome.err
    paths = [tmp_path / f"take ({name}).flac" for name in names]
    assert outcome.out.split("\n")[:2] == [str(path) for path in paths]
    np.testing.assert_allclose(sum(decode(path)[0] for path in paths), decode(vocals)[0], atol=2e-4)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_every_output_format_is_written(urvc, voice, tmp_path, audio_format) -> None:  # type: ignore[no-untyped-def]
    source = spoken(tmp_path / "take.wav", 0.5)
    target = tmp_path / f"out.{audio_format}"
    outcome = urvc("generate", "convert-voice", source, "-m", voice, "--output", target)
    assert outcome.code == 0, outcome.err
    assert probe(target).duration_seconds == pytest.approx(0.5, abs=0.05)


# ---------------------------------------------------------------------- library and cache


def test_voices_are_imported_listed_and_inspected(urvc, voice) -> None:  # type: ignore[no-untyped-def]
    imported = urvc("voices", "import", voice, "--name", "Prüfer 1")
    assert imported.code == 0, imported.err
    assert [row["name"] for row in urvc("voices", "list", "--json").json if row["name"] != "starter"] == [
        "Prüfer 1"
    ]
    facts = urvc("voices", "inspect", "Prüfer 1", "--json").json
    assert facts["embedder"] == "starter"
    assert facts["sample_rate"] == 32000
    assert_refused(urvc("voices", "inspect", "Prufer 1"), "Prüfer 1")


def test_the_cache_is_listed_and_cleared(urvc, voice, tmp_path) -> None:  # type: ignore[no-untyped-def]
    short = tmp_path / "short.wav"
    song, rate = decode(SONG)
    encode(short, song[:, : 3 * rate], rate)
    cover = urvc("generate", "song-cover", short, voice, "--output", tmp_path / "c.wav")
    assert cover.code == 0, cover.err
    assert cover.err.count("signal processing ('dsp')") == 1  # told once that no network parted the song
    entries = urvc("cache", "list", "--json").json["entries"]
    assert set(ALL_STEPS) <= {entry["step"] for entry in entries}
    assert urvc("cache", "clear", "--step", "convert", "--json").json["removed"] == 1
    assert urvc("cache", "clear").code == 0
    assert urvc("cache", "list", "--json").json["entries"] == []
    assert (tmp_path / "c.wav").exists()
