"""A whole conversion on a CPU, beside the same conversion by rvc-next in an environment of its own.

    python -m venv /tmp/other && /tmp/other/bin/pip install torch==2.11.0 rvc-next==0.2.16
    python benchmarks/rival.py --python /tmp/other/bin/python [--seconds 30] [--repeats 3] [--threads 2]

Prints a Markdown table and then JSON.

Compared: everything from 16 kHz audio in memory to converted audio in memory (filter, f0 by RMVPE, content
features, search of the index at rate 0.75, protect 0.33, synthesizer), with everything loaded and one second
converted before. Both read the same files: an encoder as large as ContentVec, RMVPE, a v2 voice at 40 kHz
and an index of 50,000 vectors, all with random weights, so nothing is downloaded. Runs take turns, each in
a process of its own, with the same number of threads; times are medians, memory is the most that a process
ever held, its models and their loading included.

rvc-next runs as installed: its ``Runtime`` and ``OfflineConverter`` on the CPU in float32, its chunks of up
to 41 s, level curve left alone and unvoiced frames at 0 Hz, which is what is done here too. Its own loaders
read HuBERT and all else from a folder; nothing of it is replaced while time is taken.

Not compared: imports, loading, start-up, reading and writing of audio files. rvc-next gives 16-bit samples
where this gives float32. Each runs on the torch, faiss and transformers of its environment: the table
names both torch versions, and a comparison of programs wants them equal.

That both do the same work is shown by the second converted first, for which noise is off in both: the SNR
of its magnitude spectrum, without its mean. Not of the waveform: RMVPE with random weights finds much below
50 Hz, which is raised to 50 Hz here and left in rvc-next (within those limits both find the same f0), and
the phase of the sine that a voice is made from adds up from there. Other audio gives 15 dB, a semitone 20 dB,
another speaker 29 dB; the index, whose vectors are random, hardly counts. rvc-next rounds to 16 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from random_models import (  # beside this file
    INDEX_FILE,
    SAMPLE_RATE,
    VOICE_FILE,
    ModelSize,
    conversion_settings,
    vocal,
    write_models,
)
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

FloatArray = NDArray[np.float32]
Run = dict[str, Any]
RIVAL = "rvc-next"
RIVAL_SCRIPT = Path(__file__).with_name("rival_rvc_next.py")
BY_DEFAULT = replace(OptimizationConfig.for_cpu(), device="cpu", feature_cache=False)
CONFIGS = {"in force": BY_DEFAULT, "silence computed": replace(BY_DEFAULT, skip_silence=False)}
CONVERTED_AS_RIVAL = "silence computed"  # rvc-next leaves nothing out, so its sound is compared with this
RVC_VOICE_FILE = f"rvc_{VOICE_FILE}"
VOCAL_FILE, WARM_UP_FILE = "vocal.wav", "warm_up.wav"
SPECTRUM_SAMPLES = 2048
WARM_UP_FROM_SECONDS = 10.0  # of vocal, of which the loudest second is taken


def settings() -> ConversionSettings:
    """A usual conversion, with the noise of one."""
    return replace(
        conversion_settings(ModelSize.OFFICIAL, seed=0),
        noise_scale=ConversionSettings.noise_scale,
        source_noise_scale=ConversionSettings.source_noise_scale,
    )


# --- what both read -----------------------------------------------------------------------------


def write_work(folder: Path, seconds: float) -> None:
    """Write models, audio and settings; the models also under the names that rvc-next looks for."""
    from ultimate_rvc.rvc.voice_file.read import read_voice_file
    from ultimate_rvc.rvc.voice_file.write import write_rvc_voice

    write_models(folder, ModelSize.OFFICIAL, seed=0)
    write_rvc_voice(folder / RVC_VOICE_FILE, read_voice_file(folder / VOICE_FILE))
    assets = folder / "assets"
    shutil.copytree(folder / "embedders" / "contentvec", assets / "hubert_base", copy_function=os.link)
    (assets / "rmvpe").mkdir()
    os.link(folder / "rmvpe.pt", assets / "rmvpe" / "rmvpe.pt")
    write_wav(folder / VOCAL_FILE, vocal(seconds))
    write_wav(folder / WARM_UP_FILE, loudest_second(vocal(WARM_UP_FROM_SECONDS)))
    wanted = settings()
    task = {
        "voice": RVC_VOICE_FILE,
        "index": INDEX_FILE,
        "f0_method": wanted.f0_methods[0].value,
        "index_rate": wanted.index_rate,
        "protect": wanted.protect_rate,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="ascii")


def write_wav(path: Path, audio: FloatArray) -> None:
    """Write mono audio at 16 kHz in 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(np.clip(audio, -1, 1) * 32_767).astype("<i2").tobytes())


def loudest_second(audio: FloatArray) -> FloatArray:
    power = np.square(audio[: len(audio) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)).sum(axis=1)
    first = int(power.argmax()) * SAMPLE_RATE
    return audio[first : first + SAMPLE_RATE]


# --- one run, in a process of its own --------------------------------------------------------------


def run_own(folder: Path, name: str) -> Run:
    """Load, convert the warm-up without noise, convert the vocal and time it."""
    import torch

    from machine import commit
    from ultimate_rvc.audio.decode import decode_mono
    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from vocoder import own_peak_mb

    wanted = settings()
    pipeline = Pipeline.open(
        folder / RVC_VOICE_FILE, wanted, index_path=folder / INDEX_FILE, optimization=CONFIGS[name]
    )
    without_noise = replace(wanted, noise_scale=0.0, source_noise_scale=0.0)
    warm_up = decode_mono(folder / WARM_UP_FILE, SAMPLE_RATE)
    np.save(folder / f"{name}.npy", pipeline.convert(warm_up, SAMPLE_RATE, without_noise)[0])

    audio = decode_mono(folder / VOCAL_FILE, SAMPLE_RATE)
    wall, cpu = time.perf_counter(), time.process_time()
    converted, sample_rate = pipeline.convert(audio, SAMPLE_RATE, wanted)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": own_peak_mb(),
        "output_seconds": len(converted) / sample_rate,
        "sample_rate": sample_rate,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "version": commit(),
    }


def start(name: str, folder: Path, other_python: str, threads: int) -> Run:
    """Run one of the two programs and give back what it measured.

    Raises
    ------
    SystemExit
        It failed (what it told stands above), or did not run with ``threads`` threads.
    """
    own = [sys.executable, str(Path(__file__).resolve()), "--run-own", name, "--folder", str(folder)]
    command = [other_python, str(RIVAL_SCRIPT), str(folder)] if name == RIVAL else own
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "URVC_MODELS_DIR": str(folder)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed with status {done.returncode}.")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    if run["threads"] != threads:
        raise SystemExit(f"{name} ran with {run['threads']} threads instead of {threads}.")
    return run


# --- the table ------------------------------------------------------------------------------------


def compare(folder: Path, seconds: float, other_python: str, repeats: int, threads: int) -> list[Run]:
    """One row for rvc-next and one for each configuration, after ``repeats`` runs in turn."""
    write_work(folder, seconds)
    runs: dict[str, list[Run]] = {name: [] for name in (RIVAL, *CONFIGS)}
    for repeat in range(1, repeats + 1):
        for name, kept in runs.items():
            kept.append(start(name, folder, other_python, threads))
            line = f"{name}: run {repeat} of {repeats}, {kept[-1]['seconds']:.2f} s"
            print(line, file=sys.stderr)
    rival_seconds = statistics.median(run["seconds"] for run in runs[RIVAL])
    rows = [row(name, kept, rival_seconds, seconds) for name, kept in runs.items()]
    for entry in rows:
        entry["spectrum_snr_db"] = agreement_db(folder) if entry["program"] == CONVERTED_AS_RIVAL else None
    return rows


def row(name: str, runs: list[Run], rival_seconds: float, seconds: float) -> Run:
    median = statistics.median(run["seconds"] for run in runs)
    return {
        "program": name,
        "audio_seconds": seconds,
        "seconds": median,
        "all_seconds": [run["seconds"] for run in runs],
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "ratio": rival_seconds / median,
        "real_time_factor": median / seconds,
        "peak_mb": max(run["peak_mb"] for run in runs),
        **{key: runs[0][key] for key in ("output_seconds", "sample_rate", "threads", "torch", "version")},
    }


def agreement_db(folder: Path) -> float:
    """SNR in dB of the spectrum of what both converted without noise, rvc-next's taken as the signal."""
    theirs, ours = np.load(folder / f"{RIVAL}.npy"), np.load(folder / f"{CONVERTED_AS_RIVAL}.npy")
    samples = min(len(theirs), len(ours))
    signal, other = magnitudes(theirs[:samples]), magnitudes(ours[:samples])
    return float(10 * np.log10(np.square(signal).sum() / np.square(signal - other).sum()))


def magnitudes(waveform: FloatArray) -> NDArray[np.float64]:
    """Magnitude spectra ``(frames, bins)`` without the mean, which random weights make large."""
    centred = waveform.astype(np.float64) - waveform.mean()
    frames = np.lib.stride_tricks.sliding_window_view(centred, SPECTRUM_SAMPLES)[:: SPECTRUM_SAMPLES // 4]
    return np.abs(np.fft.rfft(frames * np.hanning(SPECTRUM_SAMPLES)))


def print_table(rows: list[Run]) -> None:
    columns = (
        "seconds",
        "CPU seconds",
        "ratio",
        "RTF",
        "peak MB",
        "output s",
        "spectrum SNR dB",
        "torch",
        "version",
    )
    print(f"| {rows[0]['audio_seconds']:g} s, {rows[0]['threads']} threads | " + " | ".join(columns) + " |")
    print("|" + (len(columns) + 1) * "---|")
    for entry in rows:
        snr = entry["spectrum_snr_db"]
        cells = (
            entry["program"],
            f"{entry['seconds']:.2f}",
            f"{entry['cpu_seconds']:.1f}",
            f"{entry['ratio']:.2f}",
            f"{entry['real_time_factor']:.2f}",
            f"{entry['peak_mb']:.0f}",
            f"{entry['output_seconds']:.3f}",
            "" if snr is None else f"{snr:.0f}",
            entry["torch"],
            str(entry["version"]),
        )
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="the Python of the environment that has rvc-next")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run-own", choices=CONFIGS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_own:
        print(json.dumps(run_own(options.folder, options.run_own)))
        return
    if not options.python:
        parser.error("--python is missing: the Python of an environment with rvc-next==0.2.16")
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), options.seconds, options.python, options.repeats, options.threads)
    print_table(rows)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
