"""``urvc live`` through the real command line: files, a sound card that is none, and what is refused."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import Urvc, calls
from recordings import speech, write
from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.cli import live_sound
from ultimate_rvc.rvc.infer import live as live_module

RATE = 48_000
LOUD = 0.03
QUICK = ("--context-ms", 500, "--f0-method", "fcpe", "--device", "cpu")


@pytest.fixture
def urvc(capfd: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capfd, "live", "--model", "starter")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("spoken") / "spoken.wav", speech(RATE)[RATE : 2 * RATE], sample_rate=RATE
    )


def test_a_file_goes_through_as_fast_as_it_can_and_is_recorded(
    urvc: Urvc, spoken: Path, tmp_path: Path
) -> None:
    recorded = tmp_path / "voice.wav"
    code, out, err = urvc(
        *("--from-file", spoken, "--no-real-time", "--record", recorded, "--json", "--block-ms", 500), *QUICK
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["latency_seconds"] == pytest.approx(0.555)
    assert told["blocks"] == 4  # a second, and the delay of what is said at its end
    assert told["drop_outs"] == 0
    assert told["recording"] == str(recorded)
    assert probe(recorded).sample_rate == RATE
    kept = decode_mono(recorded, RATE)
    assert len(kept) == 4 * RATE // 2
    assert np.abs(kept).max() > 0.05


def test_in_real_time_a_file_goes_through_the_thread_of_a_sound_card(
    urvc: Urvc, spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module.LiveConverter, "convert_block", lambda _, block: block)
    code, out, err = urvc("--from-file", spoken, "--json", *QUICK)
    assert code == 0, err
    told = json.loads(out)
    assert told["blocks"] + told["skipped_blocks"] == 6  # a machine that stands still may skip some


class SoundCard:
    """Takes the place of ``sounddevice``: gives speech in a thread, keeps what it is given to play."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self) -> None:
        self.played: list[Any] = []
        self.asked: dict[str, Any] = {}
        self.was_loud = threading.Event()

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "Card", "max_input_channels": 1, "max_output_channels": 2}]

    def Stream(self, **asked: Any) -> Any:  # noqa: N802
        if asked["device"][0] == "nowhere":
            raise ValueError("No input device matching 'nowhere'")
        self.asked = asked
        return _Stream(self, asked["callback"], asked["blocksize"])


class _Stream:
    latency = (0.01, 0.02)

    def __init__(self, card: SoundCard, callback: Any, size: int) -> None:
        self._card, self._callback, self._size = card, callback, size
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for heard in itertools.cycle(speech(RATE).reshape(-1, self._size, 1)):
            if self._ended.is_set():
                return
            played = np.full((self._size, 1), np.nan, np.float32)
            self._callback(heard, played, self._size, None, None)
            self._card.played.append(played)
            if np.abs(played).max() > LOUD:
                self._card.was_loud.set()
            self._ended.wait(0.001)  # the thread that converts gets its turn


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SoundCard:
    card = SoundCard()
    monkeypatch.setitem(sys.modules, "sounddevice", card)  # type: ignore[arg-type]
    return card


def test_a_sound_card_is_heard_and_played_until_ctrl_c_and_the_recording_is_complete(
    urvc: Urvc, card: SoundCard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(live_module.LiveConverter, "convert_block", lambda _, block: 0.5 * block)
    real_sleep, naps = time.sleep, iter([card.was_loud, None])

    def nap(seconds: float) -> None:
        if seconds != live_sound.SHOW_SECONDS:
            real_sleep(seconds)
        elif (until := next(naps)) is not None:
            until.wait()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(live_sound.time, "sleep", nap)
    recorded = tmp_path / "voice.wav"
    code, out, err = urvc("--input-device", 1, "--output-device", "Card", "--record", recorded, *QUICK)
    assert code == 0, err
    assert out.startswith("delay ")
    assert f"recorded {recorded}" in out
    assert card.asked["device"] == (1, "Card")
    assert np.isfinite(np.concatenate(card.played)).all()  # nothing was left as it was
    assert np.abs(decode_mono(recorded, RATE)).max() > LOUD


def test_devices_are_listed(urvc: Urvc, card: SoundCard) -> None:
    code, out, _ = urvc("--list-devices")
    assert code == 0
    assert out.splitlines()[-1].split() == ["0", "Card", "1", "2"]


def test_a_device_that_is_not_there_is_told_in_one_sentence(urvc: Urvc, card: SoundCard) -> None:
    code, _, err = urvc("--input-device", "nowhere", *QUICK)
    assert code == 1
    assert err.splitlines()[-1] == "Error: The sound card cannot be used: No input device matching 'nowhere'."


@pytest.mark.parametrize("missing", ["sounddevice", "PortAudio"])
def test_without_the_library_of_sound_cards_one_sentence_says_how_to_get_it(
    urvc: Urvc, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def fail(name: str) -> Any:
        raise ImportError(name) if missing == "sounddevice" else OSError("PortAudio library not found")

    monkeypatch.setattr(live_sound, "import_module", fail)
    code, _, err = urvc()
    assert code == 1
    assert err.startswith(f"Error: {missing} is missing")
    assert "pip install sounddevice" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--record", "voice.mp3"), "--record voice.mp3 should end in .wav."),
        (("--record", "{taken}"), "--record {taken} is there already; give another name."),
        (("--block-ms", 5), "--block-ms is 5, but must be from 100 to 1000."),
        (("--block-ms", 255), "--block-ms is 255, but must be a multiple of 10."),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_voice_is_loaded(
    urvc: Urvc, spoken: Path, tmp_path: Path, words: tuple[object, ...], sentence: str
) -> None:
    taken = tmp_path / "taken.wav"
    taken.write_bytes(b"mine")
    given = [str(word).format(taken=taken) for word in words]
    code, _, err = urvc("--from-file", spoken, *given)
    assert code == 2
    assert err == f"Error: {sentence.format(taken=taken)}\n"
    assert taken.read_bytes() == b"mine"
