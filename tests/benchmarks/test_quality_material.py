"""What the quality bench listens to: held out, shared out among the sources, cached by content."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from ultimate_rvc.errors import AssetMissingError, AudioError, SettingError

CHECKOUT = Path(__file__).resolve().parents[2]
TRAINING_TEXTS = CHECKOUT / "scripts" / "starter_sentences.txt"
WORDS_IN_A_RUN = 5

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


@pytest.fixture(scope="module")
def material() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
        import quality_material

        yield quality_material


def write_tone(path: Path, rate: int = 8000, gain: float = 0.5) -> None:
    soundfile.write(path, gain * np.sin(np.arange(rate) * 440 * 2 * np.pi / rate), rate, subtype="FLOAT")


# --- texts ----------------------------------------------------------------------------------------


def bench_texts(material: ModuleType) -> list[str]:
    sung = [phrase.text for phrase in material.PHRASES]
    return [*material.SENTENCES, *sung, *(excerpt.text for excerpt in material.EXCERPTS)]


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z ]", "", text.lower().replace("-", " ")).split()


def runs(text: str) -> set[tuple[str, ...]]:
    spoken = words(text)
    return {tuple(spoken[at : at + WORDS_IN_A_RUN]) for at in range(len(spoken) - WORDS_IN_A_RUN + 1)}


def test_nothing_on_the_bench_is_trained_on(material: ModuleType) -> None:
    lines = TRAINING_TEXTS.read_text(encoding="utf-8").splitlines()
    trained = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(trained) > 100
    trained_runs = set().union(*map(runs, trained))
    trained_texts = {" ".join(words(line)) for line in trained}
    for text in bench_texts(material):
        assert " ".join(words(text)) not in trained_texts
        assert not runs(text) & trained_runs, text


def test_texts_are_plain_and_differ(material: ModuleType) -> None:
    texts = bench_texts(material)
    assert len(set(texts)) == len(texts)
    assert len(material.SENTENCES) == material.BLOCK * len(material.SOURCES)
    for sentence in material.SENTENCES:
        assert re.fullmatch(r"[A-Z][a-z, ]+\.| ?I[a-z, ]+\.|[A-Za-z, ]+\.", sentence), sentence


def test_each_syllable_of_a_phrase_has_a_note(material: ModuleType) -> None:
    assert len(material.PHRASES) >= 5
    for phrase in material.PHRASES:
        assert len(phrase.pitches) == len(phrase.beats)
        assert 45 <= min(phrase.pitches) <= max(phrase.pitches) <= 65


# --- speakers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speaker", "person"),
    [
        ("flite:slt", "slt"),
        ("festival:cmu_us_slt_arctic_hts", "slt"),
        ("flite:kal16", "kal"),
        ("flite:kal", "kal"),
        ("festival:kal_diphone", "kal"),
        ("flite:awb_time", "awb"),
        ("espeak-ng:en-us+f3", "espeak-ng:en-us+f3"),
    ],
)
def test_voices_of_one_person_are_known_as_such(material: ModuleType, speaker: str, person: str) -> None:
    assert material.parse_speaker(speaker).person == person


@pytest.mark.parametrize("target", ["slt", "flite:", "say:Alex", "festival:x) (quit", "no/such/folder"])
def test_an_unknown_target_is_one_sentence(material: ModuleType, target: str) -> None:
    with pytest.raises(SettingError, match="--target"):
        material.parse_speaker(target)


def test_the_target_is_no_source(material: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "spoken", lambda *_: np.zeros(1, np.float32))
    items = material.spoken_items(None, "slt")
    by_source = Counter(item.source for item in items)
    assert len(items) == 40
    assert len(by_source) == 5
    assert "flite:slt" not in by_source
    assert len({item.text for item in items}) == len({item.name for item in items}) == 40
    assert len(material.spoken_items(None, None)) == 48


class EmptyShelf:
    """Makes nothing: what is asked for is silence."""

    def fetch(self, made_from: object, make: object) -> np.ndarray:
        return np.zeros(1, np.float32)


@pytest.fixture
def _programs(material: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyworld")
    monkeypatch.setattr(material, "program_version", lambda engine: "1")


@pytest.mark.usefixtures("_programs")
def test_the_large_bench_has_words_enough_to_tell_two_points_apart(material: ModuleType) -> None:
    items = material.spoken_items(EmptyShelf(), None, large=True)
    by_source = Counter(item.source for item in items)
    assert set(by_source.values()) == {24}
    assert {"kokoro:af_sarah", "kokoro:am_puck"} < set(by_source)
    assert len({item.name for item in items}) == len(items)
    for source in by_source:
        texts = [item.text for item in items if item.source == source]
        assert len(set(texts)) == len(texts)
    assert sum(len(words(item.text)) for item in items) >= 1500


@pytest.mark.usefixtures("_programs")
def test_the_large_bench_is_sung_by_voices_that_no_training_heard(material: ModuleType) -> None:
    items = material.sung_items(EmptyShelf(), None, large=True)
    assert sum(len(words(item.text)) for item in items) >= 300
    assert len({item.name for item in items}) == len(items)
    phrases = Counter((item.source, item.text) for item in items)
    assert set(phrases.values()) == {1}
    assert len(material.sung_items(EmptyShelf(), None)) == len(material.PHRASES)


def test_kokoro_that_is_not_here_is_one_sentence(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path))
    speaker = material.parse_speaker("kokoro:af_nova")
    with pytest.raises(AssetMissingError, match="Kokoro"):
        speaker.speak("Yes.", tmp_path / "yes.wav")


# --- making ---------------------------------------------------------------------------------------


def test_material_is_made_once_for_the_same_content(material: ModuleType, tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> None:
        made.append(path)
        write_tone(path)

    shelf = material.Shelf(tmp_path)
    first = shelf.fetch(("tone", 1), make)
    again = material.Shelf(tmp_path).fetch(("tone", 1), make)
    shelf.fetch(("tone", 2), make)
    assert len(made) == 2
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert len(first) == pytest.approx(16_000, abs=2)  # from 8 kHz


def test_silent_speech_is_refused_and_not_kept(material: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="silent"):
        material.Shelf(tmp_path).fetch(("nothing",), lambda path: write_tone(path, gain=0.0))
    assert not list(tmp_path.iterdir())


def test_a_missing_program_is_one_sentence(
    material: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    material.program_version.cache_clear()
    with pytest.raises(AssetMissingError, match=r"needs the program flite; install it .*apt install flite"):
        material.spoken_items(material.Shelf(tmp_path), None)
    material.program_version.cache_clear()


@needs_flite
def test_flite_is_not_asked_for_a_voice_that_it_does_not_have(material: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no voice nobody; choose from .*slt"):
        material.parse_speaker("flite:nobody").speak("Hello.", tmp_path / "hello.wav")


@pytest.mark.parametrize("speaker", ["festival:nobody", "espeak-ng:nobody"])
def test_a_voice_that_cannot_speak_is_one_sentence(
    material: ModuleType, tmp_path: Path, speaker: str
) -> None:
    nobody = material.parse_speaker(speaker)
    if shutil.which(material.PROGRAMS[nobody.engine][0]) is None:
        pytest.skip(f"{nobody.engine} is not installed")
    with pytest.raises(SettingError, match=f"The voice {speaker} cannot speak: .*(unbound|does not exist)"):
        nobody.speak("Hello.", tmp_path / "hello.wav")


@needs_flite
def test_a_slower_reading_is_longer(material: ModuleType, tmp_path: Path) -> None:
    speaker, shelf = material.parse_speaker("flite:slt"), material.Shelf(tmp_path)
    usual, slower = (material.spoken(shelf, speaker, "A short sentence.", pace) for pace in (1.0, 1.2))
    assert 1.1 < len(slower) / len(usual) < 1.3


@needs_flite
def test_a_phrase_is_sung_on_its_notes(
    material: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quality_measures import analyse

    phrase = material.PHRASES[1]
    monkeypatch.setattr(material, "PHRASES", (phrase,))
    (item,) = material.sung_items(material.Shelf(tmp_path), "rms")
    assert (item.source, item.kind, item.text) == ("flite:awb", material.Kind.SUNG, phrase.text)
    sung = analyse(item.waveform_16k)
    notes = 69 + 12 * np.log2(sung.f0_hz[sung.f0_hz > 0] / 440)
    assert np.median(notes) == pytest.approx(np.median(np.repeat(phrase.pitches, 2)), abs=1)
    assert np.percentile(notes, 97) < max(phrase.pitches) + 1
    assert len(item.waveform_16k) / 16_000 == pytest.approx(sum(phrase.beats) * 0.6, abs=0.5)


def test_excerpts_lie_inside_their_recordings(material: ModuleType) -> None:
    pytest.importorskip("moonshine_voice", reason="the extra is not installed", exc_type=Exception)
    for excerpt in material.EXCERPTS:
        seconds = soundfile.info(material.recording_path(excerpt.file)).duration
        assert 0 <= excerpt.start < excerpt.end <= seconds


def test_a_recording_of_another_version_is_one_sentence(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(material.RECORDING_HASHES, "other.wav", "0" * 64)
    with pytest.raises(AssetMissingError, match=r"moonshine-voice 0\.1\.5; install the extra"):
        material.recording_path("other.wav")


# --- a target of one's own ------------------------------------------------------------------------


def test_recordings_of_a_target_are_read_with_what_they_say(material: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_tone(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text(f"This is {name}.\n")
    target = material.target_recordings(tmp_path)
    assert target.texts_known
    assert list(target.speech) == ["This is one.", "This is two."]
    (tmp_path / "two.txt").unlink()
    assert not material.target_recordings(tmp_path).texts_known


def test_one_recording_of_a_target_is_too_few(material: ModuleType, tmp_path: Path) -> None:
    write_tone(tmp_path / "one.wav")
    with pytest.raises(SettingError, match="holds 1 recordings, but at least 2"):
        material.target_recordings(tmp_path)
