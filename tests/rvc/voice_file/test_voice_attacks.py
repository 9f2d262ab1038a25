"""Whatever a voice file holds, opening it is refused in one sentence or gives a voice, and runs nothing."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from voice_factory import (
    VoiceSpec,
    archive_of,
    training_checkpoint,
    voice_content,
    write_executing_voice,
    write_voice,
)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_voice_that_would_run_a_command_is_refused(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "ran"
    path = write_executing_voice(tmp_path / "voice.pth", marker, legacy=legacy)
    with pytest.raises(VoiceFileError, match=r"voice\.pth asks to run posix\.system; refused"):
        load_voice_model(path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_voice_cut_off_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = write_voice(tmp_path / f"whole{suffix}", "safetensors" if suffix == ".safetensors" else "Applio")
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in [*range(64), *range(64, len(data), len(data) // 40), *range(len(data) - 64, len(data))]:
        cut.write_bytes(data[:length])
        with pytest.raises(VoiceFileError, match="cut"):
            load_voice_model(cut)


@pytest.fixture(scope="module")
def sources() -> dict[str, bytes]:
    contents = {
        "original": voice_content(VoiceSpec(), "RVC"),
        "rvc-next": voice_content(VoiceSpec(speaker_names=("Ann", "Bo")), "rvc-next"),
        "training": training_checkpoint(VoiceSpec()),
    }
    saved = {}
    for name, content in contents.items():
        buffer = io.BytesIO()
        torch.save(content, buffer)
        saved[name] = buffer.getvalue()
    return saved


def repacked(data: bytes, place: int, new: bytes) -> bytes:
    """The archive with a few bytes of its pickle changed and all checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickled = bytearray(archive.read("archive/data.pkl"))
        names = [name for name in archive.namelist() if name.startswith("archive/data/")]
        storages = [archive.read(f"archive/data/{key}") for key in range(len(names))]
    start = place % len(pickled)
    pickled[start : start + len(new)] = new
    return archive_of(bytes(pickled), storages)


# The end of a pickle holds the metadata, the rest nothing but tensors: both get their share.
places = st.integers(0, 2**20) | st.integers(-600, -1)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("source", ["original", "rvc-next", "training"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=places, new=st.binary(min_size=1, max_size=6))
def test_changed_bytes_give_a_voice_or_a_refusal(
    tmp_path: Path, sources: dict[str, bytes], source: str, place: int, new: bytes
) -> None:
    path = tmp_path / "voice_40k.pth"
    path.write_bytes(repacked(sources[source], place, new))
    with suppress(VoiceFileError):
        load_voice_model(path)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.just(torch.ones(2)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)
KEYS = (
    "config",
    "sr",
    "f0",
    "version",
    "vocoder",
    "embedder_model",
    "speaker_info",
    "epoch",
    "info",
    "f0_median",
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=values)
def test_any_value_of_any_key_gives_a_voice_or_a_refusal(tmp_path: Path, key: str, value: object) -> None:
    content = {**voice_content(VoiceSpec(), "RVC"), key: value}
    torch.save(content, tmp_path / "voice.pth")
    with suppress(VoiceFileError):
        load_voice_model(tmp_path / "voice.pth")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 17), value=st.integers(-2, 2**17) | values)
def test_any_value_in_the_config_gives_a_voice_or_a_refusal(
    tmp_path: Path, place: int, value: object
) -> None:
    content = voice_content(VoiceSpec(), "RVC")
    content["config"][place] = value
    torch.save(content, tmp_path / "voice.pth")
    with suppress(VoiceFileError):
        load_voice_model(tmp_path / "voice.pth")
