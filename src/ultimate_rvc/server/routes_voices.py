"""``/v1/voices`` and ``/v1/models``: what can be chosen."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from ultimate_rvc.assets import manage
from ultimate_rvc.assets.links import is_link
from ultimate_rvc.choices import VoicePrecision
from ultimate_rvc.server.api import Api, HeldResponse
from ultimate_rvc.server.described import answers, field, takes
from ultimate_rvc.server.intake import own_folder
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.speech.engines import ENGINES
from ultimate_rvc.voices import library
from ultimate_rvc.work.foreign import named_voice

READ_BYTES = 1 << 16
INDEX_SUFFIX = ".index"


def add_voices(router: APIRouter, api: Api) -> None:
    """Add the routes."""

    @router.get("/v1/voices", tags=["voices"], responses=answers())
    def list_voices(search: str = "") -> dict[str, Any]:
        """Voices in which every word of ``search`` occurs; ``voice_id`` and ``name`` are alike."""
        cards = library.search_voices(search, packaged=True)
        return {"voices": [_told(card) for card in cards], "has_more": False, "total_count": len(cards)}

    @router.get("/v1/voices/{voice_id}", tags=["voices"], responses=answers())
    def get_voice(voice_id: str) -> dict[str, Any]:
        """One voice."""
        return _told(library.voice_card(named_voice(voice_id).name))

    @router.post(
        "/v1/voices",
        tags=["voices"],
        status_code=202,
        openapi_extra=takes(
            {
                "link": field("string", "Link to the voice, instead of files."),
                "name": field("string", "Its name; left out: the file's."),
            },
            audio="file",
        ),
        responses=answers(job=True),
    )
    async def import_voice(request: Request) -> Response:
        """Take a voice in, from a model with its index, an archive, or a link; as a job."""
        async with AsyncExitStack() as stack:
            given = await api.read_for_job(request, stack)
            source, link = _files(api, given.files), (given.text("link") or "").strip()
            if bool(source) == bool(link):
                raise ApiError(
                    400, "Send one model, with its index if it has one, or an archive, or a link.", "file"
                )
            if link and not is_link(link):
                raise ApiError(400, f"link is {link!r}, but must begin with http:// or https://.", "link")
            settings = source or {"source": link}
            allowed = {"name": given.text("name"), "allow_local": api.options.is_local}
            return api.submit(request, "import-voice", settings | allowed)

    @router.get("/v1/voices/{voice_id}/export", tags=["voices"], responses=answers(sound=True))
    async def export_voice(voice_id: str, precision: VoicePrecision = VoicePrecision.FLOAT16) -> Response:
        """A zip of the voice that every RVC tool can read, or in 8 bits for this program alone."""
        stack = AsyncExitStack()
        async with stack:
            folder = stack.enter_context(own_folder(api.work_folder))
            path = library.export_voice(named_voice(voice_id).name, folder, precision=precision).path
            file = stack.enter_context(path.open("rb"))

            async def content() -> Any:
                while block := file.read(READ_BYTES):
                    yield block

            headers = {
                "Content-Disposition": FileResponse(path, filename=path.name).headers["content-disposition"]
            }
            return HeldResponse(content(), stack.pop_all(), media_type="application/zip", headers=headers)

    @router.delete("/v1/voices/{voice_id}", tags=["voices"], responses=answers())
    def delete_voice(voice_id: str) -> dict[str, str]:
        """Move a voice to the trash, from where ``urvc voices restore`` brings it back."""
        return {"status": "ok", "deletion": library.delete_voice(named_voice(voice_id).name).id}

    @router.get("/v1/models", tags=["voices"], responses=answers())
    def list_models() -> dict[str, Any]:
        """Speech engines, as ``model`` of a speech; and under ``assets`` the models that can be downloaded."""
        engines = [
            {"id": str(name), "object": "model", "created": 0, "owned_by": info.licence}
            for name, info in ENGINES.items()
        ]
        assets = [
            {"name": report.name, "kind": report.kind, "state": report.state, "bytes": report.bytes}
            for report in manage.list_assets()
        ]
        return {"object": "list", "data": engines, "assets": assets}


def _told(card: library.VoiceCard) -> dict[str, Any]:
    """A voice as ElevenLabs tells of it, and beside that all that its card says but where it lies."""
    plain = {name: value for name, value in card.to_json().items() if not name.endswith("_path")}
    return {
        "voice_id": card.name,
        "name": card.name,
        "category": "premade" if card.packaged else "cloned",
        "labels": {tag: tag for tag in card.tags},
        "description": card.note,
        "card": plain,
    }


def _files(api: Api, files: list[Any]) -> dict[str, Any]:
    indexes = [path for path in files if path.suffix.lower() == INDEX_SUFFIX]
    models = [path for path in files if path not in indexes]
    if not files:
        return {}
    if len(models) != 1 or len(indexes) > 1:
        raise ApiError(400, "Send one model or archive, and its index if it has one.", "file")
    return {
        "source": str(api.kept(models[0])),
        "index": str(api.kept(indexes[0])) if indexes else None,
    }
