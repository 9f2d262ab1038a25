"""Make the small songs with known stems that ship with the project.

A phrase spoken by flite is taken apart with WORLD, stretched so that each vowel starts on its
beat, given the melody's pitch (glides, vibrato) and put together again: a sung line. Instruments
(drums, bass, guitars, keys, pads) are synthesised around it. Everything is seeded, so the same
flite, pyworld and numpy give the same songs.

    python scripts/make_demo_songs.py            # writes the committed files
    python scripts/make_demo_songs.py --wav DIR  # also the full mixtures and stems as wav

Needs the ``flite`` program and ``pyworld``, ``soundfile``, ``soxr``, ``scipy``; the product and
its tests need none of this, only the resulting files.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyworld
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

Signal = NDArray[np.float64]

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO_FILE = REPOSITORY / "src/ultimate_rvc/assets/data/demo.ogg"
STEMS_DIR = REPOSITORY / "tests/data/songs"

SAMPLE_RATE = 44_100
FRAME_SECONDS = 0.005  # WORLD's usual frame period
EXCERPT_SECONDS = 10.0
VOWELS = frozenset(
    ["aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"]
)
VIBRATO_HZ, VIBRATO_CENTS, VIBRATO_DELAY_SECONDS = 5.5, 35.0, 0.22
GLIDE_SECONDS = 0.05


# --- the singer -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SungLine:
    """One line of lyrics: ``pitches`` (MIDI) and ``beats`` hold one entry per syllable."""

    text: str
    bar: int
    pitches: tuple[int, ...]
    beats: tuple[float, ...]


@dataclass(frozen=True)
class Phone:
    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Analysis:
    """Speech as WORLD sees it: one row per frame of ``FRAME_SECONDS``."""

    f0_hz: Signal  # 0 where unvoiced
    log_envelope: Signal
    aperiodicity: Signal
    sample_rate: int

    def synthesize(self, position: Signal, f0_hz: Signal) -> Signal:
        """Sound with pitch ``f0_hz``; frame i has the timbre of frame ``position[i]`` (may be a fraction)."""
        left, blend = frames_beside(position, len(self.f0_hz))
        blend = blend[:, None]
        envelope = np.exp((1 - blend) * self.log_envelope[left] + blend * self.log_envelope[left + 1])
        noise_part = (1 - blend) * self.aperiodicity[left] + blend * self.aperiodicity[left + 1]
        return np.asarray(
            pyworld.synthesize(
                f0_hz,
                np.ascontiguousarray(envelope),
                np.ascontiguousarray(noise_part),
                self.sample_rate,
                FRAME_SECONDS * 1000,
            )
        )


def frames_beside(position: Signal, frames: int) -> tuple[NDArray[np.int64], Signal]:
    """The frame at or before each position, and how far (0 to 1) the position is towards the next one."""
    position = np.clip(position, 0, frames - 1.001)
    left = position.astype(int)
    return left, position - left


def analyse(speech: Signal, sample_rate: int, lowest_hz: float = 71.0, highest_hz: float = 800.0) -> Analysis:
    """WORLD's analysis; the limits are those of the pitch search, whose usual values are the defaults."""
    f0, times = pyworld.harvest(speech, sample_rate, lowest_hz, highest_hz, FRAME_SECONDS * 1000)
    spectrum = np.log(pyworld.cheaptrick(speech, f0, times, sample_rate))
    return Analysis(f0, spectrum, pyworld.d4c(speech, f0, times, sample_rate), sample_rate)


def speak(text: str, voice: str, stretch: float = 1.0) -> tuple[Signal, int, list[Phone]]:
    """Speech of flite, ``stretch`` times as long, with the times of its phones in seconds."""
    settings = [] if stretch == 1.0 else ["--setf", f"duration_stretch={stretch:.3f}"]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        printed = subprocess.run(
            ["flite", "-voice", voice, *settings, "-psdur", "-t", text, str(wav)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        speech, sample_rate = soundfile.read(wav)
    phones, start = [], 0.0
    for item in printed.split():
        name, end = item.split(":")
        phones.append(Phone(name, start, float(end)))
        start = float(end)
    return speech, sample_rate, phones


def time_anchors(phones: list[Phone], line: SungLine, beat_seconds: float) -> tuple[list[float], list[float]]:
    """Pairs (seconds since the line's first beat, seconds in the speech): vowels start on their beats.

    Consonants keep their length unless the note is too short for them; vowels take what is left.
    """
    voiced = [phone for phone in phones if phone.name != "pau"]
    vowels = [phone for phone in voiced if phone.name in VOWELS]
    if len(vowels) != len(line.pitches):
        names = " ".join(phone.name for phone in voiced)
        raise SystemExit(f"'{line.text}' has {len(vowels)} vowels ({names}) for {len(line.pitches)} notes")
    note_starts = np.concatenate([[0.0], np.cumsum(line.beats)]) * beat_seconds
    song, speech = [-(vowels[0].start - voiced[0].start)], [voiced[0].start]
    for index, vowel in enumerate(vowels):
        following = vowels[index + 1].start if index + 1 < len(vowels) else voiced[-1].end
        consonants = min(following - vowel.end, 0.5 * (note_starts[index + 1] - note_starts[index]))
        song += [note_starts[index], note_starts[index + 1] - consonants]
        speech += [vowel.start, vowel.end]
    return [*song, note_starts[-1]], [*speech, voiced[-1].end]


def melody_hz(line: SungLine, times: Signal, beat_seconds: float) -> Signal:
    """The line's pitch at ``times``: notes, glides between them, vibrato on held ones."""
    starts = np.concatenate([[0.0], np.cumsum(line.beats)]) * beat_seconds
    note = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(line.pitches) - 1)
    midi = np.asarray(line.pitches, dtype=float)[note]
    width = max(1, round(GLIDE_SECONDS / FRAME_SECONDS))
    midi = np.convolve(np.pad(midi, width, mode="edge"), np.hanning(2 * width + 1), mode="same")[width:-width]
    midi /= np.hanning(2 * width + 1).sum()
    held = np.clip((times - starts[note] - VIBRATO_DELAY_SECONDS) / 0.2, 0.0, 1.0)
    midi += held * VIBRATO_CENTS / 100 * np.sin(2 * np.pi * VIBRATO_HZ * times)
    return 440.0 * 2 ** ((midi - 69) / 12)


def sing(line: SungLine, voice: str, beat_seconds: float) -> tuple[Signal, float]:
    """The sung line at 44.1 kHz, and when it begins relative to its first beat (seconds, <= 0)."""
    speech, rate, phones = speak(line.text, voice)
    analysis = analyse(speech, rate)
    song_times, speech_times = time_anchors(phones, line, beat_seconds)
    times = np.arange(song_times[0], song_times[-1], FRAME_SECONDS)
    position = np.interp(times, song_times, speech_times) / FRAME_SECONDS
    left, _ = frames_beside(position, len(analysis.f0_hz))
    sung = analysis.synthesize(
        position, np.where(analysis.f0_hz[left] > 0, melody_hz(line, times, beat_seconds), 0.0)
    )
    sung = soxr.resample(sung, rate, SAMPLE_RATE, quality="VHQ")
    fade = np.linspace(0, 1, 400)
    sung[:400] *= fade
    sung[-400:] *= fade[::-1]
    return sung, song_times[0]


# --- the band -------------------------------------------------------------------------------


def frequency(midi: float) -> float:
    return float(440.0 * 2 ** ((midi - 69) / 12))


def seconds(duration: float) -> Signal:
    return np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE


def low_pass(signal: Signal, hz: float, order: int = 2) -> Signal:
    return np.asarray(sosfilt(butter(order, hz, "low", fs=SAMPLE_RATE, output="sos"), signal))


def high_pass(signal: Signal, hz: float, order: int = 2) -> Signal:
    return np.asarray(sosfilt(butter(order, hz, "high", fs=SAMPLE_RATE, output="sos"), signal))


def plucked(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    """Karplus-Strong string."""
    period = round(SAMPLE_RATE / frequency(midi))
    burst = np.zeros(round(duration * SAMPLE_RATE))
    burst[:period] = low_pass(rng.uniform(-1, 1, period), 6000)
    feedback = np.zeros(period + 2)
    feedback[0], feedback[period], feedback[period + 1] = 1.0, -0.498, -0.498
    string = lfilter([1.0], feedback, burst)
    return np.asarray(string) * np.minimum(1, (duration - seconds(duration)) / 0.03)


def electric_piano(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    t = seconds(duration)
    phase = 2 * np.pi * frequency(midi) * t
    tone = np.sin(phase + 1.6 * np.exp(-4 * t) * np.sin(phase) + 0.5 * np.exp(-9 * t) * np.sin(7 * phase))
    return tone * np.exp(-1.4 * t) * np.minimum(1, t / 0.004) * np.minimum(1, (duration - t) / 0.05)


def saw(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    hz = frequency(midi)
    t = seconds(duration)
    wave = np.zeros_like(t)
    for harmonic in range(1, min(60, int(9000 / hz)) + 1):
        wave += np.sin(2 * np.pi * hz * harmonic * t + rng.uniform(0, 2 * np.pi)) / harmonic
    return wave * 0.5


def pad(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    t = seconds(duration)
    voices = sum((saw(midi + cents / 100, duration, rng) for cents in (-8, 0, 7)), np.zeros_like(t))
    return low_pass(voices, 2200) * 0.4 * np.minimum(1, t / 0.3) * np.minimum(1, (duration - t) / 0.2)


def distorted(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    fifth = saw(midi, duration, rng) + saw(midi + 7, duration, rng)
    t = seconds(duration)
    return low_pass(np.tanh(3 * fifth), 4200) * 0.5 * np.minimum(1, (duration - t) / 0.02)


def bass(midi: float, duration: float, rng: np.random.Generator) -> Signal:
    t = seconds(duration)
    return low_pass(saw(midi, duration, rng), 500) * np.exp(-1.2 * t) * np.minimum(1, (duration - t) / 0.02)


def kick(rng: np.random.Generator) -> Signal:
    t = seconds(0.28)
    sweep = 2 * np.pi * np.cumsum(48 + 130 * np.exp(-32 * t)) / SAMPLE_RATE
    return np.sin(sweep) * np.exp(-11 * t)


def snare(rng: np.random.Generator) -> Signal:
    t = seconds(0.22)
    rattle = high_pass(rng.standard_normal(t.size), 1500) * np.exp(-18 * t)
    return 0.45 * rattle + 0.6 * np.sin(2 * np.pi * 190 * t) * np.exp(-24 * t)


def hat(rng: np.random.Generator) -> Signal:
    t = seconds(0.07)
    return high_pass(rng.standard_normal(t.size), 7000) * np.exp(-60 * t) * 0.5


class Stage:
    """A stereo canvas on which sounds are placed in time and space."""

    def __init__(self, duration: float) -> None:
        self.sound = np.zeros((2, round(duration * SAMPLE_RATE)))

    def place(self, signal: Signal, at: float, gain: float, pan: float = 0.0) -> None:
        """``pan`` -1 (left) to 1 (right), equal power."""
        start = round(at * SAMPLE_RATE)
        part = signal[max(0, -start) :][: max(0, self.sound.shape[1] - max(0, start))]
        angle = (pan + 1) * np.pi / 4
        for channel, weight in enumerate((np.cos(angle), np.sin(angle))):
            self.sound[channel, max(0, start) : max(0, start) + part.size] += gain * weight * part


def room(sound: Signal, wet: float, rng: np.random.Generator, decay_seconds: float = 0.9) -> Signal:
    """The sound with a diffuse stereo room around it."""
    t = seconds(decay_seconds)
    tail = rng.standard_normal((2, t.size)) * np.exp(-6.9 * t / decay_seconds)
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    echoes = fftconvolve(high_pass(sound, 200), tail, axes=1)[:, : sound.shape[1]]
    return sound + wet * echoes


# --- the songs ------------------------------------------------------------------------------

Instrument = Callable[[float, float, np.random.Generator], Signal]
CHORDS = {
    "C": (48, 52, 55),
    "G": (43, 50, 55),
    "Am": (45, 52, 57),
    "F": (41, 48, 57),
    "D": (50, 54, 57),
    "Bm": (47, 54, 59),
    "Em": (52, 55, 59),
    "A": (45, 52, 61),
}


@dataclass(frozen=True)
class Song:
    name: str
    voice: str
    seed: int
    tempo: float
    beats_per_bar: int
    chords: tuple[str, ...]
    lines: tuple[SungLine, ...]
    vocal_to_band_db: float
    band: Callable[[Song, Stage, np.random.Generator], None]

    @property
    def beat(self) -> float:
        return 60.0 / self.tempo

    @property
    def bar(self) -> float:
        return self.beat * self.beats_per_bar

    @property
    def duration(self) -> float:
        return self.bar * len(self.chords)


def pop_band(song: Song, stage: Stage, rng: np.random.Generator) -> None:
    """Two guitars hard left and right, electric piano, bass, drums: a usual wide pop mix."""
    for index, name in enumerate(song.chords):
        start, notes = index * song.bar, CHORDS[name]
        for eighth in range(8):
            at = start + eighth * song.beat / 2
            for pan in (-0.85, 0.85):
                note = notes[(eighth + (pan > 0)) % 3] + 12
                late = rng.uniform(0, 0.008)
                stage.place(plucked(note, song.beat, rng), at + late, 0.34, pan)
            stage.place(hat(rng), at, 0.10, 0.35)
        for note, pan in zip(notes, (-0.5, 0.45, 0.15), strict=True):
            stage.place(electric_piano(note + 12, song.bar, rng), start, 0.16, pan)
        for at in (0.0, 1.5, 2.0, 3.5):
            stage.place(bass(notes[0] - 12, song.beat, rng), start + at * song.beat, 0.22)
        for at in (0.0, 2.0, 2.5):
            stage.place(kick(rng), start + at * song.beat, 0.38)
        for at in (1.0, 3.0):
            stage.place(snare(rng), start + at * song.beat, 0.30, 0.05)


def rock_band(song: Song, stage: Stage, rng: np.random.Generator) -> None:
    """Distorted guitars doubled left and right, centred bass and loud centred drums."""
    for index, name in enumerate(song.chords):
        start, root = index * song.bar, CHORDS[name][0]
        for eighth in range(8):
            at = start + eighth * song.beat / 2
            for pan in (-0.9, 0.9):
                chord = distorted(root, song.beat / 2 * 0.9, rng)
                stage.place(chord, at + rng.uniform(0, 0.01), 0.16, pan)
            stage.place(bass(root - 12, song.beat / 2, rng), at, 0.2)
            stage.place(hat(rng), at, 0.14, -0.3)
        for at in (0.0, 1.5, 2.0):
            stage.place(kick(rng), start + at * song.beat, 0.4)
        for at in (1.0, 3.0):
            stage.place(snare(rng), start + at * song.beat, 0.42)


def ballad_band(song: Song, stage: Stage, rng: np.random.Generator) -> None:
    """Keys and strings almost in the middle: little for stereo separation to hold on to."""
    for index, name in enumerate(song.chords):
        start, notes = index * song.bar, CHORDS[name]
        for beat in range(song.beats_per_bar):
            for note, pan in zip(notes, (-0.2, 0.2, 0.0), strict=True):
                late = rng.uniform(0, 0.012)
                gain = 0.15 if beat == 0 else 0.08
                stage.place(
                    electric_piano(note + 12, song.beat * 1.5, rng),
                    start + beat * song.beat + late,
                    gain,
                    pan,
                )
            if beat:
                stage.place(hat(rng), start + beat * song.beat, 0.08, 0.2)
        for note, pan in zip(notes, (-0.3, 0.3, 0.1), strict=True):
            stage.place(pad(note, song.bar, rng), start, 0.10, pan)
        stage.place(bass(notes[0] - 12, song.bar * 0.8, rng), start, 0.2)
        stage.place(kick(rng), start, 0.25)


SONGS = (
    Song(
        name="water",
        voice="slt",
        seed=1,
        tempo=112,
        beats_per_bar=4,
        chords=("C", "C", "G", "Am", "F", "C", "G", "F", "C"),
        lines=(
            SungLine(
                "morning light is on the water",
                1,
                (64, 67, 69, 67, 64, 62, 64, 60),
                (1, 0.5, 1, 0.5, 1, 0.5, 1, 2),
            ),
            SungLine(
                "and I am coming home to you",
                3,
                (60, 64, 64, 65, 67, 69, 67, 64),
                (0.5, 0.5, 0.5, 1, 0.5, 1.5, 0.5, 2.5),
            ),
            SungLine(
                "let the river take me closer",
                5,
                (64, 67, 69, 67, 72, 71, 69, 67),
                (0.5, 0.5, 1, 0.5, 1, 0.5, 1, 2),
            ),
            SungLine(
                "under skies of endless blue", 7, (65, 69, 67, 64, 62, 64, 60), (1, 0.5, 1, 0.5, 1, 0.5, 3)
            ),
        ),
        vocal_to_band_db=-0.5,
        band=pop_band,
    ),
    Song(
        name="thunder",
        voice="rms",
        seed=2,
        tempo=96,
        beats_per_bar=4,
        chords=("Am", "Am", "F", "C", "G", "Am", "F", "Am"),
        lines=(
            SungLine(
                "we ride the thunder through the night",
                1,
                (57, 57, 55, 57, 60, 57, 55, 52),
                (0.5, 1, 0.5, 1, 0.5, 1, 0.5, 2.5),
            ),
            SungLine(
                "no one can ever hold us down",
                3,
                (57, 57, 57, 60, 59, 57, 55, 57),
                (0.5, 1, 0.5, 1, 0.5, 1, 0.5, 2.5),
            ),
            SungLine(
                "turn on the engines feel the road",
                5,
                (60, 60, 60, 62, 60, 59, 57, 57),
                (0.5, 1, 0.5, 1, 0.5, 1, 0.5, 2.5),
            ),
        ),
        vocal_to_band_db=-2.0,
        band=rock_band,
    ),
    Song(
        name="evening",
        voice="awb",
        seed=3,
        tempo=72,
        beats_per_bar=3,
        chords=("D", "D", "Bm", "G", "A", "D", "A", "D"),
        lines=(
            SungLine(
                "slowly the evening falls on me",
                1,
                (57, 59, 57, 62, 61, 59, 57, 54),
                (0.75, 0.5, 0.5, 0.75, 0.5, 1, 0.5, 1.25),
            ),
            SungLine(
                "stars are awake above the sea",
                3,
                (55, 57, 59, 62, 61, 57, 55, 52),
                (0.75, 0.5, 0.5, 0.75, 0.5, 1, 0.5, 1.25),
            ),
            SungLine(
                "stay with me now until the dawn",
                5,
                (57, 59, 57, 62, 61, 59, 52, 50),
                (0.75, 0.5, 0.5, 0.75, 0.5, 1, 0.5, 1.25),
            ),
        ),
        vocal_to_band_db=0.0,
        band=ballad_band,
    ),
)


def perform(song: Song) -> tuple[Signal, Signal]:
    """Vocals (samples,) and band (2, samples) of a song; their sum peaks below full scale."""
    rng = np.random.default_rng(song.seed)
    vocal_stage, stage = Stage(song.duration), Stage(song.duration)
    for line in song.lines:
        sung, offset = sing(line, song.voice, song.beat)
        vocal_stage.place(high_pass(sung, 90), line.bar * song.bar + offset, np.sqrt(2))
    vocals = vocal_stage.sound[0]
    song.band(song, stage, rng)
    band = room(stage.sound, 0.12, rng)
    vocals *= np.sqrt((band**2).mean() / (vocals**2).mean()) * 10 ** (song.vocal_to_band_db / 20)
    scale = 0.89 / np.abs(vocals + band).max()
    return vocals * scale, band * scale


def write_ogg(path: Path, signal: Signal, quality_loss: float, rate: int = SAMPLE_RATE) -> None:
    """``quality_loss`` 0 (best) to 1 (smallest), as libsndfile counts it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    with soundfile.SoundFile(
        encoded, "w", rate, 1 if signal.ndim == 1 else 2, format="OGG", subtype="VORBIS",
        compression_level=quality_loss,
    ) as file:  # fmt: skip
        block = 1 << 16  # libsndfile's Vorbis writer overflows its stack on very long single writes
        frames = signal.T
        for start in range(0, frames.shape[0], block):
            file.write(frames[start : start + block])
    path.write_bytes(encoded.getvalue())
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def write_demo(vocals: Signal, band: Signal, seed: int) -> None:
    """The demo song: the mixture with a little room on the voice."""
    voice = room(np.stack([vocals, vocals]), 0.10, np.random.default_rng(seed))
    mixture = voice + band
    write_ogg(DEMO_FILE, mixture * (0.89 / np.abs(mixture).max()), 0.56)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wav", type=Path, metavar="DIR", help="also write full mixtures and stems here")
    folder: Path | None = parser.parse_args().wav
    for song in SONGS:
        vocals, band = perform(song)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for kind, signal in (("vocals", vocals), ("instrumental", band), ("mixture", vocals + band)):
                soundfile.write(folder / f"{song.name}_{kind}.wav", signal.T, SAMPLE_RATE, subtype="FLOAT")
        start = round(song.bar * song.lines[0].bar * 0.75 * SAMPLE_RATE)  # a little of the intro
        excerpt = slice(start, start + round(EXCERPT_SECONDS * SAMPLE_RATE))
        write_ogg(STEMS_DIR / f"{song.name}_vocals.ogg", vocals[excerpt], 0.6)
        write_ogg(STEMS_DIR / f"{song.name}_instrumental.ogg", band[:, excerpt], 0.6)
        if song is SONGS[0]:
            write_demo(vocals, band, song.seed)


if __name__ == "__main__":
    main()
