"""With several devices, the first piece of a long song is sung while later ones are still taken apart."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.choices import AudioFormat, F0Method
from ultimate_rvc.covers import pieces, singing, taking_apart
from ultimate_rvc.covers.recipe import CoverResult, make_cover
from ultimate_rvc.covers.settings import CoverSettings, StemSettings
from ultimate_rvc.errors import CancelledError, VoiceFileError
from ultimate_rvc.paths import cache_dir, voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from voice_factory import write_voice_folder

SONGS = Path(__file__).parents[1] / "data" / "songs"
RATE = 44_100
PATIENCE_SECONDS = 120.0
ONE, SEVERAL = "cpu", "cpu,cpu"


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST_WHOLE_SECONDS", 4.0)
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 4.0)
    monkeypatch.setattr(pieces, "SEARCH_SECONDS", 1.0)
    write_voice_folder(voice_models_dir(), "Anna", embedder="starter", sample_rate=32000, initial_channels=16)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    vocals, instrumental = (decode(SONGS / f"water_{name}.ogg")[0] for name in ("vocals", "instrumental"))
    path = tmp_path / "song.wav"
    wavfile.write(path, RATE, (0.5 * (vocals + instrumental)[:, : 10 * RATE]).T.astype(np.float32))
    return path


def cover(
    song: Path, device: str, progress: Progress | None = None, *, proposed_pitch: bool = False, **stems: Any
) -> CoverResult:
    settings = CoverSettings(
        conversion=ConversionSettings(f0_methods=(F0Method.DIO,), proposed_pitch=proposed_pitch),
        stems=StemSettings(vocals_model="dsp", **stems),
        output_format=AudioFormat.WAV,
        device=device,
    )
    return make_cover(str(song), "Anna", settings, progress)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last piece is taken apart only when the first is being sung: one after the other, that never comes."""
    singing_began, taken_apart = threading.Event(), []
    convert, separate = singing.convert_vocals, taking_apart.separate_song

    def convert_and_tell(*given: Any, **named: Any) -> Any:
        singing_began.set()
        return convert(*given, **named)

    def separate_patiently(*given: Any, **named: Any) -> Any:
        taken_apart.append(given)
        if len(taken_apart) == 2:
            assert singing_began.wait(PATIENCE_SECONDS)
        return separate(*given, **named)

    monkeypatch.setattr(singing, "convert_vocals", convert_and_tell)
    monkeypatch.setattr(taking_apart, "separate_song", separate_patiently)


@pytest.mark.usefixtures("patient")
def test_the_first_piece_is_sung_while_the_next_is_taken_apart(song: Path) -> None:
    made = cover(song, SEVERAL)
    (converted,) = (step for step in made.steps if step.name == "convert")
    assert len(converted.files) == 2
    assert not converted.cached


@pytest.mark.parametrize(
    "ways",
    [{}, {"proposed_pitch": True}, {"split_backing": "on", "backing_model": "dsp", "remove_reverb": "on"}],
)
def test_what_is_sung_ahead_is_what_is_sung_afterwards(song: Path, ways: dict[str, Any]) -> None:
    ways = {**ways, **({"reverb_model": "dsp"} if "remove_reverb" in ways else {})}
    one = cover(song, ONE, **ways).path.read_bytes()
    shutil.rmtree(cache_dir())
    assert cover(song, SEVERAL, **ways).path.read_bytes() == one


def test_nothing_is_sung_ahead_by_one_device(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singing.Singer, "begin", lambda *_: pytest.fail("begun"))
    cover(song, ONE)


def test_a_song_that_cannot_be_sung_is_told_when_its_turn_comes(
    song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise VoiceFileError("This voice is hoarse.")

    monkeypatch.setattr(singing, "convert_vocals", refuse)
    with pytest.raises(VoiceFileError, match="hoarse"):
        cover(song, SEVERAL)


@pytest.mark.usefixtures("patient")
def test_cancelling_ends_what_was_begun(song: Path) -> None:
    threads = set(threading.enumerate())
    progress = Progress(
        lambda step, fraction, _: progress.cancel() if step == "separate" and fraction > 0.6 else None
    )
    with pytest.raises(CancelledError):
        cover(song, SEVERAL, progress)
    left = [
        thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith("singing")
    ]
    assert left == []
