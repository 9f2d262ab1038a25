"""How long a cover takes on this machine, as the command line tells it."""

from __future__ import annotations

import json

import pytest

from ultimate_rvc.choices import Quality
from ultimate_rvc.cli.main import run
from ultimate_rvc.separation.models import SEPARATION_MODELS


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(["benchmark", *words])
    assert not ended.value.code
    return capsys.readouterr().out


def test_each_quality_has_its_time_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(told(capsys, "--minutes", "4", "--json"))
    qualities = {quality.value for quality in Quality if quality is not Quality.AUTO}
    assert set(report["seconds"]) == set(report["missing_bytes"]) == qualities
    assert report["auto"] in qualities
    assert 0 < report["seconds"]["fast"] < report["seconds"]["best"]
    assert report["missing_bytes"]["fast"] == SEPARATION_MODELS["mdx-light"].bytes
    table = told(capsys)
    assert "A song of 3 minutes on cpu" in table
    assert "29.7 MB" in table
