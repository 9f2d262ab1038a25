"""Training of an adapter: it learns, continues exactly, and becomes a speaker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers.models.llama.modeling_llama import LlamaMLP

from ultimate_rvc.cli.main import run
from ultimate_rvc.errors import SettingError, SpeechError, TrainingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.llasa import finetune as module
from ultimate_rvc.speech.llasa.engine import Engine
from ultimate_rvc.speech.llasa.examples import NO_TARGET, batch_of, order_of, read_examples
from ultimate_rvc.speech.llasa.finetune import FinetuneResult, Learner, finetune
from ultimate_rvc.speech.llasa.lines import Line
from ultimate_rvc.speech.llasa.loading import LanguageModel
from ultimate_rvc.speech.llasa.tool_settings import FinetuneSettings

PREPARED = ("tiny", "xcodec2")
SETTINGS = FinetuneSettings(
    num_epochs=6, batch_size=2, accumulation=2, learning_rate=5e-3, warm_up_steps=2, dropout=0.1, save_steps=4,
    device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def written_dir(llasa_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of LLASA that trainings write to."""
    folder = tmp_path_factory.mktemp("models") / "speech" / "llasa"
    for name in PREPARED:
        shutil.copytree(llasa_home / "speech" / "llasa" / name, folder / name)
    return folder


@pytest.fixture
def own_dir(written_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same for one test, found by the program, and without what other tests trained."""
    monkeypatch.setenv("URVC_MODELS_DIR", str(written_dir.parents[1]))
    yield written_dir
    for folder in written_dir.iterdir():
        if folder.name not in PREPARED:
            shutil.rmtree(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data.jsonl")


def write_data(path: Path) -> Path:
    """Seven lines whose codes go round in a small circle, which can be learnt."""
    lines = [
        Line(str(number), "Words. " * (1 + number % 3), tuple((number + np.arange(12 + number)) % 4 + 10))
        for number in range(7)
    ]
    lines = [replace(line, code=tuple(int(code) for code in line.code)) for line in lines]
    path.write_text("".join(line.as_json() for line in lines), encoding="utf-8")
    return path


class StoppedAt(Progress):
    """Cancels at a step, as the button and Ctrl-C do."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def report(self, step: str, fraction: float, text: str = "") -> None:
        if text.startswith(f"step {self.step} "):
            self.cancel()
        super().report(step, fraction, text)


@pytest.fixture(scope="module")
def trained_once(written_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FinetuneResult, Path]:
    """A training, and its folder where no test changes it."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("URVC_MODELS_DIR", str(written_dir.parents[1]))
        result = finetune(write_data(root / "data.jsonl"), "whole", SETTINGS, Progress())
    return result, Path(shutil.move(result.path, root))


@pytest.fixture
def trained(own_dir: Path, trained_once: tuple[FinetuneResult, Path]) -> FinetuneResult:
    result, folder = trained_once
    shutil.copytree(folder, result.path)
    return result


def test_the_loss_falls_and_the_adapter_is_a_speaker(trained: FinetuneResult, own_dir: Path) -> None:
    assert (len(trained.losses), trained.lines, trained.left_out, trained.was_stopped) == (12, 7, 0, False)
    assert np.mean(trained.losses[-3:]) < 0.8 * np.mean(trained.losses[:3])
    assert Speaker("whole", "en, zh", "adapter") in Engine().speakers()
    about = json.loads((own_dir / "whole" / "adapter_config.json").read_text())
    assert (about["r"], about["lora_alpha"], sorted(about["target_modules"])) == (8, 32, ["q_proj", "v_proj"])
    adapted, _ = Engine().synthesize("Good morning.", "whole", 1.0, 1)
    plain, _ = Engine().synthesize("Good morning.", "tiny", 1.0, 1)
    assert not np.array_equal(adapted, plain)
    rows = (own_dir / "whole" / "losses.csv").read_text().splitlines()
    assert [float(row.split(",")[1]) for row in rows[1:]] == list(trained.losses)


@pytest.mark.parametrize("step", [4, 5])  # at a checkpoint, and between two
def test_a_run_that_was_stopped_has_the_same_losses_as_one_that_was_not(
    trained: FinetuneResult, own_dir: Path, data: Path, step: int
) -> None:
    stopped = finetune(data, "parts", SETTINGS, StoppedAt(step))
    assert (len(stopped.losses), stopped.was_stopped) == (step, True)
    resumed = finetune(data, "parts", SETTINGS, Progress())
    assert resumed.losses == trained.losses
    whole, parts = (load_file(own_dir / name / "adapter_model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=0, atol=0)


def test_a_finished_training_can_be_made_longer_and_another_one_is_refused(
    trained: FinetuneResult, data: Path
) -> None:
    longer = finetune(data, "whole", replace(SETTINGS, num_epochs=7), Progress())
    assert len(longer.losses) == 14
    assert longer.losses[:12] == trained.losses
    with pytest.raises(SpeechError, match="was begun with rank 8, not 4: use the same") as told:
        finetune(data, "whole", replace(SETTINGS, rank=4), Progress())
    assert told.value.fields == ("rank",)


def test_batches_and_saved_memory_change_nothing_but_rounding(
    own_dir: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, dropout=0.0, max_steps=3)
    passes: list[int] = []
    forward = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, hidden: passes.append(1) or forward(self, hidden))
    usual = finetune(data, "usual", settings, Progress()).losses
    counted = len(passes)
    one_by_one = finetune(data, "single", replace(settings, batch_size=1, accumulation=4), Progress()).losses
    np.testing.assert_allclose(one_by_one, usual, rtol=1e-4)
    passes.clear()
    saving = finetune(data, "saving", replace(settings, reduce_memory_usage=True), Progress()).losses
    np.testing.assert_allclose(saving, usual, rtol=1e-4)
    assert len(passes) == 2 * counted  # each layer again on the way back


def test_the_loss_is_of_speech_and_its_end_alone(model: LanguageModel, data: Path) -> None:
    examples, left_out = read_examples(data, model.tokenizer, model.vocabulary, 2048)
    batch = batch_of(examples[:2])
    for row, example in enumerate(examples[:2]):
        learnt = batch.targets[row][batch.targets[row] != NO_TARGET]
        assert learnt.tolist() == example.tokens[example.prompt_length :].tolist()
        assert learnt[-1] == model.vocabulary.end
        places = (batch.targets[row] != NO_TARGET).nonzero()[:, 0]
        assert (batch.tokens[row][places[1:]] == batch.targets[row][places[:-1]]).all()
    assert left_out == 0
    shorter, left_out = read_examples(data, model.tokenizer, model.vocabulary, 125)
    assert len(shorter) + left_out == 7
    assert 0 < left_out < 7
    with pytest.raises(SpeechError, match="no line of at most 20 tokens"):
        read_examples(data, model.tokenizer, model.vocabulary, 20)


def test_the_loss_is_that_of_transformers(own_dir: Path, model: LanguageModel, data: Path) -> None:
    examples, _ = read_examples(data, model.tokenizer, model.vocabulary, 2048)
    batch = batch_of(examples[:2])
    labels = torch.full_like(batch.targets, NO_TARGET)
    labels[:, 1:] = batch.targets[:, :-1]
    with torch.no_grad():
        theirs = model.network(input_ids=batch.tokens, attention_mask=batch.is_token, labels=labels).loss
    settings = replace(SETTINGS, num_epochs=1, max_steps=1, accumulation=1, dropout=0.0)
    two = data.with_name("two.jsonl")
    two.write_text("".join(data.read_text("utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    (ours,) = finetune(two, "one step", settings, Progress()).losses  # an adapter begins with no effect
    assert ours == pytest.approx(float(theirs), rel=1e-4)


def test_an_epoch_has_every_line_once_in_an_order_of_its_own() -> None:
    first, second = order_of(50, 0, 3), order_of(50, 1, 3)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first == order_of(50, 0, 3) != order_of(50, 0, 4)


def test_a_loss_that_is_no_number_ends_it(own_dir: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "_loss", lambda self, batch: self._weights[0].sum() * float("nan"))
    with pytest.raises(TrainingError, match="loss of step 1 is no number any more"):
        finetune(data, "broken", SETTINGS, Progress())


def test_what_cannot_be_trained_is_told(
    trained: FinetuneResult, own_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpeechError, match="tiny is there already and is no training"):
        finetune(data, "tiny", SETTINGS, Progress())
    with pytest.raises(SettingError, match="base_model must be a model, not an adapter"):
        finetune(data, "x", replace(SETTINGS, base_model="whole"), Progress())
    (own_dir / "whole" / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is damaged: remove"):
        finetune(data, "whole", SETTINGS, Progress())
    (tmp_path / "bad.jsonl").write_text('{"text": "a", "code": [1]}\n{"text": "a", "code": ["1"]}\n')
    with pytest.raises(SpeechError, match="no dataset of LLASA: line 2"):
        finetune(tmp_path / "bad.jsonl", "x", SETTINGS, Progress())
    monkeypatch.setattr(module, "check_peft", lambda: (_ for _ in ()).throw(SpeechError("no peft")))
    with pytest.raises(SpeechError, match="no peft"):
        finetune(data, "x", SETTINGS, Progress())


def test_the_command_trains_an_adapter(own_dir: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["speech", "finetune", str(data), "my voice", "--max-steps", "2", "--accumulation", "2"]
    words += ["--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        run(words)
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    assert "done: 2 steps, loss" in out
    assert f"speaker     my voice (--engine llasa), in {own_dir / 'my voice'}" in out
    with pytest.raises(SystemExit) as ended:
        run([*words, "--rank", "4"])
    assert ended.value.code
    assert "begun with --rank 8, not 4" in capsys.readouterr().err
