"""Controls made from settings: what kind, and from the setting's value to the control's and back."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.web.controls import Form, groups, offered
from ultimate_rvc.web.desk import Desk, Server
from ultimate_rvc.web.tabs import advanced
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.work.requests import ConvertRequest, MixRequest, TrainParts

KINDS = (CoverSettings, ConvertRequest, MixRequest, TrainParts)
ALL = {control.path: control for kind in KINDS for control in groups(kind, {"all": ("",)})["all"]}


def component(path: str, language: str = "en") -> Any:
    nobody: Any = None
    desk = Desk(Server(nobody), load_texts(language), nobody, nobody, nobody)
    with gr.Blocks():
        return ALL[path].component(desk, {})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("conversion.split_voice", gr.Checkbox),
        ("overwrite", gr.Radio),
        ("conversion.index_rate", gr.Slider),
        ("conversion.seed", gr.Number),
        ("training.num_epochs", gr.Number),
        ("inst_semitones", gr.Textbox),
        ("stems.vocals_model", gr.Dropdown),
        ("output_sr", gr.Dropdown),
        ("conversion.f0_methods", gr.Dropdown),
        ("output_name", gr.Textbox),
        ("source.cookiefile", gr.Textbox),
    ],
)
def test_a_setting_has_the_control_of_its_type(path: str, kind: type[Any]) -> None:
    assert type(component(path)) is kind


def test_range_step_and_words_are_those_of_the_setting() -> None:
    slider = component("conversion.noise_scale")
    assert (slider.minimum, slider.maximum, slider.step, slider.value) == (0, 2, 0.00001, 0.66666)
    assert (slider.label, slider.info.partition(";")[0]) == ("Variation", "How much chance is in the voice")
    box = component("bitrate_kbps", "zh-TW")
    assert (box.value, box.placeholder) == ("", "自動")
    assert box.info.endswith("32 到 320 kbit/s。")


def test_a_browser_is_not_asked_for_numbers_that_it_cannot_count_to() -> None:
    assert component("conversion.seed").maximum == 2**53 - 1


def test_a_word_for_tests_is_not_offered_and_an_own_encoder_only_here() -> None:
    size = ALL["training.network_size"].entry
    assert "tiny" not in dict(offered(size, is_local=True))
    encoder = ALL["conversion.embedder_model"].entry
    assert ("custom" in dict(offered(encoder, True)), "custom" in dict(offered(encoder, False))) == (
        True,
        False,
    )


@pytest.mark.parametrize("path", ALL)
def test_a_default_comes_back_as_it_was(path: str) -> None:
    control = ALL[path]
    form = Form([control], [None])
    read = form.read(form.show({}))
    for name in path.split("."):
        read = read[name]
    assert read == to_plain(control.entry.default)


@pytest.mark.parametrize(
    ("path", "shown", "value"),
    [
        ("overwrite", "true", True),
        ("overwrite", "false", False),
        ("conversion.f0_methods", ["rmvpe", "fcpe"], ["rmvpe", "fcpe"]),
        ("conversion.embedder_model", "spin", "spin"),
        ("inst_semitones", "-3", -3),
        ("training.discriminator_width", "0.25", 0.25),
        ("output_name", " my song ", "my song"),
        ("output_path", "/a/b.mp3", "/a/b.mp3"),
    ],
)
def test_a_value_comes_back_as_it_was(path: str, shown: Any, value: Any) -> None:
    control = ALL[path]
    assert control.read(shown) == value
    if not isinstance(value, str):
        assert control.show(value) == shown


def test_what_is_no_number_is_refused_with_the_name_of_its_field() -> None:
    given = Form([ALL["inst_semitones"]], [None]).read([" loud "])
    with pytest.raises(SettingError, match="inst_semitones is 'loud', but must be a whole number"):
        from_plain(CoverSettings, given)


def test_an_empty_box_is_nothing_where_that_is_a_value_and_else_the_default() -> None:
    optional, needed = ALL["inst_semitones"], ALL["conversion.seed"]
    assert Form([optional, needed], [None, None]).read(["", None]) == {"inst_semitones": None}


def test_folds_hold_every_setting_once_in_their_order() -> None:
    folds = groups(CoverSettings, advanced.COVER_FOLDS)
    paths = [control.path for fold in folds.values() for control in fold]
    assert len(paths) == len(set(paths))
    assert [control.path for control in folds["mix"]] == list(advanced.COVER_FOLDS["mix"])
    assert [control.path for control in folds["output"]][:3] == ["output_format", "output_sr", "bitrate_kbps"]
    assert "overwrite" in [control.path for control in folds["output"]]
