"""Work that is waited for: together where it helps, clients in turn, nothing lost with a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import httpx
import numpy as np
import pytest

from audio_files import tone
from server import fake_short
from server.conftest import Opened
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.audio.encode import encode, encode_bytes
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.server.api import Api
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.server.short_work import ShortRequest, give_up

RATE = fake_short.RATE
PATIENCE = 120.0
MANY = 120  # benchmarks/serving.py asks a thousand times


def request(api: Api, name: str, *, client: str = "a", **settings: object) -> ShortRequest:
    folder = api.work_folder / f"{name} {len(list(api.work_folder.iterdir()))}"
    folder.mkdir(parents=True)
    source = folder / f"{name}.wav"
    encode(source, tone(440, 0.1, RATE), RATE)
    return ShortRequest("convert", {"voice": "starter", **settings}, client, folder, source)


def held(api: Api, diary: Path) -> ShortRequest:
    """A request that is being done until :func:`go`, so that others have to wait."""
    first = request(api, fake_short.WAITS)
    api.short.submit(first)
    end = time.monotonic() + PATIENCE
    while not (diary.exists() and diary.read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return first


def go(diary: Path) -> None:
    diary.with_name("go").touch()


def batches(diary: Path) -> list[list[str]]:
    return [line.split() for line in diary.read_text().splitlines()]


def learn(api: Api, diary: Path) -> None:
    """Let it find out from a first request that batches help."""
    api.short.submit(request(api, "first")).result(PATIENCE)
    diary.write_text("")


def test_requests_alike_are_done_together_and_each_gets_its_own(
    open_server: Callable[..., Opened], diary: Path
) -> None:
    api, _ = open_server(batch_size=8)
    learn(api, diary)
    first = held(api, diary)
    alike = [request(api, f"one{number}") for number in range(10)]
    other = request(api, "other", conversion={"n_semitones": 2})
    sounds = [api.short.submit(each) for each in [*alike, other]]
    go(diary)
    wait([first.sound, *sounds], PATIENCE)
    for each, sound in zip(alike, sounds, strict=False):
        expected = decode_mono(each.source, RATE)[::-1]
        np.testing.assert_array_equal(sound.result().waveform, expected)
    done = batches(diary)[1:]
    assert sorted(map(len, done)) == [1, 2, 8]
    assert ["other"] in done
    text = api.metrics.text().decode()
    assert "urvc_batch_requests_count 5.0" in text


def test_clients_take_turns(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server(batch_size=1)
    first = held(api, diary)
    many = [api.short.submit(request(api, f"many{number}", client="greedy")) for number in range(5)]
    one = api.short.submit(request(api, "modest", client="modest"))
    go(diary)
    wait([first.sound, one, *many], PATIENCE)
    assert batches(diary).index(["modest"]) <= 2


def test_a_bad_request_does_not_cost_those_beside_it(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server()
    learn(api, diary)
    held(api, diary)
    sounds = {name: api.short.submit(request(api, name)) for name in ("good", fake_short.BAD, "fine")}
    go(diary)
    wait(sounds.values(), PATIENCE)
    assert batches(diary)[1:] == [["good", "bad", "fine"]]
    assert sounds["good"].result().waveform is not None
    assert sounds["fine"].result().waveform is not None
    with pytest.raises(ApiError, match=r"bad\.wav is bad"):
        sounds["bad"].result()


def test_no_request_is_lost_when_a_worker_is_killed(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server()
    learn(api, diary)
    first = held(api, diary)
    others = [api.short.submit(request(api, f"other{number}")) for number in range(3)]
    pid = api.short.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    go(diary)
    for sound in (first.sound, *others):
        assert sound.result(PATIENCE).waveform is not None
    assert api.short.worker_pid != pid


def test_a_request_that_kills_workers_costs_no_other(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server()
    learn(api, diary)
    held(api, diary)
    names = ("good", fake_short.DIES, fake_short.DIES_ONCE, "fine")
    sounds = {name: api.short.submit(request(api, name)) for name in names}
    go(diary)
    wait(sounds.values(), PATIENCE)
    for name in ("good", "fine", fake_short.DIES_ONCE):
        assert sounds[name].result().waveform is not None
    with pytest.raises(ApiError, match="was killed"):
        sounds[fake_short.DIES].result()


def test_who_gives_up_is_not_worked_for(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server()
    first = held(api, diary)
    waiting = request(api, "waiting")
    api.short.submit(waiting)
    give_up(waiting)
    give_up(first)  # being done: its worker is told
    api.short.submit(request(api, "last")).result(PATIENCE)
    assert batches(diary) == [[fake_short.WAITS], ["last"]]


def test_at_the_end_what_runs_is_finished_and_the_rest_is_told(
    open_server: Callable[..., Opened], diary: Path
) -> None:
    api, _ = open_server()
    first = held(api, diary)
    go(diary)
    api.short.close(PATIENCE)
    assert first.sound.result(0).waveform is not None
    with pytest.raises(ApiError, match="closing"):
        api.short.submit(request(api, "late"))


def test_at_once_means_at_once(open_server: Callable[..., Opened], diary: Path) -> None:
    api, _ = open_server()
    first = held(api, diary)
    waiting = api.short.submit(request(api, "waiting"))
    api.short.close(0)
    for sound in (first.sound, waiting):
        with pytest.raises(ApiError, match="closing"):
            sound.result(PATIENCE)
    assert api.short.worker_pid is None


def test_of_many_at_once_none_is_lost_and_no_more_are_taken_than_may_be(
    open_server: Callable[..., Opened], diary: Path, tmp_path: Path
) -> None:
    """Each comes again when it is told to; the sound that it gets is its own."""
    api, client = open_server(most_waiting=16)
    most_taken = 0

    async def ask(number: int) -> tuple[int, int]:
        nonlocal most_taken
        sound = tone(440, 0.05 + number / RATE, RATE)
        content = encode_bytes(sound, RATE, audio_format=AudioFormat.WAV)
        refused = 0
        while True:
            answer = await client.post(
                "/v1/convert?voice=starter&format=pcm", files={"audio": (f"{number}.wav", content)}
            )
            most_taken = max(most_taken, api.places.taken)
            if answer.status_code == 200:
                return len(answer.content) // 2 - len(sound), refused
            assert answer.status_code == 429
            refused += 1
            await asyncio.sleep(min(int(answer.headers["retry-after"]), 2))

    async def ask_all() -> list[tuple[int, int]]:
        return list(await asyncio.gather(*(ask(number) for number in range(MANY))))

    answers = asyncio.run(ask_all())
    assert Counter(length for length, _ in answers) == {0: MANY}
    assert sum(refused for _, refused in answers) > 0
    assert most_taken <= 16
    assert sum(map(len, batches(diary))) == MANY
    assert [path for path in api.work_folder.iterdir() if any(path.rglob("*"))] == []


def test_the_same_again_is_not_done_again(
    open_server: Callable[..., Opened], diary: Path, tmp_path: Path
) -> None:
    api, client = open_server()
    encode(path := tmp_path / "a.wav", tone(440, 0.1, RATE), RATE)

    def ask(**fields: str) -> httpx.Response:
        return asyncio.run(
            client.post(
                "/v1/convert", files={"audio": path.read_bytes()}, data={"voice": "starter", **fields}
            )
        )

    first, again = ask(), ask()
    assert first.content == again.content
    assert len(batches(diary)) == 1
    ask(format="flac")
    ask(settings='{"seed": 3}')
    encode(path, tone(440, 0.2, RATE), RATE)
    ask()
    assert len(batches(diary)) == 4
    assert 'urvc_cache_total{found="true"} 1.0' in api.metrics.text().decode()
