"""The models that can be downloaded, as a list: what each is for, its size, whether it is here, and its buttons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from ultimate_rvc.assets.manage import AssetReport, AssetState
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.separation.models import SEPARATION_MODELS
from ultimate_rvc.separation.qualities import PLANS
from ultimate_rvc.web.display import megabytes
from ultimate_rvc.web.missing import DEFAULT_ENCODER, PITCH
from ultimate_rvc.web.texts import Texts

GET, CHECK, REMOVE = "get", "check", "remove"
ACTIONS: Final[Mapping[AssetState, tuple[str, ...]]] = {
    AssetState.ABSENT: (GET,),
    AssetState.PARTLY: (GET, REMOVE),  # a download that broke off goes on
    AssetState.DAMAGED: (GET, CHECK, REMOVE),
    AssetState.PRESENT: (CHECK, REMOVE),
}
# The button's models and what to do with them go to the server as the event's data. A list that is filled anew
# has other buttons: whoever works with the keyboard finds the place again.
BUTTON_CLICKS = """
let last = null;
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-models]');
  if (!button || (button.dataset.sure && !confirm(button.dataset.sure))) return;
  last = button.dataset.models;
  trigger('click', {names: button.dataset.models.split(' '), action: button.dataset.action});
});
new MutationObserver(() => {
  if (last === null || document.activeElement !== document.body) return;
  element.querySelector(`button[data-models="${CSS.escape(last)}"]`)?.focus({preventScroll: true});
}).observe(element, {childList: true, subtree: true});
"""


@dataclass(frozen=True)
class Need:
    """A model that something needs; ``use`` is a word of the catalogue that says what it does there."""

    asset: str
    use: str


def needs() -> dict[str, list[Need]]:
    """What is needed for what: for every conversion, and for covers of each quality."""
    always = [Need(PITCH, "pitch"), Need(DEFAULT_ENCODER, "encoder")]
    found = {"always": always}
    for quality, plan in PLANS.items():
        models = ((task, SEPARATION_MODELS[name].asset) for task, name in plan.models.items())
        found[quality.value] = [Need(asset, task.value) for task, asset in models if asset is not None]
    return found


@dataclass(frozen=True)
class ModelList:
    """What is known while the list is written."""

    texts: Texts
    reports: Mapping[str, AssetReport]
    """By name."""
    coming: Collection[str] = ()
    """Models that a job fetches, or will."""
    can_remove: bool = True

    def needed(self) -> str:
        """The models that covers and conversions need, by what they are for."""
        return "".join(self._group(name, group) for name, group in needs().items())

    def others(self) -> str:
        """All that :meth:`needed` does not show, by kind."""
        shown = {need.asset for group in needs().values() for need in group}
        return "".join(
            self._section(
                self.texts(f"asset_kind.{kind}"), self.texts(f"models.kind.{kind}"), self._rows(kind, shown)
            )
            for kind in AssetKind
            if self._rows(kind, shown)
        )

    def _rows(self, kind: AssetKind, shown: Collection[str]) -> list[str]:
        reports = [each for each in self.reports.values() if each.kind is kind and each.name not in shown]
        return [self._row(each, self._other_use(each)) for each in reports]

    def _group(self, name: str, group: Sequence[Need]) -> str:
        texts = self.texts
        rows = [self._row(self.reports[need.asset], texts(f"models.use.{need.use}")) for need in group]
        missing = [self.reports[need.asset] for need in group if self._is_missing(need.asset)]
        size = megabytes(sum(each.bytes for each in missing))
        # One button is enough where one model is missing.
        all_at_once = (
            self._button(GET, [each.name for each in missing], texts("models.get_all", size=size), size)
            if len(missing) > 1
            else ""
        )
        return self._section(texts(f"models.for.{name}"), texts(f"models.for.{name}.info"), rows, all_at_once)

    def _is_missing(self, name: str) -> bool:
        return self.reports[name].state is not AssetState.PRESENT and name not in self.coming

    def _section(self, title: str, info: str, rows: Sequence[str], button: str = "") -> str:
        return (
            f'<section class="models"><div class="models-head"><div><h4>{escape(title)}</h4>'
            f'<p class="hint">{escape(info)}</p></div>{button}</div><ul>{"".join(rows)}</ul></section>'
        )

    def _row(self, report: AssetReport, use: str) -> str:
        texts, is_coming = self.texts, report.name in self.coming
        state = texts("models.coming") if is_coming else texts(f"asset_state.{report.state}")
        buttons = "" if is_coming else self._buttons(report)
        words = f"<b>{escape(use)}</b>" if use else f"<b>{escape(report.name)}</b>"
        facts = [report.name, megabytes(report.bytes)] if use else [megabytes(report.bytes)]
        return (
            f'<li data-row="{escape(report.name)}"><span class="model-text">{words}'
            f'<span class="quiet">{escape(" · ".join(facts))}</span></span>'
            f'<span class="badge {"running" if is_coming else report.state}">{escape(state)}</span>'
            f'<span class="model-buttons">{buttons}</span></li>'
        )

    def _buttons(self, report: AssetReport) -> str:
        actions = [each for each in ACTIONS[report.state] if self.can_remove or each != REMOVE]
        return "".join(
            self._button(action, [report.name], self.texts(f"models.{action}"), megabytes(report.bytes))
            for action in actions
        )

    def _button(self, action: str, names: Sequence[str], label: str, size: str) -> str:
        """A button; read aloud it also names its models, because every row has the same words."""
        texts, told = self.texts, self.texts("missing.and").join(names)
        sure = (
            f' data-sure="{escape(texts("models.sure", name=told, size=size))}"' if action == REMOVE else ""
        )
        return (
            f'<button type="button" class="{action}" data-action="{action}" data-models="{escape(" ".join(names))}"'
            f'{sure} aria-label="{escape(f"{label}: {told}")}">{escape(label)}</button>'
        )

    def _other_use(self, report: AssetReport) -> str:
        """What a separation model takes apart; the heading says it of all other kinds."""
        found = next((each for each in SEPARATION_MODELS.values() if each.asset == report.name), None)
        return self.texts(f"models.use.{found.tasks[0]}") if found is not None else ""
