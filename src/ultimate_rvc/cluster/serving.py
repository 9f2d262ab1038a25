"""Short conversions served by the devices of a cluster: Ray Serve collects requests into batches of one pipeline.

Replicas come and go with the requests. Each opens the voice by its path, which all machines reach: they may start
long after whoever sent them, so that its content cannot travel with them as with the tasks of ``convert.py``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import Device
from ultimate_rvc.cluster.connecting import connected
from ultimate_rvc.errors import ClusterError, UltimateRVCError, first_line
from ultimate_rvc.files import file_hash
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

APPLICATION = "urvc"
ANSWER_SECONDS = 300.0  # a replica that starts loads its models first


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
class VoiceFile:
    """A file that every machine has under this path, with this content."""

    path: Path
    sha256: str

    def checked(self) -> Path:
        """The path.

        Raises
        ------
        ClusterError
            It is not here, or another file.
        """
        if not self.path.is_file() or file_hash(self.path) != self.sha256:
            raise ClusterError(
                f"The machine {socket.gethostname()} has no {self.path}, or another file there; put the voice on a "
                "disk that all machines share."
            )
        return self.path


@dataclass(frozen=True)
class Clip:
    """A request: float32 samples ``(samples,)`` or ``(channels, samples)`` in [-1, 1], and how to convert them."""

    waveform: FloatArray
    sample_rate: int
    settings: ConversionSettings = field(default_factory=ConversionSettings)


class BatchConverter:
    """Converts clips of one voice together: what a replica holds."""

    def __init__(
        self, model: VoiceFile, index: VoiceFile | None, open_pipelines: Callable[[], Pipelines]
    ) -> None:
        self._model = model.checked()
        self._index = None if index is None else index.checked()
        self._pipelines = open_pipelines()
        self._optimization = resolve_config({"device": Device.AUTO}).config

    def convert(self, clips: Sequence[Clip]) -> list[tuple[FloatArray, int] | UltimateRVCError]:
        """For each clip, in order, its waveform ``(samples,)`` with the sample rate, or what is wrong with it."""
        answers: dict[int, tuple[FloatArray, int] | UltimateRVCError] = {}
        for settings in dict.fromkeys(clip.settings for clip in clips):
            numbers = [number for number, clip in enumerate(clips) if clip.settings == settings]
            answers |= dict(zip(numbers, self._alike([clips[number] for number in numbers]), strict=True))
        return [answers[number] for number in range(len(clips))]

    def _alike(self, clips: Sequence[Clip]) -> list[tuple[FloatArray, int] | UltimateRVCError]:
        """Clips with the same settings; a bad one does not cost the others."""
        settings = clips[0].settings
        recordings = [(clip.waveform, clip.sample_rate) for clip in clips]
        try:
            pipeline = self._pipelines.open(
                self._model, settings, index_path=self._index, optimization=self._optimization
            )
            voices = pipeline.convert_all(recordings, settings)
        except UltimateRVCError as error:
            if len(clips) == 1:
                return [error]
            return [answer for clip in clips for answer in self._alike([clip])]
        return [(waveform, pipeline.voice.sample_rate) for waveform in voices]


class ServedVoice:
    """A voice that is served; may be called from many threads at once, which is what fills batches."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def convert(
        self, waveform: FloatArray, sample_rate: int, settings: ConversionSettings | None = None
    ) -> tuple[FloatArray, int]:
        """Convert ``(samples,)`` or ``(channels, samples)`` to ``(samples,)`` at the voice's rate, in Hz.

        Raises
        ------
        UltimateRVCError
            What is wrong with the audio or the settings; a ClusterError where no replica answers.
        """
        clip = Clip(waveform, sample_rate, settings or ConversionSettings())
        try:
            answer = self._handle.remote(clip).result(timeout_s=ANSWER_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"No replica answered within {ANSWER_SECONDS:.0f} s; see `ray status` for what the cluster lacks."
            ) from error
        if isinstance(answer, UltimateRVCError):
            raise answer
        converted: tuple[FloatArray, int] = answer
        return converted


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
    from ray import serve

    given = dict(options)
    found = find_voice(str(given.pop("voice", "")))
    settings = from_plain(ServingSettings, given)
    index = None if found.index_path is None else _voice_file(found.index_path)
    return _deployment(serve, settings).bind(_voice_file(found.model_path), index, open_pipelines)


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
    with connected(address):
        from ray import serve

        wanted = application({"voice": voice, **settings}, open_pipelines)
        serve.start(proxy_location="Disabled")  # HTTP is the business of `urvc serve`
        try:
            yield ServedVoice(_run(serve, wanted))
        finally:
            serve.shutdown()


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


def _voice_file(path: Path) -> VoiceFile:
    return VoiceFile(path.absolute(), file_hash(path))


def _run(serve: Any, application: Any) -> Any:
    try:
        return serve.run(application, name=APPLICATION, route_prefix=None)
    except RuntimeError as error:  # a replica that fails three times
        raise ClusterError(f"No replica could start: {first_line(error, 1000)}") from error


def _deployment(serve: Any, settings: ServingSettings) -> Any:
    """The class of replicas; made here, since its decorators are ray's."""

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
