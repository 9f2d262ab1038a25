"""HuBERT content encoders (contentvec, spin and others) from a folder in transformers' layout.

RVC feeds the waveform as it is, without the normalisation some folders' ``preprocessor_config.json``
asks for. Voices of v2 take the last layer, voices of v1 the ninth followed by ``final_proj``, a
linear layer that RVC keeps beside the HuBERT weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from ultimate_rvc.choices import VoiceVersion
from ultimate_rvc.errors import EncoderFileError, EncoderMismatchError, VoiceFileError
from ultimate_rvc.rvc.content.files import CONFIG_FILE, files_identity, weights_file
from ultimate_rvc.rvc.content.frames import FRAME_SAMPLES, RECEPTIVE_SAMPLES, frame_count, padded_lengths
from ultimate_rvc.rvc.content.padded_hubert import padded_last_layer
from ultimate_rvc.rvc.networks.padding import clear_tails
from ultimate_rvc.rvc.networks.weight_norm import DIALECTS
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file

V1_LAYERS = 9
MAX_LAYERS = 96  # twice the largest HuBERT; a damaged config must not build for ever
# What shapes the network. Everything else in a config concerns training, or tasks that RVC has not.
ARCHITECTURE_KEYS = frozenset(
    {
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "layer_norm_eps",
        "feat_extract_norm",
        "feat_extract_activation",
        "feat_proj_layer_norm",
        "conv_dim",
        "conv_stride",
        "conv_kernel",
        "conv_bias",
        "num_conv_pos_embeddings",
        "num_conv_pos_embedding_groups",
        "conv_pos_batch_norm",
        "do_stable_layer_norm",
    }
)
MODEL_PREFIX = "hubert."  # of models saved with a task's head
# Weights of training and of other tasks, which features do not depend on.
UNUSED_WEIGHTS = ("masked_spec_embed", "label_embs_concat", "lm_head.", "projector.", "classifier.")
PROJECTION_WEIGHT, PROJECTION_BIAS = "final_proj.weight", "final_proj.bias"
POSITION_LAYER = "encoder.pos_conv_embed.conv."


class HubertEncoder:
    """A HuBERT model of any size as RVC uses it; only the layers that a version needs are run."""

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        self.name = name
        self._folder = folder
        self._config = read_config(folder / CONFIG_FILE)
        state = read_weights(weights_file(folder), device)
        self._projection = _projection(state, int(self._config.hidden_size), folder)
        # Built now, so that a folder whose weights do not fit fails when it is loaded.
        self._networks: dict[str, nn.Module] = {VoiceVersion.V2: _build(self._config, state, folder)}

    def feature_dim(self, version: str) -> int:
        """Width of the last layer for v2 voices, of ``final_proj`` for v1 voices.

        Raises
        ------
        EncoderMismatchError
            A v1 voice, and this encoder has no ``final_proj`` or fewer than nine layers.
        """
        if version != VoiceVersion.V1:
            return int(self._config.hidden_size)
        return len(self._v1_projection()[0])

    def networks(self, version: str) -> list[nn.Module]:
        """The layers that ``version`` needs; ``final_proj`` of v1 is no network of its own."""
        return [self._network(version)]

    def identity(self) -> str:
        """Hash of weights and config."""
        return files_identity(weights_file(self._folder), self._folder / CONFIG_FILE)

    @torch.no_grad()
    def encode(self, waveform_16k: Tensor, version: str, lengths: Sequence[int] | None = None) -> Tensor:
        """Features ``(batch, (samples - 80) // 320, feature_dim)`` of ``(batch, samples)`` at 16 kHz.

        ``lengths`` are the samples of each item in a padded batch. Time and memory of the attention grow with
        the square of the length: feed chunks, not songs.
        """
        lengths = padded_lengths(waveform_16k, lengths)
        if waveform_16k.shape[-1] < RECEPTIVE_SAMPLES:
            return waveform_16k.new_zeros(len(waveform_16k), 0, self.feature_dim(version))
        projection = self._v1_projection() if version == VoiceVersion.V1 else None
        features = self._last_layer(version, waveform_16k, lengths)
        if projection is not None:
            features = nn.functional.linear(features, *projection)
        if lengths is not None:
            clear_tails(features.transpose(1, 2), tuple(frame_count(length) for length in lengths))
        return features

    def _network(self, version: str) -> nn.Module:
        if version != VoiceVersion.V1:
            return self._networks[VoiceVersion.V2]
        if VoiceVersion.V1 not in self._networks:
            self._networks[VoiceVersion.V1] = _build_v1(
                self._config, self._networks[VoiceVersion.V2].state_dict(), self._folder
            )
        return self._networks[VoiceVersion.V1]

    def _last_layer(self, version: str, waveform_16k: Tensor, lengths: Sequence[int] | None) -> Tensor:
        network = self._network(version)
        if lengths is not None:
            return padded_last_layer(network, waveform_16k, lengths)
        output: Tensor = network(waveform_16k).last_hidden_state
        return output

    def _v1_projection(self) -> tuple[Tensor, Tensor]:
        if self._projection is None or self._config.num_hidden_layers < V1_LAYERS:
            lack = "final_proj" if self._projection is None else f"the {V1_LAYERS} layers"
            raise EncoderMismatchError(
                f"The encoder '{self.name}' in {self._folder} lacks {lack} that v1 voices need; "
                "use contentvec for this voice."
            )
        return self._projection


def read_config(path: Path) -> HubertConfig:
    """The network's shape from ``config.json``.

    Raises
    ------
    EncoderFileError
        It is not JSON, not of HuBERT, or not of 50 frames per second.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderFileError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict) or values.get("model_type", "hubert") != "hubert":
        kind = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise EncoderFileError(f"{path} describes '{kind}'; a content encoder must be a 'hubert' model.")
    shape = {key: value for key, value in values.items() if key in ARCHITECTURE_KEYS}
    try:
        # Without masking the model has no weight for it, and none is asked of the file.
        config = HubertConfig(**shape, mask_time_prob=0.0, mask_feature_prob=0.0)
        _check_shape(config)
        _empty_network(config)
    except Exception as error:  # the checks of transformers raise types of their own, by version
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise EncoderFileError(f"{path} describes no usable HuBERT network ({reason}).") from error
    return config


def _check_shape(config: HubertConfig) -> None:
    if not 1 <= config.num_hidden_layers <= MAX_LAYERS:
        raise ValueError(f"num_hidden_layers is {config.num_hidden_layers}, not 1 to {MAX_LAYERS}")
    strides, kernels = list(config.conv_stride), list(config.conv_kernel)
    receptive = 1 + sum((kernel - 1) * prod(strides[:layer]) for layer, kernel in enumerate(kernels))
    if (prod(strides), receptive) != (FRAME_SAMPLES, RECEPTIVE_SAMPLES):
        raise ValueError(
            f"its frames are {prod(strides)} samples apart and {receptive} long, but RVC's are "
            f"{FRAME_SAMPLES} apart and {RECEPTIVE_SAMPLES} long"
        )


def read_weights(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    """Weights in float32 on ``device``: names as in ``HubertModel``, weight norm folded, heads left out.

    Nothing in the file is executed.

    Raises
    ------
    EncoderFileError
        The file is damaged, or holds something else than weights.
    """
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else read_torch_file(path)
    except VoiceFileError as error:
        raise EncoderFileError(str(error)) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise EncoderFileError(
            f"{path} is not a readable safetensors file ({error}); fetch it again."
        ) from error
    if not isinstance(stored, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in stored.items()
    ):
        raise EncoderFileError(
            f"{path} holds something else than weights by name, so it is no content encoder."
        )
    named = {str(key).removeprefix(MODEL_PREFIX): value for key, value in stored.items()}
    # Copied even where they are float32 already: tensors read from a file are views of the file.
    state = {
        key: value.to(device=device, dtype=torch.float32, copy=True)
        for key, value in named.items()
        if not key.startswith(UNUSED_WEIGHTS)
    }
    return _fold_position_weight(state)


def _fold_position_weight(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the position layer's weight-norm pair, whose norm leaves out the kernel's axis only."""
    for names in DIALECTS:
        magnitude_key, direction_key = (POSITION_LAYER + name for name in names)
        if magnitude_key in state and direction_key in state:
            magnitude, direction = state.pop(magnitude_key), state.pop(direction_key)
            norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
            state[POSITION_LAYER + "weight"] = direction * (magnitude / norm)
    return state


def _projection(state: dict[str, Tensor], width: int, folder: Path) -> tuple[Tensor, Tensor] | None:
    """Take ``final_proj`` out of ``state``, if it is there."""
    weight, bias = state.pop(PROJECTION_WEIGHT, None), state.pop(PROJECTION_BIAS, None)
    if weight is None and bias is None:
        return None
    if weight is None or bias is None or weight.shape != (len(bias), width):
        raise EncoderFileError(
            f"The final_proj in {folder} is incomplete or not for {width} features; fetch it again."
        )
    return weight, bias


def _build(config: HubertConfig, state: Mapping[str, Tensor], folder: Path) -> HubertModel:
    """The network of ``config`` holding the very tensors of ``state`` (no copy, no random start)."""
    network = _empty_network(config)
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    found = {key: tensor.shape for key, tensor in state.items()}
    if expected != found:
        raise EncoderFileError(_difference(expected, found, folder))
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    return network


def _empty_network(config: HubertConfig) -> HubertModel:
    """The network of ``config`` without memory for its weights, its position layer a plain one."""
    with torch.device("meta"):
        network = HubertModel(config)
        position = network.encoder.pos_conv_embed
        if getattr(position, "batch_norm", None) is None:
            conv, width = position.conv, config.hidden_size
            # The same without weight norm: the weight was folded when it was read.
            position.conv = nn.Conv1d(
                width, width, conv.kernel_size[0], padding=conv.padding[0], groups=conv.groups
            )
    return network


def _build_v1(config: HubertConfig, state: Mapping[str, Tensor], folder: Path) -> HubertModel:
    """The first nine layers alone, sharing their weights with the whole network."""
    shallow = HubertConfig(**config.to_dict() | {"num_hidden_layers": V1_LAYERS})
    dropped = tuple(f"encoder.layers.{layer}." for layer in range(V1_LAYERS, config.num_hidden_layers))
    network = _build(
        shallow, {key: value for key, value in state.items() if not key.startswith(dropped)}, folder
    )
    if config.do_stable_layer_norm:
        # Such models end in a norm, which belongs to the last layer and not to the ninth.
        network.encoder.layer_norm = nn.Identity()
    return network


def _difference(expected: Mapping[str, torch.Size], found: Mapping[str, torch.Size], folder: Path) -> str:
    for what, keys in (
        ("lack", expected.keys() - found.keys()),
        ("have an unknown", found.keys() - expected.keys()),
    ):
        if keys:
            others = f" and {len(keys) - 1} others" if len(keys) > 1 else ""
            return f"The weights in {folder} {what} {min(keys)}{others}, so they do not fit {CONFIG_FILE}."
    key = min(key for key in expected if expected[key] != found[key])
    return (
        f"The weights in {folder} do not belong to its {CONFIG_FILE}: {key} is {tuple(found[key])}, "
        f"not {tuple(expected[key])}."
    )
