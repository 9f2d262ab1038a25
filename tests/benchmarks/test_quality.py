"""The run of the quality bench with judges that are told what to say, and its report."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.errors import AssetMissingError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RATE = 16_000


@pytest.fixture(scope="module")
def quality() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        import quality
        import quality_bench
        import quality_judges
        import quality_material
        import quality_measures
        import quality_report
        import quality_scores

        yield SimpleNamespace(
            command=quality,
            bench=quality_bench,
            judges=quality_judges,
            material=quality_material,
            measures=quality_measures,
            report=quality_report,
            scores=quality_scores,
        )


def voice(f0_hz: float, seconds: float = 0.5) -> np.ndarray:
    """A buzz whose pitch glides up a little."""
    times = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * f0_hz * (times + 0.1 * times**2)
    sound = sum(np.sin(number * phase) / number for number in range(1, int(6000 / f0_hz)))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


class ToldJudges:
    """Hears of each waveform what it was told beforehand; of others, nothing, in nobody's voice."""

    def __init__(self, judgement: Callable[..., Any]) -> None:
        self._judgement = judgement
        self._known: list[tuple[np.ndarray, Any]] = []

    def tell(
        self, waveform: np.ndarray, transcript: str, embedding: tuple[float, ...], dnsmos: float
    ) -> None:
        self._known.append((waveform, self._judgement(transcript, embedding, dnsmos, 4.0, 4.0)))

    def judge(self, waveform: np.ndarray) -> Any:
        for known, judgement in self._known:
            if known.shape == waveform.shape and np.array_equal(known, waveform):
                return judgement
        return self._judgement("", (0.0, 0.0, 1.0), 1.0, 1.0, 1.0)


TEXTS = ("the first sentence", "another one", "and a third")


@pytest.fixture
def scorer(quality: SimpleNamespace) -> Any:
    """Two sources of three sentences, a song, and a target twice as high that says the same."""
    judges = ToldJudges(quality.judges.Judgement)
    items, speech = [], {}
    for number, text in enumerate(TEXTS):
        spoken, own = voice(100 + number), voice(200 + number, 0.6)
        judges.tell(spoken, text, (1.0, 0.1 * number, 0.0), 3.0)
        judges.tell(own, text, (0.0, 1.0, 0.1 * number), 4.0)
        items.append(
            quality.material.Item(f"low-{number}", "low", quality.material.Kind.SPOKEN, text, spoken)
        )
        speech[text] = own
    sung = voice(210)
    judges.tell(sung, "la la", (1.0, 0.0, 0.0), 2.0)
    items.append(quality.material.Item("song", "low", quality.material.Kind.SUNG, "la la", sung))
    target = quality.material.Target("high", speech)
    listener = quality.bench.Listener(judges, 2)
    heard = quality.bench.listen_to_all(items, target, listener, lambda _: None)
    return quality.bench.Scorer(heard, quality.bench.shifts(heard, 212.0), listener)


def spoken(quality: SimpleNamespace, scores: list[Any]) -> Any:
    return quality.scores.figures([one for one in scores if one.kind is not quality.material.Kind.SUNG])


# --- the ends of the scales -----------------------------------------------------------------------


def test_the_source_unchanged_is_understood_but_is_somebody_else(
    quality: SimpleNamespace, scorer: Any
) -> None:
    figures = spoken(quality, scorer.unchanged())
    assert (figures.items, figures.word_error_rate, figures.dnsmos) == (3, 0, 3)
    assert figures.closer_to_target == 0
    assert figures.target_similarity < 0.2 < 0.9 < figures.source_similarity
    assert figures.pitch_gross_rate > 0.95  # an octave lower than it should be
    assert figures.mcd_db > 1


def test_the_target_itself_is_as_like_the_target_as_its_recordings_are(
    quality: SimpleNamespace, scorer: Any
) -> None:
    own = spoken(quality, scorer.own())
    replaced = spoken(
        quality,
        scorer.conversions(
            "perfect", lambda item, _: (scorer.heard.target.speech.get(item.text, item.waveform_16k), RATE)
        ),
    )
    for figures in (own, replaced):
        assert (figures.word_error_rate, figures.dnsmos) == (0, 4)
        assert figures.target_similarity > 0.98
        assert figures.mcd_db == pytest.approx(0, abs=1e-4)
    assert replaced.closer_to_target == 1
    assert math.isnan(own.pitch_rmse_cents)


def test_transposing_alone_gives_the_pitch_and_nothing_else(quality: SimpleNamespace, scorer: Any) -> None:
    spoken_shifts = {name: shift for name, shift in scorer.semitones.items() if name != "song"}
    assert set(spoken_shifts.values()) == {12}
    assert scorer.semitones["song"] == 0  # it is sung at 210 Hz already, though who sings it speaks at 100
    figures = spoken(quality, scorer.transposed())
    assert figures.pitch_rmse_cents < 15
    assert figures.pitch_gross_rate < 0.03
    assert figures.word_error_rate == 1  # these judges do not know the sound


def test_a_song_has_no_distortion_since_nobody_else_sings_it(scorer: Any) -> None:
    (song,) = [one for one in scorer.unchanged() if one.item == "song"]
    assert math.isnan(song.mcd_db)


def test_what_passes_full_scale_is_turned_down(quality: SimpleNamespace) -> None:
    loud = np.array([0.5, -2.0], np.float32)
    np.testing.assert_allclose(quality.bench.within_full_scale(loud), [0.25, -1.0])
    quiet = np.array([0.5, -0.2], np.float32)
    assert quality.bench.within_full_scale(quiet) is quiet


# --- transposition --------------------------------------------------------------------------------


@given(source=st.floats(60, 900), target=st.floats(60, 900))
def test_a_shift_is_the_nearest_step_to_the_target(
    quality: SimpleNamespace, source: float, target: float
) -> None:
    between = 12 * math.log2(target / source)
    speech, song = (quality.bench.shift(source, target, is_song=is_song) for is_song in (False, True))
    assert abs(speech) <= 24
    assert song in (-24, -12, 0, 12, 24)
    if abs(between) < 24:
        assert abs(speech - between) <= 0.5 + 1e-9
    if abs(between + 4) < 24:
        assert abs(song - (between + 4)) <= 6 + 1e-9  # people sing four semitones above their speech


def test_without_pitch_nothing_is_shifted(quality: SimpleNamespace) -> None:
    assert quality.bench.shift(math.nan, 200.0, is_song=False) == 0


# --- figures --------------------------------------------------------------------------------------


def score(quality: SimpleNamespace, **given: Any) -> Any:
    values = {
        "row": "source, unchanged",
        "item": "a-1",
        "source": "a",
        "kind": quality.material.Kind.SPOKEN,
        "semitones": 3,
        "text": "one two",
        "transcript": "one | two",
        "words": 2,
        "word_errors": 0,
        "target_similarity": 0.9,
        "source_similarity": 0.5,
        "pitch": quality.measures.PitchErrors(100, 5, 80, 2, 78 * 900.0),
        "agreed_pitch": quality.measures.PitchErrors(100, 5, 60, 0, 60 * 400.0),
        "dnsmos": 3.0,
        "dnsmos_signal": 3.0,
        "dnsmos_background": 4.0,
        "mcd_db": 6.0,
    }
    return quality.scores.Score(**{**values, **given})


def test_words_and_frames_are_pooled_and_the_rest_is_averaged(quality: SimpleNamespace) -> None:
    none = quality.measures.PitchErrors()
    figures = quality.scores.figures(
        [
            score(quality, words=9, word_errors=0, dnsmos=3.0),
            score(
                quality,
                words=1,
                word_errors=1,
                dnsmos=4.0,
                target_similarity=0.4,
                pitch=none,
                agreed_pitch=none,
                mcd_db=math.nan,
            ),
        ]
    )
    assert figures.word_error_rate == pytest.approx(0.1)
    assert figures.dnsmos == pytest.approx(3.5)
    assert figures.closer_to_target == pytest.approx(0.5)
    assert figures.pitch_rmse_cents == pytest.approx(30)
    assert figures.pitch_gross_rate == pytest.approx(2 / 80)
    assert (figures.agreed_rmse_cents, figures.agreed_gross_rate) == (pytest.approx(20), 0)
    assert figures.agreed_share == pytest.approx(60 / 80)
    assert figures.mcd_db == pytest.approx(6)


def by_readers(quality: SimpleNamespace, **errors: int) -> list[Any]:
    """Two items of ten words by each reader, one with so many errors."""
    return [
        score(quality, source=reader, item=f"{reader}{place}", words=10, word_errors=count * place)
        for reader, count in errors.items()
        for place in (0, 1)
    ]


def test_readers_who_are_misheard_alike_leave_no_doubt(quality: SimpleNamespace) -> None:
    ours, before = by_readers(quality, a=4, b=4, c=4), by_readers(quality, a=2, b=2, c=2)
    assert quality.scores.word_error_interval(ours, before) == pytest.approx((0.1, 0.1))


def test_the_interval_is_as_wide_as_readers_differ(quality: SimpleNamespace) -> None:
    before = by_readers(quality, **dict.fromkeys("abcdef", 0))

    def interval(*counts: int) -> tuple[float, float]:
        ours = by_readers(quality, **dict(zip("abcdef", counts, strict=True)))
        found: tuple[float, float] = quality.scores.word_error_interval(ours, before)
        assert found == quality.scores.word_error_interval(ours, before)  # nothing by chance
        assert found[0] <= sum(counts) / 120 <= found[1]
        return found

    near, far = interval(2, 3, 2, 3, 2, 3), interval(0, 5, 0, 5, 0, 5)
    assert 0 < near[1] - near[0] < (far[1] - far[0]) / 3


def test_one_reader_tells_nothing_of_others(quality: SimpleNamespace) -> None:
    ours = by_readers(quality, a=4)
    assert all(map(math.isnan, quality.scores.word_error_interval(ours, ours)))


def test_a_voice_mean_leaves_out_what_is_compared_with_it(quality: SimpleNamespace) -> None:
    means = quality.scores.VoiceMeans({"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0])})
    np.testing.assert_array_equal(means.without("a"), [0, 1])
    np.testing.assert_array_equal(means.without("unknown"), [0.5, 0.5])
    alone = quality.scores.VoiceMeans({"a": np.array([1.0, 0.0])})
    np.testing.assert_array_equal(alone.without("a"), [1, 0])


def report_of(quality: SimpleNamespace, *, word_errors: int) -> Any:
    kinds = quality.material.Kind
    rows = {
        "source, unchanged": {"target_similarity": 0.5},
        "converted, default": {"word_errors": word_errors},
    }
    scores = [
        score(quality, row=row, kind=kind, item=f"{kind}", **values)
        for row, values in rows.items()
        for kind in (kinds.SPOKEN, kinds.SUNG)
    ]
    own = score(
        quality,
        row="target",
        source="t",
        source_similarity=math.nan,
        pitch=quality.measures.PitchErrors(),
        agreed_pitch=quality.measures.PitchErrors(),
    )
    return quality.report.Report("my voice", "converted, default", {"Target": "t"}, [*scores, own])


def test_limits_are_told_with_what_was_reached(quality: SimpleNamespace) -> None:
    text = quality.report.markdown(report_of(quality, word_errors=1))
    assert "| word error rate above the source's | at most 10.0 points | 50.0 points (missed) |" in text
    assert "| similarity to the target | at least 0.80 | 0.90 | 0.90 |" in text
    assert "| pitch error (RMSE) | at most 35.0 cents | 30.0 cents |" in text
    assert "| gross pitch errors | at most 3.0 % | 2.5 % |" in text
    assert "one \\| two" in text  # a transcript does not break the table
    assert "missed" not in quality.report.markdown(report_of(quality, word_errors=0))


def test_how_sure_word_errors_are_is_told(quality: SimpleNamespace) -> None:
    both = [
        replace(one, row=row)
        for row, errors in (("source, unchanged", 0), ("converted, default", 1))
        for one in by_readers(quality, a=errors, b=2 * errors)
    ]
    report = quality.report.Report("my voice", "converted, default", {}, both)
    line = "sentences: 40 words by 2 readers; 95 % of draws of readers lie between 5.0 and 10.0 points."
    assert line in quality.report.markdown(report)
    told = json.loads(quality.report.as_json(report))["word_error_intervals"]["sentences"]
    assert told == {"words": 40, "readers": 2, "interval": pytest.approx([0.05, 0.1])}


def test_json_holds_every_item_and_null_where_nothing_was_measured(quality: SimpleNamespace) -> None:
    content = json.loads(quality.report.as_json(report_of(quality, word_errors=1)))
    assert len(content["items"]) == 5
    assert content["items"][-1]["pitch_rmse_cents"] is None
    assert [row["row"] for row in content["rows"] if row["kind"] == "sung"] == [
        "source, unchanged",
        "converted, default",
    ]
    assert content["limits"][0] == {
        "figure": "word error rate above the source's", "limit": 0.1, "at_most": True,
        "sentences": 0.5, "sung": 0.5,
    }  # fmt: skip


def test_all_files_are_written(quality: SimpleNamespace, tmp_path: Path) -> None:
    quality.report.write(report_of(quality, word_errors=0), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.json", "quality.md", "quality.png"]
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


# --- judges ---------------------------------------------------------------------------------------


def test_dnsmos_gets_all_at_one_level(quality: SimpleNamespace) -> None:
    for gain in (0.001, 1.0):
        levelled = quality.judges.at_level(gain * voice(150), -26.0)
        assert 20 * math.log10(np.sqrt(np.square(levelled).mean())) == pytest.approx(-26, abs=0.01)
    click = np.zeros(RATE, np.float32)
    click[0] = 0.1
    assert np.abs(quality.judges.at_level(click, -26.0)).max() == pytest.approx(0.999)
    assert not quality.judges.at_level(np.zeros(9, np.float32), -26.0).any()


def test_the_missing_extra_is_one_sentence(quality: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality.judges.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        AssetMissingError, match=r"needs faster-whisper, .*speechmos; install the extra: pip install"
    ):
        quality.judges.require_packages()


def test_the_judges_hear_what_flite_says(quality: SimpleNamespace, tmp_path: Path) -> None:
    for module in quality.judges.PACKAGES:
        pytest.importorskip(module, reason="the extra is not installed", exc_type=ImportError)
    if not quality.material.shutil.which("flite"):
        pytest.skip("flite is not installed")
    shelf = quality.material.Shelf(tmp_path / "material")
    speaker = quality.material.parse_speaker("flite:slt")
    sound = quality.material.spoken(shelf, speaker, "The children built a bridge of branches and stones.")
    judges = quality.judges.Judges(tmp_path / "judgements", 1)
    judgement = judges.judge(sound)
    heard = quality.measures.normalised_words(judgement.transcript)
    spoken = quality.measures.normalised_words("The children built a bridge of branches and stones.")
    assert quality.measures.word_errors(spoken, heard) <= 2
    assert np.linalg.norm(judgement.embedding) == pytest.approx(1, abs=1e-4)
    assert 1 < judgement.dnsmos_overall < 5
    judges.hear = None  # a second judgement comes from the cache
    assert judges.judge(sound) == judgement


# --- the command ----------------------------------------------------------------------------------


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "quality.py"), *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "--voice"),
        (("--voice", "mine"), 2, "add --target with a folder"),
        (
            ("--voice", "starter", "--configs", "loud"),
            2,
            "--configs names 'loud'; choose from default",
        ),
        (("--voice", "nobody", "--target", "flite:slt"), 1, "There is no voice 'nobody'"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = command(*arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_the_default_is_always_measured_and_a_quick_run_measures_nothing_else(
    quality: SimpleNamespace,
) -> None:
    chosen = quality.command.chosen_configs
    assert chosen("index-1, protect-0.5", False) == ["default", "index-1", "protect-0.5"]
    assert chosen("index-1", True) == ["default"]


def test_our_settings_cover_the_rates_of_index_and_protection(quality: SimpleNamespace) -> None:
    settings = list(quality.command.CONFIGS.values())
    assert {0.0, 0.5, 1.0} <= {one.index_rate for one in settings}
    assert {0.33, 0.5} <= {one.protect_rate for one in settings}


def test_a_quick_run_takes_the_first_of_each_source(quality: SimpleNamespace) -> None:
    items = [SimpleNamespace(source=source, name=f"{source}{n}") for source in "ab" for n in range(3)]
    assert [item.name for item in quality.command.first_of_each(items, 2)] == ["a0", "a1", "b0", "b1"]
