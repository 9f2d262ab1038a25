"""How good a voice sounds: words, identity, pitch and naturalness of its conversions, on held-out material.

    python benchmarks/quality.py --voice NAME [--target VOICE_OR_FOLDER] [--quick] [--out FOLDER]

Needs the extra `quality` and the programs flite, festival and espeak-ng; downloads nothing. Writes
quality.md, quality.json and quality.png. docs/quality.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ultimate_rvc import __version__
from ultimate_rvc.choices import Device, F0Method
from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.paths import audio_dir, cache_dir
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import find_voice

if TYPE_CHECKING:
    from quality_bench import Convert, Heard
    from quality_judges import FloatArray
    from quality_material import Item, Target
    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from ultimate_rvc.voices.library import VoiceRef

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
DEFAULT = "default"
CONFIGS = {
    DEFAULT: ConversionSettings(),
    "index-0": ConversionSettings(index_rate=0.0),
    "index-0.5": ConversionSettings(index_rate=0.5),
    "index-1": ConversionSettings(index_rate=1.0),
    "protect-0.5": ConversionSettings(protect_rate=0.5),
}
OWN_VOICES = {  # our voices and who they were made from
    "starter": "festival:cmu_us_slt_arctic_hts",
    "starter-male": "flite:rms",
    "starter-anna": "kokoro:af_nova",
    "starter-peter": "kokoro:am_echo",
}
QUICK_OF_EACH, QUICK_SUNG = 2, 2
SLOWNESS = 1.15  # of the target's second reading


# --- the command line ---------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"Error: {message}\n")


def parser() -> argparse.ArgumentParser:
    parser = Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--voice", required=True, metavar="NAME_OR_PATH", help="a voice of the library, or a voice file")
    add(
        "--target",
        metavar="VOICE_OR_FOLDER",
        help="who the voice was made from: flite:NAME, festival:NAME, espeak-ng:NAME, kokoro:NAME, or a folder with "
        "recordings (name.wav, and name.txt with what is said); known for our own voices",
    )
    add("--target-f0", type=float, metavar="HZ", help="median f0 to transpose to (default: the voice's own)")
    add("--configs", default=",".join(CONFIGS), help=f"settings to measure (default {','.join(CONFIGS)})")
    add("--f0-method", nargs="+", choices=list(F0Method), default=[F0Method.AUTO], help="of the conversion")
    add("--quick", action="store_true", help="two sentences of each source, two songs, default settings only")
    add(
        "--large",
        action="store_true",
        help="four times the words, with Kokoro's held-out voices, and intervals that tell two points apart",
    )
    add("--out", type=Path, metavar="FOLDER", help=f"default {audio_dir() / 'quality'}/NAME")
    add("--keep-audio", action="store_true", help="also write the conversions with default settings")
    add("--device", default=Device.AUTO, help="to convert on")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU")
    return parser


def chosen_configs(names: str, quick: bool) -> list[str]:
    """The settings to measure, the default first."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in CONFIGS:
            raise SettingError(f"--configs names {name!r}; choose from {', '.join(CONFIGS)}.")
    return (
        [DEFAULT] if quick else [DEFAULT, *(name for name in CONFIGS if name in wanted and name != DEFAULT)]
    )


def tell(text: str) -> None:
    """Say what happens meanwhile; standard output is for results."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


# --- a run --------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> None:
    """Measure the voice and write the report."""
    configs = chosen_configs(options.configs, options.quick)
    target_words = target_of(options)
    voice = find_voice(options.voice)
    started = time.monotonic()
    import torch

    from quality_bench import Listener, Scorer, listen_to_all, shifts  # these lie beside this file
    from quality_judges import Judges, require_packages
    from quality_report import Report, markdown, write

    require_packages()
    torch.set_num_threads(options.threads)
    pipeline = open_pipeline(voice, options.device)
    folder = output_folder(options.out, voice.name)
    judges = Judges(cache_dir() / "quality" / "judgements", options.threads)
    listener = Listener(judges, options.threads)
    if pipeline.retriever is None:
        configs = [DEFAULT]  # without an index, its rate and the protection from it change nothing
    tell("making the material")
    items, target = material(target_words, options.quick, large=options.large)
    heard = listen_to_all(items, target, listener, tell)
    target_hz, known_from = pitch_to_reach(options, pipeline, heard)
    scorer = Scorer(heard, shifts(heard, target_hz), listener)
    scores = [*scorer.unchanged()]
    tell("transposing the sources")
    scores += scorer.transposed()
    for name in configs:
        tell(f"converting with {name}")
        scores += scorer.conversions(row_name(name), converter(pipeline, options, name, folder))
    tell("the target once more, slower")
    scores += [*scorer.slower(), *scorer.own()]
    conditions = {
        **voice_conditions(voice, pipeline),
        "Target": target.name,
        "Transposed to": f"{target_hz:.0f} Hz, {known_from}",
        "f0 of the conversion": " and ".join(options.f0_method),
        **bench_conditions(),
    }
    conditions["Time"] = f"{(time.monotonic() - started) / 60:.1f} minutes, {options.threads} threads"
    report = Report(voice.name, row_name(DEFAULT), conditions, scores)
    write(report, folder)
    print(markdown(report))
    tell(f"wrote quality.md, quality.json and quality.png to {folder}")


def row_name(config: str) -> str:
    """What the table calls the conversions with these settings."""
    return f"converted, {config}"


def target_of(options: argparse.Namespace) -> str:
    """The words of --target, or what is known of our own voices."""
    if options.target is not None:
        return str(options.target)
    if options.voice in OWN_VOICES:
        return OWN_VOICES[options.voice]
    raise SettingError(
        f"Nobody told who the voice {options.voice!r} was made from; add --target with a folder of "
        "recordings, or with a voice such as festival:cmu_us_slt_arctic_hts."
    )


def open_pipeline(voice: VoiceRef, device: str) -> Pipeline:
    """The voice, loaded once for all conversions."""
    from ultimate_rvc.rvc.infer.pipeline import Pipeline

    return Pipeline.open(voice.model_path, ConversionSettings(), index_path=voice.index_path, device=device)


def output_folder(chosen: Path | None, voice: str) -> Path:
    """Where the report goes; made, so that a wrong one is told before minutes of work."""
    folder = chosen.expanduser() if chosen is not None else audio_dir() / "quality" / voice
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def material(target_words: str, quick: bool, *, large: bool = False) -> tuple[list[Item], Target]:
    """What is converted, and the target saying the same."""
    from quality_material import (
        Kind,
        Shelf,
        parse_speaker,
        recorded_items,
        spoken_items,
        sung_items,
        target_recordings,
        target_speech,
    )

    shelf = Shelf(cache_dir() / "quality" / "material")
    folder = Path(target_words).expanduser()
    speaker = None if folder.is_dir() else parse_speaker(target_words)
    person = speaker.person if speaker else None
    sentences = [*spoken_items(shelf, person, large=large), *recorded_items(shelf)]
    songs = sung_items(shelf, person, large=large)
    if quick:
        sentences, songs = first_of_each(sentences, QUICK_OF_EACH), songs[:QUICK_SUNG]
    if speaker is None:
        return [*sentences, *songs], target_recordings(folder)
    texts = [item.text for item in sentences if item.kind is not Kind.SUNG]
    return [*sentences, *songs], target_speech(shelf, speaker, texts, SLOWNESS)


def first_of_each(items: Sequence[Item], count: int) -> list[Item]:
    """The first items of each source."""
    taken: Counter[str] = Counter()
    chosen = []
    for item in items:
        if taken[item.source] < count:
            chosen.append(item)
        taken[item.source] += 1
    return chosen


def pitch_to_reach(options: argparse.Namespace, pipeline: Pipeline, heard: Heard) -> tuple[float, str]:
    """The median f0 to transpose to, in Hz, and where it is known from."""
    from quality_bench import median_hz

    if options.target_f0 is not None:
        return options.target_f0, "as given"
    recorded = pipeline.voice.metadata.f0_median_hz
    if recorded is not None:
        return recorded, "as the voice records"
    return median_hz(list(heard.own.values())), "of the target's speech, since the voice records none"


def converter(pipeline: Pipeline, options: argparse.Namespace, config: str, folder: Path) -> Convert:
    """Converts an item with the settings of that name."""
    import soundfile

    from quality_material import MATERIAL_RATE

    audio = folder / "audio" if options.keep_audio and config == DEFAULT else None
    if audio is not None:
        audio.mkdir(exist_ok=True)
    settings = replace(CONFIGS[config], f0_methods=tuple(map(F0Method, options.f0_method)))

    def convert(item: Item, semitones: int) -> tuple[FloatArray, int]:
        chosen = replace(settings, n_semitones=semitones)
        waveform, rate = pipeline.convert(item.waveform_16k, MATERIAL_RATE, chosen)
        if audio is not None:
            soundfile.write(audio / f"{item.name}.wav", waveform, rate)
        return waveform, rate

    return convert


def voice_conditions(voice: VoiceRef, pipeline: Pipeline) -> dict[str, str]:
    """Which voice was measured, in words."""
    from ultimate_rvc.files import file_hash

    epoch = pipeline.voice.metadata.epoch
    return {
        "Voice": f"{voice.model_path.name}, sha256 {file_hash(voice.model_path)[:16]}, "
        f"{'epoch unknown' if epoch is None else f'epoch {epoch}'}, {pipeline.voice.sample_rate} Hz",
        "Index": voice.index_path.name
        if voice.index_path
        else "none, so index rate and protection change nothing",
        "Converted on": str(pipeline.device),
    }


def bench_conditions() -> dict[str, str]:
    """What measured it, in words."""
    from machine import commit, machine_of
    from quality_judges import package_versions
    from ultimate_rvc.doctor import examine

    return {
        "f0 of the measures": "WORLD Harvest with D4C LoveTrain",
        "Judges": ", ".join(f"{name} {number}" for name, number in package_versions().items()),
        "Version": f"ultimate-rvc-fast {__version__}, commit {commit() or 'unknown'}",
        "Machine": str(machine_of(examine())),
        "Date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    try:
        run(options)
    except UltimateRVCError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"Error: {error.strerror or error}: {error.filename or 'a file'}.\n")
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
