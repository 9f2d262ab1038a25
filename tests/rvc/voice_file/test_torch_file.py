"""Files of ``torch.save`` read as data: equal to ``torch.load``, and nothing else ever happens."""

from __future__ import annotations

import enum
import io
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.restricted_pickle import MAX_PICKLE_BYTES
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file
from voice_factory import Payload, archive_of, rewrite_archive, ultimate_rvc_enums, write_executing_voice

# Python tells every hook about these before they happen; unpickling a class or function is one of them.
TELLTALE_EVENTS = (
    "pickle.find_class",
    "os.system",
    "subprocess.Popen",
    "os.posix_spawn",
    "os.exec",
    "os.fork",
)
_watched: list[str] | None = None


def _note(event: str, _arguments: object) -> None:
    if _watched is not None and event in TELLTALE_EVENTS:
        _watched.append(event)


sys.addaudithook(_note)


@contextmanager
def nothing_runs() -> Iterator[None]:
    global _watched
    _watched = []
    try:
        yield
        assert _watched == []
    finally:
        _watched = None


def refusal(path: Path) -> str:
    with nothing_runs(), pytest.raises(VoiceFileError) as caught:
        read_torch_file(path)
    sentence = str(caught.value)
    assert path.name in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- what is read ------------------------------------------------------------------------------

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of all kinds: any dtype, 0 to 3 sides, empty, transposed, cut out of a larger storage."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    tensor = (torch.randn(shape) * 10).to(draw(st.sampled_from(DTYPES)))
    if tensor.dim() >= 2 and draw(st.booleans()):
        tensor = tensor.transpose(0, 1)
    if tensor.dim() >= 1 and tensor.shape[0] > 1 and draw(st.booleans()):
        tensor = tensor[1:]
    if draw(st.booleans()) and tensor.is_floating_point():
        tensor = torch.nn.Parameter(tensor)
    return tensor


scalars = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()
plain_objects = st.recursive(
    scalars | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(-1000, 1000), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize("new_form", [True, False], ids=["zip", "legacy"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=plain_objects)
def test_reads_what_torch_itself_reads(tmp_path: Path, new_form: bool, content: object) -> None:
    path = tmp_path / "any name ü.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new_form)
    with nothing_runs():
        found = read_torch_file(path)
    assert_same(found, torch.load(path, weights_only=True))


def test_storages_that_start_at_odd_places_are_read(tmp_path: Path) -> None:
    content = [torch.arange(3, dtype=torch.uint8), torch.arange(4, dtype=torch.float64)]
    torch.save(content, tmp_path / "odd.pth", _use_new_zipfile_serialization=False)
    found = read_torch_file(tmp_path / "odd.pth")
    assert torch.equal(found[1], content[1])


def test_writing_to_a_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "voice.pth"
    torch.save({"weight": torch.ones(1000)}, path)
    before = path.read_bytes()
    read_torch_file(path)["weight"].zero_()
    assert path.read_bytes() == before


def test_numbers_of_numpy_become_plain_numbers(tmp_path: Path) -> None:
    values = [np.float64(2.5), np.float32(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    torch.save(values, tmp_path / "numbers.pth")
    found = read_torch_file(tmp_path / "numbers.pth")
    assert found == [2.5, 0.5, -7, 200, True]
    assert [type(value) for value in found] == [float, float, int, int, bool]


def test_members_of_ultimate_rvcs_enumerations_become_plain_values(tmp_path: Path) -> None:
    from voice_factory import UltimateSampleRate, UltimateVocoder

    with ultimate_rvc_enums():
        torch.save(
            {"sr": UltimateSampleRate(40000), "vocoder": UltimateVocoder("RefineGAN")}, tmp_path / "e.pth"
        )
    found = read_torch_file(tmp_path / "e.pth")
    assert found == {"sr": 40000, "vocoder": "RefineGAN"}
    assert not any(isinstance(value, enum.Enum) for value in found.values())


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": torch.ones(3)}, tmp_path / "unchecked.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_torch_file(tmp_path / "unchecked.pth")["weight"], torch.ones(3))


def test_bytes_as_python_2_needs_them_are_read(tmp_path: Path) -> None:
    torch.save({"raw": b"\x00\xff"}, tmp_path / "bytes.pth")
    assert read_torch_file(tmp_path / "bytes.pth") == {"raw": b"\x00\xff"}


# --- code that would run -----------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_payload_is_refused_by_name_and_does_not_run(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "ran"
    path = write_executing_voice(tmp_path / "voice.pth", marker, legacy=legacy)
    assert "asks to run posix.system; refused" in refusal(path)
    assert not marker.exists()
    # The payload is real: the careless way runs it.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_of_any_protocol_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    path = written(tmp_path / "voice.pth", pickle.dumps(Payload(marker), protocol))
    assert "asks to run posix.system; refused" in refusal(path)
    assert not marker.exists()


class _Reduces:
    """Pickles as a call of any function; pickle writes the name, and the call happens at loading."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._reduced


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (_Reduces(eval, "1+1"), "builtins.eval"),
        (_Reduces(getattr, dict, "fromkeys"), "getattr"),
        (_Reduces(__import__, "os"), "__import__"),
        (_Reduces(torch.load, "x"), "torch.serialization.load"),
        (torch.storage._load_from_bytes, "torch.storage._load_from_bytes"),
        (Path("x"), "pathlib"),
        (enum.IntEnum, "enum.IntEnum"),
    ],
)
def test_names_outside_the_list_are_refused(tmp_path: Path, value: object, name: str) -> None:
    torch.save({"weight": value}, tmp_path / "voice.pth", pickle_protocol=4)
    assert name in refusal(tmp_path / "voice.pth")


def opcodes(*parts: bytes | str) -> bytes:
    return (
        b"\x80\x02"
        + b"".join(part.encode("latin1") if isinstance(part, str) else part for part in parts)
        + b"."
    )


ORDERED_DICT = "ccollections\nOrderedDict\n"
STORAGE = (
    "X\x07\x00\x00\x00storage" + "ctorch\nFloatStorage\n" + "X\x01\x00\x00\x000" + "X\x03\x00\x00\x00cpu"
)
FLOATS = np.arange(4, dtype="<f4").tobytes()


def tensor_pickle(numel: int, offset: bytes, size: bytes, stride: bytes) -> bytes:
    rebuild = "ctorch._utils\n_rebuild_tensor_v2\n"
    return opcodes(rebuild, "((", STORAGE, long1(numel), "tQ", offset, size, stride, "\x89)tR")


def long1(value: int) -> bytes:
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sides(*values: int) -> bytes:
    return b"(" + b"".join(map(long1, values)) + b"t"


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (opcodes("cposix\nsystem\n"), "asks to run posix.system"),
        (opcodes("(iposix\nsystem\n"), "asks to run posix.system"),
        (opcodes("(icollections\nOrderedDict\n"), "asks to run collections.OrderedDict"),
        (opcodes("\x8c\x05posix\x8c\x06system\x93"), "asks to run posix.system"),
        (opcodes("\x82\x01"), "EXT1"),
        (opcodes(ORDERED_DICT, ")\x81"), "NEWOBJ"),
        (opcodes("X\x01\x00\x00\x00a", ")R"), "calls a str like a function"),
        (opcodes("ctorch\nFloatStorage\n", ")R"), "calls torch.FloatStorage like a function"),
        (opcodes(ORDERED_DICT, "}b"), "sets the state of a Name"),
        (opcodes("]}b"), "sets the state of a list"),
        (opcodes("}}}s"), "uses a key of type dict"),
        (opcodes("}", long1(2**48), "Ns"), "uses a key of type int"),
        (opcodes(ORDERED_DICT, "NNs"), "sets items of a Name"),
        (opcodes("}Na"), "appends to a dict"),
        (opcodes("\x8a\x20", b"\x7f" * 32), "80 bits"),
        (opcodes("X\x06\x00\x00\x00module", "Q"), "asks for something that is no storage"),
        (opcodes("(", "X\x06\x00\x00\x00module", "NNNNt", "Q"), "asks for something that is no storage"),
        (opcodes("(", STORAGE, long1(2**60), "tQ"), "unknown kind"),
        (opcodes("(", STORAGE, long1(-1), "tQ"), "unknown kind"),
        (opcodes("(", STORAGE, long1(2**40), "tQ"), "has 16 bytes, not"),
        (opcodes("cnumpy\ndtype\n(X\x01\x00\x00\x00OK\x00K\x01tR"), "no plain number"),
        (opcodes("c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR"), "damaged"),
        (opcodes("ccollections\nOrderedDict\n(NtR"), "damaged"),
        (opcodes("(((((((("), "damaged"),
        (opcodes("h\x05"), "damaged"),
        (opcodes("0"), "POP"),
        (b"\x80\x02", "damaged"),
        (b"", "damaged"),
    ],
)
def test_abused_opcodes_are_refused(tmp_path: Path, pickled: bytes, reason: str) -> None:
    path = written(tmp_path / "voice.pth", archive_of(pickled, [FLOATS]))
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (3,), (2,)),
        (0, (2**40,), (0,)),
        (0, (4, 4), (0, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (2**47, (1,), (1,)),
        (0, (2, 2), (1,)),
        (0, (1,) * 17, (1,) * 17),
        (0, (2**47, 2**47, 0), (1, 1, 1)),
    ],
)
def test_tensors_beyond_their_storage_are_refused(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    pickled = tensor_pickle(4, long1(offset), sides(*size), sides(*stride))
    refusal(written(tmp_path / "voice.pth", archive_of(pickled, [FLOATS])))


def test_a_tensor_inside_its_storage_is_read(tmp_path: Path) -> None:
    """The counterpart of the refusals above: the hand-made file is sound."""
    pickled = tensor_pickle(4, long1(1), sides(2), sides(2))
    found = read_torch_file(written(tmp_path / "voice.pth", archive_of(pickled, [FLOATS])))
    assert torch.equal(found, torch.tensor([1.0, 3.0]))


# --- bombs -------------------------------------------------------------------------------------


def test_a_huge_memo_index_takes_no_memory(tmp_path: Path) -> None:
    pickled = opcodes("]r", struct.pack("<I", 2**32 - 1))
    assert read_torch_file(written(tmp_path / "memo.pth", archive_of(pickled))) == []


def test_nested_tuples_are_not_hashed(tmp_path: Path) -> None:
    """Sixty tuples, each of two of the one before: hashing the last would take 2 to the 60 steps."""
    steps = [b"(" + b")q\x00"]
    steps += [b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)]
    pickled = opcodes(b"".join(steps), "t}h\x3cNs")
    assert "uses a key of type tuple" in refusal(written(tmp_path / "laughs.pth", archive_of(pickled)))


def test_more_opcodes_than_any_voice_has_are_refused(tmp_path: Path) -> None:
    pickled = opcodes("(", b"}" * MAX_PICKLE_BYTES, "t")
    assert "more objects than any voice has" in refusal(written(tmp_path / "many.pth", archive_of(pickled)))


def test_one_storage_under_very_many_tensors_is_refused(tmp_path: Path) -> None:
    shared = torch.ones(10_000)
    torch.save([shared[i:] for i in range(100)], tmp_path / "shared.pth")
    assert "many times larger than itself" in refusal(tmp_path / "shared.pth")


def test_tied_weights_are_no_bomb(tmp_path: Path) -> None:
    shared = torch.ones(10_000)
    torch.save({"a": shared, "b": shared}, tmp_path / "tied.pth")
    found = read_torch_file(tmp_path / "tied.pth")
    assert found["a"].data_ptr() == found["b"].data_ptr()


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Twenty directory records that all point at the bytes of one storage."""
    whole = archive_of(opcodes("N"), [b"\0" * 5000])
    directory, end = whole.find(b"PK\x01\x02"), whole.rfind(b"PK\x05\x06")
    start = whole.rfind(b"PK\x01\x02", 0, whole.rfind(b"archive/data/0"))
    record = whole[start : whole.find(b"archive/data/0", start) + len(b"archive/data/0")]
    copies = b"".join(
        record.replace(b"archive/data/0", b"archive/data/%c" % letter) for letter in b"abcdefghij"
    )
    entries = 4 + 10
    patched_end = bytearray(whole[end:])
    patched_end[8:12] = struct.pack("<HH", entries, entries)
    path = written(tmp_path / "overlap.pth", whole[:directory] + copies + whole[directory:end] + patched_end)
    # The copies' names must match the record before the bytes, so they name the storage in that one too.
    assert "does not match its entries" in refusal(path)


def test_storages_that_claim_the_same_bytes_are_refused(tmp_path: Path) -> None:
    """The first storage's size grown over the second's record and bytes."""
    data = bytearray(archive_of(opcodes("N"), [b"\0" * 5000, b"\0" * 5000]))
    start = data.rfind(b"PK\x01\x02", 0, data.rfind(b"archive/data/0"))
    data[start + 16 : start + 28] = struct.pack("<3I", 0, 10050, 10050)
    assert "overlap" in refusal(written(tmp_path / "overlap.pth", bytes(data)))


# --- broken archives and other files -----------------------------------------------------------


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save({"weight": torch.arange(100.0), "config": [1, 2, 3]}, path)
    return path


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "small/../../evil", "small\\..\\evil"])
def test_an_entry_that_leaves_the_archive_is_refused(tmp_path: Path, small_file: Path, name: str) -> None:
    path = rewrite_archive(small_file, tmp_path / "voice.pth", **{name: b"evil"})
    assert "leaves the archive" in refusal(path)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_doubled_entry_is_refused(tmp_path: Path, small_file: Path) -> None:
    path = rewrite_archive(small_file, tmp_path / "voice.pth", **{"small/data.pkl": opcodes("N")})
    assert "two entries named" in refusal(path)


def test_compressed_entries_are_refused(tmp_path: Path, small_file: Path) -> None:
    with (
        zipfile.ZipFile(small_file) as archive,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in archive.namelist():
            copy.writestr(name, archive.read(name) + b"\0" * 1000)
    assert "compressed" in refusal(tmp_path / "packed.pth")


def test_a_zip_without_a_torch_object_is_told_apart(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "voice.pth", "w") as archive:
        archive.writestr("folder/voice.pth", b"x")
    assert "import it as an archive" in refusal(tmp_path / "voice.pth")


@pytest.mark.parametrize("entry", ["script/constants.pkl", "script/code/__torch__/module.py"])
def test_torchscript_is_refused(tmp_path: Path, entry: str) -> None:
    with zipfile.ZipFile(tmp_path / "script.pth", "w") as archive:
        archive.writestr("script/data.pkl", opcodes("N"))
        archive.writestr(
            entry, b"def forward(self): pass\n" * 20, zipfile.ZIP_DEFLATED if "code" in entry else None
        )
    assert "TorchScript" in refusal(tmp_path / "script.pth")


def test_a_missing_storage_is_named(tmp_path: Path, small_file: Path) -> None:
    path = rewrite_archive(small_file, tmp_path / "voice.pth", rename={"small/data/0": "small/data/9"})
    assert "storage '0' is missing" in refusal(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path, small_file: Path) -> None:
    data = bytearray(small_file.read_bytes())
    data[data.find(np.float32(50).tobytes())] ^= 1
    assert "checksum" in refusal(written(tmp_path / "voice.pth", bytes(data)))


def test_big_endian_files_are_refused(tmp_path: Path, small_file: Path) -> None:
    with zipfile.ZipFile(small_file) as archive, zipfile.ZipFile(tmp_path / "big.pth", "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, b"big" if name.endswith("byteorder") else archive.read(name))
    assert "big-endian" in refusal(tmp_path / "big.pth")


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    expected = {
        "text.pth": (b"these are only words\n", "is a text file"),
        "page.pth": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        "empty.pth": (b"", "is empty"),
        "noise.pth": (bytes(range(256)), "not a file of torch"),
        "list.pth": (pickle.dumps([1, 2]), "is a plain pickle"),
    }
    for name, (data, reason) in expected.items():
        assert reason in refusal(written(tmp_path / name, data))
    assert "tar file" in refusal(tmp_path / "old.pth")
    assert "There is no file" in refusal(tmp_path / "absent.pth")
    assert "is a folder" in refusal(tmp_path)


def test_a_fairseq_encoder_is_recognised(tmp_path: Path) -> None:
    pickled = opcodes("cfairseq.data.dictionary\nDictionary\n")
    assert "content encoder" in refusal(written(tmp_path / "hubert_base.pt", archive_of(pickled)))


# --- damage of any kind ------------------------------------------------------------------------


@pytest.mark.parametrize("new_form", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, new_form: bool) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(
        OrderedDict(weight=torch.arange(200.0), config=[1, "a"]),
        whole,
        _use_new_zipfile_serialization=new_form,
    )
    data = whole.read_bytes()
    cut = tmp_path / "cut.pth"
    for length in [*range(0, len(data), 7), *range(len(data) - 30, len(data))]:
        refusal(written(cut, data[:length]))


def _mutated(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(data)
    for place, new in changes:
        start = place % len(changed)
        changed[start : start + len(new)] = new
    return bytes(changed)


changes = st.lists(
    st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle in a zip", "payload in a zip"])
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes)
def test_no_mutation_does_more_than_fail(tmp_path: Path, form: str, changes: list[tuple[int, bytes]]) -> None:
    buffer = io.BytesIO()
    content = {"weight": {"a": torch.arange(30.0), "b": torch.arange(8).half()}, "config": [1, "a", [2.5]]}
    torch.save(content, buffer, _use_new_zipfile_serialization=form != "legacy")
    data = buffer.getvalue()
    if form.endswith("in a zip"):
        # The checksums are made after the change, so that it reaches the reader of opcodes.
        with zipfile.ZipFile(buffer) as archive:
            pickled = archive.read("archive/data.pkl")
            storages = [archive.read(f"archive/data/{key}") for key in range(2)]
        if form.startswith("payload"):
            pickled = pickle.dumps(Payload(tmp_path / "ran"), 2)
        data = archive_of(_mutated(pickled, changes), storages)
    else:
        data = _mutated(data, changes)
    path = written(tmp_path / "mutated.pth", data)
    with nothing_runs(), suppress(VoiceFileError):
        read_torch_file(path)
    assert not (tmp_path / "ran").exists()
