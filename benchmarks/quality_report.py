"""Tables and a figure from the scores of the quality bench."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quality_bench import OWN, SLOWER, TRANSPOSED, UNCHANGED
from quality_material import Kind
from quality_scores import (
    CENTS_LIMIT,
    DNSMOS_LIMIT,
    GROSS_LIMIT,
    LIMITS,
    SIMILARITY_LIMIT,
    WORDS_LIMIT,
    Figures,
    Limit,
    Score,
    figures,
    word_error_interval,
)
from ultimate_rvc.files import atomic_path

WORST_SHOWN = 8
MISSING = "-"


@dataclass(frozen=True)
class Report:
    """What a run found out; ``conditions`` are plain values, said before the tables."""

    voice: str
    default_row: str
    conditions: dict[str, Any]
    scores: Sequence[Score]

    def rows(self) -> list[str]:
        """Their names in the order of the table: source end, conversions, target end."""
        return list(dict.fromkeys(score.row for score in self.scores))

    def of(self, row: str, *, sung: bool) -> list[Score]:
        """Scores of the sentences, or of the sung phrases; the target's own are spoken."""
        return [one for one in self.scores if one.row == row and (one.kind is Kind.SUNG) is sung]


# --- cells ----------------------------------------------------------------------------------------


def _number(digits: int) -> Callable[[float], str]:
    return lambda value: MISSING if math.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.1%}"


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[float], str]
    value: Callable[[Figures, Figures], float]
    """Of the row and of the unchanged source."""


COLUMNS = (
    Column("WER", _percent, lambda row, _: row.word_error_rate),
    Column(
        "above source, points", lambda v: _signed(v), lambda row, s: row.word_error_rate - s.word_error_rate
    ),
    Column("like target", _number(3), lambda row, _: row.target_similarity),
    Column("like source", _number(3), lambda row, _: row.source_similarity),
    Column("closer to target", _percent, lambda row, _: row.closer_to_target),
    Column("pitch RMSE, cents", _number(1), lambda row, _: row.pitch_rmse_cents),
    Column("gross pitch", _percent, lambda row, _: row.pitch_gross_rate),
    Column("agreed: RMSE", _number(1), lambda row, _: row.agreed_rmse_cents),
    Column("agreed: gross", _percent, lambda row, _: row.agreed_gross_rate),
    Column("agreed: frames", _percent, lambda row, _: row.agreed_share),
    Column("voicing", _percent, lambda row, _: row.voicing_error_rate),
    Column("DNSMOS", _number(2), lambda row, _: row.dnsmos),
    Column("MCD, dB", _number(2), lambda row, _: row.mcd_db),
)


def _signed(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:+.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


# --- markdown -------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """All tables, as text."""
    lines = [f"# How good the voice `{report.voice}` sounds", ""]
    lines += [f"- {name}: {value}" for name, value in report.conditions.items()]
    lines += ["", "## Limits", "", *_limit_lines(report), *_interval_lines(report)]
    for title, sung in (("Sentences", False), ("Sung phrases", True)):
        if any((one.kind is Kind.SUNG) is sung for one in report.scores):
            lines += [f"## {title}", "", *_row_lines(report, sung)]
    lines += ["## By source", "", *_source_lines(report)]
    lines += ["## Most misheard", "", *_worst_lines(report)]
    return "\n".join(lines).rstrip() + "\n"


def _limit_lines(report: Report) -> Iterator[str]:
    measured = limits(report)
    rows = [
        (
            entry["figure"],
            f"{'at most' if entry['at_most'] else 'at least'} {_bare(entry['limit'], limit)}",
            _verdict(entry["sentences"], limit),
            _verdict(entry["sung"], limit),
        )
        for entry, limit in zip(measured, LIMITS, strict=True)
    ]
    return _table(("default settings", "limit", "sentences", "sung phrases"), rows)


def _interval_lines(report: Report) -> Iterator[str]:
    """How sure the word errors are."""
    for name, entry in intervals(report).items():
        low, high = (f"{100 * value:.1f}" for value in entry["interval"])
        yield (
            f"- Word errors above the source's, {name}: {entry['words']} words by {entry['readers']} readers; "
            f"95 % of draws of readers lie between {low} and {high} points."
        )
    yield ""


def intervals(report: Report) -> dict[str, dict[str, Any]]:
    """Words, readers and interval of the default settings' word errors, for sentences and sung phrases."""
    found = {}
    for name, sung in (("sentences", False), ("sung phrases", True)):
        ours, source = (report.of(row, sung=sung) for row in (report.default_row, UNCHANGED))
        low, high = word_error_interval(ours, source)
        if not math.isnan(low):
            readers = len({one.source for one in ours})
            words = sum(one.words for one in ours)
            found[name] = {"words": words, "readers": readers, "interval": [low, high]}
    return found


def _bare(value: float, limit: Limit) -> str:
    if limit.unit in ("%", "points"):
        return f"{100 * value:.1f} {limit.unit}"
    return f"{value:.2f}" if not limit.unit else f"{value:.1f} {limit.unit}"


def _verdict(value: float | None, limit: Limit) -> str:
    if value is None:
        return MISSING
    return _bare(value, limit) + ("" if limit.reached(value) else " (missed)")


def limits(report: Report) -> list[dict[str, Any]]:
    """Each limit with what the default settings reach, for sentences and for sung phrases."""
    own = figures(report.of(OWN, sung=False))
    entries = []
    for limit in LIMITS:
        entry: dict[str, Any] = {"figure": limit.words, "limit": limit.bound, "at_most": limit.at_most}
        for name, sung in (("sentences", False), ("sung", True)):
            ours, source = (figures(report.of(row, sung=sung)) for row in (report.default_row, UNCHANGED))
            value = limit.value(ours, source, own)
            entry[name] = None if math.isnan(value) else value
        entries.append(entry)
    return entries


def _row_lines(report: Report, sung: bool) -> Iterator[str]:
    source = figures(report.of(UNCHANGED, sung=sung))
    rows = []
    for row in report.rows():
        if scores := report.of(row, sung=sung):
            found = figures(scores)
            cells = [column.text(column.value(found, source)) for column in COLUMNS]
            rows.append((row, str(found.items), *cells))
    return _table(("", "n", *(column.title for column in COLUMNS)), rows)


def _source_lines(report: Report) -> Iterator[str]:
    rows = []
    for source, scores in _by_source(report, report.default_row):
        unchanged = dict(_by_source(report, UNCHANGED))[source]
        found, before = figures(scores), figures(unchanged)
        cells = [column.text(column.value(found, before)) for column in COLUMNS]
        semitones = sorted({one.semitones for one in scores})
        rows.append((source, str(found.items), " ".join(f"{value:+d}" for value in semitones), *cells))
    return _table(("", "n", "semitones", *(column.title for column in COLUMNS)), rows)


def _by_source(report: Report, row: str) -> list[tuple[str, list[Score]]]:
    """Scores of a row by source voice; its songs are a source of their own."""
    groups: dict[str, list[Score]] = {}
    for one in report.scores:
        if one.row == row:
            groups.setdefault(f"{one.source}{' (sung)' if one.kind is Kind.SUNG else ''}", []).append(one)
    return list(groups.items())


def _worst_lines(report: Report) -> Iterator[str]:
    ours = [one for one in report.scores if one.row == report.default_row and one.words]
    before = {one.item: one for one in report.scores if one.row == UNCHANGED}
    ours.sort(key=lambda one: (before[one.item].word_errors - one.word_errors, one.item))
    rows = [
        (one.item, one.text, before[one.item].transcript or "(nothing)", one.transcript or "(nothing)")
        for one in ours[:WORST_SHOWN]
    ]
    return _table(("item", "said", "heard of the source", "heard of the conversion"), rows)


# --- JSON -----------------------------------------------------------------------------------------


def as_json(report: Report) -> str:
    """Everything, with null where nothing was measured."""
    content = {
        "voice": report.voice,
        "conditions": report.conditions,
        "limits": limits(report),
        "word_error_intervals": intervals(report),
        "rows": [
            {"row": row, "kind": kind, **asdict(figures(scores))}
            for row in report.rows()
            for kind, sung in (("sentences", False), ("sung", True))
            if (scores := report.of(row, sung=sung))
        ],
        "items": [_item(one) for one in report.scores],
    }
    return json.dumps(_without_nan(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _item(one: Score) -> dict[str, Any]:
    pitch = {
        "pitch_rmse_cents": one.pitch.rmse_cents,
        "pitch_gross_rate": one.pitch.gross_rate,
        "voicing_error_rate": one.pitch.voicing_rate,
        "pitch_frames": one.pitch.compared,
        "agreed_rmse_cents": one.agreed_pitch.rmse_cents,
        "agreed_gross_rate": one.agreed_pitch.gross_rate,
        "agreed_frames": one.agreed_pitch.compared,
    }
    others = {name: value for name, value in asdict(one).items() if name not in ("pitch", "agreed_pitch")}
    return others | pitch


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


# --- figure ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    title: str
    value: Callable[[Score], float]
    whole: Callable[[Figures], float]
    limit: Limit | None = None


PANELS = (
    Panel(
        "word error rate",
        lambda one: one.word_errors / one.words if one.words else math.nan,
        lambda row: row.word_error_rate,
        WORDS_LIMIT,
    ),
    Panel(
        "similarity to the target",
        lambda one: one.target_similarity,
        lambda row: row.target_similarity,
        SIMILARITY_LIMIT,
    ),
    Panel("similarity to the source", lambda one: one.source_similarity, lambda row: row.source_similarity),
    Panel(
        "pitch RMSE, cents", lambda one: one.pitch.rmse_cents, lambda row: row.pitch_rmse_cents, CENTS_LIMIT
    ),
    Panel(
        "gross pitch errors", lambda one: one.pitch.gross_rate, lambda row: row.pitch_gross_rate, GROSS_LIMIT
    ),
    Panel("voicing errors", lambda one: one.pitch.voicing_rate, lambda row: row.voicing_error_rate),
    Panel("DNSMOS, overall", lambda one: one.dnsmos, lambda row: row.dnsmos, DNSMOS_LIMIT),
    Panel("mel-cepstral distortion, dB", lambda one: one.mcd_db, lambda row: row.mcd_db),
)
END_ROWS = (UNCHANGED, TRANSPOSED, SLOWER, OWN)


def draw(report: Report, path: Path) -> None:
    """The scale of each measure: a dot for each sentence, a bar at the row's figure, the limit dashed."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows() if report.of(row, sung=False)]
    figure = Figure(figsize=(15, 1.2 + 2 * (0.32 * len(rows) + 1.1)), layout="constrained")
    grid = figure.subplots(2, 4, sharey=True)
    sources = [name for name, _ in _by_source(report, UNCHANGED) if not name.endswith("(sung)")]
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        _draw_panel(axes, panel, report, rows, sources)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.suptitle(f"Voice {report.voice}: held-out sentences, one dot each; dashed: the limit", fontsize=11)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=110)


def _draw_panel(axes: Any, panel: Panel, report: Report, rows: Sequence[str], sources: Sequence[str]) -> None:
    from matplotlib import colormaps

    for number, source in enumerate(sources):
        dots = [
            (panel.value(one), place + (number - (len(sources) - 1) / 2) * 0.09)
            for place, row in enumerate(rows)
            for one in report.of(row, sung=False)
            if one.source == source
        ]
        axes.scatter(*_columns(dots), s=9, alpha=0.6, color=colormaps["tab10"](number % 10), label=source)
    own = [
        (panel.value(one), place)
        for place, row in enumerate(rows)
        for one in report.of(row, sung=False)
        if one.source not in sources
    ]
    axes.scatter(*_columns(own), s=9, alpha=0.6, color="0.4", label="target")
    for place, row in enumerate(rows):
        value = panel.whole(figures(report.of(row, sung=False)))
        color = "0.3" if row in END_ROWS else "black"
        axes.plot([value, value], [place - 0.38, place + 0.38], color=color, linewidth=2.5)
    if panel.limit is not None:
        source_end, target_end = (figures(report.of(row, sung=False)) for row in (UNCHANGED, OWN))
        axes.axvline(panel.limit.border(source_end, target_end), color="tab:red", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(panel.title, fontsize="medium")
    axes.grid(axis="x", alpha=0.3)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def write(report: Report, folder: Path) -> None:
    """Write quality.md, quality.json and quality.png."""
    for name, text in (("quality.md", markdown(report)), ("quality.json", as_json(report))):
        with atomic_path(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    draw(report, folder / "quality.png")
