"""What a request brings: its audio as a file, and its fields, from a form, JSON or plain bytes."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.outputs import file_title, fitted
from ultimate_rvc.server.problems import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

AUDIO_FIELDS = ("audio", "file", "song", "audio_data")  # as the shapes that are spoken here name it
MOST_FILES, MOST_FIELDS = 8, 64
MAX_FIELD_BYTES = 1_000_000
DEEPEST = 32


@dataclass
class Given:
    """A request that was read."""

    folder: Path
    """Of its own, with its files; see :func:`own_folder`."""
    fields: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def text(self, name: str, usual: str | None = None) -> str | None:
        """A field that holds a text."""
        value = self.fields.get(name)
        if value is None or value == "":
            return usual
        if not isinstance(value, str):
            raise ApiError(400, f"{name} must be a text.", name)
        return value

    def number(self, name: str, usual: float) -> float:
        """A field that holds a number; in a form it is written as a text."""
        value = self.fields.get(name)
        if value is None or value == "":
            return usual
        try:
            if isinstance(value, bool):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ApiError(400, f"{name} must be a number.", name) from None
        if number != number or abs(number) == float("inf"):
            raise ApiError(400, f"{name} must be a number.", name)
        return number

    def flag(self, name: str, *, usual: bool = False) -> bool:
        """A field that is true or false."""
        value = self.fields.get(name)
        if value is None or value == "":
            return usual
        known = {"true": True, "false": False, "1": True, "0": False}
        if not isinstance(value, bool | str) or (text := str(value).lower()) not in known:
            raise ApiError(400, f"{name} must be true or false.", name)
        return known[text]

    def mapping(self, name: str) -> dict[str, Any]:
        """A field that holds an object; in a form it is written as JSON."""
        value = self.fields.get(name)
        if value is None or value == "":
            return {}
        if isinstance(value, str):
            value = _from_json(value, name)
        if not isinstance(value, Mapping):
            raise ApiError(400, f"{name} must be an object with names and values.", name)
        return dict(value)

    @property
    def audio(self) -> Path:
        """The one file."""
        if len(self.files) != 1:
            raise ApiError(
                400,
                "Send one file with audio: as the field audio of a form, as base64 in the field audio of JSON, or "
                "as the body.",
                "audio",
            )
        return self.files[0]


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new folder below ``parent`` that goes with all that is in it."""
    folder = parent / secrets.token_hex(8)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def read_request(request: Request, folder: Path) -> Given:
    """Read a request; fields of its address count as well.

    Raises
    ------
    ApiError
        It cannot be read; it is too large.
    """
    given = Given(folder, dict(request.query_params))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data" or kind == "application/x-www-form-urlencoded":
        await _read_form(request, given)
    elif kind == "application/json":
        _read_json(await request.body(), given)
    else:
        await _read_bytes(request, given)
    return given


async def _read_form(request: Request, given: Given) -> None:
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException

    try:
        form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except HTTPException as error:
        raise ApiError(400, f"The form cannot be read: {error.detail}") from error
    except (ValueError, UnicodeError, KeyError) as error:
        raise ApiError(400, "The form cannot be read.") from error
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                given.fields[name] = value
                continue
            path = _place(given, value.filename or name)
            with path.open("wb") as file:
                while block := await value.read(1 << 20):
                    file.write(block)
    finally:
        await form.close()


def _read_json(body: bytes, given: Given) -> None:
    fields = _from_json(body.decode("utf-8", errors="replace"), "The body")
    if not isinstance(fields, dict):
        raise ApiError(400, "The body must be a JSON object.")
    for name in AUDIO_FIELDS:
        if isinstance(encoded := fields.pop(name, None), str):
            _place(given, f"{name}.bin").write_bytes(_decoded(encoded, name))
        elif encoded is not None:
            raise ApiError(400, f"{name} must be audio in base64.", name)
    given.fields |= fields


def _decoded(encoded: str, name: str) -> bytes:
    _, _, content = encoded.partition(",") if encoded.startswith("data:") else ("", "", encoded)
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{name} must be audio in base64.", name) from None


async def _read_bytes(request: Request, given: Given) -> None:
    path: Path | None = None
    async for block in request.stream():
        if block:
            path = path or _place(given, "audio")
            with path.open("ab") as file:
                file.write(block)


def _place(given: Given, name: str) -> Path:
    """A free name in the folder, like the one it had there: sentences and results are called after it."""
    path = Path(name.replace("\\", "/"))
    suffix = path.suffix if path.suffix[1:].isalnum() else ""
    folder = given.folder / str(len(given.files))
    folder.mkdir()
    place = folder / f"{fitted(file_title(path.stem), '', suffix)}{suffix}"
    given.files.append(place)
    place.touch()
    return place


def _from_json(text: str, name: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise ApiError(400, f"{name} is no JSON.") from None
    if _depth(value) > DEEPEST:
        raise ApiError(400, f"{name} is nested too deeply.")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _depth(value: Any) -> int:
    """How many objects and lists lie within one another; no more than just too many are looked at."""
    depth, layer = 0, [value]
    while layer and depth <= DEEPEST:
        layer = [
            inner
            for each in layer
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth
