"""The check of recordings before a training: what is in each, and what speaks against it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import DatasetError
from ultimate_rvc.rvc.train.folders import dataset_folder
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.display import clock
from ultimate_rvc.web.texts import Texts

if TYPE_CHECKING:
    from ultimate_rvc.rvc.train.checks import RecordingMeasures

MOST_ROWS = 100


def report(desk: Desk, name: str, uploads: list[str] | None, preprocessing: dict[str, Any]) -> str:
    """A table of the recordings, and the sentences that the training itself would say."""
    from ultimate_rvc.rvc.train.checks import check_recordings, examine
    from ultimate_rvc.rvc.train.data_settings import PreprocessSettings
    from ultimate_rvc.rvc.train.dataset import Addition, recordings_in

    texts = desk.texts
    paths, name = [Path(upload) for upload in uploads or []], name.strip()
    if not paths and not (name and dataset_folder(name).is_dir()):
        raise problem(texts, texts("error.no_files"))
    recordings = Addition.of(name, paths).recordings if name else recordings_in(paths)
    measures = [examine(recording)[0] for recording in recordings]
    sentences, is_refused = [], False
    try:
        sentences = check_recordings(measures, PreprocessSettings(**preprocessing))
    except DatasetError as error:
        sentences, is_refused = [str(error)], True
    rows = "".join(
        f"<tr><th>{escape(found.name)}</th><td>{clock(found.seconds)}</td>"
        f"<td>{escape(_content(found, texts))}</td></tr>"
        for found in measures[:MOST_ROWS]
    )
    total = texts("check.total", count=len(measures), time=clock(sum(found.seconds for found in measures)))
    verdict = texts("check.refused" if is_refused else "check.warned" if sentences else "check.good")
    told = "".join(f"<li>{escape(texts.sentence(sentence))}</li>" for sentence in sentences)
    kind = "error" if is_refused else ""
    return (
        f'<div class="job"><p class="{kind}"><b>{escape(verdict)}</b> {escape(total)}</p>'
        f'<ul class="warnings">{told}</ul><table class="voice">{rows}</table></div>'
    )


def _content(found: RecordingMeasures, texts: Texts) -> str:
    """What is in a recording, or what is wrong with it."""
    if found.fault:
        return texts.sentence(found.fault)
    return texts("check.sounding", time=clock(found.sounding_seconds))
