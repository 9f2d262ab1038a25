"""From a folder of recordings and their words to a dataset that LLASA learns from; a run that was stopped goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import AudioError, SpeechError
from ultimate_rvc.files import atomic_path, writing
from ultimate_rvc.outputs import Outputs
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.llasa.folders import find_codec
from ultimate_rvc.speech.llasa.lines import LINE_START, Line, read_lines, read_transcript
from ultimate_rvc.speech.llasa.tool_settings import DatasetSettings

LONGEST_SECONDS = 40  # 2000 codes: with its text it fills the context of 2048
SHORTEST_SECONDS = 0.1
STEP = "encode"


@dataclass(frozen=True)
class DatasetResult:
    """What was made: the file, its lines, how many of them now, and what was left out with the reason."""

    path: Path
    lines: int
    new: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Recording:
    id: str
    text: str
    path: Path
    seconds: float


def make_dataset(
    folder: Path, transcript: Path, output: Path, settings: DatasetSettings, progress: Progress
) -> DatasetResult:
    """Encode the recordings in ``folder`` whose ids ``transcript`` has, and write them to ``output``.

    What ``output`` holds already stays, and is not encoded again unless its text changed. Finished batches go to
    ``output`` with ``.partial`` behind its name, from which the next run continues; ``output`` itself appears when
    all is done.

    Raises
    ------
    SettingError
        ``output`` is an input, a folder, or in none.
    SpeechError
        Folder or transcript cannot be used, ``output`` is there and no dataset, the codec is not there, or nothing
        could be encoded.
    """
    wanted, left_out = _wanted(folder, read_transcript(transcript))
    output = Outputs([transcript, *(recording.path for recording in wanted)]).named_file(output).path
    partial = output.with_name(f"{output.name}.partial")
    before = read_lines(output) if output.exists() else []
    done = {line.id: line for line in before}
    done |= {line.id: line for line in _resumed(partial)}
    todo = [each for each in wanted if each.id not in done or done[each.id].text != each.text]
    made, unreadable = _encode(todo, partial, settings, progress)
    done |= {line.id: line for line in made}
    ids = {recording.id for recording in wanted}
    lines = [line for line in before if line.id not in ids]
    lines += [done[recording.id] for recording in wanted if recording.id in done]
    if not lines:
        raise SpeechError(
            f"None of the recordings in {folder} could be encoded: {'; '.join([*left_out, *unreadable][:3])}."
        )
    _write(output, lines)
    partial.unlink(missing_ok=True)
    progress.report(STEP, 1.0)
    return DatasetResult(output, len(lines), len(made), (*left_out, *unreadable))


def _wanted(folder: Path, texts: dict[str, str]) -> tuple[list[_Recording], list[str]]:
    """The recordings that have a text, in its order, and why others have none or cannot be used."""
    if not folder.is_dir():
        raise SpeechError(f"There is no folder {folder} with recordings.")
    paths = _by_id(folder)
    wanted, left_out = [], []
    for name, text in texts.items():
        path = paths.get(name) or paths.get(Path(name).with_suffix("").as_posix())
        if path is None:
            left_out.append(f"{name} has no recording")
            continue
        try:
            seconds = probe(path).duration_seconds
        except AudioError as error:
            left_out.append(str(error).rstrip("."))
            continue
        if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            wanted.append(_Recording(name, text, path, seconds))
        else:
            left_out.append(f"{name} has {seconds:.1f} s, not {SHORTEST_SECONDS} to {LONGEST_SECONDS}")
    return wanted, left_out


def _by_id(folder: Path) -> dict[str, Path]:
    """Recordings by their paths in the folder without suffix."""
    found: dict[str, Path] = {}
    for path in audio_files(folder, recursive=True):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise SpeechError(f"{found[name]} and {path} have the same id: rename one of them.")
        found[name] = path
    return found


def _resumed(partial: Path) -> list[Line]:
    """What a run that was stopped had finished; its file is left without the line that a killed one began."""
    if not partial.exists():
        return []
    lines = read_lines(partial, may_be_cut=True)
    if not lines and partial.stat().st_size and not partial.read_bytes().startswith(LINE_START):
        raise SpeechError(
            f"{partial} is in the way and is nothing of this program: move it, or name another output."
        )
    _write(partial, lines)
    return lines


def _encode(
    todo: Sequence[_Recording], partial: Path, settings: DatasetSettings, progress: Progress
) -> tuple[list[Line], list[str]]:
    """Lines of the recordings, each batch on disk before the next begins, and what could not be read."""
    made: list[Line] = []
    unreadable: list[str] = []
    if not todo:
        return made, unreadable
    from ultimate_rvc.speech.llasa.codec import Codec
    from ultimate_rvc.speech.llasa.loading import FORMATS

    device = resolve_device(settings.device)
    codec = Codec(find_codec(settings.codec), device, FORMATS[settings.precision])
    # Those of like length together, so that little is filled up; the longest first, which shows at once whether
    # memory suffices.
    ordered = sorted(todo, key=lambda recording: (-recording.seconds, recording.id))
    for start in range(0, len(ordered), settings.batch_size):
        progress.report(STEP, start / len(ordered), f"{start} of {len(ordered)}")
        batch, waveforms = [], []
        for recording in ordered[start : start + settings.batch_size]:
            try:
                waveforms.append(decode_mono(recording.path, codec.sample_rate))
                batch.append(recording)
            except AudioError as error:
                unreadable.append(str(error).rstrip("."))
        if batch:
            codes = codec.encode(waveforms)
            lines = [
                Line(each.id, each.text, tuple(found.tolist()))
                for each, found in zip(batch, codes, strict=True)
            ]
            _append(partial, lines)
            made += lines
    return made, unreadable


def _append(path: Path, lines: Sequence[Line]) -> None:
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write("".join(line.as_json() for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, lines: Sequence[Line]) -> None:
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.writelines(line.as_json() for line in lines)
