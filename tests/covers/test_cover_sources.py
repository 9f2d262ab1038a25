"""Songs brought into the cache: files, folders of stems, links and the demo."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from full_disk import file_size_limit
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.covers import sources
from ultimate_rvc.covers.cache import StepCache
from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.covers.sources import SongParts, fetch_song
from ultimate_rvc.covers.wave_file import read_stem, stem_seconds, write_stem
from ultimate_rvc.errors import AudioError, SourceError, UltimateRVCError
from ultimate_rvc.files import file_hash
from ultimate_rvc.outputs import file_title

SONGS = Path(__file__).parents[1] / "data" / "songs"
RATE = 8000


@pytest.fixture
def cache(tmp_path: Path) -> StepCache:
    return StepCache(tmp_path / "cache")


def tone(seconds: float = 0.5, hz: float = 220.0, channels: int = 1) -> np.ndarray:
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


def write_wav(path: Path, waveform: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, waveform.T)
    return path


# --------------------------------------------------------------- wave files


@pytest.mark.parametrize("shape", [(777,), (1, 777), (2, 777)])
def test_stems_come_back_bit_for_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    waveform = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)  # beyond full scale too
    write_stem(tmp_path / "stem.wav", waveform, 44100)
    again, sample_rate = read_stem(tmp_path / "stem.wav")
    assert sample_rate == 44100
    np.testing.assert_array_equal(again, np.atleast_2d(waveform))
    assert stem_seconds(tmp_path / "stem.wav") == 777 / 44100
    np.testing.assert_array_equal(decode(tmp_path / "stem.wav")[0], np.atleast_2d(waveform))


def test_more_than_a_wav_file_can_hold_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # as scipy does where it cannot write files beyond 4 GiB
        raise ValueError("Data exceeds wave file size limit")

    monkeypatch.setattr(wavfile, "write", refuse)
    with pytest.raises(AudioError, match=r"more than a WAV file can hold .*lower output_sr"):
        write_stem(tmp_path / "stem.wav", tone(), RATE)


# --------------------------------------------------------------------- files


def test_a_local_file_is_known_by_its_bytes_whatever_its_name(tmp_path: Path, cache: StepCache) -> None:
    first = fetch_song(str(SONGS / "water_vocals.ogg"), SourceSettings(), cache)
    renamed = Path(shutil.copy(SONGS / "water_vocals.ogg", tmp_path / "Ein Lied ü 歌 (live).ogg"))
    second = fetch_song(str(renamed), SourceSettings(), cache)
    assert (first.entry.cached, second.entry.cached) == (False, True)
    assert (first.title, second.title) == ("water_vocals", "Ein Lied ü 歌 (live)")
    assert first.content == second.content
    assert not isinstance(first.content, SongParts)
    assert first.content.sha256 == file_hash(SONGS / "water_vocals.ogg")


def test_other_bytes_under_the_same_name_are_another_song(tmp_path: Path, cache: StepCache) -> None:
    path = write_wav(tmp_path / "song.wav", tone())
    first = fetch_song(str(path), SourceSettings(), cache)
    write_wav(path, tone(hz=221))
    assert fetch_song(str(path), SourceSettings(), cache).entry.key != first.entry.key


def test_a_file_that_changes_while_it_is_copied_is_refused(
    tmp_path: Path, cache: StepCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "song.wav", tone())

    def copy_too_late(source: Path, target: Path) -> None:
        write_wav(path, tone(hz=300))
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(sources.shutil, "copyfile", copy_too_late)
    with pytest.raises(SourceError, match="changed while it was being read"):
        fetch_song(str(path), SourceSettings(), cache)
    assert cache.list_entries() == []


def test_the_demo_ships_with_the_package(cache: StepCache) -> None:
    song = fetch_song("demo", SourceSettings(), cache)
    assert song.title == "Demo"
    assert not isinstance(song.content, SongParts)
    assert decode(song.content.path)[0].shape[1] > 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "The source is empty"),
        ("nowhere/song.mp3", r"There is no file nowhere/song\.mp3"),
        ("ftp://host/song.mp3", "only http and https"),
        ("https://host/song.mp3", "URVC_OFFLINE is set"),
    ],
)
def test_what_is_no_source_is_told_in_one_sentence(source: str, words: str, cache: StepCache) -> None:
    with pytest.raises(SourceError, match=words):
        fetch_song(source, SourceSettings(), cache)


@pytest.mark.parametrize("content", [b"", b"These are words.\n" * 100, os.urandom(3000)])
def test_a_file_without_audio_is_named(content: bytes, tmp_path: Path, cache: StepCache) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(UltimateRVCError, match=r"song\.mp3"):
        fetch_song(str(path), SourceSettings(), cache)


def test_a_song_longer_than_allowed_is_refused_with_both_lengths(tmp_path: Path, cache: StepCache) -> None:
    path = write_wav(tmp_path / "song.wav", tone(seconds=9))
    with pytest.raises(SourceError, match=r"song\.wav is 0\.1 minutes long, but max_minutes allows 0\.1"):
        fetch_song(str(path), SourceSettings(max_minutes=0.1), cache)


def test_a_full_disk_names_the_stem(tmp_path: Path) -> None:
    with file_size_limit(1000), pytest.raises(OSError, match="File too large") as caught:
        write_stem(tmp_path / "vocals.wav", tone(), RATE)
    assert caught.value.filename == str(tmp_path / "vocals.wav")


# --------------------------------------------------------------------- stems


def test_a_folder_of_stems_becomes_vocals_backing_and_the_sum_of_the_instruments(
    tmp_path: Path, cache: StepCache
) -> None:
    folder = tmp_path / "My Song"
    write_wav(folder / "vocals.wav", tone())
    write_wav(folder / "backing vocals.wav", tone(hz=330))
    write_wav(folder / "drums.wav", tone(0.25, hz=100, channels=2))
    write_wav(folder / "bass.wav", tone(0.5, hz=60))
    write_wav(folder / "take 2.wav", tone())
    song = fetch_song(str(folder), SourceSettings(), cache)
    assert song.title == "My Song"
    assert isinstance(song.content, SongParts)
    assert song.content.backing is not None
    np.testing.assert_array_equal(read_stem(song.content.vocals.path)[0], tone())
    expected = tone(0.5, hz=60, channels=2)
    expected[:, : RATE // 4] += tone(0.25, hz=100, channels=2)
    np.testing.assert_allclose(read_stem(song.content.instrumental.path)[0], expected, atol=1e-6)
    assert song.warnings == ("Not used of the folder My Song: take 2.wav.",)
    assert fetch_song(str(folder), SourceSettings(), cache).entry.cached


def test_one_changed_stem_is_noticed(tmp_path: Path, cache: StepCache) -> None:
    write_wav(tmp_path / "s" / "vocals.wav", tone())
    write_wav(tmp_path / "s" / "instrumental.wav", tone(hz=100))
    first = fetch_song(str(tmp_path / "s"), SourceSettings(), cache)
    write_wav(tmp_path / "s" / "instrumental.wav", tone(hz=101))
    second = fetch_song(str(tmp_path / "s"), SourceSettings(), cache)
    assert isinstance(first.content, SongParts)
    assert isinstance(second.content, SongParts)
    assert not second.entry.cached
    assert first.content.vocals.sha256 == second.content.vocals.sha256
    assert first.content.instrumental.sha256 != second.content.instrumental.sha256


# --------------------------------------------------------------------- links


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A web server over a folder of its own: its address and the folder."""
    monkeypatch.delenv("URVC_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: QuietFiles(*arguments, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_a_link_is_fetched_once_and_its_song_is_known_by_content(
    site: tuple[str, Path], cache: StepCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = site
    shutil.copy(SONGS / "water_vocals.ogg", folder / "a.ogg")
    linked = fetch_song(f"{address}/a.ogg#t=10", SourceSettings(), cache)
    monkeypatch.setenv("URVC_OFFLINE", "1")
    again = fetch_song(f"{address}/a.ogg", SourceSettings(), cache)
    assert (linked.entry.cached, again.entry.cached) == (False, True)
    assert (linked.title, again.title) == ("a", "a")
    assert not isinstance(again.content, SongParts)
    assert again.content.sha256 == file_hash(SONGS / "water_vocals.ogg")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("words.txt", b"These are words. " * 100, r"words\.txt sent is no audio"),
        ("noise.mp3", bytes(range(256)) * 20, r"noise\.mp3 sent is no audio"),
    ],
)
def test_a_link_to_something_else_is_told_and_not_kept(
    site: tuple[str, Path], cache: StepCache, name: str, content: bytes, words: str
) -> None:
    address, folder = site
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        fetch_song(f"{address}/{name}", SourceSettings(), cache)
    assert cache.list_entries() == []


def test_a_link_to_a_song_that_is_too_long_is_told_and_not_kept(
    site: tuple[str, Path], cache: StepCache
) -> None:
    address, folder = site
    shutil.copy(SONGS / "water_vocals.ogg", folder / "a.ogg")
    with pytest.raises(SourceError, match=r"a\.ogg is 0\.2 minutes long, but max_minutes allows 0\.1"):
        fetch_song(f"{address}/a.ogg", SourceSettings(max_minutes=0.1), cache)
    assert cache.list_entries() == []


# -------------------------------------------------------------------- titles


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("AC/DC: Back? <Live> | 100%", "AC DC Back Live 100%"),
        ("  .hidden.  ", "hidden"),
        ("///", "song"),
        ("歌" * 200, "歌" * 33),
        ("a\x00b\nc", "a b c"),
    ],
)
def test_titles_become_names_that_any_file_system_takes(title: str, name: str) -> None:
    assert file_title(title) == name
