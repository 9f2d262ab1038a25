"""Voice files with a few bytes changed where they describe their tensors, and what comes of opening them."""

from __future__ import annotations

import io
import pickletools
import random
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from voice_factory import (
    VoiceSpec,
    archive_of,
    training_checkpoint,
    ultimate_rvc_enums,
    voice_content,
    write_voice,
)

MAX_CHANGED_BYTES = 4
INTEGERS = ("BININT", "BININT1", "BININT2")
LEGACY_STORAGES = 2000  # bytes at the end of the older form that are surely storages


class TinySpec(VoiceSpec):
    """A voice that opens in milliseconds, with every kind of layer."""

    @property
    def config(self) -> SynthesizerConfig:
        return replace(
            super().config,
            layers=1,
            inter_channels=2,
            hidden_channels=4,
            filter_channels=4,
            resblock_kernel_sizes=(3,),
            resblock_dilations=((1,),),
            upsample_rates=(20, 20),
            upsample_kernel_sizes=(40, 40),
            upsample_initial_channel=4,
            speaker_channels=2,
        )


@dataclass(frozen=True)
class Source:
    """A sound voice file, and the places in it that are worth changing."""

    suffix: str
    data: bytes
    start: int
    """Where the description of the tensors begins."""
    size: int
    favoured: tuple[int, ...]
    """Half of the changes fall here: on whole numbers (sizes, strides, counts); in safetensors on a note."""

    def changed(self, chance: random.Random) -> bytes:
        """The file with one to four bytes changed."""
        data = bytearray(self.data)
        for _ in range(chance.randint(1, MAX_CHANGED_BYTES)):
            anywhere = self.start + chance.randrange(self.size)
            at = chance.choice(self.favoured) if self.favoured and chance.random() < 0.5 else anywhere
            data[at] = chance.randrange(256)
        return bytes(data)


def sources(folder: Path) -> dict[str, Source]:
    """One small voice of every dialect, and one of torch's older form."""
    spec = TinySpec(version="v1", speaker_names=("Ann",))
    found = {}
    for dialect in ("RVC", "rvc-webui", "Applio", "Ultimate RVC", "rvc-next"):
        with ultimate_rvc_enums():
            found[dialect] = _zipped(voice_content(spec, dialect))
    found["training"] = _zipped({"model": training_checkpoint(VoiceSpec())["model"], "iteration": 7})
    buffer = io.BytesIO()
    torch.save(voice_content(spec, "RVC"), buffer, _use_new_zipfile_serialization=False)
    found["older form"] = Source(".pth", buffer.getvalue(), 0, len(buffer.getvalue()) - LEGACY_STORAGES, ())
    packed = write_voice(folder / "v.safetensors", "safetensors", version="v1").read_bytes()
    header_bytes = int.from_bytes(packed[:8], "little")
    note = packed.index(b"7epoch")
    found["safetensors"] = Source(".safetensors", packed, 0, 8 + header_bytes, tuple(range(note, note + 6)))
    return found


def _zipped(content: object) -> Source:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        pickled = archive.read("archive/data.pkl")
        count = sum(name.startswith("archive/data/") for name in archive.namelist())
        storages = [archive.read(f"archive/data/{key}") for key in range(count)]
    # Without checksums, as torch can be told to write files: else every change would end there.
    data = _without_checksums(archive_of(pickled, storages))
    start = data.index(pickled)
    integers = tuple(
        start + at + 1
        for opcode, _, at in pickletools.genops(pickled)
        if opcode.name in INTEGERS and at is not None
    )
    return Source(".pth", data, start, len(pickled), integers)


def _without_checksums(archived: bytes) -> bytes:
    """The archive with every checksum of its directory at 0."""
    data = bytearray(archived)
    with zipfile.ZipFile(io.BytesIO(archived)) as archive:
        at, count = archive.start_dir, len(archive.infolist())
    for _ in range(count):
        data[at + 16 : at + 20] = bytes(4)
        lengths = (int.from_bytes(data[at + place : at + place + 2], "little") for place in (28, 30, 32))
        at += 46 + sum(lengths)
    return bytes(data)


def outcomes(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Open ``count`` changed files: for each its source, what came of it, and its bytes.

    The outcome is ``loaded``, ``refused``, or what went wrong instead.
    """
    chance, known = random.Random(seed), sources(folder)
    for number in range(count):
        name = list(known)[number % len(known)]
        path = folder / f"voice_40k{known[name].suffix}"
        data = known[name].changed(chance)
        path.write_bytes(data)
        yield name, _outcome(path), data


def _outcome(path: Path) -> str:
    try:
        load_voice_model(path)
    except UltimateRVCError as error:
        is_sentence = str(error).startswith(str(path)) and "\n" not in str(error)
        return "refused" if is_sentence else f"refused with {error}"
    except Exception as error:  # what is looked for
        return f"{type(error).__name__}: {error}"
    return "loaded"


def tally(folder: Path, count: int, seed: int) -> Counter[tuple[str, str]]:
    """How often each source came to each outcome."""
    return Counter((name, outcome) for name, outcome, _ in outcomes(folder, count, seed))
