"""The work ``speech``: a text read aloud by an engine, then once through a voice."""

from __future__ import annotations

from dataclasses import asdict

from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.outputs import Outputs, Target, file_title
from ultimate_rvc.paths import output_dir
from ultimate_rvc.speech.engines import open_engine
from ultimate_rvc.speech.reading import read_aloud
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.requests import SpeechRequest, input_paths, written_format
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.sound import write
from ultimate_rvc.work.workbench import Workbench

TITLE_WORDS = 6


def speak(request: SpeechRequest, bench: Workbench) -> WorkResult:
    """Sentences are joined before the voice takes over: one long conversion is faster than many short ones."""
    voice = find_voice(request.voice) if request.voice is not None else None
    target = _target(request, voice)
    resolved = bench.optimization(request.optimization)
    engine = open_engine(request.engine)
    with bench.step("speak"):
        waveform, sample_rate = read_aloud(
            request.text, engine, request.speaker, request.rate, request.conversion.seed, bench.progress
        )
    speech_seconds = len(waveform) / sample_rate
    device = "cpu"
    if voice is not None:
        bench.warn(*voice.warnings)
        with bench.step("load voice"):
            pipeline = bench.pipelines.open(
                voice.model_path,
                request.conversion,
                index_path=request.index_path or voice.index_path,
                optimization=resolved.config,
            )
        with bench.step("convert"):
            progress = bench.progress.part("convert", 0, 1)
            waveform, sample_rate = pipeline.convert(waveform, sample_rate, request.conversion, progress)
        device = str(pipeline.device)
    with bench.step("write"):
        file = write(bench, waveform, sample_rate, target, role="speech", bitrate_kbps=request.bitrate_kbps)
    return bench.result(
        [file],
        device=device,
        precision=resolved.config.precision,
        facts={
            "voice": voice.name if voice is not None else None,
            "sample_rate": sample_rate,
            "duration_seconds": speech_seconds,
            "characters": len(request.text),
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


def _target(request: SpeechRequest, voice: VoiceRef | None) -> Target:
    """Where the speech goes: the file that was named, else one called after its first words."""
    read = [*input_paths(request), *((voice.model_path, voice.index_path) if voice is not None else ())]
    outputs = Outputs(read, request.overwrite)
    if request.output is not None:
        return outputs.named_file(request.output)
    suffix = f".{written_format(request, AudioFormat.WAV)}"
    stem = file_title(request.output_name or title_of(request.text))
    tail = f" ({file_title(voice.name)})" if voice is not None and request.output_name is None else ""
    return outputs.made(outputs.folder(None, output_dir()), stem, tail, suffix, ours=False)


def title_of(text: str) -> str:
    """The first words of a text."""
    return " ".join(text.split()[:TITLE_WORDS])[:60].rstrip(".,;:!?") or "speech"
