"""Make the recordings from which a starter voice is trained: speech, and the same voice singing.

    python scripts/make_starter_material.py DIR                # slt, a woman's voice: 25 + 15 minutes
    python scripts/make_starter_material.py DIR --voice rms    # a man's voice
    python scripts/make_starter_material.py DIR --voice anna   # a woman's, by Kokoro; and --voice peter, a man's

A speech synthesiser reads the sentences of ``starter_sentences.txt``. Half of the speech is left as it
comes, at several speeds; the other half gets another pitch and a wider or narrower melody by WORLD's analysis
and synthesis, so that the voice meets expressive speech. The sung part is the same voice with its vowels
lengthened and its pitch replaced by melodies, glides and held notes between 80 and 800 Hz, spread evenly over
the notes. The timbre (WORLD's spectral envelope and aperiodicity) stays that of the synthesiser, except that the
formants of high notes rise a little, as singers' do. Some songs begin with a breath. Files begin and end with pauses
of several lengths, so that the voice learns to be silent.

Everything follows from ``--seed``: the same programs give the same files. Stopped and started again, it keeps
the files it finds. ``DIR/material.json`` says what each file is.

Needs Debian's ``festival`` and ``festvox-us-slt-hts``, or ``flite``, or what ``kokoro_reading.py`` needs; and
``pyworld``, ``soundfile``, ``soxr``, ``scipy``. The product needs none of this, only the voice that is trained from
it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import multiprocessing
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypedDict

import asterisk_prompts
import kokoro_reading
import numpy as np
import soundfile
import soxr
from make_demo_songs import (
    FRAME_SECONDS,
    VOWELS,
    Analysis,
    Phone,
    Signal,
    SungLine,
    analyse,
    frames_beside,
    speak,
    time_anchors,
)
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from ultimate_rvc.speech.kokoro import files as kokoro_files

SENTENCES_FILE = Path(__file__).with_name("starter_sentences.txt")
SAMPLE_RATE = 32_000
PEAK = 10 ** (-3 / 20)
EDGE_SECONDS = 0.12  # quiet kept before and after the words
PAUSE_SHARE = 0.6  # of the files' beginnings and ends, where nothing at all is heard for up to
LONGEST_PAUSE_SECONDS = 0.5
PROCESSES = 2
BATCH = 16  # files asked for before their length is counted
EDITION = 3  # counted up whenever the same seed would give other sound

LOWEST_HZ, HIGHEST_HZ = 80.0, 800.0
LOWEST_NOTE, HIGHEST_NOTE = (69 + 12 * np.log2(hz / 440) for hz in (LOWEST_HZ, HIGHEST_HZ))
GOLDEN = 0.618_033_988_75  # its multiples, modulo 1, fill [0, 1) evenly whatever their number
MOST_VOWELS = 14  # a sung file stays under about ten seconds
DIPHTHONGS = frozenset(["aw", "ay", "ey", "ow", "oy"])
VOWEL_EDGES = 0.35, 0.35  # shares of a vowel that belong to its beginning and to its end
DIPHTHONG_EDGES = 0.35, 0.5  # what a singer holds comes before their middle
# Singers open the mouth where the note comes near the first formant, and most let the larynx rise with the note
# (Joliveau, Smith and Wolfe, Nature 427, 2004, measured the first for sopranos). How much is a guess of ours: from an
# octave above the speech's mean pitch on, the whole envelope moves up by this share of the way that the pitch moves.
FORMANT_SHARE = 0.12
FORMANT_GLIDE_SECONDS = 0.03
BREATH_SHARE = 0.5  # of the songs
BREATH_SECONDS = 0.2, 0.5
BREATH_BELOW_DB = 22.0, 34.0  # below the song's loudest sample
# Nakano, Ogata, Goto and Hiraga (ICMPC 2008) found the main peak of singers' breaths there.
BREATH_PEAK_HZ, BREATH_BANDWIDTH_HZ = 1650.0, 900.0
SONORANTS = VOWELS | frozenset(["l", "r", "w", "y", "m", "n", "ng", "el", "em", "en"])

Kind = Literal["speech", "sung"]
Style = Literal["melody", "glide", "held"]


# --- the voices that read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A speech synthesiser's voice: ``read(sentence, stretch)`` gives sound, sample rate and phones."""

    name: str
    voice: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    licence: str
    pitch_search_hz: tuple[float, float]
    lowest_speech_hz: float  # no spoken file goes below
    read: Callable[[str, float], tuple[Signal, int, list[Phone]]]
    python_packages: tuple[str, ...] = ()  # besides those that every reader needs
    kokoro_voice: str | None = None


FESTIVAL_VOICE = "cmu_us_slt_arctic_hts"
# Festival's Duration_Stretch and intonation settings do nothing to such a voice; its engine's speed does.
FESTIVAL_SCRIPT = """(voice_{voice})
(set! hts_engine_params (append hts_engine_params (list (list "-r" {speed:.3f}))))
(set! spoken (utt.synth (Utterance Text "{text}")))
(utt.save.segs spoken "{folder}/phones")
(utt.save.wave spoken "{folder}/speech.wav" 'riff)
"""


def read_with_festival(sentence: str, stretch: float) -> tuple[Signal, int, list[Phone]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = sentence.replace("\\", " ").replace('"', " ")
        script = FESTIVAL_SCRIPT.format(voice=FESTIVAL_VOICE, speed=1 / stretch, text=text, folder=folder)
        (folder / "read.scm").write_text(script)
        ran = subprocess.run(["festival", "-b", folder / "read.scm"], capture_output=True, text=True)
        if not (folder / "speech.wav").is_file():
            raise SystemExit(
                f"Festival could not read with its voice {FESTIVAL_VOICE}; install the Debian package "
                f"festvox-us-slt-hts. Festival said: {' '.join(ran.stderr.split())}"
            )
        speech, rate = soundfile.read(folder / "speech.wav")
        lines = (folder / "phones").read_text().partition("#\n")[2].split("\n")
    ends = [line.split() for line in lines if line.strip()]
    starts = [0.0, *(float(end[0]) for end in ends)]
    return (
        speech,
        rate,
        [Phone(end[2], start, float(end[0])) for start, end in zip(starts, ends, strict=False)],
    )


def read_with_flite(sentence: str, stretch: float) -> tuple[Signal, int, list[Phone]]:
    return speak(sentence, "rms", stretch)


def kokoro_reader(
    name: str, kokoro_voice: str, who: str, pitch_search_hz: tuple[float, float], lowest_speech_hz: float
) -> Reader:
    return Reader(
        name,
        f"Kokoro-82M's {kokoro_voice} ({who}, 24 kHz)",
        (),
        (),
        "Apache-2.0, network and voice",
        pitch_search_hz,
        lowest_speech_hz,
        lambda sentence, stretch: kokoro_reading.read(sentence, kokoro_voice, 1 / stretch),
        ("hibari-tts", "onnxruntime"),
        kokoro_voice,
    )


READERS = {
    "slt": Reader(
        "slt",
        f"Festival's {FESTIVAL_VOICE} (a woman, American English, 32 kHz)",
        ("festival",),
        ("festival", "festvox-us-slt-hts"),
        "EST-2003, EST-2000 and BSD-3-clause, as Debian names them",
        (90.0, 400.0),
        80.0,
        read_with_festival,
    ),
    "rms": Reader(
        "rms",
        "flite's rms (a man, American English, 16 kHz)",
        ("flite",),
        ("flite",),
        "flite's own (Carnegie Mellon University, in the manner of BSD)",
        (50.0, 300.0),
        55.0,
        read_with_flite,
    ),
    # Chosen by kokoro_choice.py; docs/starter-voices.md has the figures.
    "anna": kokoro_reader("anna", kokoro_reading.WOMAN, "a woman, American English", (90.0, 400.0), 80.0),
    "peter": kokoro_reader("peter", kokoro_reading.MAN, "a man, American English", (50.0, 300.0), 55.0),
}


def check_installed(reader: Reader) -> None:
    """One sentence and the end when the reader's program or voice is missing."""
    for program in reader.programs:
        if shutil.which(program) is None:
            raise SystemExit(
                f"The program {program} is missing; install from Debian: {' '.join(reader.packages)}."
            )
    if reader.name == "rms":  # flite reads with another voice, without a word, when it has not this one
        known = subprocess.run(["flite", "-lv"], capture_output=True, text=True).stdout.split()
        if "rms" not in known:
            raise SystemExit("This flite has no voice rms; install the Debian package flite.")
    if reader.kokoro_voice and not (kokoro_files.is_here() and reader.kokoro_voice in kokoro_files.voices()):
        raise SystemExit(
            f"Kokoro's voice {reader.kokoro_voice} cannot read here: {kokoro_files.WAY_OUT}. It needs hibari-tts too."
        )
    reader.read("Yes.", 1.0)


# --- what each file shall be ------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What is done to one sentence; ``style`` and ``centre_note`` (MIDI) belong to sung files only."""

    file: str
    kind: Kind
    sentence: str
    stretch: float = 1.0
    pitch_factor: float = 1.0
    pitch_range: float = 1.0
    style: Style | None = None
    centre_note: float | None = None
    pause_before: float = 0.0
    pause_after: float = 0.0
    breath: float = 0.0  # seconds of it before the song
    seed: tuple[int, ...] = ()
    prompt: str | None = None  # of Asterisk's, which says the same


def prompt_recipes(seed: int) -> Iterator[Recipe]:
    """What a person has been recorded saying, but for the recordings that are held out."""
    for index, (name, words) in enumerate(asterisk_prompts.prompts().items()):
        if not asterisk_prompts.is_held_out(name):
            file = f"prompt_{name.replace('/', '_')}.wav"
            yield Recipe(file, "speech", words, prompt=name, **_pauses((seed, 8, index)))


def speech_recipes(sentences: list[str], seed: int) -> Iterator[Recipe]:
    """Every sentence once before any comes again; every second file keeps the synthesiser's own pitch."""
    for index in count():
        rng = np.random.default_rng([seed, 0, index])
        plain = Recipe(
            f"speech_{index + 1:04d}.wav",
            "speech",
            _shuffled(sentences, seed, 0, index),
            stretch=_rounded(np.exp(rng.uniform(np.log(0.85), np.log(1.2)))),
            **_pauses((seed, 5, index)),
        )
        factor, width = np.exp(rng.uniform(np.log([0.75, 0.6]), np.log([1.6, 1.8])))
        yield (
            replace(plain, pitch_factor=_rounded(factor), pitch_range=_rounded(width)) if index % 2 else plain
        )


def sung_recipes(sentences: list[str], seed: int) -> Iterator[Recipe]:
    """Melodies, glides and long held notes; their centres are spread evenly over the notes."""
    styles: tuple[Style, ...] = ("melody", "glide", "melody", "held", "melody")
    for index in count():
        yield Recipe(
            f"sung_{index + 1:04d}.wav",
            "sung",
            _shuffled(sentences, seed, 1, index),
            style=styles[index % len(styles)],
            centre_note=_rounded(LOWEST_NOTE + (index * GOLDEN + 0.5) % 1 * (HIGHEST_NOTE - LOWEST_NOTE)),
            seed=(seed, 2, index),
            breath=_breath((seed, 7, index)),
            **_pauses((seed, 6, index)),
        )


class Pauses(TypedDict):
    pause_before: float
    pause_after: float


def _pauses(seed: tuple[int, ...]) -> Pauses:
    """Seconds of silence before and after the sound."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(0, LONGEST_PAUSE_SECONDS, 2) * (rng.random(2) < PAUSE_SHARE)
    return {"pause_before": _rounded(lengths[0]), "pause_after": _rounded(lengths[1])}


def _breath(seed: tuple[int, ...]) -> float:
    rng = np.random.default_rng(seed)
    return _rounded(rng.uniform(*BREATH_SECONDS)) if rng.random() < BREATH_SHARE else 0.0


def _shuffled(sentences: list[str], seed: int, kind: int, index: int) -> str:
    turn, place = divmod(index, len(sentences))
    order = np.random.default_rng([seed, 3 + kind, turn]).permutation(len(sentences))
    return sentences[int(order[place])]


def _rounded(value: float) -> float:
    return round(float(value), 4)


# --- expressive speech ------------------------------------------------------------------------


def expressive(analysis: Analysis, factor: float, width: float, lowest_hz: float) -> Signal:
    """The same words with the mean pitch times ``factor`` and ``width`` times the melody's range in cents."""
    voiced = analysis.f0_hz > 0
    if not voiced.any():
        raise SystemExit("The synthesiser's speech has no voiced frame, so its pitch cannot be changed.")
    log_f0 = np.log(np.where(voiced, analysis.f0_hz, 1.0))
    mean = log_f0[voiced].mean()
    f0 = np.clip(np.exp(mean + np.log(factor) + width * (log_f0 - mean)), lowest_hz, HIGHEST_HZ)
    return analysis.synthesize(np.arange(len(f0), dtype=float), np.where(voiced, f0, 0.0))


# --- singing ----------------------------------------------------------------------------------


def voiced_throughout(analysis: Analysis, phones: list[Phone]) -> Analysis:
    """The analysis with vowels and their like voiced from end to end.

    WORLD finds some of their edges unvoiced; lengthened to a note, such an edge would be a whisper.
    """
    f0, aperiodicity = analysis.f0_hz.copy(), analysis.aperiodicity.copy()
    for phone in phones:
        if phone.name not in SONORANTS:
            continue
        span = np.arange(round(phone.start / FRAME_SECONDS), min(round(phone.end / FRAME_SECONDS), len(f0)))
        voiced = span[analysis.f0_hz[span] > 0]
        if voiced.size:
            nearest = voiced[np.abs(span[:, None] - voiced[None, :]).argmin(1)]
            f0[span], aperiodicity[span] = analysis.f0_hz[nearest], analysis.aperiodicity[nearest]
    return replace(analysis, f0_hz=f0, aperiodicity=aperiodicity)


def steady_vowels(
    song: list[float], speech: list[float], vowels: list[str]
) -> tuple[list[float], list[float]]:
    """``time_anchors`` with vowels that begin and end as fast as spoken; only what lies between is held.

    Singers do so. Drawn out evenly, a diphthong would glide through the whole note.
    """
    held_song, held_speech = song[:1], speech[:1]
    for vowel, index in zip(vowels, range(1, len(song) - 1, 2), strict=True):
        (begin, end), (spoken, spoken_end) = song[index : index + 2], speech[index : index + 2]
        natural = min(end - begin, spoken_end - spoken)
        first, last = (share * natural for share in (DIPHTHONG_EDGES if vowel in DIPHTHONGS else VOWEL_EDGES))
        held_song += [begin, begin + first, end - last, end]
        held_speech += [spoken, spoken + first, spoken_end - last, spoken_end]
    return [*held_song, song[-1]], [*held_speech, speech[-1]]


def note_seconds(style: Style, notes: int, rng: np.random.Generator) -> Signal:
    """Note lengths: mostly short, some long, the last one held."""
    low, high = (0.4, 1.4) if style == "held" else (0.18, 0.75)
    lengths = np.exp(rng.uniform(np.log(low), np.log(high), notes))
    long_ones = rng.random(notes) < 0.12
    lengths[long_ones] *= rng.uniform(1.5, 2.5, int(long_ones.sum()))
    lengths[-1] = max(lengths[-1], rng.uniform(0.6, 1.2))
    return lengths


def melody(centre: float, notes: int, rng: np.random.Generator) -> Signal:
    """A walk of MIDI notes around ``centre``, in steps that songs use, turned back at the range's ends."""
    steps = rng.choice([-7, -5, -4, -3, -2, -2, -1, 0, 1, 2, 2, 3, 4, 5, 7], notes)
    steps[0] = 0
    walk = centre + np.cumsum(steps)
    walk = centre + (np.abs((walk - centre + 7) % 28 - 14) - 7)  # folded into centre +- 7
    span = HIGHEST_NOTE - LOWEST_NOTE
    return np.asarray(HIGHEST_NOTE - np.abs((walk - LOWEST_NOTE) % (2 * span) - span))


def sung_pitch(
    notes: Signal, starts: Signal, times: Signal, style: Style, rng: np.random.Generator
) -> Signal:
    """f0 in Hz at ``times``: notes that begin at ``starts`` (seconds), glides, vibrato, a little drift."""
    note = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(notes) - 1)
    if style == "glide":  # no note is held: the pitch always moves towards the next one
        midi = np.interp(times, starts, [*notes, notes[-1] + rng.uniform(-7, 7)])
    else:
        midi = gaussian_filter1d(notes[note], rng.uniform(0.015, 0.06) / FRAME_SECONDS, mode="nearest")
    depth = 0.0 if rng.random() < 0.25 else rng.uniform(0.1, 0.8)
    phase = 2 * np.pi * (rng.uniform(4.5, 6.8) * times + rng.random())
    held = np.clip((times - starts[note] - rng.uniform(0.1, 0.3)) / 0.25, 0, 1)
    drift = gaussian_filter1d(rng.standard_normal(times.size), 0.08 / FRAME_SECONDS, mode="nearest")
    midi = midi + depth * held * np.sin(phase) + 0.08 * drift / max(float(drift.std()), 1e-9)
    return np.asarray(np.clip(440.0 * 2 ** ((midi - 69) / 12), LOWEST_HZ, HIGHEST_HZ))


def formant_factors(pitch_hz: Signal, spoken_hz: float) -> Signal:
    """By how much each frame's formants rise: 1 in consonants without voice and up to an octave above the speech."""
    beyond = np.log(np.maximum(pitch_hz, 1e-3) / (2 * spoken_hz))
    raised = FORMANT_SHARE * np.maximum(beyond, 0.0)
    return np.asarray(
        np.exp(gaussian_filter1d(raised, FORMANT_GLIDE_SECONDS / FRAME_SECONDS, mode="nearest"))
    )


def with_raised_formants(analysis: Analysis, position: Signal, factors: Signal) -> Analysis:
    """Frame i has the timbre of frame ``position[i]``, with its envelope ``factors[i]`` times as high."""
    left, blend = frames_beside(position, len(analysis.f0_hz))
    blend = blend[:, None]
    envelope = (1 - blend) * analysis.log_envelope[left] + blend * analysis.log_envelope[left + 1]
    bins = np.arange(envelope.shape[1], dtype=float)
    for frame in np.flatnonzero(factors > 1 + 1e-4):
        envelope[frame] = np.interp(bins / factors[frame], bins, envelope[frame])
    noise_part = (1 - blend) * analysis.aperiodicity[left] + blend * analysis.aperiodicity[left + 1]
    return Analysis(analysis.f0_hz[left], envelope, noise_part, analysis.sample_rate)


def breath(seconds: float, rate: int, rng: np.random.Generator, peak_hz: float = BREATH_PEAK_HZ) -> Signal:
    """Air drawn in: coloured noise that swells, ends soon after it is loudest, and peaks at 1."""
    count = round(seconds * rate)
    radius = np.exp(-np.pi * BREATH_BANDWIDTH_HZ / rate)
    resonance = [1.0, -2 * radius * np.cos(2 * np.pi * peak_hz / rate), radius**2]
    times = np.linspace(0, 1, count)
    air = lfilter([1.0, -0.9], resonance, rng.standard_normal(count)) * np.minimum(
        times / 0.7, (1 - times) / 0.3
    )
    return np.asarray(air / max(float(np.abs(air).max(initial=0.0)), 1e-9))


def sing_recipe(recipe: Recipe, speech: Signal, rate: int, phones: list[Phone], reader: Reader) -> Signal:
    """The sentence sung: each vowel on a note of its own."""
    assert recipe.style is not None
    assert recipe.centre_note is not None
    rng = np.random.default_rng(recipe.seed)
    vowels = [phone.name for phone in phones if phone.name in VOWELS]
    count_of_notes = len(vowels)
    notes = melody(recipe.centre_note, count_of_notes, rng)
    lengths = note_seconds(recipe.style, count_of_notes, rng)
    line = SungLine(recipe.sentence, 0, tuple(notes), tuple(lengths))
    song_times, speech_times = steady_vowels(*time_anchors(phones, line, beat_seconds=1.0), vowels)
    analysis = voiced_throughout(analyse(speech, rate, *reader.pitch_search_hz), phones)
    times = np.arange(song_times[0], song_times[-1], FRAME_SECONDS)
    position = np.interp(times, song_times, speech_times) / FRAME_SECONDS
    left, _ = frames_beside(position, len(analysis.f0_hz))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    pitch = np.where(analysis.f0_hz[left] > 0, sung_pitch(notes, starts, times, recipe.style, rng), 0.0)
    spoken_hz = analysis.f0_hz[analysis.f0_hz > 0]
    raised = formant_factors(pitch, float(np.exp(np.log(spoken_hz).mean())) if spoken_hz.size else LOWEST_HZ)
    sung = with_raised_formants(analysis, position, raised).synthesize(
        np.arange(len(pitch), dtype=float), pitch
    )
    loudness_db = gaussian_filter1d(rng.uniform(-5, 1, count_of_notes)[
        np.clip(np.searchsorted(starts, times, side="right") - 1, 0, count_of_notes - 1)
    ], 0.1 / FRAME_SECONDS, mode="nearest")  # fmt: skip
    seconds_at = np.arange(sung.size) / rate + song_times[0]
    return np.asarray(sung * 10 ** (np.interp(seconds_at, times, loudness_db) / 20))


# --- files ------------------------------------------------------------------------------------


def trimmed(sound: Signal, rate: int) -> Signal:
    """Silence at the ends cut or filled to ``EDGE_SECONDS``, the peak at -3 dB, at 32 kHz."""
    sound = soxr.resample(sound, rate, SAMPLE_RATE, quality="VHQ") if rate != SAMPLE_RATE else sound
    heard = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    edge = round(EDGE_SECONDS * SAMPLE_RATE)
    sound = np.pad(sound, edge)[heard[0] : heard[-1] + 2 * edge + 1]
    fade = np.linspace(0, 1, edge // 4)
    sound[: fade.size] *= fade
    sound[-fade.size :] *= fade[::-1]
    return np.asarray(sound * (PEAK / np.abs(sound).max()))


def make_file(recipe: Recipe, folder: Path, reader_name: str) -> dict[str, Any]:
    """Make the recipe's file unless it is there; what ``material.json`` says about it."""
    path = folder / recipe.file
    if not path.is_file():
        reader = READERS[reader_name]
        speech, rate, phones = reader.read(recipe.sentence, recipe.stretch)
        if recipe.kind == "sung":
            sound = sing_recipe(recipe, speech, rate, phones, reader)
        elif recipe.pitch_factor != 1.0 or recipe.pitch_range != 1.0:
            analysis = analyse(speech, rate, *reader.pitch_search_hz)
            sound = expressive(analysis, recipe.pitch_factor, recipe.pitch_range, reader.lowest_speech_hz)
        else:
            sound = speech
        sound = trimmed(sound, rate)
        if recipe.breath:
            rng = np.random.default_rng((*recipe.seed, 1))
            level = PEAK * 10 ** (-rng.uniform(*BREATH_BELOW_DB) / 20)
            sound = np.concatenate([level * breath(recipe.breath, SAMPLE_RATE, rng), sound])
        sound = with_pauses(sound, SAMPLE_RATE, recipe.pause_before, recipe.pause_after)
        unfinished = path.with_suffix(".part")
        soundfile.write(unfinished, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        unfinished.replace(path)
    said = {name: value for name, value in asdict(recipe).items() if value is not None and name != "seed"}
    heard = soundfile.info(path).duration - recipe.pause_before - recipe.pause_after
    return {**said, "seconds": round(heard, 3)}


def make_all(recipes: Iterator[Recipe], folder: Path, reader: str, processes: int) -> list[dict[str, Any]]:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(pool.imap(partial(make_file, folder=folder, reader_name=reader), recipes))


def with_pauses(sound: Signal, rate: int, before: float, after: float) -> Signal:
    """``sound`` with so many seconds of silence around it."""
    return np.pad(sound, (round(before * rate), round(after * rate)))


def make_minutes(
    recipes: Iterator[Recipe], minutes: float, folder: Path, reader: str, processes: int
) -> list[dict[str, Any]]:
    """The first files, in order, that together last at least ``minutes``."""
    files: list[dict[str, Any]] = []
    total = 0.0
    # Spawned, not forked: Kokoro's network has been loaded here already.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        while total < minutes * 60:
            batch = [next(recipes) for _ in range(BATCH)]
            for entry in pool.imap(partial(make_file, folder=folder, reader_name=reader), batch):
                if total < minutes * 60:
                    files.append(entry)
                    total += entry["seconds"]
                else:
                    (folder / entry["file"]).unlink()
            print(
                f"{files[-1]['kind']}: {total / 60:.1f} of {minutes:g} minutes, {len(files)} files",
                flush=True,
            )
    return files


def versions(reader: Reader) -> dict[str, str]:
    """Versions of everything that the sound depends on."""
    found = {package: _debian_version(package) for package in reader.packages}
    worlds = [name for name in ("pyworld", "pyworld-prebuilt") if _python_version(name)]
    names = (*worlds, "numpy", "scipy", "soxr", "soundfile", *reader.python_packages)
    found |= {name: _python_version(name) for name in names}
    if reader.kokoro_voice:
        styles = kokoro_files.styles(kokoro_files.voices()[reader.kokoro_voice])
        found |= {
            kokoro_files.NETWORK: kokoro_files.NETWORK_SHA256,
            reader.kokoro_voice: hashlib.sha256(styles.tobytes()).hexdigest(),
        }
    return found


def _debian_version(package: str) -> str:
    if shutil.which("dpkg-query") is None:
        return "unknown (not installed by dpkg)"
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return asked.stdout or "unknown (not installed by dpkg)"


def _python_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def description(reader: Reader, seed: int) -> dict[str, Any]:
    """What must be the same for files to be kept."""
    return {
        "voice": reader.voice,
        "licence_of_the_voice": reader.licence,
        "licence_of_the_sentences": "CC0-1.0, and works published before 1900 (public domain)",
        "sample_rate": SAMPLE_RATE,
        "seed": seed,
        "sentences_sha256": hashlib.sha256(SENTENCES_FILE.read_bytes()).hexdigest(),
        "edition": EDITION,
        "versions": versions(reader),
    }


def begin(folder: Path, told: dict[str, Any]) -> Path:
    """The folder's ``material.json``, written before the first file; stops where other material lies."""
    record = folder / "material.json"
    folder.mkdir(parents=True, exist_ok=True)
    if record.is_file():
        before = json.loads(record.read_text())
        changed = [name for name, value in told.items() if before.get(name) != value]
        if changed:
            raise SystemExit(
                f"{folder} holds material made otherwise ({', '.join(changed)}); name an empty folder."
            )
    elif any(folder.glob("*.wav")):
        raise SystemExit(f"{folder} holds sound files but no material.json; name an empty folder.")
    else:
        write_record(record, told)
    return record


def write_record(record: Path, told: dict[str, Any]) -> None:
    unfinished = record.with_suffix(".part")
    unfinished.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    unfinished.replace(record)


def read_sentences() -> list[str]:
    lines = (line.strip() for line in SENTENCES_FILE.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def singable(sentence: str) -> bool:
    """Short enough to be sung in one breath, judged by groups of vowel letters."""
    letters = "".join(letter if letter in "aeiouy" else " " for letter in sentence.lower())
    return len(letters.split()) <= MOST_VOWELS


def minutes(text: str) -> float:
    value = float(text)
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError("give a number of minutes from 0 to 10000")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the recordings go")
    parser.add_argument(
        "--voice", choices=sorted(READERS), default="slt", help="who reads (default: %(default)s)"
    )
    parser.add_argument(
        "--speech-minutes", type=minutes, default=25.0, metavar="N", help="default: %(default)g"
    )
    parser.add_argument(
        "--sung-minutes", type=minutes, default=15.0, metavar="N", help="default: %(default)g"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, other material (default: %(default)s)"
    )
    parser.add_argument(
        "--prompts",
        action="store_true",
        help="say Asterisk's prompts too, which a person was recorded saying",
    )
    parser.add_argument(
        "--processes", type=int, default=PROCESSES, metavar="N", help="at once (default: %(default)s)"
    )
    asked = parser.parse_args()
    reader = READERS[asked.voice]
    check_installed(reader)
    told = description(reader, asked.seed)
    record = begin(asked.folder, told)
    lengths = {
        "speech_minutes": asked.speech_minutes,
        "sung_minutes": asked.sung_minutes,
        "prompts": asked.prompts,
    }
    before = json.loads(record.read_text())
    if "files" in before and lengths.items() <= before.items():
        print(f"{record}: complete")
        return
    sentences = read_sentences()
    make = partial(make_minutes, folder=asked.folder, reader=reader.name, processes=asked.processes)
    files = make(speech_recipes(sentences, asked.seed), asked.speech_minutes)
    files += make(
        sung_recipes([line for line in sentences if singable(line)], asked.seed), asked.sung_minutes
    )
    if asked.prompts:
        files += make_all(prompt_recipes(asked.seed), asked.folder, reader.name, asked.processes)
    write_record(record, {**told, **lengths, "files": files})
    print(f"{record}: {len(files)} files, {sum(file['seconds'] for file in files) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
