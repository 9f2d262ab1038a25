"""Settings survive the way through JSON, and whatever does not fit is told with its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, EmbedderModel, F0Method, StepSwitch
from ultimate_rvc.covers.settings import BackingVoice, CoverSettings, SourceSettings, StemSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, merged, to_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.requests import ConvertRequest, CoverRequest

UNIT = st.floats(0, 1, allow_nan=False)
NAMES = st.text(st.characters(exclude_characters="\0"))
conversions = st.builds(
    ConversionSettings,
    n_octaves=st.integers(-4, 4),
    n_semitones=st.integers(-48, 48),
    f0_methods=st.lists(st.sampled_from(F0Method), min_size=1).map(tuple),
    index_rate=UNIT,
    split_voice=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
)
covers = st.builds(
    CoverSettings,
    conversion=conversions,
    index_path=st.none() | st.just(Path("/voices/a.index")),
    backing=st.none()
    | st.builds(BackingVoice, voice=st.none() | NAMES, n_semitones=st.none() | st.integers(-48, 48)),
    source=st.builds(SourceSettings, max_minutes=st.floats(0.1, 600)),
    stems=st.builds(StemSettings, split_backing=st.sampled_from(StepSwitch)),
    effects=st.none() | st.builds(EffectSettings, room_size=UNIT),
    inst_semitones=st.none() | st.integers(-24, 24),
    main_gain=st.floats(-60, 20),
    output_format=st.none() | st.sampled_from([AudioFormat.FLAC, AudioFormat.WAV]),
)


def through_json(plain: Any) -> Any:
    return json.loads(json.dumps(plain))


@settings(max_examples=30)
@given(covers)
def test_every_setting_of_a_cover_survives(cover: CoverSettings) -> None:
    job = CoverRequest(source="/songs/song.mp3", voice="starter", cover=cover, optimization={"device": "cpu"})
    kind = KINDS["cover"]
    assert kind.read(through_json(kind.plain(job))) == job


@settings(max_examples=30)
@given(conversions)
def test_every_setting_of_a_conversion_survives(conversion: ConversionSettings) -> None:
    job = ConvertRequest(sources=(Path("/a.wav"), Path("/b.wav")), voice="starter", conversion=conversion)
    kind = KINDS["convert"]
    assert kind.read(through_json(kind.plain(job))) == job


@pytest.mark.parametrize(
    "config", [OptimizationConfig(), OptimizationConfig(batch_size="auto", use_fp16=True)]
)
def test_the_optimisation_survives(config: OptimizationConfig) -> None:
    assert from_plain(OptimizationConfig, through_json(to_plain(config))) == config


def test_choices_keep_their_type() -> None:
    conversion = from_plain(
        ConversionSettings,
        {"f0_methods": ["fcpe"], "embedder_model": "custom", "custom_embedder_model": "mine"},
    )
    assert conversion.f0_methods == (F0Method.FCPE,)
    assert type(conversion.f0_methods[0]) is F0Method
    assert type(conversion.embedder_model) is EmbedderModel


def test_a_whole_number_of_a_slider_is_one() -> None:
    conversion = from_plain(ConversionSettings, {"n_semitones": 3.0, "index_rate": 1})
    assert (conversion.n_semitones, type(conversion.n_semitones)) == (3, int)
    assert (conversion.index_rate, type(conversion.index_rate)) == (1.0, float)


def test_paths_are_made_absolute() -> None:
    """A job may be done by a server that was started elsewhere."""
    job = KINDS["convert"].read({"sources": ["song.wav", "~/song.wav"], "voice": "starter"})
    assert job.sources == (Path.cwd() / "song.wav", Path.home() / "song.wav")
    assert KINDS["cover"].read({"source": "song.wav", "voice": "starter"}).source == str(
        Path.cwd() / "song.wav"
    )


COVER = {"source": "demo", "voice": "starter"}
CONVERT = {"sources": ["a.wav"], "voice": "starter"}


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("cover", None, "The settings must be an object"),
        ("cover", {"source": "demo"}, "voice is missing"),
        ("cover", {"source": " ", "voice": "starter"}, "source is empty"),
        ("cover", {**COVER, "source": "a\0b"}, "source is 'a\\x00b', but must be a text"),
        ("cover", {**COVER, "cover": 3}, "cover must be an object"),
        (
            "cover",
            {**COVER, "cover": {"main_gian": 1}},
            "no setting cover.main_gian; did you mean 'main_gain'?",
        ),
        (
            "cover",
            {**COVER, "cover": {"main_gain": "loud"}},
            "cover.main_gain is 'loud', but must be a number",
        ),
        ("cover", {**COVER, "cover": {"main_gain": float("nan")}}, "cover.main_gain is nan"),
        (
            "cover",
            {**COVER, "cover": {"main_gain": 99}},
            "cover.main_gain is 99.0, but must be from -60.0 to 20.0",
        ),
        ("cover", {**COVER, "cover": {"main_gain": True}}, "cover.main_gain is True"),
        ("cover", {**COVER, "cover": {"device": "cpu"}}, "There is no setting cover.device"),
        ("cover", {**COVER, "cover": {"optimization": {}}}, "There is no setting cover.optimization"),
        (
            "cover",
            {**COVER, "cover": {"conversion": {"f0_methods": "fcpe"}}},
            "cover.conversion.f0_methods must be a list",
        ),
        (
            "cover",
            {**COVER, "cover": {"conversion": {"f0_methods": ["fcep"]}}},
            "cover.conversion.f0_methods[0] is 'fcep', but must be one of auto, rmvpe",
        ),
        ("cover", {**COVER, "cover": {"conversion": {"seed": 10**400}}}, "cover.conversion.seed is 1000"),
        ("cover", {**COVER, "cover": {"conversion": {"sid": 1.5}}}, "sid is 1.5, but must be a whole number"),
        (
            "cover",
            {**COVER, "optimization": {"fp16": True}},
            "There is no optimisation 'fp16'; did you mean 'use_fp16'?",
        ),
        (
            "cover",
            {**COVER, "optimization": {"use_fp16": 1}},
            "use_fp16 is 1, but must be true or",
        ),
        (
            "cover",
            {**COVER, "optimization": {"batch_size": 99}},
            "batch_size is 99, but must be 1 to 64 or auto",
        ),
        ("cover", {**COVER, "optimization": {"device": "tpu"}}, "device is 'tpu'"),
        ("convert", {"sources": [], "voice": "starter"}, "sources is empty"),
        ("convert", {"sources": [""], "voice": "starter"}, "sources[0] is '', but must be a path"),
        ("convert", {**CONVERT, "bitrate_kbps": 128}, "bitrate_kbps has no meaning for wav"),
        ("convert", {**CONVERT, "output_format": "mp3", "bitrate_kbps": 999}, "bitrate_kbps is 999"),
        (
            "separate",
            {"source": "a.wav", "task": "drums"},
            "task is 'drums', but must be one of vocals, lead",
        ),
        ("download", {"names": []}, "names is empty"),
    ],
)
def test_what_does_not_fit_is_told_with_its_key(kind: str, given: Any, told: str) -> None:
    with pytest.raises(SettingError) as error:
        KINDS[kind].read(given)
    assert told in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(
    st.sampled_from(["source", "sources", "voice", "cover", "conversion", "optimization", "names", "task"])
    | st.text(),
    json_values,
    max_size=4,
)


@given(st.sampled_from(list(KINDS)), json_values | bodies)
def test_nothing_but_a_sentence_comes_of_random_values(kind: str, given: Any) -> None:
    try:
        job = KINDS[kind].read(given)
    except SettingError:
        return
    assert KINDS[kind].read(KINDS[kind].plain(job)) == job


def test_changes_are_merged_name_by_name() -> None:
    old = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": {"f": 3}}
    changes = {"b": {"d": [3]}, "e": None, "g": 4}
    assert merged(old, changes) == {"a": 1, "b": {"c": 2, "d": [3]}, "e": None, "g": 4}
    assert old["b"] == {"c": 2, "d": [1, 2]}
