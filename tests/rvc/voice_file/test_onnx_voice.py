"""Voices in ONNX: read without running anything, and rendered as the same voice's .pth is."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from onnx_voices import change, export, take_half, write_mdx_net, write_onnx_voice
from small_pipeline import snr_db
from ultimate_rvc.choices import VoiceVersion
from ultimate_rvc.errors import EncoderMismatchError, SettingError, VoiceFileError
from ultimate_rvc.rvc.infer.identity import conversion_identity
from ultimate_rvc.rvc.infer.optimization.batching import ItemGenerators
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.voice_file.describe import Dialect
from ultimate_rvc.rvc.voice_file.onnx_graph import FLOAT, DamagedGraphError, field_bytes, read_onnx_graph
from ultimate_rvc.rvc.voice_file.onnx_noise import noise_as_inputs
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file, read_voice_metadata
from voice_factory import write_voice

FORMS = ("RVC-WebUI", "w-okada")
ALIKE_DB = 100  # float32 rounds at 140 dB
FRAMES = 150
SMALL: dict[str, Any] = {"layers": 1, "resblock_kernels": (3, 7)}  # exported and opened sooner


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One voice as a .pth and in both forms, and one without f0."""
    folder = tmp_path_factory.mktemp("onnx")
    voice = write_voice(folder / "voice.pth", "RVC", sample_rate=40000, **SMALL)
    mute = write_voice(folder / "no_f0.pth", "RVC", sample_rate=32000, has_f0=False, version="v2", **SMALL)
    return {
        "voice": voice,
        "no f0": mute,
        **{form: write_onnx_voice(folder / f"{form}.onnx", voice, form) for form in FORMS},  # type: ignore[arg-type]
        **{f"{form} no f0": write_onnx_voice(folder / f"{form}_no_f0.onnx", mute, form) for form in FORMS},  # type: ignore[arg-type]
    }


@pytest.fixture
def copy(files: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        path = tmp_path / "copy.onnx"
        path.write_bytes(files[name].read_bytes())
        return path

    return made


def inputs(has_f0: bool = True, batch: int = 1) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    drawn = torch.Generator().manual_seed(7)
    features = torch.randn(batch, FRAMES, 768, generator=drawn)
    f0_hz = 100 + 300 * torch.rand(batch, FRAMES, generator=drawn)
    f0_hz[:, 40:60] = 0
    pitch = torch.randint(1, 256, (batch, FRAMES), generator=drawn)
    return features, pitch if has_f0 else None, f0_hz if has_f0 else None, torch.arange(batch) % 3


def rendered(path: Path, *, has_f0: bool = True, seed: int = 3, **options: Any) -> np.ndarray:
    voice = load_voice_model(path)
    generator = torch.Generator().manual_seed(seed)
    return voice.synthesizer.infer(*inputs(has_f0), generator=generator, **options).numpy()


# --- what is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("has_f0", [True, False])
def test_a_voice_in_onnx_tells_what_it_needs(files, form, has_f0) -> None:  # type: ignore[no-untyped-def]
    metadata = read_voice_metadata(files[form if has_f0 else f"{form} no f0"])
    assert metadata.sample_rate == (40000 if has_f0 else 32000)
    assert metadata.config.hop_length * 100 == metadata.sample_rate
    assert metadata.has_f0 is has_f0
    assert metadata.version is VoiceVersion.V2
    assert [speaker.id for speaker in metadata.speakers] == [0, 1, 2]
    assert metadata.embedder == "contentvec"
    assert metadata.embedder_recorded is (form == "w-okada")
    assert metadata.dialect is (Dialect.VC_CLIENT_ONNX if form == "w-okada" else Dialect.ONNX)
    assert metadata.warnings == ()
    original = read_voice_metadata(files["voice" if has_f0 else "no f0"]).config
    assert metadata.config.upsample_rates == original.upsample_rates
    assert metadata.config.upsample_initial_channel == original.upsample_initial_channel


def test_features_of_256_make_a_voice_v1(tmp_path: Path) -> None:
    voice = write_voice(tmp_path / "v1.pth", "RVC", version="v1", sample_rate=40000, **SMALL)
    for form in FORMS:
        metadata = read_voice_metadata(write_onnx_voice(tmp_path / "v1.onnx", voice, form))  # type: ignore[arg-type]
        assert metadata.version is VoiceVersion.V1
        assert metadata.config.phone_dim == 256


def test_what_the_graph_takes_decides_over_what_the_file_tells(copy) -> None:  # type: ignore[no-untyped-def]
    path = change(copy("w-okada"), metadata={"f0": False, "embChannels": 256, "samplingRate": 40000})
    metadata = read_voice_metadata(path)
    assert metadata.has_f0
    assert metadata.config.phone_dim == 768
    assert len(metadata.warnings) == 2


@pytest.mark.parametrize(
    "told", ["{", "[1]", '"text"', "[" * 100_000, '{"samplingRate": "x", "embedder": 5}']
)
def test_metadata_of_any_kind_does_no_harm(copy, told) -> None:  # type: ignore[no-untyped-def]
    path = copy("w-okada")
    model = onnx.load(path)
    helper.set_model_props(model, {"metadata": told})
    path.write_bytes(model.SerializeToString())
    assert read_voice_metadata(path).sample_rate == 40000


def test_a_layer_that_no_encoder_gives_is_refused(copy) -> None:  # type: ignore[no-untyped-def]
    path = change(copy("w-okada"), metadata={"embedder": "hubert_base", "embOutputLayer": 9})
    with pytest.raises(VoiceFileError, match=r"copy\.onnx cannot be used: The voice was trained on layer 9"):
        read_voice_metadata(path)


def test_only_the_first_speaker_counts_where_their_number_cannot_be_seen(copy) -> None:  # type: ignore[no-untyped-def]
    path = copy("RVC-WebUI")
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = ["hidden" if name == "ds" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Abs", ["ds"], ["hidden"]))
    path.write_bytes(model.SerializeToString())
    metadata = read_voice_metadata(path)
    assert len(metadata.speakers) == 1
    assert "speakers" in metadata.warnings[0]


def test_the_speaker_table_is_found_whatever_it_is_called(copy) -> None:  # type: ignore[no-untyped-def]
    path = copy("RVC-WebUI")
    model = onnx.load(path)
    (table,) = [weight for weight in model.graph.initializer if "emb_g" in weight.name]
    for node in model.graph.node:
        node.input[:] = ["table_7" if name == table.name else name for name in node.input]
    table.name = "table_7"
    path.write_bytes(model.SerializeToString())
    assert len(read_voice_metadata(path).speakers) == 3


def test_reading_needs_neither_onnx_nor_its_runtime(files) -> None:  # type: ignore[no-untyped-def]
    program = (
        "import sys; from pathlib import Path; "
        "from ultimate_rvc.rvc.voice_file.read import read_voice_metadata; "
        "read_voice_metadata(Path(sys.argv[1])); print('onnx' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, files["w-okada"]], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_the_cache_knows_a_voice_in_onnx_by_its_bytes(files, copy, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("ultimate_rvc.rvc.infer.identity.encoder_identity", lambda *_, **__: "an encoder")
    paths = (files["voice"], files["RVC-WebUI"], files["w-okada"], change(copy("w-okada"), metadata={}))
    identities = [conversion_identity(path, None, ConversionSettings()) for path in paths]
    assert len({identity["voice"] for identity in identities}) == len(paths)
    assert {identity["encoder"] for identity in identities} == {"contentvec an encoder"}


# --- how it sounds -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("has_f0", [True, False])
@pytest.mark.parametrize(("noise_scale", "source_noise_scale"), [(0.0, 0.0), (0.5, 0.0), (0.66666, 1.0)])
def test_it_sounds_as_the_pth_does_with_the_same_seed(  # type: ignore[no-untyped-def]
    files, form, has_f0, noise_scale, source_noise_scale
) -> None:
    options = {"noise_scale": noise_scale, "source_noise_scale": source_noise_scale}
    expected = rendered(files["voice" if has_f0 else "no f0"], has_f0=has_f0, **options)
    heard = rendered(files[form if has_f0 else f"{form} no f0"], has_f0=has_f0, **options)
    assert snr_db(expected, heard) > ALIKE_DB


@pytest.mark.parametrize("form", FORMS)
def test_the_seed_decides(files, form) -> None:  # type: ignore[no-untyped-def]
    first, again, other = (rendered(files[form], seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert snr_db(first, other) < 40


@pytest.mark.parametrize("form", FORMS)
def test_items_of_a_batch_sound_as_they_do_alone(files, form) -> None:  # type: ignore[no-untyped-def]
    synthesizer = load_voice_model(files[form]).synthesizer
    features, pitch, f0_hz, speakers = inputs(batch=3)
    lengths = (FRAMES, 90, 120)
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    together = synthesizer.infer(
        features, pitch, f0_hz, speakers,
        generator=ItemGenerators(generators, lengths, FRAMES), lengths=lengths,
    )  # fmt: skip
    hop = synthesizer.config.hop_length
    for item, length in enumerate(lengths):
        one = slice(item, item + 1)
        assert pitch is not None
        assert f0_hz is not None
        alone = synthesizer.infer(
            features[one, :length], pitch[one, :length], f0_hz[one, :length], speakers[one],
            generator=torch.Generator().manual_seed(item),
        )  # fmt: skip
        assert snr_db(alone[0].numpy(), together[item, : length * hop].numpy()) > ALIKE_DB
        assert not together[item, length * hop :].any()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_in_half_precision_gets_what_it_takes(copy, files, form) -> None:  # type: ignore[no-untyped-def]
    half = take_half(copy(form))
    expected, heard = rendered(files["voice"]), rendered(half)
    assert heard.dtype == np.float32
    assert snr_db(expected, heard) > 30  # pitch in half precision is rounded by up to 0.1 Hz


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # it is what RVC's tools have
def test_weight_norm_that_is_computed_inside_is_seen_through(files, tmp_path) -> None:  # type: ignore[no-untyped-def]
    synthesizer = load_voice_model(files["voice"]).synthesizer
    assert isinstance(synthesizer, Synthesizer)
    for layer in synthesizer.dec.ups:  # type: ignore[union-attr]
        torch.nn.utils.weight_norm(layer)
    path = export(tmp_path / "normed.onnx", synthesizer, "RVC-WebUI")
    config, original = read_voice_metadata(path).config, synthesizer.config
    assert config.upsample_initial_channel == original.upsample_initial_channel
    assert config.upsample_kernel_sizes == original.upsample_kernel_sizes
    assert snr_db(rendered(files["voice"]), rendered(path)) > ALIKE_DB


def test_older_names_of_inputs_are_known(copy, files) -> None:  # type: ignore[no-untyped-def]
    path = change(copy("RVC-WebUI"), rename={"pitchf": "nsff0", "ds": "sid"})
    assert snr_db(rendered(files["voice"]), rendered(path)) > ALIKE_DB


def test_wrong_inputs_are_told_as_for_any_voice(files) -> None:  # type: ignore[no-untyped-def]
    synthesizer = load_voice_model(files["RVC-WebUI"]).synthesizer
    features, pitch, f0_hz, _ = inputs()
    with pytest.raises(SettingError, match="Speaker 3 does not exist"):
        synthesizer.infer(features, pitch, f0_hz, torch.tensor([3]))
    with pytest.raises(EncoderMismatchError, match="256 features"):
        synthesizer.infer(features[..., :256], pitch, f0_hz, torch.tensor([0]))


def test_that_the_gpu_is_not_used_is_told(  # type: ignore[no-untyped-def]
    files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_voice_model(files["RVC-WebUI"])
    assert not caplog.records
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    load_voice_model(files["RVC-WebUI"], "cuda")
    assert "RVC-WebUI.onnx is computed on the processor" in caplog.text


@pytest.mark.parametrize(
    ("operator", "attributes", "type_"),
    [
        ("RandomNormalLike", {"mean": 2.0, "scale": 3.0, "dtype": TensorProto.FLOAT16}, TensorProto.FLOAT16),
        ("RandomUniformLike", {"low": 2.0, "high": 5.0}, TensorProto.FLOAT),
        ("RandomNormal", {"mean": 2.0, "scale": 3.0, "shape": [2, 4]}, TensorProto.FLOAT),
        ("RandomUniform", {"low": 2.0, "high": 5.0, "shape": [2, 4], "dtype": 11}, TensorProto.DOUBLE),
    ],
)
def test_every_way_to_draw_inside_gets_its_numbers_from_outside(operator, attributes, type_) -> None:  # type: ignore[no-untyped-def]
    node = helper.make_node(operator, ["given"] if "Like" in operator else [], ["drawn"], **attributes)
    keep = helper.make_node("Identity", ["given"], ["kept"])
    ports = {
        "given": helper.make_tensor_value_info("given", TensorProto.FLOAT, [2, 4]),
        "kept": helper.make_tensor_value_info("kept", TensorProto.FLOAT, [2, 4]),
        "drawn": helper.make_tensor_value_info("drawn", type_, None),
    }
    graph = helper.make_graph([node, keep], "g", [ports["given"]], [ports["drawn"], ports["kept"]])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    content = model.SerializeToString()
    changed, (drawn,) = noise_as_inputs(content, read_onnx_graph(content), FLOAT)
    session = onnxruntime.InferenceSession(changed, providers=["CPUExecutionProvider"])
    numbers = np.arange(8, dtype=np.float32).reshape(2, 4)
    given, shape = session.run(["drawn", drawn.shape_output], {"given": numbers, drawn.input: numbers})
    assert np.array_equal(given, numbers)
    assert given.dtype == helper.tensor_dtype_to_np_dtype(type_)
    assert shape.tolist() == [2, 4]
    assert drawn.is_normal is ("Normal" in operator)
    assert (drawn.offset, drawn.scale) == (2.0, 3.0)


# --- what is refused ---------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a network of another kind": (write_mdx_net, "no RVC voice: it takes input, .* separation model"),
    "a wrong name of an input": (
        lambda path: change(path, rename={"phone": "hidden"}),
        "no RVC voice: it takes hidden, phone_lengths",
    ),
    "one input too many": (lambda path: change(path, rename={"rnd": "volume"}), "takes volume besides"),
    "half of the pitch": (lambda path: change(path, without="pitch"), "takes only one of pitch and pitchf"),
    "one input twice": (lambda path: change(path, rename={"phone_lengths": "sid"}), "takes both sid and ds"),
    "an input of another type": (
        lambda path: change(path, rename={"ds": "swap", "rnd": "ds", "swap": "rnd"}),
        "another form than RVC's voices",
    ),
    "a custom operator": (lambda path: change(path, domain="evil.ops"), "operators of evil.ops"),
    "a plugin's operator": (lambda path: change(path, domain="com.microsoft"), "operators of com.microsoft"),
    "weights elsewhere": (lambda path: change(path, outside="../secret"), "keeps weights in another file"),
    "a length of its own": (lambda path: change(path, frames=200), "windows of exactly 200 frames"),
    "a text": (lambda path: path.write_text("no voice at all"), "is a text file, not a voice"),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><p>"), "web page"),
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "no file": (lambda path: path.unlink(), "There is no file"),
    "random bytes": (lambda path: path.write_bytes(random.Random(3).randbytes(5000)), "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_voice_is_refused_in_one_sentence(copy, case) -> None:  # type: ignore[no-untyped-def]
    make, told = REFUSED[case]
    path = copy("RVC-WebUI")
    make(path)
    for read in (read_voice_metadata, read_voice_file, load_voice_model):
        with pytest.raises(VoiceFileError, match=told) as refused:
            read(path)
        sentence = str(refused.value)
        assert str(path) in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_off_is_refused(copy, share) -> None:  # type: ignore[no-untyped-def]
    path = copy("w-okada")
    content = path.read_bytes()
    path.write_bytes(content[: max(int(len(content) * share), 16)])
    with pytest.raises(VoiceFileError, match=r"copy\.onnx is cut off, damaged or no ONNX file"):
        read_voice_metadata(path)


def test_changed_bytes_are_read_or_refused_and_nothing_else(copy) -> None:  # type: ignore[no-untyped-def]
    path = copy("w-okada")
    content, dice = path.read_bytes(), random.Random(5)
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            # Half of them where the graph begins: most other bytes are weights.
            end = len(changed) if dice.random() < 0.5 else 5000
            changed[dice.randrange(end)] = dice.randrange(256)
        path.write_bytes(changed)
        with suppress(VoiceFileError):
            read_voice_metadata(path)


def test_graphs_within_graphs_without_end_are_refused() -> None:
    graph = b""
    for _ in range(3000):
        graph = field_bytes(1, field_bytes(5, field_bytes(6, graph)))
    with pytest.raises(DamagedGraphError, match="without end"):
        read_onnx_graph(field_bytes(7, graph))


def test_weights_that_are_no_numbers_are_found_when_it_is_loaded(copy) -> None:  # type: ignore[no-untyped-def]
    path = copy("RVC-WebUI")
    model = onnx.load(path)
    (weight,) = [each for each in model.graph.initializer if each.name.endswith("conv_post.weight")]
    weight.raw_data = np.full(weight.dims, np.nan, np.float32).tobytes()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VoiceFileError, match="no numbers"):
        load_voice_model(path)


def test_a_graph_that_cannot_run_is_told_in_one_sentence(copy) -> None:  # type: ignore[no-untyped-def]
    path = copy("RVC-WebUI")
    model = onnx.load(path)
    next(node for node in model.graph.node if node.op_type == "Conv").op_type = "Convolve"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VoiceFileError, match="ONNX Runtime can open") as refused:
        load_voice_model(path)
    assert "\n" not in str(refused.value)


def test_its_weights_cannot_be_taken_out(files) -> None:  # type: ignore[no-untyped-def]
    for form in FORMS:
        with pytest.raises(VoiceFileError, match=r"can only convert.*the \.pth"):
            read_voice_file(files[form])


def test_the_bytes_decide_and_not_the_suffix(files, tmp_path) -> None:  # type: ignore[no-untyped-def]
    as_pth, as_onnx = tmp_path / "a.pth", tmp_path / "b.onnx"
    as_pth.write_bytes(files["RVC-WebUI"].read_bytes())
    as_onnx.write_bytes(files["voice"].read_bytes())
    assert read_voice_metadata(as_pth).dialect is Dialect.ONNX
    assert read_voice_metadata(as_onnx).dialect is Dialect.RVC
