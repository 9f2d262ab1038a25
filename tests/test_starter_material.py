"""The script that makes the starter voices' recordings; a buzz stands in for the synthesiser that reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pyworld = pytest.importorskip("pyworld")
pytest.importorskip("soxr")

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
RATE = 32_000


@pytest.fixture(scope="module")
def material() -> Iterator[ModuleType]:
    before = sys.path[:]
    sys.path.insert(0, str(SCRIPTS))
    try:
        import make_starter_material

        yield make_starter_material
    finally:
        sys.path[:] = before


def voiced_buzz(seconds: float, hz: float) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    partials = np.arange(1, 30)[:, None]
    return (np.sin(2 * np.pi * hz * partials * times) / partials).sum(0) * 0.2


@pytest.fixture
def reader(material: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A voice "buzz" that says every sentence as three vowels; the list tells what it was asked to read."""
    asked: list[str] = []

    def read(sentence: str, stretch: float) -> tuple[np.ndarray, int, list[object]]:
        asked.append(sentence)
        names = ["pau", "l", "ay", "m", "aa", "n", "iy", "pau"]
        times = np.arange(len(names) + 1) * 0.1 * stretch
        phones = [material.Phone(name, a, b) for name, a, b in zip(names, times[:-1], times[1:], strict=True)]
        sound = voiced_buzz(times[-1], 180.0)
        sound[: round(times[1] * RATE)] = 0
        sound[round(times[-2] * RATE) :] = 0
        return sound, RATE, phones

    buzz = material.Reader("buzz", "a buzz", (), (), "none", (90.0, 400.0), 80.0, read)
    monkeypatch.setitem(material.READERS, "buzz", buzz)
    return asked


def test_there_are_enough_different_sentences(material: ModuleType) -> None:
    sentences = material.read_sentences()
    assert len(sentences) >= 350
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.isascii() and '"' not in sentence for sentence in sentences)
    assert sum(sentence.endswith("?") for sentence in sentences) >= 30
    assert sum(sentence.endswith("!") for sentence in sentences) >= 20


def test_every_sentence_is_read_once_before_any_is_read_again(material: ModuleType) -> None:
    sentences = [f"sentence {number}" for number in range(20)]
    read = [recipe.sentence for recipe in islice(material.speech_recipes(sentences, 5), 40)]
    assert sorted(read[:20]) == sorted(read[20:]) == sorted(sentences)
    assert read[:20] != read[20:]


def test_half_of_the_speech_is_left_as_it_comes(material: ModuleType) -> None:
    recipes = list(islice(material.speech_recipes(["a", "b"], 1), 400))
    plain = [recipe for recipe in recipes if recipe.pitch_factor == recipe.pitch_range == 1.0]
    assert len(plain) == 200
    changed = np.array([recipe.pitch_factor for recipe in recipes if recipe not in plain])
    assert 0.75 <= changed.min() < 0.85
    assert 1.4 < changed.max() <= 1.6


def test_another_seed_is_another_plan(material: ModuleType) -> None:
    def plan(seed: int) -> list[object]:
        return list(islice(material.sung_recipes(["a", "b", "c"], seed), 9))

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_sung_notes_cover_the_range_evenly(material: ModuleType) -> None:
    rng = np.random.default_rng(0)
    recipes = islice(material.sung_recipes(["a"], 1), 300)
    notes = np.concatenate([material.melody(recipe.centre_note, 10, rng) for recipe in recipes])
    assert notes.min() >= material.LOWEST_NOTE
    assert notes.max() <= material.HIGHEST_NOTE
    shares, _ = np.histogram(notes, 8, (material.LOWEST_NOTE, material.HIGHEST_NOTE))
    assert shares.min() > 0.7 * shares.mean()
    assert shares.max() < 1.4 * shares.mean()


@given(
    seed=st.integers(0, 2**32), style=st.sampled_from(["melody", "glide", "held"]), centre=st.floats(40, 79)
)
@settings(max_examples=40, deadline=None)
def test_sung_pitch_stays_in_its_range(material: ModuleType, seed: int, style: str, centre: float) -> None:
    rng = np.random.default_rng(seed)
    notes, lengths = material.melody(centre, 6, rng), material.note_seconds(style, 6, rng)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    times = np.arange(-0.1, starts[-1], material.FRAME_SECONDS)
    pitch = material.sung_pitch(notes, starts, times, style, rng)
    assert pitch.shape == times.shape
    assert pitch.min() >= material.LOWEST_HZ
    assert pitch.max() <= material.HIGHEST_HZ


def test_only_the_middles_of_vowels_are_lengthened(material: ModuleType) -> None:
    song, speech = [-0.1, 0.0, 1.0, 1.1], [0.2, 0.3, 0.5, 0.6]
    song_times, speech_times = material.steady_vowels(song, speech, ["aa"])
    speeds = np.diff(speech_times) / np.diff(song_times)
    np.testing.assert_allclose(speeds[[0, 1, 3, 4]], 1.0)  # consonants and the vowel's two edges, as spoken
    assert speeds[2] < 0.1


def test_a_sung_file_has_the_planned_pitch(material: ModuleType, reader: list[str], tmp_path: Path) -> None:
    recipe = material.Recipe(
        "sung_0001.wav", "sung", "lie manny", style="held", centre_note=69.0, seed=(1, 2, 3)
    )
    entry = material.make_file(recipe, tmp_path, "buzz")
    sound, rate = soundfile.read(tmp_path / "sung_0001.wav")
    assert rate == RATE
    assert entry["seconds"] == pytest.approx(sound.size / RATE, abs=1e-3)
    assert np.abs(sound).max() == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    f0, _ = pyworld.harvest(sound, rate, 71.0, 1000.0)
    notes = material.melody(69.0, 3, np.random.default_rng((1, 2, 3)))
    off_in_semitones = np.abs(69 + 12 * np.log2(f0[f0 > 0] / 440)[:, None] - notes[None, :]).min(1)
    assert np.median(off_in_semitones) < 0.6  # within vibrato's reach of one of the three notes


def test_changed_speech_keeps_its_length(material: ModuleType, reader: list[str], tmp_path: Path) -> None:
    plain = material.make_file(material.Recipe("speech_0001.wav", "speech", "a"), tmp_path, "buzz")
    high = material.make_file(
        material.Recipe("speech_0002.wav", "speech", "a", pitch_factor=1.5), tmp_path, "buzz"
    )
    assert high["seconds"] == pytest.approx(plain["seconds"], abs=0.1)  # WORLD smears the buzz's edges
    pitches = []
    for entry in (plain, high):
        sound, rate = soundfile.read(tmp_path / entry["file"])
        f0, _ = pyworld.harvest(sound, rate)
        pitches.append(np.median(f0[f0 > 0]))
    assert pitches[1] / pitches[0] == pytest.approx(1.5, rel=0.02)


def test_pauses_are_silent_and_not_counted(material: ModuleType, reader: list[str], tmp_path: Path) -> None:
    recipe = material.Recipe("speech_0001.wav", "speech", "a", pause_before=0.25, pause_after=0.4)
    entry = material.make_file(recipe, tmp_path, "buzz")
    sound, _ = soundfile.read(tmp_path / "speech_0001.wav")
    assert not sound[: RATE // 4].any()
    assert not sound[-round(0.4 * RATE) :].any()
    assert sound.size / RATE == pytest.approx(entry["seconds"] + 0.65, abs=1e-3)
    assert (entry["pause_before"], entry["pause_after"]) == (0.25, 0.4)


def test_most_files_have_a_pause_and_none_a_long_one(material: ModuleType) -> None:
    for recipes in (material.speech_recipes(["a", "b"], 1), material.sung_recipes(["a", "b"], 1)):
        pauses = np.array([(recipe.pause_before, recipe.pause_after) for recipe in islice(recipes, 300)])
        assert 0.5 < (pauses > 0).mean() < 0.7
        assert 0.45 < pauses.max() <= 0.5


def test_files_that_are_there_are_kept(material: ModuleType, reader: list[str], tmp_path: Path) -> None:
    recipe = material.Recipe("speech_0001.wav", "speech", "once")
    first = material.make_file(recipe, tmp_path, "buzz")
    assert material.make_file(recipe, tmp_path, "buzz") == first
    assert reader == ["once"]


def test_material_made_otherwise_is_not_mixed(material: ModuleType, tmp_path: Path) -> None:
    material.begin(tmp_path, {"seed": 1})
    record = material.begin(tmp_path, {"seed": 1})
    assert json.loads(record.read_text()) == {"seed": 1}
    with pytest.raises(SystemExit, match=r"made otherwise \(seed\); name an empty folder"):
        material.begin(tmp_path, {"seed": 2})


def test_foreign_sound_files_are_not_touched(material: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"no material\.json"):
        material.begin(tmp_path, {})


@pytest.mark.parametrize(("voice", "packages"), [("slt", "festival festvox-us-slt-hts"), ("rms", "flite")])
def test_a_missing_program_is_named_with_its_packages(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch, voice: str, packages: str
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=f"is missing; install from Debian: {packages}."):
        material.check_installed(material.READERS[voice])


def test_a_missing_festival_voice_is_named_with_its_package(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "festival"
    program.write_text("#!/bin/sh\necho 'SIOD ERROR: unbound variable : voice_cmu_us_slt_arctic_hts' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(SystemExit, match="install the Debian package festvox-us-slt-hts"):
        material.check_installed(material.READERS["slt"])


def test_formants_rise_with_high_notes_only(material: ModuleType) -> None:
    pitch = np.repeat([0.0, 150.0, 390.0, 800.0], 100)
    factors = material.formant_factors(pitch, 200.0)
    np.testing.assert_allclose(factors[[50, 150, 250]], 1.0, atol=1e-6)
    assert factors[350] == pytest.approx(2**material.FORMANT_SHARE, rel=1e-6)  # 800 Hz: an octave beyond 400


def test_a_raised_envelope_keeps_its_shape(material: ModuleType) -> None:
    bins = np.arange(513)
    envelope = np.repeat(-(((bins - 100) / 30.0) ** 2)[None], 4, 0)
    analysis = material.Analysis(np.full(4, 200.0), envelope, np.zeros((4, 513)), RATE)
    raised = material.with_raised_formants(analysis, np.arange(4.0), np.array([1.0, 1.0, 1.1, 1.2]))
    assert raised.log_envelope.argmax(1).tolist() == [100, 100, 110, 120]


def test_a_breath_is_before_the_song_and_far_softer(
    material: ModuleType, reader: list[str], tmp_path: Path
) -> None:
    plan = {"style": "held", "centre_note": 60.0, "seed": (1, 2, 3)}
    songs = []
    for number, seconds in enumerate((0.0, 0.3)):
        recipe = material.Recipe(f"sung_{number}.wav", "sung", "a", breath=seconds, **plan)
        assert material.make_file(recipe, tmp_path, "buzz")["breath"] == seconds
        songs.append(soundfile.read(tmp_path / recipe.file)[0])
    without, with_breath = songs
    air = round(0.3 * RATE)
    np.testing.assert_array_equal(with_breath[air:], without)
    low, high = material.BREATH_BELOW_DB
    below_db = -20 * np.log10(np.abs(with_breath[:air]).max() / np.abs(without).max())
    assert low - 0.1 < below_db < high + 0.1


def test_prompts_are_spoken_but_for_those_held_out(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"folder/prompt-{number}" for number in range(200)]
    said = {name: f"The words of {name}." for name in names}
    monkeypatch.setattr(material.asterisk_prompts, "prompts", lambda: said)
    recipes = list(material.prompt_recipes(1))
    spoken = {recipe.prompt for recipe in recipes}
    held_out = set(filter(material.asterisk_prompts.is_held_out, names))
    assert spoken == set(names) - held_out
    assert 20 < len(held_out) < 60
    assert all(recipe.sentence == said[recipe.prompt] and "/" not in recipe.file for recipe in recipes)
