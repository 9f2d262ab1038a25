"""Measure Kokoro's voices, so that starter voices can be chosen by figures.

    PYTHONPATH=src:benchmarks python scripts/kokoro_choice.py DIR              # all English voices
    PYTHONPATH=src:benchmarks python scripts/kokoro_choice.py DIR af_heart bf_emma

Each reads the same sentences of ``starter_sentences.txt``. ``DIR/VOICE.json`` keeps what was measured, so another
call measures only what is new; the table is of all that is there.

Steadiness of pitch is two figures. *Agreed*: of the frames that Harvest and DIO both take for voiced, the share in
which the two are less than 50 cents apart; a rough or creaking voice has fewer. *Tremble*: how far f0 is from its own
mean over a tenth of a second, in cents, the median of the agreed frames; melody is slower than that.

Needs the extra ``quality`` and what ``kokoro_reading.py`` needs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import kokoro_reading
import numpy as np
import pyworld
import soxr
from make_demo_songs import Signal
from make_starter_material import read_sentences

from quality_judges import Judges
from quality_measures import normalised_words, word_errors
from ultimate_rvc.speech.kokoro import files

RATE = 16_000
SENTENCES = 12
FRAME_MS = 5.0
LOWEST_HZ, HIGHEST_HZ = 50.0, 500.0
AGREEMENT_CENTS = 50.0
MEAN_FRAMES = 21  # a tenth of a second


@dataclass(frozen=True)
class Figures:
    words: int
    word_errors: int
    dnsmos: float
    likeness: float  # of its sentences to their mean, by Resemblyzer: how much one speaker it is
    agreed: float
    tremble_cents: float
    median_hz: float
    seconds_a_sentence: float


def steadiness(speech_16k: Signal) -> tuple[float, float, float]:
    """Share of agreed frames, tremble in cents, median f0 in Hz."""
    harvest, _ = pyworld.harvest(speech_16k, RATE, LOWEST_HZ, HIGHEST_HZ, FRAME_MS)
    coarse, dio_times = pyworld.dio(speech_16k, RATE, LOWEST_HZ, HIGHEST_HZ, frame_period=FRAME_MS)
    dio = pyworld.stonemask(speech_16k, coarse, dio_times, RATE)
    both = (harvest > 0) & (dio > 0)
    cents = 1200 * np.log2(np.where(dio > 0, dio, 1.0))
    agreed = both & (np.abs(1200 * np.log2(np.where(both, harvest, 1.0)) - cents * both) < AGREEMENT_CENTS)
    trembles: list[float] = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], agreed.astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin > MEAN_FRAMES:
            stretch = cents[begin:end]
            mean = np.convolve(stretch, np.ones(MEAN_FRAMES) / MEAN_FRAMES, mode="valid")
            trembles += np.abs(stretch[MEAN_FRAMES // 2 : -(MEAN_FRAMES // 2)] - mean).tolist()
    return float(agreed.sum() / max(both.sum(), 1)), float(np.median(trembles)), float(np.median(dio[agreed]))


def measured(voice: str, sentences: list[str], judges: Judges) -> Figures:
    words, errors = 0, 0
    embeddings, ratings, steady, lengths = [], [], [], []
    for sentence in sentences:
        speech, rate, _ = kokoro_reading.read(sentence, voice)
        sound = soxr.resample(speech, rate, RATE, quality="HQ")
        judgement = judges.judge(sound.astype(np.float32))
        spoken = normalised_words(sentence)
        words += len(spoken)
        errors += word_errors(spoken, normalised_words(judgement.transcript))
        embeddings.append(judgement.embedding)
        ratings.append(judgement.dnsmos_overall)
        steady.append(steadiness(sound))
        lengths.append(len(sound) / RATE)
    mean = np.mean(embeddings, axis=0)
    agreed, tremble, median_hz = np.mean(steady, axis=0)
    return Figures(
        words,
        errors,
        float(np.mean(ratings)),
        float(np.mean(np.array(embeddings) @ mean / np.linalg.norm(mean))),
        float(agreed),
        float(tremble),
        float(median_hz),
        float(np.mean(lengths)),
    )


def table(folder: Path) -> str:
    """In Markdown, the clearest first."""
    found = {path.stem: Figures(**json.loads(path.read_text())) for path in folder.glob("*.json")}
    rows = [
        "| voice | DNSMOS | word errors | pitch agreed | tremble, cents | f0, Hz | likeness | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in sorted(found.items(), key=lambda item: -item[1].dnsmos):
        rows.append(
            f"| {name} | {one.dnsmos:.2f} | {one.word_errors} of {one.words} | {one.agreed:.1%} "
            f"| {one.tremble_cents:.1f} | {one.median_hz:.0f} | {one.likeness:.3f} | {one.seconds_a_sentence:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the figures go")
    parser.add_argument("voices", nargs="*", metavar="VOICE", help="such as af_heart")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="default: %(default)s")
    asked = parser.parse_args()
    every = read_sentences()
    sentences = every[:: len(every) // asked.sentences][: asked.sentences]
    names = asked.voices or [voice.name for voice in files.voices().values() if voice.is_english]
    asked.folder.mkdir(parents=True, exist_ok=True)
    judges = Judges(asked.folder / "judgements", 1)
    for name in names:
        path = asked.folder / f"{name}.json"
        if not path.is_file():
            path.write_text(json.dumps(asdict(measured(name, sentences, judges))))
            print(name, path.read_text(), flush=True)
    print(table(asked.folder))


if __name__ == "__main__":
    main()
