"""Writing audio: complete or not at all, as long as what was given, never clipped in silence."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from audio_files import frequency_hz, stereo_tones, tone
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.encode import FloatArray, encode, encode_stream
from ultimate_rvc.choices import AudioFormat, SampleFormat
from ultimate_rvc.errors import AudioError, SettingError, UltimateRVCError

RATE = 44_100
SECONDS = 1.5
LOSSY = [AudioFormat.MP3, AudioFormat.OGG, AudioFormat.M4A, AudioFormat.AAC, AudioFormat.OPUS]


@pytest.mark.parametrize("audio_format", list(AudioFormat))
@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_every_format_comes_back_as_long_as_it_was(
    tmp_path: Path, audio_format: AudioFormat, sample_rate: int
) -> None:
    written = stereo_tones(SECONDS, sample_rate)
    path = tmp_path / f"cover.{audio_format}"

    encode(path, written, sample_rate)
    waveform, rate = decode(path)

    assert waveform.shape[0] == 2
    assert waveform.shape[1] / rate == pytest.approx(SECONDS, abs=0.05)
    middle = waveform[:, rate // 2 : rate]
    assert frequency_hz(middle[0], rate) == pytest.approx(440, abs=1)
    assert frequency_hz(middle[1], rate) == pytest.approx(660, abs=1)
    assert np.abs(middle).max(axis=1) == pytest.approx([0.5, 0.3], abs=0.05)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("audio_format", "container", "codecs"),
    [
        (AudioFormat.WAV, "wav", {"pcm_s16le"}),
        (AudioFormat.FLAC, "flac", {"flac"}),
        (AudioFormat.MP3, "mp3", {"mp3", "mp3float"}),
        (AudioFormat.OGG, "ogg", {"vorbis", "opus"}),
        (AudioFormat.M4A, "mov,mp4,m4a,3gp,3g2,mj2", {"aac"}),
        (AudioFormat.AAC, "aac", {"aac"}),
        (AudioFormat.OPUS, "ogg", {"opus"}),
    ],
)
def test_a_file_holds_what_its_name_says(
    tmp_path: Path, audio_format: AudioFormat, container: str, codecs: set[str]
) -> None:
    path = tmp_path / "out.bin"
    encode(path, stereo_tones(0.5, RATE), RATE, audio_format=audio_format)
    with av.open(str(path)) as opened:
        assert opened.format.name == container
        assert opened.streams.audio[0].codec_context.name in codecs


@pytest.mark.parametrize("audio_format", [each for each in AudioFormat if each is not AudioFormat.M4A])
def test_a_stream_begins_before_its_sound_is_complete(tmp_path: Path, audio_format: AudioFormat) -> None:
    sound = stereo_tones(SECONDS, RATE)
    asked = []

    def blocks() -> Iterator[FloatArray]:
        for start in range(0, sound.shape[1], 6000):
            asked.append(start)
            yield sound[:, start : start + 6000]

    stream = encode_stream(blocks(), 2, RATE, audio_format=audio_format)
    beginning = next(stream)
    assert beginning
    assert len(asked) < len(range(0, sound.shape[1], 6000)) / 2
    path = tmp_path / f"sent.{audio_format}"
    path.write_bytes(beginning + b"".join(stream))
    waveform, rate = decode(path)
    assert waveform.shape[1] / rate == pytest.approx(SECONDS, abs=0.06)
    assert frequency_hz(waveform[0, rate // 2 : rate], rate) == pytest.approx(440, abs=1)


def test_what_cannot_be_streamed_is_told() -> None:
    with pytest.raises(SettingError, match="m4a cannot be sent while it is made"):
        next(encode_stream([], 1, RATE, audio_format=AudioFormat.M4A))


def test_pcm16_is_exact_to_half_a_step(tmp_path: Path) -> None:
    """Read back by the standard library's wave module."""
    samples = np.array([0, 0.5, -0.5, 1.0, -1.0, 1 / 32768, 0.4 / 32768, 0.6 / 32768], np.float32)
    encode(tmp_path / "a.wav", samples, RATE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, RATE, len(samples))
        stored = np.frombuffer(file.readframes(len(samples)), "<i2")
    np.testing.assert_array_equal(stored, [0, 16384, -16384, 32767, -32768, 1, 0, 1])


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize(
    ("sample_format", "step"), [(SampleFormat.PCM16, 2.0**-15), (SampleFormat.PCM24, 2.0**-23)]
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8])
def test_lossless_formats_keep_every_channel(
    tmp_path: Path, suffix: str, sample_format: SampleFormat, step: float, channels: int
) -> None:
    noise = np.random.default_rng(channels).uniform(-0.99, 0.99, (channels, 70_000)).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    encode(path, noise, 192_000, sample_format=sample_format)
    waveform, sample_rate = decode(path)
    assert sample_rate == 192_000
    assert waveform.shape == noise.shape
    assert np.abs(waveform - noise).max() <= 0.51 * step


def test_float_wav_keeps_every_bit_and_may_exceed_full_scale(tmp_path: Path) -> None:
    loud = np.random.default_rng(0).normal(0, 1, (2, 5_000)).astype(np.float32)
    encode(tmp_path / "a.wav", loud, RATE, sample_format=SampleFormat.FLOAT)
    np.testing.assert_array_equal(decode(tmp_path / "a.wav")[0], loud)


@pytest.mark.parametrize("audio_format", LOSSY)
def test_lossy_formats_keep_music_in_place(tmp_path: Path, audio_format: AudioFormat) -> None:
    """A chirp: any shift in time or missing band would leave a large difference."""
    rate = 48_000
    time = np.arange(2 * rate) / rate
    chirp = (0.5 * np.sin(2 * np.pi * (100 * time + 1_500 * time**2))).astype(np.float32)
    encode(tmp_path / f"a.{audio_format}", chirp, rate)
    waveform, _ = decode(tmp_path / f"a.{audio_format}")
    delay = 1024 if audio_format is AudioFormat.AAC else 0  # raw aac cannot tell where its sound begins
    inner = waveform[0, delay + 4_800 : delay + 91_200]
    difference = inner - chirp[4_800:91_200]
    assert 10 * np.log10(np.square(chirp[4_800:91_200]).sum() / np.square(difference).sum()) > 20


@pytest.mark.parametrize(
    ("audio_format", "low", "high"), [("mp3", 64, 320), ("ogg", 64, 192), ("m4a", 64, 192)]
)
def test_the_bitrate_is_kept(tmp_path: Path, audio_format: str, low: int, high: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 4 * RATE)).astype(np.float32)
    for kbps in (low, high):
        path = tmp_path / f"{kbps}.{audio_format}"
        encode(path, noise, RATE, bitrate_kbps=kbps)
        assert path.stat().st_size * 8 / 4 / 1000 == pytest.approx(kbps, rel=0.2)


@pytest.mark.parametrize(
    ("suffix", "sample_rate", "written_rate"),
    [("mp3", 192_000, 48_000), ("mp3", 40_000, 44_100), ("mp3", 8_000, 16_000), ("m4a", 192_000, 96_000),
     ("m4a", 40_000, 44_100)],
)  # fmt: skip
def test_a_rate_the_format_lacks_is_resampled_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, sample_rate: int, written_rate: int
) -> None:
    with caplog.at_level(logging.INFO):
        encode(tmp_path / f"a.{suffix}", tone(1_000, 1, sample_rate), sample_rate)

    waveform, rate = decode(tmp_path / f"a.{suffix}")

    assert rate == written_rate
    assert waveform.shape[1] / rate == pytest.approx(1, abs=0.05)
    assert frequency_hz(waveform[0, rate // 4 : rate * 3 // 4], rate) == pytest.approx(1_000, abs=1)
    assert f"{written_rate} Hz" in caplog.text


def test_full_scale_survives_a_change_of_rate(tmp_path: Path) -> None:
    """A square wave overshoots when it is resampled; that is limited, not clipped and not refused."""
    square = np.sign(tone(500, 1, 40_000)).astype(np.float32)
    encode(tmp_path / "a.mp3", square, 40_000)
    assert decode(tmp_path / "a.mp3")[0].shape[1] == pytest.approx(44_100, abs=2)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_the_same_audio_gives_the_same_bytes(tmp_path: Path, audio_format: AudioFormat) -> None:
    files = [tmp_path / f"{number}.{audio_format}" for number in range(2)]
    for path in files:
        encode(path, stereo_tones(0.5, RATE), RATE)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_any_file_name_and_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "neuer Ordner" / "Ünïcode: 歌 %d (2).mp3"
    encode(path, stereo_tones(0.2, RATE), RATE)
    assert decode(path)[0].shape == (2, round(0.2 * RATE))


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("waveform", "name", "reason"),
    [
        (np.array([0, np.nan], np.float32), "a.wav", "NaN or infinite"),
        (np.array([0, np.inf], np.float32), "a.wav", "NaN or infinite"),
        (np.array([0, 1.2], np.float32), "a.wav", r"\+1\.58 dBFS"),
        (np.array([0, -1.2], np.float32), "a.mp3", "would clip"),
        (np.zeros(0, np.float32), "a.flac", "no samples"),
        (np.zeros((2, 0), np.float32), "a.flac", "no samples"),
        (np.zeros((6, 100), np.float32), "a.mp3", "6 channels"),
        (np.zeros((9, 100), np.float32), "a.wav", r"9 channels, .* fold them to stereo\.$"),
    ],
)
def test_audio_that_cannot_be_stored_is_refused(
    tmp_path: Path, waveform: np.ndarray, name: str, reason: str
) -> None:
    with pytest.raises(AudioError, match=reason) as refusal:
        encode(tmp_path / name, waveform, RATE)
    assert name in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("a.wma", {}, "does not end in a format"),
        ("a", {}, "does not end in a format"),
        ("a.wav", {"bitrate_kbps": 192}, "lossless"),
        ("a.mp3", {"bitrate_kbps": 200}, "must be one of 32, 40"),
        ("a.ogg", {"bitrate_kbps": 20}, "from 64 to 320"),
        ("a.m4a", {"bitrate_kbps": 1000}, "from 32 to 320"),
        ("a.mp3", {"sample_format": SampleFormat.PCM24}, "no sample format"),
        ("a.flac", {"sample_format": SampleFormat.FLOAT}, "choose wav"),
    ],
)
def test_settings_the_format_lacks_are_refused(
    tmp_path: Path, name: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingError, match=reason):
        encode(tmp_path / name, stereo_tones(0.1, RATE), RATE, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


WRITE_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from ultimate_rvc.audio.encode import FloatArray, encode, encode_stream
from ultimate_rvc.errors import AudioError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 44100)).astype(np.float32)
for name, size in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        encode(Path(name), noise, 44100)
        print("written")
    except AudioError as error:
        print("refused", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are a POSIX thing")
def test_a_disk_without_room_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    """The size limit stands for the full disk: at the first block, in the middle, at the last bytes."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)
    arguments = []
    for audio_format in AudioFormat:
        path = tmp_path / f"a.{audio_format}"
        encode(path, noise, RATE)
        whole = path.stat().st_size
        path.write_bytes(b"old")
        for size in (10, whole // 2, whole - 1):
            arguments += [str(path), str(size)]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITE_WITH_LITTLE_ROOM, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    answers = run.stdout.splitlines()
    assert len(answers) == 3 * len(AudioFormat)
    for answer in answers:
        assert answer.startswith("refused The file")
        assert answer.endswith("File too large; make room, or choose another folder.")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"a.{name}" for name in AudioFormat)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UltimateRVCError, match="could not be written"):
        encode(tmp_path / "file" / "a.wav", stereo_tones(0.1, RATE), RATE)
