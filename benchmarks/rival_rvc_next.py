"""One timed conversion by rvc-next, in a Python that has it: the other half of ``rival.py``, which starts it.

    python benchmarks/rival_rvc_next.py FOLDER

``FOLDER`` holds what ``rival.write_work`` writes. All models are loaded, one second is converted without
noise and kept as ``rvc-next.npy``, then the vocal is converted and timed. The last line printed is a JSON
object of what was measured. Nothing but rvc-next (GPL: run, never a dependency), numpy and torch is
needed, and nothing is fetched.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import wave
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from rvc_next.engine.convert.offline import OfflineConverter
from rvc_next.engine.convert.params import VoiceParams
from rvc_next.engine.runtime import Runtime

SAMPLE_RATE = 16_000
INT16_SCALE = 32_768


def read_wav(path: Path) -> np.ndarray:
    """Mono 16-bit audio at 16 kHz as float32 ``(samples,)``."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SAMPLE_RATE):
            raise SystemExit(f"{path} is not mono, 16-bit and {SAMPLE_RATE} Hz.")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / INT16_SCALE


def check_loaded(voice: Any) -> None:
    """rvc-next passes over tensors that a voice file lacks: the networks would then not be the same."""
    built, stored = set(voice.net_g.state_dict()), set(voice.small.weight)
    if built != stored:
        raise SystemExit(f"rvc-next did not load the voice file as it is: {sorted(built ^ stored)[:5]}")


def zeros(*shape: int, **options: Any) -> torch.Tensor:
    return torch.zeros(*shape, device=options.get("device"))


def zeros_like(tensor: torch.Tensor, **_: Any) -> torch.Tensor:
    return torch.zeros_like(tensor)


def own_peak_mb() -> float:
    """Peak memory of this program; Linux's ``ru_maxrss`` begins at that of the program that started it."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text(encoding="ascii"))
    runtime = Runtime(folder / "assets", device="cpu", precision="fp32")
    voice, index = runtime.voice(folder / task["voice"]), runtime.index(folder / task["index"])
    check_loaded(voice)
    converter = OfflineConverter(runtime)
    params = VoiceParams(
        f0_method=task["f0_method"],
        index_rate=task["index_rate"],
        protect=task["protect"],
        rms_mix_rate=1.0,
        unvoiced="zero",  # what RVC, Applio and this project do with them
    )

    def convert(audio: np.ndarray) -> tuple[np.ndarray, int]:
        return converter.convert(audio, voice, params, index=index)

    with mock.patch("torch.randn_like", zeros_like), mock.patch("torch.rand", zeros):
        warm_up, _ = convert(read_wav(folder / "warm_up.wav"))
    np.save(folder / "rvc-next.npy", warm_up.astype(np.float32) / INT16_SCALE)

    vocal = read_wav(folder / "vocal.wav")
    wall, cpu = time.perf_counter(), time.process_time()
    converted, sample_rate = convert(vocal)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "peak_mb": own_peak_mb(),
                "output_seconds": len(converted) / sample_rate,
                "sample_rate": sample_rate,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "version": version("rvc-next"),
            }
        )
    )


if __name__ == "__main__":
    main()
