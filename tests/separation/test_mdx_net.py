"""MDX-Net networks in ONNX files: their parameters, their sound, and files that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mdx_network import write_network
from separation_material import MDX_SHAPE as SHAPE
from separation_material import MDX_YAML as YAML
from separation_material import FloatArray, sdr_db
from ultimate_rvc.errors import SeparationError
from ultimate_rvc.separation import mdx_net, remove_reverb, separate, split_lead_backing
from ultimate_rvc.separation.mdx_net import MdxNetwork, MdxParameters, parameters_of
from ultimate_rvc.separation.models import Effort

RATE = 44_100
CHUNK = 1024 * (SHAPE.dim_t - 1)


def noise(samples: int, channels: int = 2) -> FloatArray:
    return (0.1 * np.random.default_rng(3).standard_normal((channels, samples))).astype(np.float32)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(SHAPE, tmp_path_factory.mktemp("mdx") / "random.onnx")


def placed(network_file: Path, folder: Path, name: str = "mine", stem: str = "vocals") -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(network_file.read_bytes())
    path.with_suffix(".yaml").write_text(YAML.format(stem=stem), encoding="utf-8")
    return path


def reference_stem(network_file: Path, waveform: FloatArray, compensate: float, overlap: float) -> FloatArray:
    """The published way, written another time: whole arrays, every chunk computed, windows summed in float64."""
    import onnxruntime

    session = onnxruntime.InferenceSession(network_file)
    window = torch.hann_window(SHAPE.n_fft)
    lead, useful = SHAPE.n_fft // 2, CHUNK - SHAPE.n_fft
    length = waveform.shape[-1]
    padded = np.pad(waveform, ((0, 0), (lead, useful + lead - length % useful)))
    total = padded.shape[-1]
    summed, weights = np.zeros((2, total)), np.zeros(total)
    for start in range(0, total, int((1 - overlap) * CHUNK)):
        part = padded[:, start : start + CHUNK]
        count = part.shape[-1]
        part = np.pad(part, ((0, 0), (0, CHUNK - count)))
        spectrum = torch.stft(
            torch.tensor(part), SHAPE.n_fft, 1024, window=window, center=True, return_complex=True
        )
        real_and_imaginary = torch.stack([spectrum.real, spectrum.imag], dim=1)[:, :, : SHAPE.dim_f]
        planes = real_and_imaginary.reshape(1, 4, SHAPE.dim_f, -1).clone()
        planes[:, :, :3] = 0
        output = torch.tensor(session.run(None, {"input": planes.numpy()})[0]).reshape(2, 2, SHAPE.dim_f, -1)
        whole = torch.zeros(2, SHAPE.n_fft // 2 + 1, output.shape[-1], dtype=torch.complex64)
        whole[:, : SHAPE.dim_f] = torch.complex(output[:, 0], output[:, 1])
        stem = torch.istft(whole, SHAPE.n_fft, 1024, window=window, center=True).numpy()
        hann = np.hanning(count)
        summed[:, start : start + CHUNK] += hann * stem[:, :count]
        weights[start : start + CHUNK] += hann
    kept = slice(lead, lead + length)
    return (compensate * summed[:, kept] / weights[kept]).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 1023, CHUNK - SHAPE.n_fft, CHUNK, 3 * CHUNK + 457])
@pytest.mark.parametrize("overlap", [0.25, 1 / 16])
def test_a_stem_is_that_of_the_published_way(
    network_file: Path, tmp_path: Path, samples: int, overlap: float
) -> None:
    path = placed(network_file, tmp_path)
    network = MdxNetwork("mine", path, path.with_suffix(".yaml"), "cpu", Effort(overlap=overlap))
    song = noise(samples)
    told: list[float] = []
    (stem,) = network.stems(song, told.append).values()
    assert stem.shape == song.shape
    assert sdr_db(reference_stem(network_file, song, 1.02, overlap), stem) > 90
    assert told == sorted(told)
    assert told[-1] == 1


def test_silent_chunks_are_silent_and_the_others_as_before(network_file: Path, tmp_path: Path) -> None:
    path = placed(network_file, tmp_path)
    song = noise(8 * CHUNK)
    song[:, 2 * CHUNK : 6 * CHUNK] = 0
    stems = [
        MdxNetwork("mine", path, path.with_suffix(".yaml"), "cpu", effort).stems(song, lambda done: None)[
            "vocals"
        ]
        for effort in (Effort(), Effort(silent_below=-1))
    ]
    assert not stems[0][:, 3 * CHUNK : 5 * CHUNK].any()
    assert stems[1][:, 3 * CHUNK : 5 * CHUNK].any()  # a random network makes something of nothing
    sounding = np.r_[0:CHUNK, 7 * CHUNK : 8 * CHUNK]
    np.testing.assert_array_equal(stems[0][:, sounding], stems[1][:, sounding])


def test_parts_add_up_whatever_the_network_gives(network_file: Path, separation_folder: Path) -> None:
    song = noise(2 * CHUNK)
    for stem, take_apart, names in (
        ("vocals", separate, ("vocals", "instrumental")),
        ("instrumental", split_lead_backing, ("lead", "backing")),
        ("reverb", remove_reverb, ("dry", "reverb")),
    ):
        placed(network_file, separation_folder, f"my {stem}", stem)
        parts = take_apart(song, RATE, model=f"my {stem}", device="cpu")
        first, second = (getattr(parts, name) for name in names)
        np.testing.assert_allclose(first + second, song, atol=1e-6)
        given = first if stem == "vocals" else second
        assert sdr_db(reference_stem(network_file, song, 1.02, 0.25), given) > 80


@pytest.mark.parametrize(("rate", "channels"), [(96_000, 2), (44_100, 1), (22_050, 1)])
def test_any_rate_and_mono_songs_are_separated(
    network_file: Path, separation_folder: Path, rate: int, channels: int
) -> None:
    placed(network_file, separation_folder)
    song = noise(2 * rate, channels)
    stems = separate(song, rate, model="mine", device="cpu")
    assert stems.vocals.shape == song.shape
    assert stems.sample_rate == rate
    assert np.isfinite(stems.vocals).all()


def test_a_silent_song_stays_silent(network_file: Path, separation_folder: Path) -> None:
    placed(network_file, separation_folder)
    stems = separate(np.zeros((2, RATE), np.float32), RATE, model="mine", device="cpu")
    assert not stems.vocals.any()


def test_a_file_is_known_by_its_last_bytes(
    network_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ultimate Vocal Remover tells models apart: whatever the file is called, without a YAML."""
    path = tmp_path / "renamed.onnx"
    path.write_bytes(b"\0" * 5 + network_file.read_bytes())
    monkeypatch.setattr(mdx_net, "HASHED_BYTES", path.stat().st_size - 5)
    known = MdxParameters(2048, 1024, 32, 1.02, "vocals")
    digest = hashlib.md5(network_file.read_bytes()).hexdigest()
    monkeypatch.setattr(mdx_net, "_known_parameters", lambda: {digest: known})
    assert parameters_of(path, None) == known


def test_the_table_knows_the_models_of_other_programs() -> None:
    known = mdx_net._known_parameters()
    assert known["77d07b2667ddf05b9e3175941b4454a0"] == MdxParameters(7680, 3072, 256, 1.021, "vocals")
    assert known["1d64a6d2c30f709b8c9b4ce1366d96ee"] == MdxParameters(5120, 2048, 256, 1.065, "instrumental")
    assert known["cd5b2989ad863f116c855db1dfe24e39"].stem == "reverb"
    for parameters in known.values():
        assert parameters.dim_f <= parameters.n_fft // 2 + 1


@pytest.mark.parametrize(
    ("content", "yaml", "told"),
    [
        (b"no network", YAML, "not a network that ONNX Runtime can open"),
        (None, None, "not one of the MDX-Net models known here: put a file mine.yaml"),
        (None, "n_fft: 2048\n", "should give n_fft, dim_f, dim_t, compensate, stem"),
        (None, YAML.replace("1024", "2048"), r"takes \['batch', 4, 1024, 32\], not \(1, 4, 2048, 32\)"),
        (None, YAML.replace("{stem}", "drums"), "none of which is what the step 'separate' needs"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(
    network_file: Path, separation_folder: Path, content: bytes | None, yaml: str | None, told: str
) -> None:
    path = placed(network_file, separation_folder)
    if content is not None:
        path.write_bytes(content)
    if yaml is None:
        path.with_suffix(".yaml").unlink()
    else:
        path.with_suffix(".yaml").write_text(yaml.format(stem="vocals"), encoding="utf-8")
    with pytest.raises(SeparationError, match=told):
        separate(noise(RATE), RATE, model=str(path), device="cpu")
