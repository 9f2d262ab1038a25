"""docs/fast-vocoder.md is true: its examples run, its files exist, and its switch removes the folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ultimate_rvc
from ultimate_rvc.rvc.infer.optimization import cpu_vocoder

PAGE = (Path(__file__).parents[3] / "docs" / "fast-vocoder.md").read_text(encoding="utf-8")
FOLDER = Path(cpu_vocoder.__file__).parent
PACKAGE = cpu_vocoder.__name__


@pytest.mark.parametrize("example", re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
def test_an_example_runs_and_prints_something(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example, "docs/fast-vocoder.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_every_file_of_the_folder_has_its_line() -> None:
    files = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"^\| `(\w+\.py)` \|", PAGE, re.MULTILINE)) == files


@pytest.mark.parametrize("switched_on", [True, False])
def test_without_the_switch_the_folder_is_not_imported(switched_on: bool) -> None:
    code = (
        "import sys, torch\n"
        "from ultimate_rvc.rvc.infer.optimization import rendering\n"
        "from ultimate_rvc.switches import OptimizationConfig\n"
        f"config = OptimizationConfig(device='cpu', fast_vocoder={switched_on})\n"
        "rendering.renderer_for(config, torch.device('cpu'), torch.float32)\n"
        f"print('llvmlite' in sys.modules, any(name.startswith('{PACKAGE}') for name in sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(switched_on)] * 2
