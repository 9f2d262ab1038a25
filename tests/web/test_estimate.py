"""What the page says before a cover is asked for: how long it takes, and what is missing for it."""

from __future__ import annotations

import re
import string
from pathlib import Path

import numpy as np
import pytest

from ultimate_rvc.audio.encode import encode
from ultimate_rvc.covers.forecast import duration
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.machine import Machine
from ultimate_rvc.separation.choose import separation_dir
from ultimate_rvc.separation.models import SEPARATION_MODELS, SeparationTask
from ultimate_rvc.web import missing
from ultimate_rvc.web.estimate import Estimate, Lengths, cover_settings, estimate, line
from ultimate_rvc.web.missing import MissingModel, missing_models
from ultimate_rvc.web.texts import Texts, load_texts

ENGLISH, CHINESE = load_texts("en"), load_texts("zh-TW")
REFERENCE = Machine("cpu", {"matrices": 1.0, "convolutions": 1.0})
FASTER = Machine("cpu", {"matrices": 0.01, "convolutions": 0.01})


def words(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def said(
    lengths: Lengths, given: dict[str, object], machine: Machine = REFERENCE, texts: Texts = ENGLISH
) -> str:
    return words(line(expected(lengths, given, machine), texts))


def expected(lengths: Lengths, given: dict[str, object], machine: Machine = REFERENCE) -> Estimate:
    return estimate(lengths, cover_settings(given), machine)


def song(path: Path, seconds: float) -> str:
    encode(path, np.zeros((1, round(seconds * 8000)), np.float32), 8000)
    return str(path)


NOTHING = Lengths.of(None, "")


def test_without_a_song_it_is_for_three_minutes() -> None:
    made = expected(NOTHING, {"quality": "fast"})
    fast, balanced, best = (duration(seconds) for seconds in made.forecasts[0].seconds.values())
    assert words(line(made, ENGLISH)) == (
        f"Quality fast: {fast}; balanced would take {balanced}; best would take {best}. For a song of 3:00."
    )


def test_it_is_in_the_language_of_the_page() -> None:
    told = said(NOTHING, {"quality": "best"}, texts=CHINESE)
    assert not set(re.sub(r"[0-9:.]", "", told)) & set(string.printable.strip())
    assert told.count(CHINESE("duration.minutes", count="").split()[-1]) == 3


def test_what_is_left_to_the_program_is_named() -> None:
    made = expected(NOTHING, {}, FASTER)
    assert words(line(made, ENGLISH)).startswith(f"Quality {made.qualities[0]} (auto): about ")


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("demo", "For the song of 0:"),
        ("https://elsewhere.example/a", "the length of this one is known when the song is fetched."),
    ],
)
def test_a_link_is_told_as_what_it_is(link: str, sentence: str) -> None:
    assert sentence in said(Lengths.of(None, link), {})


def test_it_follows_the_length_of_a_file_and_the_sum_of_several(tmp_path: Path) -> None:
    files = [song(tmp_path / "a.wav", 30), song(tmp_path / "b.wav", 90)]
    one, both = Lengths.of(files[:1], ""), Lengths.of(files, "")
    assert said(one, {"quality": "fast"}).endswith("For the song of 0:30.")
    assert said(both, {"quality": "fast"}).endswith("For 2 songs, 2:00 in all.")
    apart = [expected(Lengths.of([file], ""), {"quality": "best"}) for file in files]
    sums = sum(each.forecasts[0].seconds[each.qualities[0]] for each in apart)
    together = expected(both, {"quality": "best"}).forecasts
    assert sum(each.seconds[each.quality] for each in together) == pytest.approx(sums)


def test_it_follows_the_models_and_steps_that_are_chosen() -> None:
    usual = expected(NOTHING, {"quality": "best"})
    light = expected(
        NOTHING, {"quality": "best", "stems": {"vocals_model": "mdx-kim", "remove_reverb": "off"}}
    )
    assert dict(light.models) == {SeparationTask.VOCALS: "mdx-kim", SeparationTask.LEAD: "karaoke"}
    assert line(light, ENGLISH) != line(usual, ENGLISH)
    backing = expected(NOTHING, {"quality": "fast", "backing": {}})
    assert SeparationTask.LEAD in dict(backing.models)


def test_a_file_that_is_no_audio_is_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no song")
    with pytest.raises(AudioError, match=r"notes\.wav"):
        Lengths.of([str(text)], "")


def test_a_wrong_setting_is_one_sentence() -> None:
    with pytest.raises(SettingError, match="overlap"):
        cover_settings({"stems": {"overlap": 7}})


# ------------------------------------------------------------------ what is missing


def separation(quality: str) -> list[str]:
    found = missing_models("starter", expected(NOTHING, {"quality": quality}).models)
    return [each.name for each in found if each.name in SEPARATION_MODELS]


def test_what_is_missing_is_what_the_quality_needs() -> None:
    assert separation("fast") == ["mdx-light"]
    assert separation("balanced") == ["demucs", "mdx-karaoke"]
    assert separation("best") == ["vocals", "karaoke", "dereverb"]


def test_what_is_here_is_not_missing() -> None:
    separation_dir().mkdir(parents=True)
    (separation_dir() / SEPARATION_MODELS["demucs"].file_name).touch()
    assert separation("balanced") == ["mdx-karaoke"]


def test_models_are_told_by_what_they_are_for_with_their_size() -> None:
    told = words(
        missing.line(missing_models("starter", expected(NOTHING, {"quality": "fast"}).models), ENGLISH)
    )
    assert "clean vocals (mdx-light, 30 MB), pitch (rmvpe, " in told
    assert words(missing.line([], ENGLISH)) == "All models for this quality and voice are here."


def test_a_model_that_no_download_knows_is_named_apart() -> None:
    found = missing_models(None, [(SeparationTask.VOCALS, "mdx23c"), (SeparationTask.LEAD, "mine.ckpt")])
    assert [(each.name, each.asset) for each in found[:2]] == [("mdx23c", None), ("mine.ckpt", None)]
    told = words(missing.line(found[:2], ENGLISH))
    assert told.endswith(": clean vocals (mdx23c, 448 MB), lead apart from backing vocals (mine.ckpt).")
    assert "Still missing" not in told


def test_every_model_of_every_quality_can_be_fetched_by_the_button() -> None:
    for quality in ("fast", "balanced", "best"):
        found = missing_models(None, expected(NOTHING, {"quality": quality}).models)
        assert all(each.asset for each in found)


def test_uses_have_words_in_every_language() -> None:
    for use in (*SeparationTask, "pitch", "encoder"):
        for texts in (ENGLISH, CHINESE):
            assert "name" in MissingModel(use, "name", 1, None).words(texts)
