"""A song becomes a cover: what is made, what is reused, what is noticed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from ultimate_rvc import outputs
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.audio.level import true_peak
from ultimate_rvc.choices import AudioFormat, F0Method, Quality, StepSwitch
from ultimate_rvc.covers import recipe, steps
from ultimate_rvc.covers.cache import CachedFile, StepCache
from ultimate_rvc.covers.conversion import choose_voice, settings_that_matter
from ultimate_rvc.covers.recipe import CoverResult, make_cover
from ultimate_rvc.covers.settings import BackingVoice, CoverSettings, StemSettings
from ultimate_rvc.covers.steps import MixTrack, Workshop, encode_mix, fit_to_song, mix_stems
from ultimate_rvc.covers.wave_file import read_stem, write_stem
from ultimate_rvc.errors import CancelledError, SettingError, SourceError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import audio_dir, cache_dir, output_dir, voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from voice_factory import write_voice, write_voice_folder

SONGS = Path(__file__).parents[1] / "data" / "songs"
SECONDS = 1.0
RATE = 44100
CONVERSION = ConversionSettings(f0_methods=(F0Method.DIO,))  # no network: the fastest
SMALL = {"embedder": "starter", "sample_rate": 32000, "initial_channels": 16}  # fast
DSP = StemSettings(vocals_model="dsp")

# As docs/covers.md lists them.
STEP_NAMES = (
    "retrieve",
    "separate",
    "split backing",
    "remove reverb",
    "convert",
    "convert backing",
    "effects",
    "transpose instruments",
    "transpose backing",
    "mix",
    "encode",
)


def excerpt(name: str, seconds: float = SECONDS) -> np.ndarray:
    """The beginning of a test song's stem, stereo."""
    waveform, sample_rate = decode(SONGS / f"{name}.ogg")
    assert sample_rate == RATE
    return np.broadcast_to(waveform, (2, waveform.shape[1]))[:, RATE : RATE + round(seconds * RATE)]


@pytest.fixture(scope="module")
def stems() -> dict[str, np.ndarray]:
    return {"vocals": excerpt("water_vocals"), "instrumental": excerpt("water_instrumental")}


@pytest.fixture
def song(tmp_path: Path, stems: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "My Song.wav"
    wavfile.write(path, RATE, (stems["vocals"] + stems["instrumental"]).T)
    return path


@pytest.fixture
def folder(tmp_path: Path, stems: dict[str, np.ndarray]) -> Path:
    """The same song in parts: no separation, so the fastest source."""
    return write_parts(tmp_path / "In Parts", stems)


def write_parts(folder: Path, stems: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, waveform in stems.items():
        wavfile.write(folder / f"{name}.wav", RATE, waveform.T)
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    write_voice_folder(folder, "Anna", **SMALL)
    write_voice_folder(folder, "Bert", **SMALL, seed=1, with_index=False)
    return folder


@pytest.fixture(autouse=True)
def _own_voices(voices: Path) -> None:
    shutil.copytree(voices, voice_models_dir())


@pytest.fixture(scope="module")
def finished_audio(
    tmp_path_factory: pytest.TempPathFactory, stems: dict[str, np.ndarray], voices: Path
) -> Path:
    """The audio folder after one cover of the folder of stems by Bert."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("URVC_AUDIO_DIR", str(root / "audio"))
        patch.setenv("URVC_VOICE_MODELS_DIR", str(voices))
        cover(write_parts(root / "In Parts", stems))
    return root / "audio"


@pytest.fixture
def first(folder: Path, finished_audio: Path) -> CoverResult:
    """A cover of the folder of stems by Bert, made before the test begins."""
    shutil.copytree(finished_audio, audio_dir())
    result = cover(folder)
    assert made(result) == []
    return result


def cover_settings(**changes: Any) -> CoverSettings:
    return dataclasses.replace(CoverSettings(conversion=CONVERSION, stems=DSP), **changes)


def cover(source: Path, voice: str = "Bert", **changes: Any) -> CoverResult:
    return make_cover(str(source), voice, cover_settings(**changes))


def made(result: CoverResult) -> list[str]:
    """The steps that were not found in the cache."""
    return [step.name for step in result.steps if not step.cached]


# ------------------------------------------------------------- a whole cover


def test_a_song_becomes_an_mp3_of_its_length_that_does_not_clip(song: Path) -> None:
    result = cover(song, "Anna")
    assert result.path == output_dir() / "My Song (Anna Ver).mp3"
    waveform, sample_rate = decode(result.path)
    assert sample_rate == result.sample_rate == 44100
    assert waveform.shape == (2, round(SECONDS * RATE))
    assert result.duration_seconds == SECONDS
    assert 0.05 < true_peak(waveform, sample_rate) <= 1.0
    assert result.separation_model == "dsp"
    assert result.device == "cpu"
    assert made(result) == ["retrieve", "separate", "convert", "effects", "mix", "encode"]
    assert all(path.is_file() for step in result.steps for path in step.files)
    assert sum(step.seconds for step in result.steps) <= result.elapsed_seconds


def test_the_second_time_every_step_is_found_and_no_voice_is_opened(
    song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cover(song)
    written = first.path.stat().st_mtime_ns

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was run")

    monkeypatch.setattr(WarmPipelines, "open", refuse)
    monkeypatch.setattr(steps, "separate", refuse)
    second = cover(song)
    assert made(second) == []
    assert second.path == first.path
    assert second.path.stat().st_mtime_ns == written  # the very same bytes: left as they are
    assert (second.warnings, second.device) == (first.warnings, first.device)


def test_another_voice_reuses_the_stems(song: Path) -> None:
    cover(song, "Bert")
    assert made(cover(song, "Anna")) == ["convert", "effects", "mix", "encode"]


def test_another_file_under_the_same_voice_name_is_noticed(folder: Path, first: CoverResult) -> None:
    before = file_hash(first.path)
    write_voice(voice_models_dir() / "Bert" / "Bert.pth", **SMALL, seed=9)
    second = cover(folder)
    assert made(second) == ["convert", "effects", "mix", "encode"]
    assert second.path.name == "In Parts (Bert Ver) (1).mp3"  # the name is taken by another cover
    assert file_hash(first.path) == before != file_hash(second.path)


@pytest.mark.usefixtures("first")
def test_the_same_voice_under_another_name_is_found(folder: Path) -> None:
    (voice_models_dir() / "Bert").rename(voice_models_dir() / "Twin")
    (voice_models_dir() / "Twin" / "Bert.pth").rename(voice_models_dir() / "Twin" / "Twin.pth")
    result = cover(folder, "Twin")
    assert made(result) == []
    assert result.path.name == "In Parts (Twin Ver).mp3"


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"main_gain": 3.0}, ["mix", "encode"]),
        ({"output_sr": 16000}, ["mix", "encode"]),
        ({"output_format": AudioFormat.OGG}, ["encode"]),
        ({"bitrate_kbps": 96}, ["encode"]),
        ({"effects": EffectSettings(room_size=0.5)}, ["effects", "mix", "encode"]),
        ({"effects": None}, ["mix", "encode"]),
        ({"inst_semitones": 1}, ["transpose instruments", "mix", "encode"]),
        ({"output_name": "other"}, []),
        ({"conversion": dataclasses.replace(CONVERSION, seed=1)}, ["convert", "effects", "mix", "encode"]),
        ({"conversion": dataclasses.replace(CONVERSION, autotune_strength=0.5)}, []),  # autotune is off
        ({"conversion": dataclasses.replace(CONVERSION, index_rate=0.9)}, []),  # Bert has no index
    ],
)
def test_a_changed_setting_redoes_only_what_depends_on_it(
    folder: Path, changes: dict[str, Any], redone: list[str]
) -> None:
    assert made(cover(folder, **changes)) == redone


def test_the_seed_decides_the_bytes(
    folder: Path, first: CoverResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other_seed = cover(folder, conversion=dataclasses.replace(CONVERSION, seed=4))
    monkeypatch.setenv("URVC_AUDIO_DIR", str(tmp_path / "empty"))
    again = cover(folder)
    assert made(again) == ["retrieve", "convert", "effects", "mix", "encode"]
    assert file_hash(again.path) == file_hash(first.path) != file_hash(other_seed.path)


@pytest.mark.parametrize("name", ["converted.wav", "mix.wav", "cover.mp3", "vocals.wav"])
def test_a_damaged_cache_file_is_made_anew_and_the_cover_is_the_same(
    folder: Path, first: CoverResult, name: str
) -> None:
    before = file_hash(first.path)
    (path,) = [path for step in first.steps for path in step.files if path.name == name]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    second = cover(folder)
    assert len(made(second)) == 1
    assert second.path == first.path
    assert file_hash(second.path) == before


def test_code_is_compiled_while_the_song_is_separated_and_not_for_stems_at_hand(
    song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = []
    separate = steps.separate

    def spy(*arguments: Any, **options: Any) -> Any:
        happened.append("separate")
        return separate(*arguments, **options)

    monkeypatch.setattr(steps, "separate", spy)
    monkeypatch.setattr(recipe, "warm_up", lambda voice, _: happened.append(f"warm up {voice.name}"))
    cover(song, "Anna")
    assert happened == ["warm up Anna", "separate"]
    cover(song, "Bert")
    assert happened == ["warm up Anna", "separate"]


# ------------------------------------------------------------------- pitch


@pytest.mark.usefixtures("first")
def test_an_octave_is_twelve_semitones_and_leaves_the_band_where_it_is(folder: Path) -> None:
    by_octave = cover(folder, conversion=dataclasses.replace(CONVERSION, n_octaves=1))
    assert "transpose instruments" not in [step.name for step in by_octave.steps]
    assert by_octave.shift_semitones == 12
    assert made(cover(folder, conversion=dataclasses.replace(CONVERSION, n_semitones=12))) == []


@pytest.mark.usefixtures("first")
def test_the_band_follows_the_voice_by_the_short_way(folder: Path) -> None:
    shifted = []
    original = steps.transpose

    def spy(waveform: np.ndarray, sample_rate: int, semitones: float) -> np.ndarray:
        shifted.append(semitones)
        return original(waveform, sample_rate, semitones)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "transpose", spy)
        cover(folder, conversion=dataclasses.replace(CONVERSION, n_octaves=1, n_semitones=-5))
    assert shifted == [-5]


def test_a_proposed_pitch_takes_the_band_along(folder: Path) -> None:
    proposed = cover(
        folder,
        conversion=dataclasses.replace(CONVERSION, proposed_pitch=True, proposed_pitch_threshold=300),
    )
    assert proposed.shift_semitones in range(-12, 0)  # the excerpt is sung above 300 Hz
    plain = cover(folder, conversion=dataclasses.replace(CONVERSION, n_semitones=proposed.shift_semitones))
    # The same shift asked for outright: the same bytes.
    assert file_hash(plain.path) == file_hash(proposed.path)


def test_a_proposed_pitch_is_found_once_and_may_go_beyond_what_can_be_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultimate_rvc.rvc.infer import f0

    found = []
    original = f0.extract_f0

    def spy(*arguments: Any, **options: Any) -> Any:
        found.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(f0, "extract_f0", spy)
    settings = dataclasses.replace(
        CONVERSION, n_semitones=-48, proposed_pitch=True, proposed_pitch_threshold=300
    )
    result = cover(folder, conversion=settings)
    assert result.shift_semitones in range(-60, -48)
    assert len(found) == 1


def test_a_voice_without_pitch_is_not_shifted_and_so_nothing_is(folder: Path) -> None:
    write_voice(voice_models_dir() / "Flat" / "Flat.pth", **SMALL, has_f0=False)
    result = cover(folder, "Flat", conversion=dataclasses.replace(CONVERSION, n_semitones=5))
    assert result.shift_semitones == 0
    assert "transpose instruments" not in [step.name for step in result.steps]
    assert any("Flat was made without pitch" in warning for warning in result.warnings)


# ----------------------------------------------------------- backing vocals


@pytest.fixture
def folder_with_backing(folder: Path) -> Path:
    wavfile.write(folder / "backing vocals.wav", RATE, excerpt("thunder_vocals").T)
    return folder


def test_lead_and_backing_of_one_voice_load_it_once(
    folder_with_backing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultimate_rvc.covers import conversion

    opened = []
    original: Callable[..., Any] = conversion.Pipeline.open

    def spy(model_path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(model_path.stem)
        return original(model_path, *arguments, **options)

    monkeypatch.setattr(conversion.Pipeline, "open", spy)
    own_pitch = BackingVoice(n_semitones=-12)
    result = cover(folder_with_backing, backing=own_pitch)
    assert "convert backing" in made(result)
    assert opened == ["Bert"]
    cover(folder_with_backing, backing=BackingVoice(voice="Anna"))
    assert opened == ["Bert", "Anna"]  # Bert's lead is in the cache


def test_backing_vocals_that_are_kept_are_heard_and_follow_the_band(folder_with_backing: Path) -> None:
    result = cover(folder_with_backing, conversion=dataclasses.replace(CONVERSION, n_semitones=2))
    assert [step.name for step in result.steps][-4:] == [
        "transpose instruments",
        "transpose backing",
        "mix",
        "encode",
    ]
    silent = cover(
        folder_with_backing,
        conversion=dataclasses.replace(CONVERSION, n_semitones=2),
        backup_gain=-60,
        output_name="without",
    )
    difference = decode(result.path)[0] - decode(silent.path)[0]
    assert np.abs(difference).max() > 0.01


def test_the_optional_steps_are_done_when_asked_for_and_left_out_with_one_warning_else(
    folder: Path, first: CoverResult
) -> None:
    assert first.quality is Quality.FAST  # in which they are not done
    assert not any("Left out" in warning for warning in first.warnings)
    best = cover(folder, quality=Quality.BEST)
    assert [warning for warning in best.warnings if "Left out for want of a model" in warning] == [
        "Left out for want of a model: parting backing vocals from the lead and removing the reverb; "
        "`urvc doctor` tells how to get one."
    ]
    asked_for = cover(folder, stems=StemSettings(split_backing=StepSwitch.ON, remove_reverb=StepSwitch.ON))
    assert {"split backing", "remove reverb"} <= set(made(asked_for))
    off = cover(folder, stems=StemSettings(split_backing=StepSwitch.OFF, remove_reverb=StepSwitch.OFF))
    assert off.warnings == ()
    assert made(off) == []


def test_a_backing_voice_needs_the_split(folder: Path) -> None:
    with pytest.raises(SettingError, match="needs backing vocals apart from the lead"):
        cover(folder, backing=BackingVoice(), stems=StemSettings(split_backing=StepSwitch.OFF))


# -------------------------------------------------------------- mix, encode


def stem(path: Path, waveform: np.ndarray, sample_rate: int = RATE) -> CachedFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_stem(path, waveform.astype(np.float32), sample_rate)
    return CachedFile(path, file_hash(path), path.stat().st_size)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(StepCache(tmp_path / "cache"))


def test_a_tail_beyond_the_songs_end_is_faded_out_there(tmp_path: Path, shop: Workshop) -> None:
    ones = np.full((2, 2 * RATE), 0.25)
    entry = mix_stems([MixTrack(stem(tmp_path / "a.wav", ones), 0)], 1.0, RATE, shop)
    mixed, _ = read_stem(entry.path("mix.wav"))
    assert mixed.shape == (2, RATE)
    np.testing.assert_allclose(mixed[:, : RATE - 1400], 0.25, atol=1e-6)
    assert np.all(np.diff(mixed[0, -1300:]) < 0)
    assert mixed[0, -1] == 0


def test_a_waveform_within_the_song_is_left_alone() -> None:
    waveform = np.ones((2, 100), np.float32)
    assert fit_to_song(waveform, 100, 1.0) is waveform


@pytest.mark.parametrize("output_sr", [16000, 44100, 48000, 96000, 192000])
def test_the_mix_has_the_songs_length_at_every_rate_and_keeps_the_longest_stem(
    tmp_path: Path, shop: Workshop, output_sr: int
) -> None:
    short = stem(tmp_path / "a.wav", 0.1 * np.ones((1, 7001)), 32000)
    long = stem(tmp_path / "b.wav", 0.1 * np.ones((2, 44099)))
    entry = mix_stems([MixTrack(short, 0), MixTrack(long, -6)], 44099 / RATE, output_sr, shop)
    mixed, sample_rate = read_stem(entry.path("mix.wav"))
    assert sample_rate == output_sr
    assert mixed.shape == (2, round(44099 / RATE * output_sr))
    np.testing.assert_allclose(mixed[0, round(0.8 * output_sr)], 0.1 * 10 ** (-6 / 20), atol=1e-3)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_no_format_of_a_loud_mix_exceeds_full_scale(
    tmp_path: Path, shop: Workshop, audio_format: AudioFormat
) -> None:
    noise = np.sign(np.random.default_rng(0).standard_normal((2, RATE))) * 0.999  # the worst for a coder
    entry = encode_mix(stem(tmp_path / "a.wav", noise), audio_format, None, shop)
    waveform, sample_rate = decode(entry.path(f"cover.{audio_format}"))
    assert true_peak(waveform, sample_rate) <= 1.0
    assert true_peak(waveform, sample_rate) > 0.5


# -------------------------------------------------------------------- output


def test_the_output_given_is_written_in_its_format_and_what_was_there_is_replaced(
    folder: Path, first: CoverResult, tmp_path: Path
) -> None:
    output = tmp_path / "mein Cover ü.flac"
    output.write_text("old")
    result = cover(folder, output_path=output)
    assert result.path == output
    assert output.read_bytes()[:4] == b"fLaC"
    assert list(output_dir().iterdir()) == [first.path]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("missing/cover.mp3", "there is no folder .*missing; make it first"),
        ("here.mp3", "is a folder"),
        ("file.txt/cover.mp3", "there is no folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_any_work(
    folder: Path, tmp_path: Path, output: str, sentence: str
) -> None:
    (tmp_path / "here.mp3").mkdir()
    (tmp_path / "file.txt").write_text("not a folder")
    with pytest.raises(SettingError, match=sentence):
        cover(folder, output_path=tmp_path / output)
    assert not cache_dir().exists()


def test_the_song_is_not_replaced_by_its_cover(song: Path) -> None:
    before = file_hash(song)
    with pytest.raises(SettingError, match="is one of the files to read"):
        cover(song, output_path=song)
    assert file_hash(song) == before


def test_what_a_killed_run_left_in_the_output_folder_is_removed(folder: Path, first: CoverResult) -> None:
    left = first.path.parent / f"{outputs._partial_prefix()}0123456789ab.partial"
    left.write_bytes(b"half a cover")
    others = first.path.parent / ".urvc-ffffffff-0123456789ab.partial"
    others.write_bytes(b"of another cache")
    cover(folder, main_gain=1)
    assert not left.exists()
    assert others.exists()


# -------------------------------------------------------- refused, cancelled


def test_a_voice_that_is_not_there_is_told_before_the_song_is_touched(folder: Path) -> None:
    with pytest.raises(VoiceNotFoundError):
        cover(folder, "Nobody")
    assert not cache_dir().exists()


def test_an_index_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VoiceFileError, match=r"no index file .*x\.index"):
        cover(folder, index_path=tmp_path / "x.index")


def test_a_song_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*none\.mp3"):
        cover(tmp_path / "none.mp3")


@pytest.mark.parametrize("step", ["convert", "effects", "mix", "encode"])
def test_a_cancelled_cover_leaves_nothing_half_done_and_goes_on_where_it_was(
    folder: Path, first: CoverResult, step: str
) -> None:
    settings = (
        cover_settings(main_gain=1.0)
        if step in ("mix", "encode")
        else cover_settings(conversion=dataclasses.replace(CONVERSION, seed=2))
    )

    def cancel_at(name: str, fraction: float, text: str) -> None:
        if name == step:
            progress.cancel()

    progress = Progress(cancel_at)
    with pytest.raises(CancelledError):
        make_cover(str(folder), "Bert", settings, progress)
    assert list((cache_dir() / "partial").iterdir()) == []
    assert list(output_dir().iterdir()) == [first.path]
    names = ["convert", "effects", "mix", "encode"]
    assert made(make_cover(str(folder), "Bert", settings)) == names[names.index(step) :]


def test_progress_tells_every_step_by_its_name_and_never_goes_back(song: Path) -> None:
    told: list[tuple[str, float]] = []
    make_cover(
        str(song), "Bert", cover_settings(), Progress(lambda name, fraction, _: told.append((name, fraction)))
    )
    names = list(dict.fromkeys(name for name, _ in told))
    assert [name for name in names if name in STEP_NAMES] == names
    for name in names:
        fractions = [fraction for other, fraction in told if other == name]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


# ------------------------------------------------------------------ settings


def test_what_a_conversions_settings_have_in_common_is_spelled_alike() -> None:
    plain = settings_that_matter(ConversionSettings(n_semitones=12), has_index=True)
    assert plain == settings_that_matter(ConversionSettings(n_octaves=1), has_index=True)
    assert plain != settings_that_matter(ConversionSettings(n_octaves=1, protect_rate=0.2), has_index=True)
    assert plain != settings_that_matter(ConversionSettings(n_octaves=1, split_voice=True), has_index=True)
    without_index = ConversionSettings(n_octaves=1, index_rate=0.9, protect_rate=0.1)
    assert settings_that_matter(ConversionSettings(n_octaves=1), has_index=False) == settings_that_matter(
        without_index, has_index=False
    )


def test_a_voices_identity_tells_its_files_and_not_its_place(tmp_path: Path) -> None:
    path = shutil.copy(voice_models_dir() / "Bert" / "Bert.pth", tmp_path / "voice.pth")
    by_path = choose_voice(str(path), CONVERSION)
    by_name = choose_voice("Bert", CONVERSION)
    assert by_path.identity == by_name.identity
    assert choose_voice("Anna", CONVERSION).identity != by_name.identity
