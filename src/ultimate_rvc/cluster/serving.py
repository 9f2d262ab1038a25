"""Short conversions served by the devices of a cluster: Ray Serve collects requests into batches of one pipeline.

Replicas come and go with the requests. A voice of their own they open by its path, which all machines reach: they may
start long after whoever sent them, so that its content cannot travel with them as with the tasks of ``convert.py``.
Other voices travel with the requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import Device
from ultimate_rvc.cluster.connecting import connected, ray_module
from ultimate_rvc.cluster.shipping import ShippedVoice, shared, voice_of
from ultimate_rvc.errors import ClusterError, UltimateRVCError, first_line
from ultimate_rvc.plain import from_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.settings import check, setting
from ultimate_rvc.switches import resolve_config
from ultimate_rvc.voices.library import find_voice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ultimate_rvc.cluster.worker import Pipelines

    FloatArray = NDArray[np.float32]

log = logging.getLogger(__name__)

APPLICATION = "urvc"
ANSWER_SECONDS = 300.0  # a replica that starts loads its models first
MOST_DEATHS = 3  # of replicas over one clip


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """How many replicas serve a voice, and what each of them gets."""

    least_replicas: int = setting(1, "Replicas that are always there; 0 gives all devices back.", 0, 1000)
    most_replicas: int = setting(4, "Replicas when there is much to do.", 1, 1000)
    waiting: float = setting(
        4.0, "Requests for each replica from which on another one is started.", 0.1, 1000
    )
    batch_size: int = setting(8, "Requests that are converted together; 1 on a processor.", 1, 256)
    batch_wait: float = setting(0.02, "Seconds that a request waits for others.", 0, 10)
    cpus: float = setting(1.0, "Processor cores for a replica.", 0, 256)
    gpus: float = setting(0.0, "GPUs for a replica.", 0, 16)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Clip:
    """A request: float32 samples ``(samples,)`` or ``(channels, samples)`` in [-1, 1], and how to convert them."""

    waveform: FloatArray
    sample_rate: int
    settings: ConversionSettings = field(default_factory=ConversionSettings)
    voice: ShippedVoice | None = None
    """None for the one that the replicas were started with."""
    optimization: Mapping[str, Any] = field(default_factory=dict)
    """Switches that were chosen for it; the rest suits the machine that converts it."""

    @property
    def likeness(self) -> tuple[object, ...]:
        """The same for clips that can be converted together."""
        return self.voice, self.settings, json.dumps(dict(self.optimization), sort_keys=True)


class BatchConverter:
    """Converts clips together: what a replica holds."""

    def __init__(self, voice: ShippedVoice | None, open_pipelines: Callable[[], Pipelines]) -> None:
        if voice is not None:
            voice.received()  # a replica that cannot have it is none
        self._voice, self._pipelines = voice, open_pipelines()

    def convert(self, clips: Sequence[Clip]) -> list[tuple[FloatArray, int] | UltimateRVCError]:
        """For each clip, in order, its waveform ``(samples,)`` with the sample rate, or what is wrong with it."""
        answers: dict[int, tuple[FloatArray, int] | UltimateRVCError] = {}
        for likeness in dict.fromkeys(clip.likeness for clip in clips):
            numbers = [number for number, clip in enumerate(clips) if clip.likeness == likeness]
            answers |= dict(zip(numbers, self._alike([clips[number] for number in numbers]), strict=True))
        return [answers[number] for number in range(len(clips))]

    def _alike(self, clips: Sequence[Clip]) -> list[tuple[FloatArray, int] | UltimateRVCError]:
        """Clips that can be converted together; a bad one does not cost the others."""
        settings = clips[0].settings
        recordings = [(clip.waveform, clip.sample_rate) for clip in clips]
        try:
            pipeline = self._opened(clips[0])
            voices = pipeline.convert_all(recordings, settings)
        except UltimateRVCError as error:
            if len(clips) == 1:
                return [error]
            return [answer for clip in clips for answer in self._alike([clip])]
        return [(waveform, pipeline.voice.sample_rate) for waveform in voices]

    def _opened(self, clip: Clip) -> Any:
        voice = clip.voice or self._voice
        if voice is None:
            raise ClusterError("The replicas were started without a voice, and the request brings none.")
        model, index = voice.received()
        resolved = resolve_config({"device": Device.AUTO, **clip.optimization})
        return self._pipelines.open(model, clip.settings, index_path=index, optimization=resolved.config)


class Replicas:
    """Those who convert clips; may be called from many threads at once, which is what fills batches."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def answer(self, clip: Clip) -> tuple[FloatArray, int]:
        """The converted clip, ``(samples,)``, and its sample rate in Hz; a replica that dies costs nobody an answer.

        Raises
        ------
        UltimateRVCError
            What is wrong with the audio or the settings; a ClusterError where no replica answers.
        """
        for deaths in range(MOST_DEATHS):
            try:
                answer = self._handle.remote(clip).result(timeout_s=ANSWER_SECONDS)
            except TimeoutError as error:
                raise ClusterError(
                    f"No replica answered within {ANSWER_SECONDS:.0f} s; see `ray status` for what the cluster lacks."
                ) from error
            except ray_module().exceptions.RayActorError as error:
                if deaths + 1 == MOST_DEATHS:
                    raise ClusterError(f"Every replica died that tried it ({first_line(error)}).") from error
                log.warning("A replica died (%s); its request is done again.", first_line(error).rstrip("."))
                continue
            if isinstance(answer, UltimateRVCError):
                raise answer
            return answer  # type: ignore[no-any-return]
        raise AssertionError("the last death ends it")


class ServedVoice(Replicas):
    """A voice that is served."""

    def convert(
        self, waveform: FloatArray, sample_rate: int, settings: ConversionSettings | None = None
    ) -> tuple[FloatArray, int]:
        """Convert ``(samples,)`` or ``(channels, samples)`` to ``(samples,)`` at the voice's rate, in Hz.

        Raises
        ------
        UltimateRVCError
            As :meth:`answer`.
        """
        return self.answer(Clip(waveform, sample_rate, settings or ConversionSettings()))


def application(options: Mapping[str, Any], open_pipelines: Callable[[], Pipelines] = WarmPipelines) -> Any:
    """An application of Ray Serve for one voice, such as the file of a RayService names it by its import path.

    ``options`` are ``voice``, its name in the library or its file, and fields of :class:`ServingSettings`.

    Raises
    ------
    SettingError
        An option is none, or outside its range.
    VoiceNotFoundError
        There is no such voice.
    """
    given = dict(options)
    found = find_voice(str(given.pop("voice", "")))
    settings = from_plain(ServingSettings, given)
    return _deployment(settings).bind(voice_of(found, shared), open_pipelines)


@contextmanager
def serve_voice(
    voice: str,
    address: str | None = None,
    open_pipelines: Callable[[], Pipelines] = WarmPipelines,
    **settings: Any,
) -> Iterator[ServedVoice]:
    """Serve a voice on the cluster at ``address`` while the block runs.

    Parameters
    ----------
    voice : str
        Its name in the library, or its file; on a disk that all machines reach.
    address : str, optional
        As for ``urvc cluster convert``.
    open_pipelines : callable
        Gives what opens voices, once for each replica.
    **settings
        Fields of :class:`ServingSettings`.

    Raises
    ------
    ClusterError
        The cluster cannot be used, or no replica could start.
    UltimateRVCError
        As :func:`application`.
    """
    with (
        connected(address),
        _running(application({"voice": voice, **settings}, open_pipelines), APPLICATION) as it,
    ):
        yield ServedVoice(it)


@contextmanager
def serve_any_voice(
    name: str,
    address: str | None,
    settings: ServingSettings,
    open_pipelines: Callable[[], Pipelines] = WarmPipelines,
) -> Iterator[Replicas]:
    """Replicas on the cluster at ``address``, while the block runs, for clips that bring their voices.

    ``name`` is the application's: whoever starts it again takes over what it left when it was killed.

    Raises
    ------
    ClusterError
        As :func:`serve_voice`.
    """
    with connected(address), _running(_deployment(settings).bind(None, open_pipelines), name) as it:
        yield Replicas(it)


@contextmanager
def voice_served_at(address: str | None = None) -> Iterator[ServedVoice]:
    """The voice that somebody else serves on the cluster at ``address``, such as a RayService.

    Raises
    ------
    ClusterError
        The cluster cannot be used, or serves no voice.
    """
    with connected(address) as ray:
        from ray import serve

        try:
            yield ServedVoice(serve.get_app_handle(APPLICATION))
        except (serve.exceptions.RayServeException, ray.exceptions.RayActorError) as error:
            raise ClusterError(f"The cluster serves no voice: {first_line(error)}") from error


@contextmanager
def _running(application: Any, name: str) -> Iterator[Any]:
    """The handle of an application that ends with the block; others on the cluster go on."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(
        logging.ERROR
    )  # it tells of each step, and of each death in many lines
    serve.start(proxy_location="Disabled")  # HTTP is the business of `urvc serve`
    try:
        try:
            handle = serve.run(application, name=name, route_prefix=None)
        except RuntimeError as error:  # a replica that fails three times
            raise ClusterError(f"No replica could start: {first_line(error, 1000)}") from error
        yield handle
    finally:
        serve.delete(name)
        if not serve.status().applications:
            serve.shutdown()


def _deployment(settings: ServingSettings) -> Any:
    """The class of replicas; made here, since its decorators are ray's."""
    ray_module()  # says what is missing
    from ray import serve

    class Replica:
        def __init__(self, *arguments: Any) -> None:
            self._converter = BatchConverter(*arguments)

        @serve.batch(max_batch_size=settings.batch_size, batch_wait_timeout_s=settings.batch_wait)  # type: ignore[untyped-decorator]
        async def _convert(self, clips: list[Clip]) -> list[Any]:
            # In a thread: the next batch is collected, and health is answered for, meanwhile.
            return await asyncio.to_thread(self._converter.convert, clips)

        async def __call__(self, clip: Clip) -> Any:
            return await self._convert(clip)

    return serve.deployment(
        name=APPLICATION,
        autoscaling_config={
            "min_replicas": settings.least_replicas,
            "max_replicas": settings.most_replicas,
            "target_ongoing_requests": settings.waiting,
        },
        # Twice a batch: one is computed while the next is collected.
        max_ongoing_requests=2 * settings.batch_size,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    )(Replica)
