"""HuBERT encoders against rvc-next, against transformers itself, and on folders that cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from transformers import HubertConfig, HubertModel

from ultimate_rvc.errors import (
    AssetMissingError,
    EncoderFileError,
    EncoderMismatchError,
    SettingError,
    UltimateRVCError,
)
from ultimate_rvc.paths import models_dir
from ultimate_rvc.rvc.content import encoder_folder, encoder_identity, load_content_encoder
from ultimate_rvc.rvc.content.hubert import HubertEncoder
from ultimate_rvc.rvc.content.tiled_hubert import TiledFeatureExtractor, run_in_tiles

DATA = Path(__file__).resolve().parents[2] / "data" / "content"
SMALL_HUBERT = DATA / "small_hubert"
CONFIG: dict[str, Any] = json.loads((SMALL_HUBERT / "config.json").read_text())
WEIGHTS: dict[str, Tensor] = torch.load(SMALL_HUBERT / "pytorch_model.bin", weights_only=True)
POSITION = "encoder.pos_conv_embed.conv."
G, V = (f"{POSITION}parametrizations.weight.original{number}" for number in (0, 1))


@pytest.fixture(scope="module")
def encoder() -> HubertEncoder:
    return HubertEncoder("contentvec", SMALL_HUBERT, "cpu")


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    with np.load(DATA / "hubert_reference.npz") as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def write_folder(
    folder: Path, weights: dict[str, Tensor] | None = None, config: dict[str, Any] | None = None
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    torch.save(WEIGHTS if weights is None else weights, folder / "pytorch_model.bin")
    return folder


def transformers_folder(folder: Path, **changes: Any) -> tuple[Path, HubertModel]:
    """A folder of random weights, and the model of transformers that holds the same."""
    config = CONFIG | {"mask_time_prob": 0.0} | changes
    network = HubertModel(HubertConfig(**config)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    projection = {"final_proj.weight": torch.randn(16, 48), "final_proj.bias": torch.randn(16)}
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return write_folder(folder, state | projection, config), network


@pytest.mark.parametrize(("version", "dim"), [("v1", 16), ("v2", 48)])
def test_features_agree_with_rvc_next(
    encoder: HubertEncoder, reference: dict[str, NDArray[np.float32]], version: str, dim: int
) -> None:
    features = encoder.encode(torch.from_numpy(reference["waveform"])[None], version)[0]
    assert encoder.feature_dim(version) == features.shape[1] == dim
    expected = torch.from_numpy(reference[version])
    assert expected.std() > 0.5
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
        {"feat_proj_layer_norm": False},
        {"num_hidden_layers": 9},
    ],
    ids=["base", "large", "without projection norm", "nine layers"],
)
def test_every_kind_of_hubert_agrees_with_transformers(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder, network = transformers_folder(tmp_path / "encoder", **changes)
    encoder = HubertEncoder("custom", folder, "cpu")
    waveform = 0.1 * torch.randn(2, 8000)
    with torch.no_grad():
        expected = network(waveform, output_hidden_states=True)
    torch.testing.assert_close(
        encoder.encode(waveform, "v2"), expected.last_hidden_state, atol=1e-4, rtol=1e-4
    )
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    projected = expected.hidden_states[9] @ weights["final_proj.weight"].T + weights["final_proj.bias"]
    torch.testing.assert_close(encoder.encode(waveform, "v1"), projected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
        {"conv_bias": True, "num_conv_pos_embeddings": 31},
        {"conv_pos_batch_norm": True},
        {"num_hidden_layers": 9, "feat_proj_layer_norm": False},
    ],
    ids=["base", "large", "odd positions", "batch norm", "nine layers"],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_items_of_a_padded_batch_have_the_features_they_have_alone(
    tmp_path: Path, changes: dict[str, Any], version: str
) -> None:
    encoder = HubertEncoder("custom", transformers_folder(tmp_path / "encoder", **changes)[0], "cpu")
    # Offsets and levels of their own: a norm that saw a neighbour or the padding would show it.
    lengths = [9_000, 4_321, 399, 400, 8_999, 0]
    items = [(0.01 + 0.1 * index) * torch.randn(length) + 0.1 for index, length in enumerate(lengths)]
    batch = torch.full((len(items), 9_000), torch.nan)
    for row, item in zip(batch, items, strict=True):
        row[: len(item)] = item
    features = encoder.encode(batch, version, lengths)
    assert features.shape == (6, 27, encoder.feature_dim(version))
    for item, together in zip(items, features, strict=True):
        alone = encoder.encode(item[None], version)[0]
        torch.testing.assert_close(together[: len(alone)], alone, atol=1e-4 * float(features.std()), rtol=0)
        assert not together[len(alone) :].any()


@given(lengths=st.lists(st.integers(0, 3_000), min_size=1, max_size=4), seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_a_batch_of_any_lengths_equals_its_items(
    encoder: HubertEncoder, lengths: list[int], seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    waveform = torch.rand(len(lengths), max(lengths), generator=random) - 0.5
    features = encoder.encode(waveform, "v2", lengths)
    for row, length, together in zip(waveform, lengths, features, strict=True):
        alone = encoder.encode(row[None, :length], "v2")[0]
        torch.testing.assert_close(together[: len(alone)], alone, atol=1e-4, rtol=0)
        assert not together[len(alone) :].any()


def test_lengths_of_full_items_change_no_bit(encoder: HubertEncoder) -> None:
    waveform = torch.rand(2, 3_000) - 0.5
    assert torch.equal(encoder.encode(waveform, "v2", [3_000, 3_000]), encoder.encode(waveform, "v2"))


@pytest.mark.parametrize("lengths", [[1_600], [1_600, 1_601], [-1, 1_600], [800, 800, 800]])
def test_lengths_that_do_not_fit_the_batch_are_refused(encoder: HubertEncoder, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths must be 2 numbers from 0 to 1600"):
        encoder.encode(torch.zeros(2, 1_600), "v2", lengths)


@pytest.mark.parametrize("norm", ["group", "layer"])
@settings(max_examples=8, deadline=None)
@given(samples=st.integers(400, 30_000), tile_frames=st.integers(1, 40))
@torch.inference_mode()
def test_convolutions_in_tiles_give_the_whole(norm: str, samples: int, tile_frames: int) -> None:
    torch.manual_seed(samples)
    config = HubertConfig(**CONFIG | {"feat_extract_norm": norm, "conv_bias": norm == "layer"})
    extractor = HubertModel(config).eval().double().feature_extractor
    # An offset, which a careless variance would lose its digits to.
    waveform = 0.1 * torch.randn(2, samples, dtype=torch.float64) + 5
    tiled = TiledFeatureExtractor(extractor, tile_frames=tile_frames)(waveform)
    torch.testing.assert_close(tiled, extractor(waveform), rtol=0, atol=1e-10)


def test_an_encoder_in_tiles_gives_the_same_features(encoder: HubertEncoder) -> None:
    tiled = HubertEncoder("contentvec", SMALL_HUBERT, "cpu")
    waveform = 0.1 * torch.randn(1, 16_000 * 3, generator=torch.Generator().manual_seed(1))
    for version in ("v1", "v2"):
        (network,) = tiled.networks(version)
        run_in_tiles(network)
        assert isinstance(network.feature_extractor, TiledFeatureExtractor)
        expected = encoder.encode(waveform, version)
        torch.testing.assert_close(tiled.encode(waveform, version), expected, rtol=0, atol=1e-4)
    run_in_tiles(other := torch.nn.Linear(2, 2))
    assert not hasattr(other, "feature_extractor")


def test_v1_runs_nine_layers_and_shares_their_weights(encoder: HubertEncoder) -> None:
    encoder.encode(torch.zeros(1, 1600), "v1")
    networks: dict[str, Any] = dict(encoder._networks)
    shallow, whole = (networks[version].encoder for version in ("v1", "v2"))
    assert (len(shallow.layers), len(whole.layers)) == (9, 12)
    first, second = (network.layers[8].attention.k_proj.weight for network in (shallow, whole))
    assert first.data_ptr() == second.data_ptr()


def test_attention_is_fused_where_transformers_can(encoder: HubertEncoder) -> None:
    network: Any = encoder._networks["v2"]
    assert network.config._attn_implementation == "sdpa"


@given(samples=st.integers(1, 4000))
@settings(max_examples=12)
def test_frames_are_one_per_320_samples_from_the_400th(encoder: HubertEncoder, samples: int) -> None:
    for version in ("v1", "v2"):
        features = encoder.encode(torch.rand(2, samples) - 0.5, version)
        assert features.shape == (2, max(0, (samples - 80) // 320), encoder.feature_dim(version))


def test_the_waveform_is_taken_as_it_is(tmp_path: Path) -> None:
    """A norm per layer keeps the level; with one over the waveform the level would be lost."""
    folder, _ = transformers_folder(tmp_path / "encoder", feat_extract_norm="layer", conv_bias=True)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    encoder = HubertEncoder("custom", folder, "cpu")
    waveform = 0.1 * torch.randn(1, 4000)
    assert (encoder.encode(waveform, "v2") - encoder.encode(0.01 * waveform, "v2")).abs().max() > 0.1


def rename(old: str, new: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name.replace(old, new, 1): value for name, value in weights.items()}


def with_older_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    newer = {G: f"{POSITION}weight_g", V: f"{POSITION}weight_v"}
    return {newer.get(name, name): value for name, value in weights.items()}


def with_folded_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    g, v = weights[G].float(), weights[V].float()
    folded = {f"{POSITION}weight": g * v / v.square().sum((0, 1), keepdim=True).sqrt()}
    return {name: value for name, value in weights.items() if name not in (G, V)} | folded


def with_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name if name.startswith("final_proj") else f"hubert.{name}": value for name, value in weights.items()
    }


def with_unused_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"label_embs_concat": torch.zeros(5, 2), "lm_head.weight": torch.zeros(3, 48)}


def without_mask_embedding(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name != "masked_spec_embed"}


@pytest.mark.parametrize(
    "dialect",
    [
        with_older_weight_norm,
        with_folded_weight_norm,
        with_prefix,
        with_unused_weights,
        without_mask_embedding,
    ],
)
def test_weights_under_other_names_give_the_same_features(
    tmp_path: Path,
    encoder: HubertEncoder,
    reference: dict[str, NDArray[np.float32]],
    dialect: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    other = HubertEncoder("custom", write_folder(tmp_path / "encoder", dialect(WEIGHTS)), "cpu")
    waveform = torch.from_numpy(reference["waveform"])[None]
    for version in ("v1", "v2"):
        torch.testing.assert_close(
            other.encode(waveform, version), encoder.encode(waveform, version), atol=1e-5, rtol=0
        )


def test_safetensors_give_the_same_features(tmp_path: Path, encoder: HubertEncoder) -> None:
    folder = write_folder(tmp_path / "encoder")
    (folder / "pytorch_model.bin").unlink()
    save_file({name: value.contiguous() for name, value in WEIGHTS.items()}, folder / "model.safetensors")
    waveform = 0.1 * torch.randn(1, 3000)
    other = HubertEncoder("custom", folder, "cpu")
    assert torch.equal(other.encode(waveform, "v1"), encoder.encode(waveform, "v1"))


def test_an_encoder_outlives_a_change_of_its_file(tmp_path: Path) -> None:
    float32_weights = {name: value.float() for name, value in WEIGHTS.items()}
    folder = write_folder(tmp_path / "encoder", float32_weights)
    encoder = HubertEncoder("custom", folder, "cpu")
    waveform = 0.1 * torch.randn(1, 3000)
    before = encoder.encode(waveform, "v2")
    with (folder / "pytorch_model.bin").open("r+b") as file:
        file.write(bytes((folder / "pytorch_model.bin").stat().st_size))
    assert torch.equal(encoder.encode(waveform, "v2"), before)


def test_v1_without_final_proj_is_an_error_that_names_the_encoder(tmp_path: Path) -> None:
    weights = {name: value for name, value in WEIGHTS.items() if not name.startswith("final_proj")}
    encoder = HubertEncoder("japanese-hubert-base", write_folder(tmp_path / "encoder", weights), "cpu")
    assert encoder.encode(torch.zeros(1, 1600), "v2").shape == (1, 4, 48)
    for ask in (lambda: encoder.feature_dim("v1"), lambda: encoder.encode(torch.zeros(1, 1600), "v1")):
        with pytest.raises(EncoderMismatchError, match=r"japanese-hubert-base.*lacks final_proj"):
            ask()


def test_v1_with_too_few_layers_is_an_error(tmp_path: Path) -> None:
    folder, _ = transformers_folder(tmp_path / "encoder", num_hidden_layers=6)
    with pytest.raises(EncoderMismatchError, match="lacks the 9 layers"):
        HubertEncoder("custom", folder, "cpu").feature_dim("v1")


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def set_config(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def set_weights(weights: object) -> Callable[[Path], object]:
    return lambda folder: torch.save(weights, folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-100_000])


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (remove("config.json"), "no config.json"),
    "no weights": (remove("pytorch_model.bin"), "no model.safetensors or pytorch_model.bin"),
    "config is text": (put("config.json", b"hello"), "config.json cannot be read as JSON"),
    "config is not text": (put("config.json", b"\xff\xfe\x00"), "config.json cannot be read as JSON"),
    "config is a list": (put("config.json", b"[1]"), "describes 'list'"),
    "deep config": (put("config.json", b"[" * 100_000), "config.json cannot be read as JSON"),
    "another kind of model": (set_config(model_type="wav2vec2"), "'wav2vec2'.*must be a 'hubert'"),
    "other frame rate": (set_config(conv_stride=[5, 2, 2, 2, 2, 2, 1]), "160 samples apart"),
    "wrong type": (set_config(hidden_size="wide"), "describes no usable HuBERT network"),
    "endless layers": (set_config(num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
    "unknown activation": (set_config(hidden_act="rm -rf"), "describes no usable HuBERT network"),
    "indivisible heads": (set_config(num_attention_heads=7), "describes no usable HuBERT network"),
    "other width": (set_config(hidden_size=64), "final_proj .* 64 features"),
    "other inner width": (
        set_config(intermediate_size=95),
        r"intermediate_dense.bias is \(96,\), not \(95,\)",
    ),
    "fewer layers": (set_config(num_hidden_layers=10), "have an unknown encoder.layers.10"),
    "more layers": (set_config(num_hidden_layers=13), "lack encoder.layers.12"),
    "half a final_proj": (
        set_weights({name: value for name, value in WEIGHTS.items() if name != "final_proj.bias"}),
        "final_proj .* incomplete",
    ),
    "half a weight norm": (
        set_weights({name: value for name, value in WEIGHTS.items() if name != V}),
        "lack encoder.pos_conv_embed.conv.weight",
    ),
    "a list": (set_weights([torch.zeros(3)]), "something else than weights"),
    "numbers": (set_weights({"encoder": 3}), "something else than weights"),
    "cut weights": (cut_weights, "pytorch_model.bin"),
    "empty weights": (put("pytorch_model.bin", b""), "pytorch_model.bin"),
    "bad safetensors": (put("model.safetensors", b"\x10" * 50), "not a readable safetensors file"),
}


@pytest.mark.parametrize("case", BROKEN_FOLDERS)
def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path, case: str) -> None:
    folder = write_folder(tmp_path / "encoder")
    break_it, message = BROKEN_FOLDERS[case]
    break_it(folder)
    with pytest.raises(EncoderFileError, match=message) as caught:
        load_content_encoder("custom", "cpu", folder=folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_would_run_code_are_refused_unread(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    folder = write_folder(tmp_path / "encoder")
    torch.save(WEIGHTS | {"payload": Payload(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderFileError, match=r"pytorch_model\.bin"):
        load_content_encoder("custom", "cpu", folder=folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("contentvec", "embedders/contentvec"),
        ("contentvec", "hubert_base"),
        ("spin-v2", "rvc/embedders/spin-v2"),
        ("chinese-hubert-base", "rvc/embedders/chinese_hubert_base"),
        ("mine", "embedders/custom/mine"),
    ],
)
def test_encoders_are_found_where_the_tools_keep_them(name: str, place: str) -> None:
    shutil.copytree(SMALL_HUBERT, models_dir() / place)
    assert encoder_folder(name) == models_dir() / place
    loaded = load_content_encoder(name, "cpu")
    assert loaded.name == name
    assert loaded.identity() == encoder_identity(name)


def test_a_custom_folder_may_be_a_name_below_the_models_folder() -> None:
    shutil.copytree(SMALL_HUBERT, models_dir() / "embedders" / "mine")
    loaded = load_content_encoder("custom", "cpu", folder=Path("mine"))
    assert loaded.identity() == encoder_identity("custom", folder=SMALL_HUBERT)


@pytest.mark.parametrize(
    ("name", "folder", "error", "message"),
    [
        ("contentvec", None, AssetMissingError, "contentvec"),
        ("custom", None, SettingError, "custom_embedder_model"),
        ("wavlm", None, SettingError, "'wavlm': known are starter, contentvec"),
        ("rmvpe", None, SettingError, "'rmvpe': known are starter"),
        ("../outside", None, SettingError, "'../outside'"),
        ("custom", Path("/nowhere/encoder"), AssetMissingError, "/nowhere/encoder"),
        ("custom", SMALL_HUBERT / "config.json", EncoderFileError, "is a file"),
    ],
)
def test_an_encoder_that_is_not_there_is_one_sentence(
    name: str, folder: Path | None, error: type[UltimateRVCError], message: str
) -> None:
    shutil.copytree(SMALL_HUBERT, models_dir().parent / "outside")
    for ask in (
        lambda: load_content_encoder(name, "cpu", folder=folder),
        lambda: encoder_identity(name, folder=folder),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_the_identity_follows_the_content_of_weights_and_config(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "encoder")
    first = encoder_identity("custom", folder=folder)
    copied = shutil.copytree(folder, tmp_path / "copy")
    assert encoder_identity("custom", folder=copied) == first
    set_config(layer_norm_eps=1e-4)(folder)
    second = encoder_identity("custom", folder=folder)
    set_weights(WEIGHTS | {"masked_spec_embed": torch.ones(48)})(folder)
    assert len({first, second, encoder_identity("custom", folder=folder)}) == 3
