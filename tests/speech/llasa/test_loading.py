"""Models in memory: number formats, adapters, memory, and what is said of folders that are none."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llasa_models
from ultimate_rvc.errors import OutOfMemoryError, SpeechError
from ultimate_rvc.speech.llasa import folders, loading
from ultimate_rvc.speech.llasa.folders import FolderKind, Reader, find_codec, find_reader, kind_of
from ultimate_rvc.speech.llasa.generation import Generator
from ultimate_rvc.speech.llasa.loading import chosen_format, load_language_model, with_adapter
from ultimate_rvc.speech.llasa.prompt import prompt_tokens
from ultimate_rvc.speech.llasa.settings import LlasaSettings, NumberFormat

CPU = torch.device("cpu")

# ------------------------------------------------------------------ number formats


@pytest.mark.parametrize("precision", [NumberFormat.BFLOAT16, NumberFormat.FLOAT16, NumberFormat.FLOAT32])
def test_a_model_speaks_in_each_number_format(llasa_dir: Path, precision: NumberFormat) -> None:
    model = load_language_model(Reader(llasa_dir / "tiny"), CPU, precision)
    assert {weight.dtype for weight in model.network.parameters()} == {loading.DTYPES[precision]}
    prompt = prompt_tokens(model.tokenizer, model.vocabulary, "Hello.", None)
    assert Generator(model, LlasaSettings()).speak(prompt, 3).is_complete


@pytest.mark.parametrize(
    ("asked", "works", "chosen"),
    [
        (NumberFormat.BFLOAT16, {torch.float16, torch.float32}, NumberFormat.FLOAT16),
        (NumberFormat.BFLOAT16, {torch.float32}, NumberFormat.FLOAT32),
        (NumberFormat.FLOAT16, {torch.bfloat16, torch.float32}, NumberFormat.FLOAT32),
        (NumberFormat.BFLOAT16, {torch.bfloat16, torch.float32}, NumberFormat.BFLOAT16),
    ],
)
def test_a_format_that_the_device_lacks_gives_way_to_the_next_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: NumberFormat,
    works: set[torch.dtype], chosen: NumberFormat,
) -> None:  # fmt: skip
    monkeypatch.setattr(loading, "works_in", lambda device, dtype: dtype in works)
    with caplog.at_level(logging.WARNING):
        assert chosen_format(CPU, asked) is chosen
    assert len(caplog.records) == (asked is not chosen)


def test_a_processor_computes_in_float32_unless_asked() -> None:
    assert chosen_format(CPU, NumberFormat.AUTO) is NumberFormat.FLOAT32
    assert loading.works_in(CPU, torch.bfloat16)


def test_a_gpu_computes_in_the_first_format_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "works_in", lambda device, dtype: dtype is not torch.bfloat16)
    assert chosen_format(torch.device("mps"), NumberFormat.AUTO) is NumberFormat.FLOAT16


# ------------------------------------------------------------------ memory

MEASURED = """
import re, sys, threading
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from ultimate_rvc.speech.llasa.folders import Reader
from ultimate_rvc.speech.llasa.loading import load_language_model
from ultimate_rvc.speech.llasa.settings import NumberFormat

def read(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def load(folder, precision):
    return load_language_model(Reader(Path(folder)), torch.device("cpu"), NumberFormat(precision)).network

def measured(precision, name):
    before, most, done = read(name), 0, threading.Event()
    def watch():
        nonlocal most
        while not done.wait(0.002):
            most = max(most, read(name))
    watcher = threading.Thread(target=watch)
    watcher.start()
    network = load(large, precision)
    with torch.inference_mode():
        for weight in network.parameters():
            weight.view(-1)[::1024].sum()  # every page: a file that is only mapped is not in memory yet
    done.set()
    watcher.join()
    weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return (max(most, read(name)) - before) / weights

small, large = sys.argv[1:]
load(small, "bfloat16")  # what libraries take at their first use
print(measured("bfloat16", "VmRSS"), measured("float32", "RssAnon"))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """67 MB of weights in bfloat16: most of them rows of tokens, as in the published models."""
    folder = tmp_path_factory.mktemp("large")
    return llasa_models.write_model(folder, hidden_size=512, rows=30_000, dtype=torch.bfloat16)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_takes_little_more_than_the_weights(llasa_dir: Path, large: Path) -> None:
    """At most 1.1 times, whether the file's format is kept or another one is asked for.

    Another one needs weights of its own. While they are made, the file's pages count in VmRSS too, though the
    system drops them at need; so there only what it cannot drop is counted.
    """
    command = [sys.executable, "-c", MEASURED, str(llasa_dir / "tiny"), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    same, other = map(float, done.stdout.split())
    assert 0.9 < same < 1.1
    assert 0.9 < other < 1.1


def test_too_little_memory_is_told(llasa_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(OutOfMemoryError, match="too little free memory"):
        load_language_model(Reader(llasa_dir / "tiny"), CPU, NumberFormat.AUTO)


# ------------------------------------------------------------------ adapters


@pytest.fixture
def adapter(llasa_dir: Path, tmp_path: Path) -> Path:
    """An adapter of peft for the model ``tiny``, saved by peft."""
    from peft import LoraConfig, get_peft_model

    network = load_language_model(Reader(llasa_dir / "tiny"), CPU, NumberFormat.AUTO).network
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = get_peft_model(network, config)
    folder = tmp_path / "adapter"
    adapted.save_pretrained(folder)
    return folder


def codes_of(reader: Reader) -> list[int]:
    model = load_language_model(reader, CPU, NumberFormat.AUTO)
    prompt = prompt_tokens(model.tokenizer, model.vocabulary, "Hello.", None)
    codes: list[int] = (
        Generator(model, LlasaSettings(temperature=0, max_tokens=160)).speak(prompt, 0).codes.tolist()
    )
    return codes


def test_an_adapter_changes_what_is_said_as_it_does_apart(llasa_dir: Path, adapter: Path) -> None:
    reader = find_reader(str(adapter))
    assert reader == Reader(llasa_dir / "tiny", adapter)
    assert codes_of(reader) != codes_of(Reader(llasa_dir / "tiny"))
    merged = load_language_model(reader, CPU, NumberFormat.AUTO)
    apart = load_language_model(reader, CPU, NumberFormat.AUTO, is_trained=True)
    prompt = prompt_tokens(merged.tokenizer, merged.vocabulary, "Hello.", None)[None]
    torch.testing.assert_close(
        merged.network(prompt).logits, apart.network(prompt).logits, atol=1e-4, rtol=1e-4
    )
    assert any("lora" in name for name, weight in apart.network.named_parameters() if weight.requires_grad)


def test_an_adapter_without_its_model_or_weights_is_told(llasa_dir: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(SpeechError, match=r"has no file adapter_model\.safetensors"):
        codes_of(find_reader(str(adapter)))
    about = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(about | {"base_model_name_or_path": "x/Llasa-9B"})
    )
    with pytest.raises(SpeechError, match="belongs to the model x/Llasa-9B, which is not here: put"):
        find_reader(str(adapter))
    (adapter / "adapter_config.json").write_text(json.dumps(about | {"base_model_name_or_path": "x/tiny"}))
    assert find_reader(str(adapter)).model == llasa_dir / "tiny"


def test_adapters_need_peft(llasa_dir: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_language_model(Reader(llasa_dir / "tiny"), CPU, NumberFormat.AUTO).network
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpeechError, match=r"need the package peft: install it.*\[llasa\]"):
        with_adapter(network, adapter, CPU, is_trained=False)


# ------------------------------------------------------------------ folders


def test_folders_are_told_apart_by_their_own_files(llasa_dir: Path, tmp_path: Path) -> None:
    assert kind_of(llasa_dir / "tiny") is FolderKind.MODEL
    assert kind_of(llasa_dir / "xcodec2") is FolderKind.CODEC
    assert kind_of(tmp_path) is None
    (tmp_path / "config.json").write_text("[1")
    assert kind_of(tmp_path) is None
    assert find_codec(None) == find_codec("xcodec2") == find_codec(str(llasa_dir / "xcodec2"))
    assert find_reader(None) == find_reader("tiny") == find_reader(str(llasa_dir / "tiny"))


def test_what_is_not_there_is_told_with_where_to_get_it(
    llasa_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders.is_here()
    with pytest.raises(SpeechError, match="tinier is no model or adapter of LLASA"):
        find_reader("tinier")
    with pytest.raises(
        SpeechError, match="tiny is not there or is no XCodec2: get the folders HKUSTAudio/Llasa-1B"
    ):
        find_codec("tiny")
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path))
    assert not folders.is_here()
    with pytest.raises(
        SpeechError, match=r"There is no model of LLASA: get.*CC-BY-NC-4\.0, forbids commercial use"
    ):
        find_reader(None)


def test_a_transformers_without_the_codec_is_told(llasa_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "CODEC_TYPE", "xcodec9")
    assert not folders.is_here()
    with pytest.raises(SpeechError, match=r"has no XCodec2.*transformers 5\.23 has it"):
        find_codec(None)


@pytest.mark.parametrize("damage", ["cut", "pickled", "no tokenizer", "too few rows"])
def test_a_damaged_model_is_told_in_one_sentence(llasa_dir: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llasa_dir / "tiny", folder)
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "pickled":  # never opened, as opening one executes it
        weights.rename(folder / "pytorch_model.bin")
    elif damage == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        llasa_models.write_model(folder, rows=300)
    with pytest.raises(SpeechError) as told:
        load_language_model(Reader(folder), CPU, NumberFormat.AUTO)
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)


def test_settings_come_from_variables_and_name_them_when_wrong() -> None:
    given = {"URVC_LLASA_TEMPERATURE": "0.95", "URVC_LLASA_SPREAD": "yes", "URVC_LLASA_COMPILE": "off"}
    settings = LlasaSettings.from_env(given)
    assert (settings.temperature, settings.spread, settings.compile_model) == (0.95, True, "off")
    assert LlasaSettings.from_env({}) == LlasaSettings()
    for variable, text, told in (
        ("URVC_LLASA_TOP_P", "7", r"URVC_LLASA_TOP_P is 7\.0, but must be from 0\.01 to 1"),
        (
            "URVC_LLASA_MAX_TOKENS",
            "many",
            "URVC_LLASA_MAX_TOKENS is 'many', but must be a number, 128 to 8192",
        ),
        ("URVC_LLASA_SPREAD", "maybe", "URVC_LLASA_SPREAD is 'maybe'"),
        ("URVC_LLASA_PRECISION", "int8", "URVC_LLASA_PRECISION is int8, but must be one of auto, float32"),
    ):
        with pytest.raises(Exception, match=told):
            LlasaSettings.from_env({variable: text})
