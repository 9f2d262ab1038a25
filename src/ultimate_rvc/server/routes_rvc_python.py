"""The endpoints of rvc-python, which SillyTavern's extension speaks to.

Each client has a model and settings of its own: with rvc-python itself the last to choose chose for all.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.server import described
from ultimate_rvc.server.answers import format_named
from ultimate_rvc.server.api import Api
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.switches import check_switches
from ultimate_rvc.work.foreign import named_voice, voice_names

# Its names for settings that we have; the others say what is done after or instead, and cannot be done here.
NAMES = {
    "f0method": "f0_methods",
    "f0up_key": "n_semitones",
    "index_rate": "index_rate",
    "rms_mix_rate": "rms_mix_rate",
    "protect": "protect_rate",
}
NOT_HERE = {"filter_radius": 3, "resample_sr": 0}
MOST_CLIENTS = 1000


@dataclass
class _Chosen:
    """What a client has chosen."""

    voice: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    device: str | None = None


def add_rvc_python(router: APIRouter, api: Api) -> None:
    """Add the routes."""
    clients: dict[str, _Chosen] = {}

    def of(request: Request) -> _Chosen:
        while len(clients) > MOST_CLIENTS:
            del clients[next(iter(clients))]
        return clients.setdefault(api.client_of(request), _Chosen())

    async def convert(request: Request) -> Response:
        async with AsyncExitStack() as stack:
            given, chosen = await api.read(request, stack), of(request)
            if chosen.voice is None:
                raise ApiError(400, "No model is chosen; POST /models/{name} chooses one.")
            if not await api.is_short(given.audio):
                raise ApiError(
                    413, f"The audio is longer than {api.options.answer_seconds:g} s.", "audio_data"
                )
            voice = named_voice(chosen.voice)
            settings = api.conversion(voice, chosen.settings)
            optimization = {"device": chosen.device} if chosen.device is not None else {}
            return await api.converted(request, given, voice, settings, format_named("wav"), optimization)

    shown = {"tags": ["compatible"], "responses": described.answers(sound=True)}
    for address, name in (("/convert", "audio_data"), ("/convert_file", "file")):
        router.add_api_route(
            address, convert, methods=["POST"], name=f"rvc_python{address.replace('/', '_')}",
            description="A file in the chosen model, as wav.",
            openapi_extra=described.takes({}, audio=name), **shown,  # type: ignore[arg-type]
        )  # fmt: skip

    @router.get("/models", tags=["compatible"], responses=described.answers())
    def list_models() -> dict[str, list[str]]:
        """Names of the voices."""
        return {"models": voice_names()}

    @router.post("/models/{model_name}", tags=["compatible"], responses=described.answers())
    def load_model(request: Request, model_name: str) -> dict[str, str]:
        """Choose a voice."""
        of(request).voice = named_voice(model_name).name
        return {"message": f"Model {model_name} loaded successfully"}

    @router.get("/params", tags=["compatible"], responses=described.answers())
    def get_params(request: Request) -> dict[str, Any]:
        """Settings by its names."""
        return _params(of(request).settings)

    @router.post(
        "/params",
        tags=["compatible"],
        openapi_extra=described.takes({"params": described.field("object", "Settings by its names.")}),
        responses=described.answers(),
    )
    async def set_params(request: Request) -> dict[str, str]:
        """Change settings; what is not named stays."""
        async with AsyncExitStack() as stack:
            given = await api.read_for_job(request, stack)
            chosen = of(request)
            changed = chosen.settings | _settings(given.mapping("params"))
            ConversionSettings(**changed)  # knows the ranges
            chosen.settings = changed
        return {"message": "Parameters updated successfully"}

    @router.post(
        "/set_device",
        tags=["compatible"],
        openapi_extra=described.takes({"device": described.field("string", "Such as cuda:0 or cpu.")}),
        responses=described.answers(),
    )
    async def set_device(request: Request) -> dict[str, str]:
        """Choose where it is computed."""
        async with AsyncExitStack() as stack:
            device = (await api.read_for_job(request, stack)).text("device") or ""
            check_switches({"device": device})
            of(request).device = device
        return {"message": f"Device set to {device}"}

    @router.post(
        "/upload_model",
        tags=["compatible"],
        openapi_extra=described.takes({}, audio="file"),
        responses=described.answers(),
    )
    async def upload_model(request: Request) -> dict[str, str]:
        """Take in a zip with a voice."""
        async with AsyncExitStack() as stack:
            given = await api.read_for_job(request, stack)
            settings = {"source": str(api.kept(given.audio)), "allow_local": False}
            job = api.queue.submit("import-voice", settings, client=api.client_of(request))
            done = await api.in_thread(api.queue.wait, job.id)
        if done.error is not None:
            raise ApiError(422, done.error, "file")
        return {"message": "Models uploaded and extracted successfully"}


def _params(settings: dict[str, Any]) -> dict[str, Any]:
    now = ConversionSettings(**settings)
    params: dict[str, Any] = {name: getattr(now, ours) for name, ours in NAMES.items()}
    return params | {"f0method": "+".join(map(str, now.f0_methods))} | NOT_HERE


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """Our settings for its; one that says nothing else than what is done anyway is taken.

    Raises
    ------
    SettingError
        One that is none, or asks for what is not done here.
    """
    settings: dict[str, Any] = {}
    for name, value in params.items():
        if name in NOT_HERE:
            if value != NOT_HERE[name]:
                raise SettingError(f"{name} is not done here; leave it at {NOT_HERE[name]}.", name)
        elif name not in NAMES:
            raise SettingError(
                f"There is no setting {name!r}; choose from {', '.join((*NAMES, *NOT_HERE))}.", name
            )
        else:
            settings[NAMES[name]] = [value] if name == "f0method" else value
    return settings
