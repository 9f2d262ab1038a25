"""What the quality bench listens to: sentences by several voices, sung phrases, the target's own speech.

Everything is made by programs of the system (flite, festival, espeak-ng) and by Kokoro, or read from installed
packages, and kept in a cache under a hash of what it was made from.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
from numpy.typing import NDArray

import quality_kokoro
from quality_sentences import BEAT_SECONDS, BLOCK, EXCERPTS, PHRASES, SENTENCES, Excerpt, Phrase
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.errors import AssetMissingError, AudioError, SettingError
from ultimate_rvc.files import atomic_path, file_hash

FloatArray = NDArray[np.float32]

MATERIAL_RATE = 16_000  # all measures work at this rate, and so does the conversion's input
SPEAKING_SECONDS = 120  # for one sentence; more is a program that hangs
SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
SINGING_SCRIPT = SCRIPTS / "make_demo_songs.py"
SINGING_SCRIPTS = ("make_demo_songs.py", "make_starter_material.py")  # for sentences
RECORDINGS_PACKAGE = "moonshine_voice"
RECORDING_HASHES = {  # of moonshine-voice 0.1.5: excerpts are cut by time, so it must be these files
    "two_cities.wav": "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
    "beckett.wav": "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
}
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")


class Engine(StrEnum):
    """Programs that speak."""

    FLITE = "flite"
    FESTIVAL = "festival"
    ESPEAK = "espeak-ng"
    KOKORO = "kokoro"  # no program: quality_kokoro.py


PROGRAMS = {  # engine: (program, Debian package)
    Engine.FLITE: ("flite", "flite"),
    Engine.FESTIVAL: ("text2wave", "festival"),
    Engine.ESPEAK: ("espeak-ng", "espeak-ng"),
}


class Kind(StrEnum):
    """What an item of the bench is."""

    SPOKEN = "spoken"
    RECORDED = "recorded"
    SUNG = "sung"


@dataclass(frozen=True)
class Speaker:
    """A synthetic voice, such as ``flite:rms``."""

    engine: Engine
    voice: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.voice}"

    @property
    def person(self) -> str:
        """Who it was recorded from: ``slt`` for flite's slt and for festival's cmu_us_slt_arctic_hts."""
        if known := re.fullmatch(r"cmu_[a-z]+_([a-z]+)_.*|([a-z]+)_diphone", self.voice):
            return known[1] or known[2]
        return re.sub(r"\d+$|_time$", "", self.voice) if self.engine is Engine.FLITE else str(self)

    def speak(self, text: str, target: Path, slowness: float = 1.0) -> None:
        """Write ``text``, spoken ``slowness`` times as long as usual, to the wav file ``target``."""
        if self.engine is Engine.KOKORO:
            quality_kokoro.speak(text, self.voice, slowness, target)
            return
        command, standard_input = self._command(text, target, slowness)
        _run_speech([*command], standard_input, str(self))

    def _command(self, text: str, target: Path, slowness: float) -> tuple[list[str], str]:
        if self.engine is Engine.FLITE:
            if self.voice not in flite_voices():
                known = ", ".join(flite_voices())  # flite itself would speak with its first voice instead
                raise SettingError(f"flite has no voice {self.voice}; choose from {known}.")
            stretch = ["--setf", f"duration_stretch={slowness}"]
            return ["flite", "-voice", self.voice, *stretch, "-t", text, "-o", str(target)], ""
        if self.engine is Engine.ESPEAK:
            pace = str(round(175 / slowness))  # words a minute; 175 is its default
            return ["espeak-ng", "-v", self.voice, "-s", pace, "-w", str(target), text], ""
        # HTS voices read their pace from the engine's parameters, all others from Duration_Stretch.
        scheme = (
            f"(begin (voice_{self.voice}) (Parameter.set 'Duration_Stretch {slowness})"
            f' (set! hts_engine_params (append hts_engine_params (list (list "-r" {1 / slowness:.4f})))))'
        )
        return ["text2wave", "-eval", scheme, "-o", str(target)], text


@functools.cache
def flite_voices() -> tuple[str, ...]:
    """The voices that this flite was built with."""
    printed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=True).stdout
    return tuple(printed.partition(":")[2].split())


def _run_speech(command: list[str], standard_input: str, name: str) -> None:
    try:
        done = subprocess.run(
            command,
            input=standard_input,
            capture_output=True,
            text=True,
            check=False,
            timeout=SPEAKING_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SettingError(f"The voice {name} did not speak within {SPEAKING_SECONDS} s.") from error
    # These programs answer some mistakes with success and a complaint.
    if done.returncode != 0 or re.search(r"unbound|Error|ERROR|does not exist", done.stderr):
        said = " ".join(done.stderr.split())[:200]
        raise SettingError(f"The voice {name} cannot speak: {said or 'no reason given'}.")


SOURCES = (
    Speaker(Engine.FLITE, "rms"),
    Speaker(Engine.FLITE, "awb"),
    Speaker(Engine.FLITE, "kal16"),
    Speaker(Engine.ESPEAK, "en-us"),
    Speaker(Engine.ESPEAK, "en-us+f3"),
    Speaker(Engine.FLITE, "slt"),
)
LARGE_BLOCKS = 3  # of sentences by each source on the large bench
LARGE_SONGS = 10  # sung by each of Kokoro's held-out voices there
SINGERS = {  # semitones above the written melody, which is a man's
    Speaker(Engine.FLITE, "rms"): 0,
    Speaker(Engine.FLITE, "awb"): 0,
    Speaker(Engine.FLITE, "kal16"): 0,
    Speaker(Engine.FLITE, "slt"): 12,
}


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to convert: ``waveform_16k`` is float32, shape (samples,), in [-1, 1]."""

    name: str
    source: str
    kind: Kind
    text: str
    waveform_16k: FloatArray


@dataclass(frozen=True, eq=False)
class Target:
    """The target's own speech: by text, or under the name of its file where nobody told the text."""

    name: str
    speech: dict[str, FloatArray]
    slower_speech: dict[str, FloatArray] = field(default_factory=dict)
    texts_known: bool = True


# --- the cache ------------------------------------------------------------------------------------


class Shelf:
    """A folder of waveforms, each under the hash of what it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, made_from: Sequence[object], make: Callable[[Path], None]) -> FloatArray:
        """The waveform at 16 kHz, mono; ``make`` writes an audio file if it is not here yet."""
        key = hashlib.sha256(repr([str(part) for part in made_from]).encode()).hexdigest()[:32]
        path = self.folder / f"{key}.wav"
        if not path.exists():
            with tempfile.TemporaryDirectory() as folder:
                raw = Path(folder) / "made.wav"
                make(raw)
                waveform = _read_mono(raw)
            with atomic_path(path) as unfinished:
                soundfile.write(unfinished, waveform, MATERIAL_RATE, subtype="FLOAT")
        return np.asarray(soundfile.read(path, dtype="float32")[0])


def _read_mono(path: Path) -> FloatArray:
    waveform = decode_mono(path, MATERIAL_RATE)
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0:
        raise AudioError(f"{path.name} is silent.")
    return waveform if peak <= 1 else waveform / peak  # resampling can overshoot


@functools.cache
def program_version(engine: Engine) -> str:
    """The first line that the program says of itself; an error when it is not installed."""
    if engine is Engine.KOKORO:
        return quality_kokoro.version()
    program, package = PROGRAMS[engine]
    if shutil.which(program) is None:
        raise AssetMissingError(
            f"The quality bench needs the program {program}; install it (Debian: apt install {package})."
        )
    option = "-version" if engine is Engine.FESTIVAL else "--version"
    command = ["festival" if engine is Engine.FESTIVAL else program, option]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SPEAKING_SECONDS)
    except OSError:
        return "unknown"
    return " ".join((done.stdout + done.stderr).split())[:200]


# --- sentences ------------------------------------------------------------------------------------


def spoken(shelf: Shelf, speaker: Speaker, text: str, slowness: float = 1.0) -> FloatArray:
    """The sentence by a synthetic voice."""
    made_from = ("speech 1", speaker, program_version(speaker.engine), slowness, text)
    return shelf.fetch(made_from, lambda path: speaker.speak(text, path, slowness))


def spoken_items(shelf: Shelf, without: str | None, *, large: bool = False) -> list[Item]:
    """A block of sentences by each source, but for those recorded from the person ``without``.

    On the large bench Kokoro's held-out voices are sources too, and each reads three blocks.
    """
    items = []
    sources = [*SOURCES, *_held_out_speakers()] if large else SOURCES
    for number, speaker in enumerate(sources):
        if speaker.person != without:
            start = number * BLOCK
            texts = (SENTENCES * 2)[start % len(SENTENCES) :][: BLOCK * (LARGE_BLOCKS if large else 1)]
            for place, text in enumerate(texts):
                name = f"{speaker.voice}-{place + 1}"
                items.append(Item(name, str(speaker), Kind.SPOKEN, text, spoken(shelf, speaker, text)))
    return items


def _held_out_speakers() -> list[Speaker]:
    return [Speaker(Engine.KOKORO, voice) for voice in quality_kokoro.held_out()]


def recorded_items(shelf: Shelf) -> list[Item]:
    """Sentences cut from recordings of people."""
    items = []
    for number, excerpt in enumerate(EXCERPTS):
        reader = Path(excerpt.file).stem
        waveform = shelf.fetch(
            ("excerpt 1", RECORDING_HASHES[excerpt.file], excerpt.start, excerpt.end),
            functools.partial(_cut, excerpt),
        )
        items.append(Item(f"{reader}-{number + 1}", f"human:{reader}", Kind.RECORDED, excerpt.text, waveform))
    return items


def _cut(excerpt: Excerpt, target: Path) -> None:
    recording, rate = soundfile.read(recording_path(excerpt.file))
    soundfile.write(target, recording[round(excerpt.start * rate) : round(excerpt.end * rate)], rate)


@functools.cache
def recording_path(name: str) -> Path:
    """The recording inside moonshine-voice, checked to be the one that the excerpts were cut for."""
    # Found, not imported: the import would load its library and fetch models.
    found = importlib.util.find_spec(RECORDINGS_PACKAGE)
    locations = list(found.submodule_search_locations or []) if found else []
    path = Path(locations[0]) / "assets" / name if locations else None
    if path is None or not path.is_file() or file_hash(path) != RECORDING_HASHES[name]:
        raise AssetMissingError(
            "The quality bench needs the recordings of moonshine-voice 0.1.5; install the extra: "
            "pip install -e '.[quality]'."
        )
    return path


# --- songs ----------------------------------------------------------------------------------------


def sung_items(shelf: Shelf, without: str | None, *, large: bool = False) -> list[Item]:
    """The sung phrases, shared out among the singers that are not the person ``without``.

    On the large bench every singer sings every phrase, and Kokoro's held-out voices sing sentences.
    """
    singers = [singer for singer in SINGERS if singer.person != without]
    script = file_hash(SINGING_SCRIPT)
    turns = range(len(singers) if large else 1)
    items = _sung_sentences(shelf) if large else []
    for turn, (number, phrase) in itertools.product(turns, enumerate(PHRASES)):
        singer = singers[(number + turn) % len(singers)]
        pitches = tuple(pitch + SINGERS[singer] for pitch in phrase.pitches)
        sung = replace(phrase, pitches=pitches)
        made_from = ("song 1", singer, program_version(singer.engine), script, sung, BEAT_SECONDS)
        waveform = shelf.fetch(made_from, functools.partial(_sing, sung, singer))
        items.append(Item(f"{singer.voice}-sung-{number + 1}", str(singer), Kind.SUNG, phrase.text, waveform))
    return items


def _sung_sentences(shelf: Shelf) -> list[Item]:
    """Sentences on melodies that no training had, by voices that none heard."""
    speakers, scripts = _held_out_speakers(), [file_hash(SCRIPTS / name) for name in SINGING_SCRIPTS]
    items = []
    for number, text in enumerate(SENTENCES[: LARGE_SONGS * len(speakers)]):
        speaker = speakers[number % len(speakers)]
        made_from = ("song 2", speaker, program_version(speaker.engine), *scripts, number, text)
        sing = functools.partial(quality_kokoro.sing, text, speaker.voice, number)
        waveform = shelf.fetch(made_from, sing)
        items.append(Item(f"{speaker.voice}-sung-{number + 1}", str(speaker), Kind.SUNG, text, waveform))
    return items


def _sing(phrase: Phrase, singer: Speaker, target: Path) -> None:
    script = _singing_script()
    line = script.SungLine(phrase.text, 0, phrase.pitches, phrase.beats)
    sung, _ = script.sing(line, singer.voice, BEAT_SECONDS)
    soundfile.write(target, sung * (0.9 / np.abs(sung).max()), script.SAMPLE_RATE, subtype="FLOAT")


@functools.cache
def _singing_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(SINGING_SCRIPT.stem, SINGING_SCRIPT)
    if spec is None or spec.loader is None:
        raise AssetMissingError(f"The quality bench sings with {SINGING_SCRIPT}, which is not there.")
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look their module up by name
    spec.loader.exec_module(script)
    return script


# --- the target -----------------------------------------------------------------------------------


def parse_speaker(words: str) -> Speaker:
    """``flite:slt``, ``festival:cmu_us_slt_arctic_hts``, ``espeak-ng:en-us``."""
    engine, _, voice = words.partition(":")
    if engine not in list(Engine) or not re.fullmatch(r"[\w.+-]+", voice):
        raise SettingError(
            f"--target {words!r} is neither a folder nor a voice; write a folder with recordings of the "
            f"target, or one of {', '.join(Engine)} with a voice, such as festival:cmu_us_slt_arctic_hts."
        )
    return Speaker(Engine(engine), voice)


def target_speech(shelf: Shelf, speaker: Speaker, texts: Sequence[str], slowness: float) -> Target:
    """The target saying all ``texts``, at its usual pace and at a slower one."""
    usual = {text: spoken(shelf, speaker, text) for text in texts}
    slower = {text: spoken(shelf, speaker, text, slowness) for text in texts}
    return Target(str(speaker), usual, slower)


def target_recordings(folder: Path) -> Target:
    """Recordings of the target; a text file of the same name says what is spoken in one.

    Texts are used when every recording has one.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    if len(files) < 2:
        raise SettingError(f"--target {folder} holds {len(files)} recordings, but at least 2 are needed.")
    texts = [path.with_suffix(".txt") for path in files]
    known = all(path.is_file() for path in texts)
    names = [path.read_text(encoding="utf-8").strip() for path in texts] if known else map(str, files)
    return Target(folder.name, dict(zip(names, map(_read_mono, files), strict=True)), {}, known)
