"""Voice files of every dialect: what is told about them, what is loaded, what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.errors import EncoderMismatchError, VoiceFileError
from ultimate_rvc.rvc.infer.encoder_choice import choose_encoder
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.networks.weight_norm_layers import unfold_weight_norm
from ultimate_rvc.rvc.voice_file.describe import Dialect, Speaker, VoiceFile
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file
from ultimate_rvc.rvc.voice_file.write import write_rvc_voice, write_safetensors_voice
from voice_factory import (
    DIALECTS,
    VoiceSpec,
    all_specs,
    plain_state,
    ultimate_rvc_enums,
    voice_content,
    voice_state,
    write_voice,
)

# Half precision resolves 2**-11 of a value; folding multiplies two such values.
HALF_TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
LAYER_NAMES = Path(__file__).parents[2] / "data" / "voices" / "weight_normed_layers.json"


def described(spec: VoiceSpec) -> tuple[Any, ...]:
    return VoiceVersion(spec.version), spec.sample_rate, spec.has_f0, spec.vocoder, spec.config.phone_dim


def changed(path: Path, **values: Any) -> Path:
    """An original-RVC voice with some of its values replaced, or left out where given as None."""
    content = voice_content(VoiceSpec(), "RVC")
    for key, value in values.items():
        content[key] = value
        if value is None:
            del content[key]
    torch.save(content, path)
    return path


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", all_specs(), ids=lambda spec: f"{spec.version}-{spec.sample_rate}-{spec.has_f0}-{spec.vocoder}"
)
def test_every_architecture_is_recognised_and_loaded(tmp_path: Path, spec: VoiceSpec) -> None:
    path = tmp_path / "voice.pth"
    torch.save(voice_content(spec, "RVC"), path)
    model = load_voice_model(path)
    found = model.version, model.sample_rate, model.has_f0, model.vocoder, model.synthesizer.config.phone_dim
    assert found == described(spec)
    assert model.speakers == tuple(Speaker(number) for number in range(3))
    assert (model.embedder, model.metadata.embedder_recorded) == ("contentvec", False)
    assert model.metadata.warnings == ()
    loaded = model.synthesizer.state_dict()
    expected = plain_state(spec)
    assert list(loaded) == list(expected)
    for key, tensor in expected.items():
        torch.testing.assert_close(loaded[key], tensor, **HALF_TOLERANCE)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_dialect_is_recognised_and_loaded(tmp_path: Path, dialect: str, version: str) -> None:
    spec = VoiceSpec(version=version, embedder="spin" if dialect == "Applio" else None)
    suffix = ".safetensors" if dialect == "safetensors" else ".pth"
    path = write_voice(tmp_path / f"voice{suffix}", dialect, version=version, embedder=spec.embedder)
    model = load_voice_model(path)
    assert model.metadata.dialect.lower().startswith(dialect.lower())
    found = model.version, model.sample_rate, model.has_f0, model.vocoder, model.synthesizer.config.phone_dim
    assert found == described(spec)
    assert model.embedder == (spec.embedder or "contentvec")
    assert model.metadata.warnings == ()
    loaded = model.synthesizer.state_dict()
    for key, tensor in plain_state(spec).items():
        torch.testing.assert_close(loaded[key], tensor, **HALF_TOLERANCE)


def test_a_file_of_the_older_form_is_the_same_voice(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    torch.save(content, tmp_path / "new.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    new, old = read_voice_file(tmp_path / "new.pth"), read_voice_file(tmp_path / "old.pth")
    assert new.metadata == old.metadata
    assert all(torch.equal(new.state[key], old.state[key]) for key in new.state)


def test_names_of_the_newer_weight_norm_are_the_same_voice(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "Applio")
    content["weight"] = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): tensor
        for key, tensor in content["weight"].items()
    }
    torch.save(content, tmp_path / "newer.pth")
    usual = read_voice_file(write_voice(tmp_path / "usual.pth", "Applio"))
    assert list(read_voice_file(tmp_path / "newer.pth").state) == list(usual.state)


def test_names_of_speakers_and_the_median_pitch_are_read(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "v.pth", "rvc-next", speaker_names=("Ann", "Bo"), f0_median_hz=187.5)
    metadata = read_voice_file(path).metadata
    assert metadata.speakers == (Speaker(0, "Ann"), Speaker(1, "Bo"), Speaker(2))
    assert metadata.f0_median_hz == 187.5


def webui(path: Path, spec: VoiceSpec | None = None, **values: Any) -> Path:
    torch.save({**voice_content(spec or VoiceSpec(), "rvc-webui"), **values}, path)
    return path


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("contentvec", "contentvec"),
        ("contentvec768", "contentvec"),
        ("hubert_base", "contentvec"),
        ("hubert_base768", "contentvec"),
        ("hubert-base-japanese", "japanese-hubert-base"),
        ("distilhubert-ja", "distilhubert-ja"),
    ],
)
def test_the_encoder_of_an_rvc_webui_voice_has_our_name_where_it_is_ours(
    tmp_path: Path, recorded: str, name: str
) -> None:
    metadata = read_voice_file(webui(tmp_path / "v.pth", embedder_name=recorded)).metadata
    assert (metadata.embedder, metadata.embedder_recorded) == (name, True)
    assert (metadata.dialect, metadata.warnings) == (Dialect.RVC_WEBUI, ())
    assert metadata.config == VoiceSpec().config


def test_an_encoder_that_is_none_of_ours_is_named_and_never_replaced(tmp_path: Path) -> None:
    metadata = read_voice_file(webui(tmp_path / "v.pth", embedder_name="distilhubert-ja")).metadata
    with pytest.raises(
        EncoderMismatchError, match=r"v\.pth was trained with the encoder 'distilhubert-ja'"
    ) as e:
        choose_encoder(metadata.embedder, metadata.embedder_recorded, ConversionSettings(), "v.pth")
    assert "custom_embedder_model" in str(e.value)
    assert "--" not in str(e.value)


def test_speakers_of_an_rvc_webui_voice_have_their_names(tmp_path: Path) -> None:
    path = webui(tmp_path / "v.pth", VoiceSpec(speaker_names=("Ann", "Bo")))
    assert read_voice_file(path).metadata.speakers == (Speaker(0, "Ann"), Speaker(1, "Bo"), Speaker(2))


@pytest.mark.parametrize("layer", [None, "12", 12])
def test_the_usual_layer_of_the_encoder_is_accepted(tmp_path: Path, layer: object) -> None:
    load_voice_model(webui(tmp_path / "v.pth", embedder_output_layer=layer))


def test_another_layer_of_the_encoder_is_refused_by_name(tmp_path: Path) -> None:
    sentence = refusal(webui(tmp_path / "v.pth", embedder_output_layer=9))
    assert "trained on layer 9 of the encoder contentvec" in sentence
    assert "768 features per frame" in sentence


def test_a_wrong_width_in_the_config_is_told(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "rvc-webui")
    content["config"][17] = 256
    torch.save(content, tmp_path / "v.pth")
    (warning,) = load_voice_model(tmp_path / "v.pth").metadata.warnings
    assert "says 256 features per frame, but its weights work on 768" in warning


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("dialect", ["RVC", "rvc-webui", "safetensors"])
def test_prefixes_of_torchs_wrappers_are_taken_off(tmp_path: Path, prefix: str, dialect: str) -> None:
    plain = read_voice_file(
        write_voice(tmp_path / "plain.pth", dialect if dialect != "safetensors" else "RVC")
    )
    weights = {prefix + key: tensor.clone() for key, tensor in plain.state.items()}
    if dialect == "safetensors":
        path = tmp_path / "v_40k.safetensors"
        path.write_bytes(safetensors.torch.save(weights))
    else:
        path = tmp_path / "v.pth"
        torch.save({**voice_content(VoiceSpec(), dialect), "weight": weights}, path)
    loaded = load_voice_model(path).synthesizer.state_dict()
    expected = load_voice_model(tmp_path / "plain.pth").synthesizer.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items())


def test_a_compiled_part_of_a_voice_is_taken_off_too(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    content["weight"] = {
        key.replace("dec.", "dec._orig_mod."): tensor for key, tensor in content["weight"].items()
    }
    torch.save(content, tmp_path / "v.pth")
    load_voice_model(tmp_path / "v.pth")


def test_a_voice_of_the_starter_encoder_says_so(tmp_path: Path) -> None:
    model = load_voice_model(write_voice(tmp_path / "v.pth", embedder="starter"))
    assert (model.embedder, model.metadata.embedder_recorded) == ("starter", True)
    assert (model.version, model.synthesizer.config.phone_dim) == (VoiceVersion.V2, 384)


def test_what_ultimate_rvc_records_is_read(tmp_path: Path) -> None:
    metadata = read_voice_file(write_voice(tmp_path / "v.pth", "Ultimate RVC")).metadata
    assert metadata.dialect is Dialect.ULTIMATE_RVC
    assert (metadata.epoch, metadata.step, metadata.model_name) == (7, 700, "factory voice")
    assert type(metadata.config.sample_rate) is int


def test_a_loaded_voice_outlives_its_file(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "v.pth")
    model = load_voice_model(path)
    before = {key: tensor.clone() for key, tensor in model.synthesizer.state_dict().items()}
    path.write_bytes(b"\0" * 10)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.synthesizer.state_dict().items())


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "v.pth")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_voice_model(path)
    assert torch.equal(torch.rand(3), expected)


def test_a_voice_in_single_precision_without_alignment_is_independent_of_its_file(tmp_path: Path) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    content["weight"] = {key: tensor.float() for key, tensor in content["weight"].items()}
    torch.save(content, tmp_path / "v.pth")
    model = load_voice_model(tmp_path / "v.pth")
    (tmp_path / "v.pth").write_bytes(b"")
    assert all(bool(tensor.isfinite().all()) for tensor in model.synthesizer.state_dict().values())


# --- contradictions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"sr": "48k"}, "both 48000 and 40000 Hz"),
        ({"sr": 32000}, "both 32000 and 40000 Hz"),
        ({"f0": 0}, "says f0 = 0"),
        ({"version": "v1"}, "says v1"),
        ({"vocoder": "RefineGAN"}, "vocoder is RefineGAN"),
    ],
)
def test_contradictions_are_settled_by_the_weights_and_told(
    tmp_path: Path, values: dict[str, Any], warning: str
) -> None:
    model = load_voice_model(changed(tmp_path / "v.pth", **values))
    assert len(model.metadata.warnings) == 1
    assert warning in model.metadata.warnings[0]
    assert (model.version, model.sample_rate, model.has_f0) == ("v2", 40000, True)


def test_missing_values_have_rvcs_defaults(tmp_path: Path) -> None:
    metadata = read_voice_file(
        changed(tmp_path / "v.pth", sr=None, f0=None, version=None, info=None)
    ).metadata
    assert (metadata.sample_rate, metadata.has_f0, metadata.version) == (40000, True, "v2")
    assert metadata.warnings == ()


# --- refusals ----------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(VoiceFileError) as caught:
        load_voice_model(path)
    sentence = str(caught.value)
    assert path.name in sentence
    assert "\n" not in sentence
    return sentence


def without(key: str) -> dict[str, Any]:
    weight = dict(voice_content(VoiceSpec(), "RVC")["weight"])
    del weight[key]
    return weight


def with_weight(**tensors: Any) -> dict[str, Any]:
    return {
        **voice_content(VoiceSpec(), "RVC")["weight"],
        **{k.replace("__", "."): v for k, v in tensors.items()},
    }


def config_with(place: int, value: Any) -> list[Any]:
    config = list(VoiceSpec().config.to_list())
    config[place] = value
    return config


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"weight": without("enc_p.proj.bias")}, "enc_p.proj.bias is missing"),
        ({"weight": without("emb_g.weight")}, "lacks emb_g.weight"),
        ({"weight": without("enc_p.emb_phone.weight")}, "lacks enc_p.emb_phone.weight"),
        ({"weight": without("dec.ups.0.weight_g")}, "lacks dec.ups.0.weight_g"),
        ({"weight": with_weight(extra__weight=torch.ones(2).half())}, "extra.weight is unknown"),
        (
            {"weight": with_weight(dec__conv_post__weight=torch.ones(1, 9, 7))},
            "dec.conv_post.weight has shape",
        ),
        (
            {"weight": with_weight(**{"module__emb_g__weight": torch.ones(3, 8).half()})},
            "'emb_g.weight' twice",
        ),
        (
            {"weight": with_weight(dec__ups__0__weight=torch.ones(32, 16, 16).half())},
            "dec.ups.0.weight twice",
        ),
        (
            {"weight": with_weight(dec__ups__0__weight_g=torch.ones(7, 1, 1).half())},
            "dec.ups.0.weight_g has shape (7, 1, 1), which does not fit",
        ),
        (
            {"weight": with_weight(dec__ups__0__weight_v=torch.ones(2).half())},
            "does not fit dec.ups.0.weight_v (2,)",
        ),
        ({"weight": with_weight(dec__conv_post__weight=[1, 2])}, "is no tensor"),
        ({"weight": with_weight(dec__conv_post__weight=torch.ones(1, 2, 7).long())}, "torch.int64"),
        ({"weight": with_weight(dec__conv_post__weight=torch.full((1, 2, 7), torch.nan))}, "no numbers"),
        ({"config": None}, "lacks its config"),
        ({"config": [1, 2, 3]}, "18 values"),
        ({"config": config_with(12, "10")}, "a list is expected"),
        ({"config": config_with(17, float("nan"))}, "impossible value"),
        ({"config": config_with(17, float("inf"))}, "impossible value"),
        ({"config": config_with(3, 2**40)}, "impossible value"),
        ({"config": config_with(12, [1] * 1000)}, "impossible value"),
        ({"config": config_with(6, 100_000)}, "asks for 100000 layers"),
        ({"config": config_with(3, 2**16)}, "more weights than the file holds"),
        ({"config": config_with(14, [2**16] * 4)}, "more weights than the file holds"),
        ({"config": config_with(3, 0)}, "must be at least 1"),
        ({"vocoder": "BigVGAN"}, "'BigVGAN'"),
    ],
)
def test_a_voice_that_does_not_fit_is_refused_with_its_reason(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(changed(tmp_path / "voice.pth", **values))


@pytest.mark.parametrize("key", ["dec.conv_post.weight", "dec.ups.0.weight_g", "flow.flows.0.pre.weight"])
@pytest.mark.parametrize("read", [load_voice_model, read_voice_file])
def test_shapes_are_checked_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, read: Callable[[Path], object]
) -> None:
    path = changed(tmp_path / "v.pth", weight=with_weight(**{key.replace(".", "__"): torch.ones(5, 4, 3)}))

    def arithmetic(*_: object, **__: object) -> None:
        raise AssertionError("computed with weights of a wrong shape")

    monkeypatch.setattr(torch.linalg, "vector_norm", arithmetic)
    with pytest.raises(VoiceFileError, match=rf"v\.pth: .*{re.escape(key)} has shape \(5, 4, 3\)"):
        read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"model": {"discriminators.0.convs.0.weight_g": torch.ones(1)}, "optimizer": {}}, "discriminator"),
        ({"optimizer": {"state": {}}, "param_groups": []}, "optimizer"),
        ({"unet.encoder.bn.weight": torch.ones(1)}, "RMVPE"),
        ({"encoder.layers.0.attention.k_proj.weight": torch.ones(1)}, "content encoder"),
        ({"model": {"conv.weight": torch.ones(1)}}, "weights begin with 'conv.weight'"),
        ({}, "holds no weights"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
    ],
)
def test_other_models_are_refused_for_what_they_seem(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "model.pth")
    assert reason in refusal(tmp_path / "model.pth")


def test_broken_safetensors_are_refused(tmp_path: Path) -> None:
    data = write_voice(tmp_path / "whole.safetensors", "safetensors").read_bytes()
    path = tmp_path / "voice.safetensors"
    for broken in (data[:-1], data[:5], data[:1000], b"", b"words and words", b"\xff" * 100):
        path.write_bytes(broken)
        refusal(path)
    path.write_bytes(safetensors.torch.save({"unet.encoder.bn.weight": torch.ones(1)}))
    assert "RMVPE" in refusal(path)


# --- writing -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[*DIALECTS, "MRF HiFi-GAN", "RefineGAN", "without f0"])
def voice(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoiceFile]:
    """As it was read; tests only write it elsewhere."""
    kind, tmp_path = request.param, tmp_path_factory.mktemp("voice")
    if kind in DIALECTS:
        suffix = ".safetensors" if kind == "safetensors" else ".pth"
        yield read_voice_file(write_voice(tmp_path / f"source{suffix}", kind, speaker_names=("Ann",)))
    elif kind == "without f0":
        yield read_voice_file(write_voice(tmp_path / "source.pth", has_f0=False))
    else:
        yield read_voice_file(write_voice(tmp_path / "source.pth", vocoder=Vocoder(kind)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_is_read_back_the_same(tmp_path: Path, voice: VoiceFile, suffix: str) -> None:
    path = tmp_path / f"written{suffix}"
    (write_rvc_voice if suffix == ".pth" else write_safetensors_voice)(path, voice)
    again = read_voice_file(path)
    passing = {"dialect": Dialect.RVC, "info": None}
    assert replace(again.metadata, **passing) == replace(voice.metadata, **passing)
    assert set(again.state) == set(voice.state)
    for key, tensor in voice.state.items():
        assert again.state[key].dtype is torch.float16
        assert torch.equal(again.state[key], tensor.half())


def test_a_written_voice_is_plain_to_torch_and_safetensors(tmp_path: Path, voice: VoiceFile) -> None:
    write_rvc_voice(tmp_path / "v.pth", voice)
    write_safetensors_voice(tmp_path / "v.safetensors", voice)
    content = torch.load(tmp_path / "v.pth", weights_only=True)
    assert list(content)[:6] == ["weight", "config", "info", "sr", "f0", "version"]
    assert len(content["config"]) == 18
    assert content["config"][-3] == content["weight"]["emb_g.weight"].shape[0]
    assert content["config"][-1] == 40000
    assert content["sr"] == "40k"
    assert isinstance(content["info"], str)
    assert not any(key.startswith("enc_q") for key in content["weight"])
    with safetensors.safe_open(tmp_path / "v.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(content["weight"])
        assert json.loads(file.metadata()["config"]) == content["config"]


def test_the_same_voice_gives_the_same_bytes(tmp_path: Path, voice: VoiceFile) -> None:
    for write, suffix in ((write_rvc_voice, ".pth"), (write_safetensors_voice, ".safetensors")):
        write(tmp_path / f"one{suffix}", voice)
        write(tmp_path / f"two{suffix}", voice)
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("vocoder", list(Vocoder))
def test_folded_weights_get_their_pairs_back_where_other_tools_expect_them(vocoder: Vocoder) -> None:
    """Against the layer names of Ultimate RVC's own modules, and the weights against folding again."""
    spec = VoiceSpec(vocoder=vocoder)
    plain = plain_state(spec)
    pairs = unfold_weight_norm(plain, vocoder)
    expected = json.loads(LAYER_NAMES.read_text())["layers"][vocoder]
    assert sorted(key.removesuffix("_g") for key in pairs if key.endswith(".weight_g")) == expected
    assert set(pairs) == set(voice_state(spec))
    for key, tensor in fold_weight_norm(pairs).items():
        torch.testing.assert_close(tensor, plain[key], rtol=1e-5, atol=1e-7)


def test_values_too_large_for_half_precision_keep_single_precision(tmp_path: Path) -> None:
    voice = read_voice_file(write_voice(tmp_path / "v.pth"))
    state = {**voice.state, "enc_p.proj.bias": torch.full_like(voice.state["enc_p.proj.bias"].float(), 1e6)}
    write_rvc_voice(tmp_path / "large.pth", VoiceFile(voice.metadata, state))
    again = read_voice_file(tmp_path / "large.pth").state
    assert torch.equal(again["enc_p.proj.bias"], state["enc_p.proj.bias"])
    assert again["emb_g.weight"].dtype is torch.float16


def test_a_write_that_fails_leaves_the_old_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_voice(tmp_path / "v.pth")
    before = path.read_bytes()
    voice = read_voice_file(path)

    def full_disk(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_rvc_voice(path, voice)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_ultimate_rvcs_enumerations_are_gone_from_what_is_written(tmp_path: Path) -> None:
    with ultimate_rvc_enums():
        torch.save(voice_content(VoiceSpec(), "Ultimate RVC"), tmp_path / "source.pth")
    assert b"ultimate_rvc" in (tmp_path / "source.pth").read_bytes()
    write_rvc_voice(tmp_path / "v.pth", read_voice_file(tmp_path / "source.pth"))
    assert b"ultimate_rvc" not in (tmp_path / "v.pth").read_bytes()
