"""Reading audio: every kind of file a user may bring, and what is said of those that cannot be read."""

from __future__ import annotations

import logging
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from audio_files import frequency_hz, stereo_tones, tone, write_file
from ultimate_rvc.audio.decode import AudioInfo, decode, decode_mono, decode_sides, decode_stereo, probe
from ultimate_rvc.audio.downmix import downmix_stereo
from ultimate_rvc.errors import AudioError

RATE = 44_100
SECONDS = 1.5

# name, codec, container, frame format, with video, samples that decoding may add or lack
KINDS = [
    ("song.wav", "pcm_s16le", "wav", "s16", False, 0),
    ("song.flac", "flac", "flac", "s16", False, 0),
    ("song.mp3", "libmp3lame", "mp3", "fltp", False, 0),
    ("song.m4a", "aac", "ipod", "fltp", False, 0),
    ("song.aac", "aac", "adts", "fltp", False, 2047),
    ("song.ogg", "libopus", "ogg", "flt", False, 0),
    ("song.aiff", "pcm_s16be", "aiff", "s16", False, 0),
    ("film.mp4", "aac", "mp4", "fltp", True, 0),
    ("film.mkv", "ac3", "matroska", "fltp", True, 1536),
    ("film.avi", "pcm_s16le", "avi", "s16", True, 0),
]


@pytest.mark.parametrize(("name", "codec", "container", "frame_format", "video", "tolerance"), KINDS)
def test_audio_of_any_container_comes_whole_and_in_place(
    tmp_path: Path, name: str, codec: str, container: str, frame_format: str, video: bool, tolerance: int
) -> None:
    rate = 48_000 if codec == "libopus" else RATE
    written = stereo_tones(SECONDS, rate)
    stored = np.rint(written * 32767).astype(np.int16) if frame_format == "s16" else written
    path = write_file(
        tmp_path / name, stored, rate, codec=codec, container=container, frame_format=frame_format,
        with_video=video,
    )  # fmt: skip

    waveform, sample_rate = decode(path)

    assert waveform.dtype == np.float32
    assert waveform.shape[0] == 2
    assert sample_rate == rate
    assert abs(waveform.shape[1] - written.shape[1]) <= tolerance
    middle = waveform[:, rate // 2 : rate]
    assert frequency_hz(middle[0], rate) == pytest.approx(440, abs=1)
    assert frequency_hz(middle[1], rate) == pytest.approx(660, abs=1)
    if tolerance == 0:  # the place of every sample is known, so that stems stay together
        shared = slice(rate // 4, rate)
        assert np.abs(waveform[:, shared] - written[:, shared]).max() < 0.06


@pytest.mark.parametrize(
    ("codec", "frame_format", "dtype", "full_scale"),
    [
        ("pcm_u8", "u8", np.uint8, 2**7),
        ("pcm_s16le", "s16", np.int16, 2**15),
        ("pcm_s24le", "s32", np.int32, 2**31),
        ("pcm_s32le", "s32", np.int32, 2**31),
        ("pcm_f32le", "flt", np.float32, 1),
        ("pcm_f64le", "dbl", np.float64, 1),
    ],
)
def test_every_sample_format_has_its_full_scale_at_one(
    tmp_path: Path, codec: str, frame_format: str, dtype: type, full_scale: int
) -> None:
    wanted = np.array([[0.0, 0.5, -0.5, 0.25, -1.0]])
    offset = 128 if dtype is np.uint8 else 0
    stored = (wanted * full_scale + offset).astype(dtype)
    path = write_file(
        tmp_path / "a.wav", stored, RATE, codec=codec, container="wav", frame_format=frame_format,
        layout="mono",
    )  # fmt: skip

    np.testing.assert_array_equal(decode(path)[0], wanted)


def test_samples_that_numpy_does_not_know_are_converted(tmp_path: Path) -> None:
    """64-bit integers have no place in PyAV's arrays; the file is put together by hand."""
    wanted = np.array([0.0, 0.5, -0.5, 0.25])
    data = (wanted * 2.0**63).astype("<i8").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 8, 8, 64
    )
    path = tmp_path / "a.wav"
    path.write_bytes(header + struct.pack("<4sI", b"data", len(data)) + data)

    np.testing.assert_allclose(decode(path)[0], wanted[None], atol=1e-7)


def test_eight_channels_keep_their_order(tmp_path: Path) -> None:
    steps = np.repeat(np.arange(1, 9)[:, None] / 10, 3000, axis=1).astype(np.float32)
    path = write_file(
        tmp_path / "surround.wav", steps, 48_000, codec="pcm_f32le", container="wav", frame_format="flt",
        layout="7.1",
    )  # fmt: skip

    np.testing.assert_array_equal(decode(path)[0], steps)


def test_192_khz_is_kept(tmp_path: Path) -> None:
    samples = np.rint(tone(30_000, 0.5, 192_000)[None] * 32767).astype(np.int16)
    path = write_file(
        tmp_path / "a.flac",
        samples,
        192_000,
        codec="flac",
        container="flac",
        frame_format="s16",
        layout="mono",
    )

    waveform, sample_rate = decode(path)

    assert sample_rate == 192_000
    assert frequency_hz(waveform[0], sample_rate) == pytest.approx(30_000, abs=5)


@pytest.mark.parametrize("name", ["Ünïcode Lied 歌 (1).wav", "part 1: intro %d.wav", "-i.wav"])
def test_any_file_name_is_read(tmp_path: Path, name: str) -> None:
    samples = np.full((1, 100), 0.5, np.float32)
    plain = write_file(
        tmp_path / "plain.wav", samples, RATE, codec="pcm_f32le", container="wav", frame_format="flt",
        layout="mono",
    )  # fmt: skip
    path = plain.rename(tmp_path / name)

    np.testing.assert_array_equal(decode(path)[0], samples)


def test_an_mp3_cut_in_half_gives_its_first_half_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = stereo_tones(4, RATE)
    path = write_file(tmp_path / "cut.mp3", written, RATE, codec="libmp3lame", container="mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with caplog.at_level(logging.WARNING):
        waveform, _ = decode(path)

    assert 1.8 < waveform.shape[1] / RATE < 2.2
    assert np.abs(waveform[:, RATE // 2 : RATE] - written[:, RATE // 2 : RATE]).max() < 0.03
    assert "cut.mp3" in caplog.text
    assert "cut off" in caplog.text


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("cut.wav", "pcm_s16le", "wav"), ("cut.flac", "flac", "flac"), ("cut.aiff", "pcm_s16be", "aiff")],
)
def test_a_lossless_file_cut_in_half_gives_what_is_there_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str, container: str
) -> None:
    written = np.rint(stereo_tones(4, RATE) * 32767).astype(np.int16)
    path = write_file(tmp_path / name, written, RATE, codec=codec, container=container, frame_format="s16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    waveform, _ = decode(path)

    samples = waveform.shape[1]
    assert 1.7 < samples / RATE < 2.1
    np.testing.assert_array_equal(waveform, written[:, :samples] / np.float32(32768))
    (message,) = caplog.messages
    assert message.startswith(f'"{path}" seems to be cut off: it holds ')
    assert "of the 4.0 s" in message


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0xFFFF_FFFF])
def test_a_wav_of_unknown_length_is_not_called_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """As programs write that send a WAV through a pipe: its size is not known when its header is sent."""
    content = np.zeros(2 * RATE, "<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        min(size + 36, 0xFFFF_FFFF),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE,
        RATE * 2,
        2,
        16,
    )
    path = tmp_path / "a.wav"
    path.write_bytes(header + struct.pack("<4sI", b"data", size) + content)

    assert decode(path)[0].shape == (1, 2 * RATE)
    assert caplog.messages == []


def test_a_wav_whose_sound_is_not_its_last_part_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(np.zeros(RATE, "<i2").tobytes())
    head, sound = path.read_bytes()[:36], path.read_bytes()[36:]
    odd_part = struct.pack("<4sI", b"note", 3) + b"odd\0"  # parts begin at even places
    path.write_bytes(head + odd_part + sound + odd_part)

    assert decode(path)[0].shape[1] >= RATE
    assert caplog.messages == []


def test_broken_packets_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32)
    path = write_file(tmp_path / "scratched.m4a", noise, RATE, codec="aac", container="ipod")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(content)

    with caplog.at_level(logging.WARNING):
        waveform, _ = decode(path)

    assert 2 < waveform.shape[1] / RATE <= 3
    assert "damaged" in caplog.text


def test_a_whole_file_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, codec, container in [
        ("a.mp3", "libmp3lame", "mp3"),
        ("a.m4a", "aac", "ipod"),
        ("a.aac", "aac", "adts"),
    ]:
        decode(write_file(tmp_path / name, stereo_tones(1, RATE), RATE, codec=codec, container=container))
    assert caplog.text == ""


def test_a_stream_that_changes_on_the_way_keeps_its_first_rate_and_channels(tmp_path: Path) -> None:
    first = write_file(tmp_path / "1.mp3", stereo_tones(6, RATE), RATE, codec="libmp3lame", container="mp3")
    second = write_file(
        tmp_path / "2.mp3",
        tone(330, 1, 22_050)[None],
        22_050,
        codec="libmp3lame",
        container="mp3",
        layout="mono",
    )
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + second.read_bytes())

    waveform, sample_rate = decode(joined)

    assert waveform.shape[0] == 2
    assert sample_rate == RATE
    assert waveform.shape[1] / RATE == pytest.approx(7, abs=0.15)
    assert frequency_hz(waveform[1, int(6.4 * RATE) : int(6.9 * RATE)], RATE) == pytest.approx(330, abs=2)


# ------------------------------------------------------------------ refused, each with one sentence


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("This is not music.\n" * 100)


def _no_samples(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", "not compressed"))


def _silent_film(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(video.encode(None))


def _mp4_without_its_end(path: Path) -> None:
    write_file(path, stereo_tones(2, RATE), RATE, codec="aac", container="ipod")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _floats(values: list[float], layout: str = "mono", channels: int = 1) -> object:
    def write(path: Path) -> None:
        samples = np.tile(np.array(values, np.float32), (channels, 1))
        write_file(path, samples, RATE, codec="pcm_f32le", container="wav", frame_format="flt", layout=layout)

    return write


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (_empty, "is empty"),
        (_text, "(cannot be opened as audio|holds no audio)"),
        (_no_samples, "No audio could be decoded"),
        (_silent_film, "holds no audio"),
        (_mp4_without_its_end, "cannot be opened as audio"),
        (_floats([0, np.nan, 0]), "NaN or infinite"),
        (_floats([0, np.inf, 0]), "NaN or infinite"),
        (_floats([0, -np.inf, 0]), "NaN or infinite"),
        (_floats([0, 32767, 0]), "times full scale"),
        (_floats([0, 0.5, 0], "16 channels", 16), "16 channels"),
        (Path.mkdir, "is a folder"),
        (lambda path: None, "There is no file"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_in_one_sentence(
    tmp_path: Path, write: object, reason: str
) -> None:
    path = tmp_path / "some song.wav"
    write(path)  # type: ignore[operator]

    with pytest.raises(AudioError, match=reason) as refusal:
        decode(path)

    message = str(refusal.value)
    assert "some song.wav" in message
    assert "\n" not in message
    assert message.endswith((".", "?"))
    assert not path.is_file() or "Traceback" not in message


def test_a_playlist_cannot_reach_the_network(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError):
        decode(playlist)


def test_messages_name_the_users_file_and_not_its_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "retrieve" / "song.mp3"
    copy.parent.mkdir()
    copy.write_bytes(b"words")
    with pytest.raises(AudioError, match=r"mine\.mp3") as caught:
        decode_sides(copy, "mine.mp3")
    assert "retrieve" not in str(caught.value)

    write_file(copy, stereo_tones(4, RATE), RATE, codec="libmp3lame", container="mp3")
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    decode_sides(copy, "mine.mp3")
    (message,) = caplog.messages
    assert message.startswith('"mine.mp3" seems to be cut off')


# ------------------------------------------------------------------ probe, mono, stereo


def test_probe_tells_what_decoding_finds(tmp_path: Path) -> None:
    path = write_file(
        tmp_path / "a.mp3", stereo_tones(SECONDS, RATE), RATE, codec="libmp3lame", container="mp3"
    )

    info = probe(path)

    assert info == AudioInfo(pytest.approx(SECONDS, abs=0.05), RATE, 2, "mp3")


def test_probe_decodes_where_the_file_only_guesses_its_length(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.aac", stereo_tones(SECONDS, RATE), RATE, codec="aac", container="adts")

    assert probe(path).duration_seconds == pytest.approx(SECONDS, abs=0.05)


def test_mono_averages_the_sides_at_the_wanted_rate(tmp_path: Path) -> None:
    samples = np.stack([tone(440, 1, RATE, 0.6), np.zeros(RATE, np.float32)])
    path = write_file(
        tmp_path / "a.wav", samples, RATE, codec="pcm_f32le", container="wav", frame_format="flt"
    )

    mono = decode_mono(path, 16_000)

    assert mono.shape == (16_000,)
    assert np.abs(mono).max() == pytest.approx(0.3, abs=0.01)


def test_surround_is_folded_by_the_names_of_its_channels(tmp_path: Path) -> None:
    """ "5.1(side)" and "quad" have other channels than the usual layouts of as many."""
    samples = np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, None].repeat(500, axis=1)
    path = write_file(
        tmp_path / "a.wav",
        samples,
        RATE,
        codec="pcm_f32le",
        container="wav",
        frame_format="flt",
        layout="quad",
    )

    stereo, _ = decode_stereo(path)

    expected = [0.1 + 0.3 * 0.5**0.5, 0.2 + 0.4 * 0.5**0.5]
    np.testing.assert_allclose(stereo[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("layout", "channels", "sides"), [("mono", 1, 1), ("stereo", 2, 2), ("5.1", 6, 2)])
def test_only_surround_is_folded_to_sides(tmp_path: Path, layout: str, channels: int, sides: int) -> None:
    samples = np.full((channels, 500), 0.1, np.float32)
    path = write_file(
        tmp_path / "a.wav", samples, RATE, codec="pcm_f32le", container="wav", frame_format="flt",
        layout=layout,
    )  # fmt: skip
    assert decode_sides(path)[0].shape == (sides, 500)


def test_folding_uses_the_weights_of_bs775() -> None:
    side = 0.5**0.5
    for channel, expected in enumerate([(1, 0), (0, 1), (side, side), (0, 0), (side, 0), (0, side)]):
        surround = np.zeros((6, 4), np.float32)
        surround[channel] = 0.5
        surround[0] += 0.25  # beside the effects channel, which has no weight, something must sound
        wanted = np.multiply(expected, 0.5) + np.array([0.25, 0])
        np.testing.assert_allclose(downmix_stereo(surround)[:, 0], wanted, rtol=1e-6)


def test_folding_never_exceeds_full_scale_or_a_louder_input() -> None:
    full = np.ones((8, 10), np.float32)
    assert np.abs(downmix_stereo(full)).max() == pytest.approx(1)
    assert np.abs(downmix_stereo(full * 1.5)).max() == pytest.approx(1.5)


def test_mono_goes_to_both_sides_and_stereo_stays() -> None:
    mono = tone(100, 0.1, RATE)[None]
    np.testing.assert_array_equal(downmix_stereo(mono), np.concatenate([mono, mono]))
    stereo = stereo_tones(0.1, RATE)
    assert downmix_stereo(stereo) is stereo
