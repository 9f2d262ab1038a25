"""The API as others' clients use it: their own packages, real speech, a real voice, a process of its own."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import elevenlabs
import httpx
import numpy as np
import openai
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError as ElevenLabsError

from recordings import speech
from server.served import Served, served
from ultimate_rvc.api import convert
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.encode import encode, encode_bytes
from ultimate_rvc.choices import AudioFormat

KEY = "a long enough secret"
RATE = 16_000
SECONDS = 2.0
PACKAGED = ["starter-anna", "starter-peter", "starter"]
CLOSE = 2 / 32768  # 16-bit samples on the way in and out
SENTENCE = "Good morning. This is a voice that nobody has."


@pytest.fixture(scope="module")
def server(_session_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), "--api-key", KEY) as server:
        yield server


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("said") / "said.wav"
    encode(path, speech(RATE)[: round(SECONDS * RATE)], RATE)
    return path


def renamed(archive: bytes, old: str, new: str) -> bytes:
    """A zip whose files are called otherwise: no voice of a user's takes the name of one that ships."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(made, "w") as written:
        for name in given.namelist():
            written.writestr(name.replace(old, new), given.read(name))
    return made.getvalue()


def client(server: Served) -> httpx.Client:
    return server.client(Authorization=f"Bearer {KEY}")


def sound(content: bytes, tmp_path: Path, suffix: str = "wav") -> tuple[np.ndarray[Any, Any], int]:
    path = tmp_path / f"answer.{suffix}"
    path.write_bytes(content)
    waveform, rate = decode(path)
    return waveform[0], rate


@pytest.fixture(scope="module")
def expected(recording: Path) -> np.ndarray[Any, Any]:
    """What the same conversion gives in this process."""
    return convert(recording, "starter", device="cpu")[0]


# ---------------------------------------------------------------------------- our own shapes


def test_a_file_comes_back_as_the_engine_converts_it(
    server: Served, recording: Path, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    content = recording.read_bytes()
    encoded = base64.b64encode(content).decode()
    with client(server) as http:
        for how in (
            {"files": {"audio": ("said.wav", content)}, "data": {"voice": "starter"}},
            {"json": {"audio": encoded, "voice": "starter"}},
            {"json": {"audio": f"data:audio/wav;base64,{encoded}", "voice": "starter"}},
            {"content": content, "headers": {"content-type": "audio/wav"}, "params": {"voice": "starter"}},
        ):
            answer = http.post("/v1/convert", **how)  # type: ignore[arg-type]
            assert answer.status_code == 200, answer.text
            waveform, rate = sound(answer.content, tmp_path)
            assert rate == 32_000
            np.testing.assert_allclose(waveform, expected, atol=CLOSE)


def test_what_is_long_or_asked_for_as_a_job_is_one(server: Served, recording: Path, tmp_path: Path) -> None:
    with client(server) as http:
        answer = http.post(
            "/v1/convert",
            files={"audio": ("said.wav", recording.read_bytes())},
            data={"voice": "starter", "format": "flac"},
            headers={"prefer": "respond-async"},
        )
        assert answer.status_code == 202
        address = answer.headers["location"]
        assert http.get("/v1/jobs").json()["jobs"][-1]["id"] == answer.json()["id"]
        with http.stream("GET", f"{address}/events") as events:
            told = [
                json.loads(line.removeprefix("data: "))
                for line in events.iter_lines()
                if line.startswith("data: ")
            ]
        assert told[-1]["state"] == "done"
        assert [job["fraction"] for job in told] == sorted(job["fraction"] for job in told)
        job = http.get(address, params={"wait": 30}).json()
        assert str(server.machine) not in json.dumps(job["result"])
        (file,) = job["result"]["files"]
        waveform, _ = sound(http.get(file["url"]).content, tmp_path, "flac")
        assert len(waveform) == SECONDS * 32_000
        assert http.get(f"{address}/files/7").status_code == 404
        # Nobody else sees it.
        assert http.get("/v1/jobs/999999").status_code == 404


def test_a_text_is_said_whole_or_while_it_is_made_and_is_the_same(server: Served, tmp_path: Path) -> None:
    with client(server) as http:
        asked = {"text": SENTENCE, "voice": "starter"}
        whole = http.post("/v1/speech", json=asked | {"format": "pcm"}).content
        streamed = http.post("/v1/speech", json=asked | {"format": "pcm", "stream": True}).content
        first, second = (np.frombuffer(said, "<i2") / 32768 for said in (whole, streamed))
        np.testing.assert_allclose(first, second, atol=CLOSE)
        small = sound(http.post("/v1/speech", json=asked | {"format": "m4a"}).content, tmp_path, "m4a")
        assert len(small[0]) / small[1] == pytest.approx(len(first) / 32_000, abs=0.1)
        refused = http.post("/v1/speech", json=asked | {"format": "m4a", "stream": True})
        assert refused.status_code == 400
        assert "m4a cannot be sent while it is made" in refused.json()["error"]["message"]


def test_a_job_can_be_cancelled(server: Served) -> None:
    with client(server) as http:
        for _ in range(2):  # the second waits for the first
            job = http.post("/v1/covers", json={"link": "demo", "voice": "starter"}).json()
        cancelled = http.delete(f"/v1/jobs/{job['id']}").json()
        assert cancelled["state"] == "cancelled"
        http.delete(f"/v1/jobs/{job['id'] - 1}")
        first = http.get(f"/v1/jobs/{job['id'] - 1}", params={"wait": 60}).json()
        assert first["state"] == "cancelled"


def test_voices_come_and_go(server: Served, tmp_path: Path) -> None:
    with client(server) as http:
        archive = http.get("/v1/voices/starter/export")
        assert {"starter.pth", "starter.index"} <= set(
            zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
        )
        small = http.get("/v1/voices/starter/export", params={"precision": "int8"})
        assert "starter.safetensors" in zipfile.ZipFile(io.BytesIO(small.content)).namelist()
        refused = http.get("/v1/voices/starter/export", params={"precision": "int4"})
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "precision: Input should be 'float16' or 'int8'."
        sent = http.post("/v1/voices", files={"file": ("mine.zip", archive.content)}, data={"name": "mine"})
        assert sent.status_code == 202
        assert http.get(sent.headers["location"], params={"wait": 60}).json()["state"] == "done"
        assert http.get("/v1/voices/mine").json()["voice_id"] == "mine"
        assert [
            voice["name"] for voice in http.get("/v1/voices", params={"search": "mine"}).json()["voices"]
        ] == ["mine"]
        assert http.delete("/v1/voices/mine").json()["status"] == "ok"
        answer = http.get("/v1/voices/mine")
        assert answer.status_code == 404
        assert "There is no voice 'mine'" in answer.json()["error"]["message"]
        assert http.delete("/v1/voices/starter").status_code == 404  # it ships: there is none to delete


# ------------------------------------------------------------------------------- the openai package


@pytest.fixture(scope="module")
def gpt(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=300)


@pytest.mark.parametrize("response_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_openai_speech_in_every_format(gpt: openai.OpenAI, tmp_path: Path, response_format: Any) -> None:
    answer = gpt.audio.speech.create(
        model="tts-1", voice="starter", input="Good morning.", response_format=response_format
    )
    if response_format == "pcm":
        waveform = np.frombuffer(answer.content, "<i2") / 32768
        rate = 24_000
    else:
        waveform, rate = sound(answer.content, tmp_path, response_format)
    assert 0.5 < len(waveform) / rate < 3
    assert np.abs(waveform).max() > 0.05


def test_openai_speech_is_sent_while_it_is_made(gpt: openai.OpenAI, tmp_path: Path) -> None:
    text = " ".join([SENTENCE] * 6)
    with gpt.audio.speech.with_streaming_response.create(
        model="hibari", voice="starter", input=text, response_format="wav"
    ) as answer:
        chunks = list(answer.iter_bytes(4096))
    assert len(chunks) > 10
    whole, rate = sound(b"".join(chunks), tmp_path)
    assert len(whole) / rate > 10
    events = []
    with gpt.audio.speech.with_streaming_response.create(
        model="hibari", voice="starter", input=SENTENCE, response_format="pcm", stream_format="sse"
    ) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert sum(len(base64.b64decode(event["audio"])) for event in events[:-1]) / 2 / 24_000 > 1


def test_openai_speed_and_plain_voice(gpt: openai.OpenAI, tmp_path: Path) -> None:
    lengths = [
        len(
            gpt.audio.speech.create(
                model="tts-1", voice="none", input=SENTENCE, response_format="pcm", speed=speed
            ).content
        )
        for speed in (1.0, 2.0)
    ]
    assert lengths[1] < 0.7 * lengths[0]


def test_openai_errors_are_its_own(gpt: openai.OpenAI, server: Served) -> None:
    for wrong, sentence in (
        ({"speed": 9}, "rate is 9"),
        ({"response_format": "tape"}, "response_format is 'tape'"),
        ({"input": "x" * 5000}, "input has 5000 letters"),
        ({"input": " "}, "text is empty"),
    ):
        asked: dict[str, Any] = {"model": "tts-1", "voice": "starter", "input": "Hello."} | wrong
        with pytest.raises(openai.BadRequestError, match=sentence) as raised:
            gpt.audio.speech.create(**asked)
        assert raised.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError, match="There is no voice 'alloy'"):
        gpt.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0).models.list()
    assert "hibari" in [model.id for model in gpt.models.list()]


# -------------------------------------------------------------------------- the elevenlabs package


@pytest.fixture(scope="module")
def eleven(server: Served) -> ElevenLabs:
    return ElevenLabs(base_url=server.url, api_key=KEY, timeout=300)


def test_elevenlabs_speech_to_speech(
    eleven: ElevenLabs, recording: Path, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    pcm = b"".join(
        eleven.speech_to_speech.convert("starter", audio=recording.read_bytes(), output_format="pcm_32000")
    )
    np.testing.assert_allclose(np.frombuffer(pcm, "<i2") / 32767, expected, atol=CLOSE)
    mp3 = b"".join(eleven.speech_to_speech.stream("starter", audio=recording.open("rb"), seed=3))
    waveform, rate = sound(mp3, tmp_path, "mp3")
    assert rate == 44_100
    assert len(waveform) / rate == pytest.approx(SECONDS, abs=0.1)
    voices = eleven.voices.get_all().voices
    assert [voice.voice_id for voice in voices] == PACKAGED
    assert isinstance(voices[0], elevenlabs.Voice)


def test_elevenlabs_errors_are_its_own(eleven: ElevenLabs, server: Served, recording: Path) -> None:
    for asked, status, sentence in (
        ({"voice_id": "nobody"}, 404, "There is no voice 'nobody'"),
        ({"voice_id": "starter", "output_format": "ulaw_8000"}, 400, "output_format is 'ulaw_8000'"),
        ({"voice_id": "starter", "remove_background_noise": True}, 400, "not done here"),
        ({"voice_id": "starter", "audio": b"no audio"}, 422, "cannot be opened as audio"),
    ):
        with pytest.raises(ElevenLabsError) as raised:
            list(eleven.speech_to_speech.convert(**{"audio": recording.read_bytes()} | asked))  # type: ignore[arg-type]
        assert raised.value.status_code == status
        assert sentence in raised.value.body["detail"]["message"]
        assert str(server.machine) not in raised.value.body["detail"]["message"]


# ---------------------------------------------------------------- rvc-python, as SillyTavern asks it


def test_rvc_python(server: Served, recording: Path, expected: np.ndarray[Any, Any], tmp_path: Path) -> None:
    encoded = base64.b64encode(recording.read_bytes()).decode()
    with client(server) as http:
        assert http.post("/convert", json={"audio_data": encoded}).status_code == 400  # no model yet
        assert http.get("/models").json() == {"models": PACKAGED}
        assert http.post("/models/starter").status_code == 200
        assert http.post("/models/nobody").status_code == 404
        wanted = {"f0method": "fcpe", "f0up_key": 0, "index_rate": 0.3, "filter_radius": 3, "resample_sr": 0,
                  "rms_mix_rate": 1.0, "protect": 0.33}  # fmt: skip
        assert http.post("/params", json={"params": wanted}).status_code == 200
        assert http.get("/params").json() == wanted
        assert http.post("/params", json={"params": {"index_rate": 7}}).status_code == 400
        assert http.post("/params", json={"params": {"resample_sr": 8000}}).status_code == 400
        assert http.get("/params").json() == wanted
        assert http.post("/set_device", json={"device": "cpu"}).status_code == 200
        assert http.post("/set_device", json={"device": "toaster"}).status_code == 400
        for answer in (
            http.post("/convert", json={"audio_data": encoded}),
            http.post("/convert_file", files={"file": ("said.wav", recording.read_bytes())}),
        ):
            assert answer.headers["content-type"] == "audio/wav"
            waveform, _ = sound(answer.content, tmp_path)
            np.testing.assert_allclose(waveform, expected, atol=CLOSE)
        archive = renamed(http.get("/v1/voices/starter/export").content, "starter", "twin")
        assert http.post("/upload_model", files={"file": ("twin.zip", archive)}).status_code == 200
        assert http.post("/upload_model", files={"file": ("twin.zip", b"no zip")}).status_code == 422
        http.delete(f"/v1/voices/{http.get('/models').json()['models'][0]}")


# --------------------------------------------------------------------------------------- its life


def test_what_is_asked_for_is_finished_before_it_ends(tmp_path: Path, recording: Path) -> None:
    from threading import Thread

    statuses: list[int] = []
    (tmp_path / "machine").mkdir()
    with served(tmp_path / "machine") as server, server.client() as http:

        def ask() -> None:
            content = encode_bytes(np.tile(speech(RATE), 3), RATE, audio_format=AudioFormat.WAV)
            statuses.append(
                http.post("/v1/convert", files={"audio": content}, data={"voice": "starter"}).status_code
            )

        asking = Thread(target=ask)
        asking.start()
        while "urvc_waiting_requests 1.0" not in http.get("/metrics").text:
            time.sleep(0.05)
        assert server.stop() == 0
        asking.join()
        assert "Traceback" not in server.log
    assert statuses == [200]
