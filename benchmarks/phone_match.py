"""How well the features of a content encoder tell phones, within one voice and across voices.

Thirty sentences by the flite voice `slt` are the pool; ten other sentences by several voices are the
queries. Each query frame takes its 8 nearest pool frames, weighted by (1/s)^2 with s the squared
distance (what an RVC index does), and the phone with the most weight wins. The figure is the share of
speech frames whose winning phone is the one that flite says it spoke in the middle of the frame. A
feature that carries content alone scores the same for every voice; one that carries the speaker falls
for the others.

    python benchmarks/phone_match.py [--encoder NAME ...] [--json FILE]

Needs the `flite` program (Debian: flite) and a checkout (for the fourth layer, kept for the tests).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ultimate_rvc.rvc.content import load_content_encoder
from ultimate_rvc.rvc.content.files import starter_file
from ultimate_rvc.rvc.content.whisper_encoder import DIM, WhisperEncoder, log10_mel, scale_log_mel

FOURTH_LAYER = Path(__file__).parents[1] / "tests" / "data" / "content" / "whisper_tiny_en_rest.safetensors"
POOL_VOICE = "slt"
QUERY_VOICES = ("slt", "rms", "awb", "kal16")
NEIGHBOURS = 8
SILENCE = "pau"
FRAME_SECONDS = 0.02
N_MFCC = 20
# Lists 1 to 3 and list 4 of the Harvard sentences (IEEE Recommended Practice for Speech Quality
# Measurements, 1969).
POOL_SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
    "The small pup gnawed a hole in the sock.",
    "The fish twisted and turned on the bent hook.",
    "Press the pants and sew a button on the vest.",
    "The swan dive was far short of perfect.",
    "The beauty of the view stunned the young boy.",
    "Two blue fish swam in the tank.",
    "Her purse was full of useless trash.",
    "The colt reared and threw the tall rider.",
    "It snowed, rained, and hailed the same morning.",
    "Read verse out loud for pleasure.",
)
QUERY_SENTENCES = (
    "Hoist the load to your left shoulder.",
    "Take the winding path to reach the lake.",
    "Note closely the size of the gas tank.",
    "Wipe the grease off his dirty face.",
    "Mend the coat before you go out.",
    "The wrist was badly strained and hung limp.",
    "The stray cat gave birth to kittens.",
    "The young girl gave no clear response.",
    "The meal was cooked before the bell rang.",
    "What joy there is in living.",
)

Encode = Callable[[Tensor], Tensor]  # (1, samples) at 16 kHz to (1, frames, features)
Frames = tuple[Tensor, NDArray[np.str_]]  # features (frames, dim) and the phone of each frame


@dataclass(frozen=True)
class Utterance:
    waveform_16k: Tensor  # (1, samples)
    phones: tuple[tuple[float, str], ...]  # (end in seconds, phone)

    def labels(self, seconds: NDArray[np.float64]) -> NDArray[np.str_]:
        """The phone at each of the given times; silence after the last one."""
        ends = np.array([end for end, _ in self.phones])
        names = np.array([phone for _, phone in self.phones] + [SILENCE])
        return names[np.searchsorted(ends, seconds, side="right")]


def speak(sentence: str, voice: str, folder: Path) -> Utterance:
    """Let flite say a sentence, and read the sound and the phone times."""
    path = folder / "utterance.wav"
    command = ["flite", "-voice", voice, "-psdur", "-t", sentence, "-o", str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    phones = tuple((float(end), phone) for phone, end in (word.split(":") for word in printed.split()))
    with wave.open(str(path)) as file:
        if file.getframerate() != 16000:
            raise SystemExit(f"flite voice {voice} speaks at {file.getframerate()} Hz, not 16000.")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    return Utterance(torch.from_numpy(samples)[None], phones)


def speech_frames(utterances: list[Utterance], encode: Encode) -> Frames:
    """All frames that are not silence; a frame is named by the middle of its 20 ms."""
    features, labels = [], []
    for utterance in utterances:
        encoded = encode(utterance.waveform_16k)[0]
        phones = utterance.labels(FRAME_SECONDS * (np.arange(len(encoded), dtype=np.float64) + 0.5))
        features.append(encoded[torch.from_numpy(phones != SILENCE)])
        labels.append(phones[phones != SILENCE])
    return torch.cat(features), np.concatenate(labels)


def match_share(pool: Frames, query: Frames) -> float:
    """Share of query frames whose weighted neighbours vote for the right phone."""
    names, pool_numbers = np.unique(pool[1], return_inverse=True)
    nearest, indices = torch.cdist(query[0].double(), pool[0].double()).topk(NEIGHBOURS, largest=False)
    weights = nearest.square().clamp_min(1e-12).pow(-2)
    votes = torch.zeros(len(query[0]), len(names), dtype=torch.float64)
    votes.scatter_add_(1, torch.from_numpy(pool_numbers)[indices], weights)
    return float((names[votes.argmax(dim=1).numpy()] == query[1]).mean())


def whisper_layers() -> dict[str, Encode]:
    """Whisper's encoder up to each of its layers, on Whisper's own frames (centred on 20 ms * i)."""
    state = load_file(starter_file()) | load_file(FOURTH_LAYER)
    weight, bias = (state.pop(f"final_norm.{part}").float() for part in ("weight", "bias"))

    def up_to(layer_count: int) -> Encode:
        unused = tuple(f"layers.{layer}." for layer in range(layer_count, 4))
        network = WhisperEncoder(layer_count).eval().requires_grad_(False)
        network.load_state_dict({k: v.float() for k, v in state.items() if not k.startswith(unused)})

        def encode(waveform_16k: Tensor) -> Tensor:
            log_mel = log10_mel(waveform_16k)
            features: Tensor = network(scale_log_mel(log_mel, log_mel.amax()))
            return features

        return encode

    rows = {"convolutions + positions": up_to(0)} | {f"after layer {n}": up_to(n) for n in (1, 2, 3, 4)}
    third, fourth = rows["after layer 3"], rows["after layer 4"]
    rows["after layer 3, layer norm"] = lambda waveform: F.layer_norm(third(waveform), (DIM,))
    rows["final layer norm"] = lambda waveform: F.layer_norm(fourth(waveform), (DIM,), weight, bias)
    return rows


def mfcc(waveform_16k: Tensor) -> Tensor:
    hop_length = round(16000 * FRAME_SECONDS)
    values = librosa.feature.mfcc(y=waveform_16k[0].numpy(), sr=16000, n_mfcc=N_MFCC, hop_length=hop_length)
    return torch.from_numpy(values.T.copy())[None]


def encoder_row(name: str) -> Encode:
    encoder = load_content_encoder(name, "cpu")
    return lambda waveform: encoder.encode(waveform, "v2")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", nargs="*", default=["starter"], help="encoders to measure as shipped")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = whisper_layers() | {f"{name}, as shipped": encoder_row(name) for name in arguments.encoder}
    rows[f"{N_MFCC} MFCC"] = mfcc
    with tempfile.TemporaryDirectory() as folder:
        pool = [speak(sentence, POOL_VOICE, Path(folder)) for sentence in POOL_SENTENCES]
        queries = {
            voice: [speak(sentence, voice, Path(folder)) for sentence in QUERY_SENTENCES]
            for voice in QUERY_VOICES
        }
    print("| features at 50 Hz | " + " | ".join(QUERY_VOICES) + " |")
    print("|---" * (len(QUERY_VOICES) + 1) + "|")
    figures: dict[str, dict[str, float]] = {}
    for row, encode in rows.items():
        frames = speech_frames(pool, encode)
        figures[row] = {
            voice: match_share(frames, speech_frames(spoken, encode)) for voice, spoken in queries.items()
        }
        print(
            f"| {row} | " + " | ".join(f"{share:.2f}" for share in figures[row].values()) + " |", flush=True
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
