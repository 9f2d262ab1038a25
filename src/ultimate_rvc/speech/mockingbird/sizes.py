"""The sizes of MockingBird's networks, found in the shapes of their weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.mockingbird.decoder import MOST_FRAMES_A_STEP
from ultimate_rvc.speech.mockingbird.hifigan import HiFiGANSizes
from ultimate_rvc.speech.mockingbird.synthesizer import StyleSizes, SynthesizerSizes
from ultimate_rvc.speech.mockingbird.wavernn import WaveRNNSizes

State = Mapping[str, Tensor]
MOST_JSON_BYTES = 1_000_000
MOST_RATE, MOST_STAGES = 1000, 16  # far above any vocoder: a hostile JSON asks for no huge network


def synthesizer_sizes(state: State) -> SynthesizerSizes:
    """Raises :class:`SpeechError` for weights that are no synthesizer of MockingBird."""
    try:
        symbols, embedding = state["encoder.embedding.weight"].shape
        decoder, memory = state["encoder_proj.weight"].shape
        mels, postnet = state["post_proj.weight"].shape
        encoder = state["encoder.pre_net.fc1.weight"].shape[0]
        style = _style_sizes(state) if "gst.stl.embed" in state else None
        sizes = SynthesizerSizes(
            symbols=symbols, embedding=embedding, encoder=encoder, decoder=decoder, mels=mels, postnet=postnet,
            encoder_kernels=_count(state, "encoder.cbhg.conv1d_bank"),
            encoder_highways=_count(state, "encoder.cbhg.highways"),
            postnet_kernels=_count(state, "postnet.conv1d_bank"),
            postnet_highways=_count(state, "postnet.highways"),
            lstm=state["decoder.rnn_input.bias"].shape[0],
            speaker=memory - encoder - (style.width if style else 0),
            style=style,
        )  # fmt: skip
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise SpeechError(f"it lacks weights of a Tacotron synthesizer ({error})") from error
    if sizes.speaker < 1 or state["decoder.mel_proj.weight"].shape[0] != mels * MOST_FRAMES_A_STEP:
        raise SpeechError("its sizes are not those of a MockingBird synthesizer")
    return sizes


def _style_sizes(state: State) -> StyleSizes:
    tokens, head = state["gst.stl.embed"].shape
    width, query = state["gst.stl.attention.W_query.weight"].shape
    convolutions = _count(state, "gst.encoder.convs")
    return StyleSizes(
        filters=tuple(state[f"gst.encoder.convs.{index}.weight"].shape[0] for index in range(convolutions)),
        reference=state["gst.encoder.gru.weight_hh_l0"].shape[1],
        query=query, tokens=tokens, width=width, heads=width // head,
    )  # fmt: skip


def wavernn_sizes(state: State, settings: Mapping[str, Any]) -> WaveRNNSizes:
    """``settings`` are of the JSON beside the checkpoint, if there is one; rates else are the official ones.

    Raises
    ------
    SpeechError
        The weights are no WaveRNN of MockingBird, or the JSON names another hop than they have.
    """
    try:
        smoothing = [
            tensor.shape[-1] // 2 for name, tensor in sorted(state.items(), key=_layer_number)
            if name.startswith("upsample.up_layers.")
        ]  # fmt: skip
        compute, mels, kernel = state["upsample.resnet.conv_in.weight"].shape
        sizes = WaveRNNSizes(
            sample_rate=_whole(settings, ("sampling_rate", "sample_rate"), 16_000),
            mels=mels, scales=tuple(smoothing), pad=kernel // 2, compute=compute,
            blocks=_count(state, "upsample.resnet.layers"),
            residual=state["upsample.resnet.conv_out.bias"].shape[0],
            rnn=state["I.bias"].shape[0],
            fully_connected=state["fc1.bias"].shape[0],
            classes=state["fc3.bias"].shape[0],
        )  # fmt: skip
    except (KeyError, ValueError, IndexError) as error:
        raise SpeechError(f"it lacks weights of a WaveRNN ({error})") from error
    _check_hop(sizes.hop_length, settings)
    return sizes


def hifigan_sizes(state: State, settings: Mapping[str, Any], *, inner: float = 1.0) -> HiFiGANSizes:
    """Of the JSON beside the checkpoint, which alone tells the rates; an ONNX file has no ``state`` to compare with.

    Raises
    ------
    SpeechError
        The JSON lacks something, or names a hop that its rates do not make.
    """
    try:
        sizes = HiFiGANSizes(
            sample_rate=_whole(settings, ("sampling_rate",)),
            mels=state["conv_pre.weight"].shape[1] if state else _whole(settings, ("num_mels",)),
            rates=_numbers(settings["upsample_rates"]),
            kernels=_numbers(settings["upsample_kernel_sizes"]),
            channels=_whole(settings, ("upsample_initial_channel",)),
            block_kernels=_numbers(settings["resblock_kernel_sizes"]),
            block_dilations=tuple(map(_numbers, settings["resblock_dilation_sizes"])),
            block_kind=str(settings.get("resblock", "1")),
            inner=inner,
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise SpeechError(f"its JSON does not say what a HiFi-GAN is ({error})") from error
    stages = len(sizes.rates)
    fits = (
        len(sizes.kernels) == stages <= MOST_STAGES
        and len(sizes.block_kernels) == len(sizes.block_dilations)
        and (not state or sizes.channels == state["conv_pre.bias"].shape[0])
        and sizes.channels % 2**stages == 0
        and all(size % 2 for size in sizes.block_kernels)
    )
    if not fits:
        raise SpeechError("its JSON is of another HiFi-GAN: the sizes do not fit the weights")
    if not sizes.interpolates and any(
        k != 2 * rate for rate, k in zip(sizes.rates, sizes.kernels, strict=True)
    ):
        raise SpeechError(
            "its JSON has upsampling kernels that are not twice the rate, which no model was seen with"
        )
    _check_hop(sizes.hop_length, settings)
    return sizes


def read_settings(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; a :class:`SpeechError` names a file that has none."""
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpeechError(f"{path} is no JSON file that can be read: {error}.") from error
    if not isinstance(content, dict):
        raise SpeechError(f"{path} holds no settings: it must be a JSON object.")
    return content


def _check_hop(hop_length: int, settings: Mapping[str, Any]) -> None:
    told = settings.get("hop_size", settings.get("hop_length", hop_length))
    # The synthesizer's settings once said 256 while every vocoder made 200: the layers decide, and must agree.
    if told != hop_length:
        raise SpeechError(
            f"its JSON says a hop of {told} samples, and its layers make {hop_length}: take the JSON of this vocoder"
        )


def _count(state: State, prefix: str) -> int:
    numbers = {
        int(found[1]) for name in state if (found := re.match(rf"{re.escape(prefix)}\.(\d{{1,4}})\.", name))
    }
    return max(numbers) + 1 if numbers else 0


def _layer_number(item: tuple[str, Tensor]) -> int:
    found = re.search(r"\.(\d{1,4})\.", item[0])
    return int(found[1]) if found else 0


def _whole(settings: Mapping[str, Any], names: tuple[str, ...], usual: int | None = None) -> int:
    for name in names:
        if name in settings:
            (value,) = _numbers([settings[name]], most=1_000_000)
            return value
    if usual is None:
        raise KeyError(names[0])
    return usual


def _numbers(values: Any, *, most: int = MOST_RATE) -> tuple[int, ...]:
    if not isinstance(values, list) or not 0 < len(values) <= MOST_STAGES:
        raise ValueError(f"{values!r} is no short list of numbers"[:80])
    if not all(
        isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most for value in values
    ):
        raise ValueError(f"{values!r} are no whole numbers from 1 to {most}"[:80])
    return tuple(values)
