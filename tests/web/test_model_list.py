"""The list of models: every one stands in it once, with what it is for, its state and fitting buttons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ultimate_rvc.assets.manage import AssetReport, AssetState, list_assets
from ultimate_rvc.assets.registry import assets
from ultimate_rvc.choices import Quality
from ultimate_rvc.separation.models import SEPARATION_MODELS
from ultimate_rvc.separation.qualities import PLANS
from ultimate_rvc.web.model_list import ModelList, needs
from ultimate_rvc.web.texts import languages, load_texts

TEXTS = load_texts("en")
ROW = re.compile(r'<li data-row="([^"]+)">(.*?)</li>')
BUTTON = re.compile(r'data-action="(\w+)" data-models="([^"]+)"')


def reports() -> dict[str, AssetReport]:
    return {report.name: report for report in list_assets()}


def rows(html: str) -> dict[str, str]:
    return dict(ROW.findall(html))


def test_each_quality_needs_the_models_of_its_plan() -> None:
    for quality, plan in PLANS.items():
        expected = [SEPARATION_MODELS[name].asset for name in plan.models.values()]
        assert [need.asset for need in needs()[quality]] == expected
    assert list(needs()) == ["always", *(quality for quality in Quality if quality is not Quality.AUTO)]


@pytest.mark.parametrize("language", languages())
def test_every_model_stands_in_one_of_the_lists_in_every_language(language: str) -> None:
    found = ModelList(load_texts(language), reports())
    needed, others = rows(found.needed()), rows(found.others())
    assert needed.keys() | others.keys() == assets().keys()
    assert not needed.keys() & others.keys()


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        (AssetState.ABSENT, ["get"]),
        (AssetState.PARTLY, ["get", "remove"]),
        (AssetState.DAMAGED, ["get", "check", "remove"]),
        (AssetState.PRESENT, ["check", "remove"]),
    ],
)
def test_a_model_has_the_buttons_that_its_state_allows(state: AssetState, actions: list[str]) -> None:
    known = reports()
    known["rmvpe"] = replace(known["rmvpe"], state=state)
    row = rows(ModelList(TEXTS, known).needed())["rmvpe"]
    assert BUTTON.findall(row) == [(action, "rmvpe") for action in actions]
    assert TEXTS(f"asset_state.{state}") in row
    assert "181 MB" in row
    assert TEXTS("models.use.pitch") in row
    assert row.count("aria-label=") == row.count(": rmvpe") == len(actions)
    others = rows(ModelList(TEXTS, known, can_remove=False).needed())["rmvpe"]
    assert "remove" not in [action for action, _ in BUTTON.findall(others)]


def test_a_model_that_is_on_its_way_has_no_button() -> None:
    row = rows(ModelList(TEXTS, reports(), coming={"rmvpe"}).needed())["rmvpe"]
    assert BUTTON.findall(row) == []
    assert TEXTS("models.coming") in row


def test_one_button_gets_what_is_missing_of_a_group() -> None:
    known = reports()
    everything = [need.asset for need in needs()["best"]]
    assert ("get", " ".join(everything)) in BUTTON.findall(ModelList(TEXTS, known).needed())
    known[everything[0]] = replace(known[everything[0]], state=AssetState.PRESENT)
    assert ("get", " ".join(everything[1:])) in BUTTON.findall(ModelList(TEXTS, known).needed())
    left = ModelList(TEXTS, known, coming={everything[1]}).needed()
    assert [names for action, names in BUTTON.findall(left) if everything[2] in names] == [everything[2]]
