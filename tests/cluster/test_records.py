"""What was made is noted beside it; other files are left alone. No cluster is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultimate_rvc.cluster.records import FOLDER, Records
from ultimate_rvc.errors import ClusterError
from ultimate_rvc.outputs import Placed, Target

KEY, OTHER_KEY = "a" * 40, "b" * 40
SOURCE = Path("/nas/take.wav")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    with Records(tmp_path).only_run():
        return Records(tmp_path)


def put(records: Records, content: bytes, target: Target, key: str = KEY) -> Placed:
    with records.workplace("run") as folder:
        (folder / "converted.wav").write_bytes(content)
        return records.put(folder / "converted.wav", target, key)


def target_in(records: Records, *, may_replace: bool = False) -> Target:
    path = records.folder / "sub" / "take (v).wav"
    return Target(path, is_named=False, source=SOURCE, may_replace=may_replace)


def test_a_result_is_found_by_what_it_was_made_from(records: Records) -> None:
    target = target_in(records)
    assert records.find(target, KEY) is None
    assert put(records, b"sound", target) == Placed(target.path, replaced=False)
    assert records.find(target, KEY) == target.path
    assert records.find(target, OTHER_KEY) is None
    assert records.find(Target(target.path, is_named=False, source=Path("/nas/other.wav")), KEY) is None
    assert records.known()(target.path, SOURCE)


def test_a_result_that_somebody_changed_is_not_ours(records: Records) -> None:
    target = target_in(records)
    put(records, b"sound", target)
    target.path.write_bytes(b"sound, cut")
    assert records.find(target, KEY) is None
    assert not records.known()(target.path, SOURCE)
    placed = put(records, b"sound", target)
    assert placed.path.name == "take (v) (1).wav"
    assert target.path.read_bytes() == b"sound, cut"
    assert records.find(target, KEY) == placed.path


def test_a_result_of_other_settings_is_replaced(records: Records) -> None:
    put(records, b"sound", target_in(records))
    placed = put(records, b"other sound", target_in(records, may_replace=True), OTHER_KEY)
    assert placed.replaced
    assert placed.path.read_bytes() == b"other sound"
    assert records.find(target_in(records), KEY) is None
    assert records.find(target_in(records), OTHER_KEY) == placed.path


def test_of_two_workers_with_one_file_the_first_counts(records: Records) -> None:
    target = target_in(records)
    put(records, b"first", target)
    assert put(records, b"second", target) == Placed(target.path, replaced=False, written=False)
    assert [path.read_bytes() for path in target.path.parent.iterdir()] == [b"first"]


def test_a_note_without_its_result_says_nothing(records: Records) -> None:
    target = target_in(records)
    put(records, b"sound", target)
    target.path.unlink()  # as if the worker had died before the result appeared
    assert records.find(target, KEY) is None
    assert put(records, b"again", target).path == target.path


def test_one_run_at_a_time_and_what_killed_ones_left_is_removed(records: Records) -> None:
    left = records.folder / FOLDER / "unfinished" / "dead"
    left.mkdir(parents=True)
    (left / "half.wav").write_bytes(b"ha")
    with records.only_run() as run:
        assert not left.exists()
        assert run
        with pytest.raises(ClusterError, match="Another run writes to"), Records(records.folder).only_run():
            pass
