"""Let other synthesisers say what a starter voice's material says, at the same time.

    python scripts/make_other_readings.py DIR     # made by make_starter_material.py; writes DIR-others

Each file is read anew by four voices out of many: Kokoro's (English ones, and those of other languages, whose
English has an accent), SVOX Pico's two English voices, accents and variants of espeak-ng, and Festival's ked. What a
person was recorded saying (``make_starter_material.py --prompts``) has that person among the four. The reading is
laid beside the file by dynamic time warping of content features and stretched by WORLD until every sound is where the
file has it; sung files keep their melody, moved to the reader's pitch. A third of the readings are then made into
other speakers by signal processing, some are put into a room. ``urvc train voice --versions DIR-others`` then teaches
a voice that others mean the same words.

No voice that the quality bench converts is among the readers: neither flite's, nor espeak-ng's plain American
voice, nor its variant f3, nor Kokoro's two that are held out. Those that starter voices are made of are not either.
Everything follows from ``--seed``; files that are there are kept. With ``URVC_KOKORO_READINGS`` two starter voices
share Kokoro's readings, which take the longest.

Needs Debian's ``espeak-ng``, ``festival`` and ``festvox-kdlpc16k``, PyPI's ``ttspico``, what ``kokoro_reading.py``
needs, and what the material needs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import shutil
import subprocess
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import asterisk_prompts
import kokoro_reading
import numpy as np
import pyworld
import soundfile
import soxr
import torch
from librosa.sequence import dtw
from make_demo_songs import FRAME_SECONDS, Analysis, Signal, frames_beside
from make_starter_material import BREATH_PEAK_HZ, breath, with_pauses
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from ultimate_rvc.rvc.content import load_content_encoder
from ultimate_rvc.rvc.train.perturbation import perturbed
from ultimate_rvc.speech.kokoro import files as kokoro_files

RATE = 16_000
VERSIONS = 4
PROCESSES = 2
FEATURES_PER_SECOND = 50
WORLD_FRAMES = round(1 / FEATURES_PER_SECOND / FRAME_SECONDS)  # per frame of features
SMOOTHED_FRAMES = 3  # dynamic time warping goes in steps of whole frames

# Of a first set, in more accents, Whisper tiny.en mistook 4 % of Pico's words as read, 20 % of ked's, 60 % of
# espeak-ng's. Kokoro's voices differ most from each other, and are understood best.
SHARES = {"kokoro": 0.7, "pico": 0.12, "espeak-ng": 0.1, "ked": 0.08}
# fmt: off
KOKORO_ENGLISH = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_nova", "af_river",
    "af_sarah", "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_michael", "am_onyx",
    "am_puck", "am_santa", "bf_alice", "bf_emma", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george",
    "bm_lewis",
)
KOKORO_ACCENTS = (
    "ef_dora", "em_alex", "em_santa", "ff_siwis", "hf_alpha", "hf_beta", "hm_omega", "hm_psi", "if_sara",
    "im_nicola", "jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo", "pf_dora", "pm_alex",
    "pm_santa", "zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian", "zm_yunxi", "zm_yunxia",
    "zm_yunyang",
)
# fmt: on
NO_OTHERS = {kokoro_reading.WOMAN, kokoro_reading.MAN, *kokoro_reading.HELD_OUT}
KOKORO = KOKORO_ENGLISH + KOKORO_ACCENTS
KOKORO_OTHERS = tuple(name for name in KOKORO if name not in NO_OTHERS)
KED_SCRIPT = '(voice_ked_diphone)(utt.save.wave (utt.synth (Utterance Text "{text}")) "{wav}" \'riff)\n'
ACCENTS = ("en-us", "en-us-nyc", "en-gb", "en-gb-x-rp", "en-gb-scotland")
# fmt: off
VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f4", "f5", "Alex", "Alicia",
    "Andrea", "Andy", "Annie", "Denis", "Gene", "Hugo", "Jacky", "Lee", "Marco", "Michael", "adam",
    "anika", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "gustave", "iven",
    "john", "linda", "max", "miguel", "norbert", "pablo", "paul", "quincy", "rob", "robert",
    "sandro", "shelby", "steph", "travis", "victor", "zac",
)
# fmt: on
SLOWEST_WPM, FASTEST_WPM = 130, 180
LOWEST_PITCH, HIGHEST_PITCH = 25, 75  # of espeak-ng's scale from 0 to 99
PICO_VOICES = ("en-US", "en-GB")
PICO_RATES, PICO_PITCHES = (75, 120), (65, 130)  # percent
BREATH_PEAK_FACTORS = 0.8, 1.25
MADE_OTHER_SHARE = 0.35
ROOM_SHARE = 0.3
REVERBERATION_SECONDS = 0.15, 0.5  # until 60 dB are gone
DIRECT_TO_ROOM_DB = 3.0, 18.0


def read_anew(sentence: str, random: np.random.Generator) -> Signal:
    """The sentence by some reader, at 16 kHz."""
    engine = random.choice(list(SHARES), p=list(SHARES.values()))
    if engine == "kokoro":
        # By an order of all of them, so that a starter voice made of another one hardly changes who reads what.
        name = next(name for name in random.permutation(KOKORO) if name in KOKORO_OTHERS)
        speech, rate, _ = kokoro_reading.read(sentence, str(name))
        return np.asarray(soxr.resample(speech, rate, RATE, quality="HQ"))
    if engine == "pico":
        return read_with_pico(sentence, random)
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "reading.wav"
        if engine == "ked":
            script = Path(folder) / "read.scm"
            script.write_text(KED_SCRIPT.format(text=sentence.replace("\\", " ").replace('"', " "), wav=wav))
            command = ["festival", "-b", str(script)]
        else:
            voice = f"{random.choice(ACCENTS)}+{random.choice(VARIANTS)}"
            speed = str(random.integers(SLOWEST_WPM, FASTEST_WPM))
            pitch = str(random.integers(LOWEST_PITCH, HIGHEST_PITCH))
            command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", str(wav), sentence]
        subprocess.run(command, check=True, capture_output=True)
        speech, rate = soundfile.read(wav)
    return np.asarray(soxr.resample(speech, rate, RATE, quality="HQ"))


def read_with_pico(sentence: str, random: np.random.Generator) -> Signal:
    import ttspico  # only these readings need it

    # A new one each time: what an engine has said before leaves its trace in what it says next.
    engine = ttspico.TtsEngine(str(random.choice(PICO_VOICES)))
    engine.rate = int(random.integers(*PICO_RATES))
    engine.pitch = int(random.integers(*PICO_PITCHES))
    return np.frombuffer(engine.speak(sentence), np.int16) / 32768


def in_a_room(speech: Signal, random: np.random.Generator) -> Signal:
    """The same, with a room's diffuse echo behind it."""
    seconds = random.uniform(*REVERBERATION_SECONDS)
    times = np.arange(round(seconds * RATE)) / RATE
    echo = random.standard_normal(times.size) * 10 ** (-3 * times / seconds)
    echo *= 10 ** (-random.uniform(*DIRECT_TO_ROOM_DB) / 20) / np.linalg.norm(echo)
    return np.asarray(speech + fftconvolve(speech, echo)[: len(speech)])


@cache
def encoder() -> Any:
    torch.set_num_threads(1)
    return load_content_encoder("starter", "cpu")


def features(waveform_16k: Signal) -> NDArray[np.float32]:
    """Content features (frames, 384) of length 1."""
    found = encoder().encode(torch.from_numpy(waveform_16k.astype(np.float32))[None], "v2")[0].numpy()
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def places_in(reading: Signal, recording: Signal) -> Signal:
    """For each frame of 20 ms of the recording, the frame of the reading that says the same."""
    theirs, ours = features(reading), features(recording)
    _, path = dtw(C=1 - ours @ theirs.T)
    sums, counts = np.zeros(len(ours)), np.zeros(len(ours))
    np.add.at(sums, path[:, 0], path[:, 1])
    np.add.at(counts, path[:, 0], 1)
    reach = SMOOTHED_FRAMES // 2
    padded = np.pad(sums / counts, reach, mode="edge")
    return np.convolve(padded, np.ones(SMOOTHED_FRAMES) / SMOOTHED_FRAMES, mode="valid")


def f0_of(waveform_16k: Signal) -> tuple[Signal, Signal]:
    coarse_hz, times = pyworld.dio(waveform_16k, RATE, frame_period=1000 * FRAME_SECONDS)
    return pyworld.stonemask(waveform_16k, coarse_hz, times, RATE), times


def in_time(reading: Signal, recording: Signal, *, keep_melody: bool) -> Signal:
    """The reading with each sound where the recording has it."""
    f0_hz, times = f0_of(reading)
    log_envelope = np.log(pyworld.cheaptrick(reading, f0_hz, times, RATE))
    analysis = Analysis(f0_hz, log_envelope, pyworld.d4c(reading, f0_hz, times, RATE), RATE)
    places = places_in(reading, recording) * WORLD_FRAMES
    frames = len(recording) // round(RATE * FRAME_SECONDS) + 1
    position = np.interp(np.arange(frames), np.arange(len(places)) * WORLD_FRAMES, places)
    nearest, _ = frames_beside(position, len(f0_hz))
    melody_hz = f0_hz[nearest]
    if keep_melody:
        melody_hz = np.where(
            melody_hz > 0, _melody_at(reading_hz=f0_hz, recording=recording, frames=frames), 0.0
        )
    spoken = analysis.synthesize(position, melody_hz)[: len(recording)]
    return np.pad(spoken, (0, len(recording) - len(spoken)))


def _melody_at(*, reading_hz: Signal, recording: Signal, frames: int) -> Signal:
    """The recording's melody at the reader's pitch, without gaps."""
    sung_hz, _ = f0_of(recording)
    voiced, read = np.flatnonzero(sung_hz > 0), reading_hz[reading_hz > 0]
    if not voiced.size or not read.size:
        return np.full(frames, 150.0)
    curve = np.interp(np.arange(frames), voiced, sung_hz[voiced])
    return np.clip(curve * (np.median(read) / np.median(sung_hz[voiced])), 60.0, 800.0)


def make_version(job: tuple[dict[str, Any], int], material: Path, others: Path, seed: int) -> None:
    entry, version = job
    path = others / str(version + 1) / entry["file"]
    if path.is_file():
        return
    name = int.from_bytes(hashlib.sha256(entry["file"].encode()).digest()[:4], "little")
    random = np.random.default_rng([seed, version, name])
    recording, rate = soundfile.read(material / entry["file"])
    recording = soxr.resample(recording, rate, RATE, quality="HQ")
    # Material of before there were pauses does not name them.
    before, after = entry.get("pause_before", 0.0), entry.get("pause_after", 0.0)
    # Nor do songs of before there were breaths. No reading holds one, so each other singer draws his own.
    breath_seconds = entry.get("breath", 0.0)
    begin, end = round((before + breath_seconds) * RATE), len(recording) - round(after * RATE)
    spoken = recording[begin:end]
    if version == 0 and "prompt" in entry:
        reading = asterisk_prompts.read(entry["prompt"])
    else:
        reading = read_anew(entry["sentence"], random)
    version_of = in_time(reading, spoken, keep_melody=entry["kind"] == "sung")
    version_of = with_pauses(version_of, RATE, begin / RATE, after)
    if breath_seconds:
        air = breath(breath_seconds, RATE, random, BREATH_PEAK_HZ * random.uniform(*BREATH_PEAK_FACTORS))
        air *= np.abs(recording[begin - len(air) : begin]).max()
        version_of[begin - len(air) : begin] += air
    if random.random() < ROOM_SHARE:
        version_of = in_a_room(version_of, random)
    if random.random() < MADE_OTHER_SHARE:
        version_of = perturbed(version_of.astype(np.float32), random).astype(np.float64)
    level = np.sqrt(np.mean(recording**2) / max(float(np.mean(version_of**2)), 1e-9))
    unfinished = path.with_suffix(".part")
    soundfile.write(unfinished, np.clip(version_of * level, -1, 1), RATE, subtype="PCM_16", format="WAV")
    unfinished.replace(path)


def check_installed() -> None:
    for program, package in (("espeak-ng", "espeak-ng"), ("festival", "festival and festvox-kdlpc16k")):
        if shutil.which(program) is None:
            raise SystemExit(f"The program {program} is missing; install from Debian: {package}.")
    if importlib.util.find_spec("ttspico") is None:
        raise SystemExit("The package ttspico is missing; install it with: pip install ttspico")
    if not kokoro_files.is_here():
        raise SystemExit(f"Kokoro cannot read here: {kokoro_files.WAY_OUT}. hibari-tts is needed too.")
    if missing := sorted(set(KOKORO_OTHERS) - set(kokoro_files.voices())):
        raise SystemExit(f"Kokoro's voices {', '.join(missing)} are missing in {kokoro_files.kokoro_dir()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="material of make_starter_material.py")
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, other readers (default: %(default)s)"
    )
    parser.add_argument(
        "--versions", type=int, default=VERSIONS, metavar="N", help="of each file (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=PROCESSES, metavar="N", help="at once (default: %(default)s)"
    )
    asked = parser.parse_args()
    check_installed()
    files = json.loads((asked.folder / "material.json").read_text()).get("files")
    if not files:
        raise SystemExit(
            f"The material in {asked.folder} is not complete: run make_starter_material.py again."
        )
    others = asked.folder.with_name(asked.folder.name + "-others")
    for version in range(asked.versions):
        (others / str(version + 1)).mkdir(parents=True, exist_ok=True)
    jobs = [(entry, version) for version in range(asked.versions) for entry in files]
    make = partial(make_version, material=asked.folder, others=others, seed=asked.seed)
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for done, _ in enumerate(pool.imap(make, jobs, chunksize=4)):
            if done % 100 == 0:
                print(f"{done} of {len(jobs)}", flush=True)
    print(f"{others}: {len(jobs)} readings")


if __name__ == "__main__":
    main()
