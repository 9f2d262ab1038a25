"""Where the API listens, whom it lets in, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.errors import SettingError
from ultimate_rvc.server.origins import is_loopback
from ultimate_rvc.settings import check, setting

MEGABYTE = 10**6


@dataclass(frozen=True, kw_only=True)
class ApiOptions:
    """All are validated at construction; what cannot be raises :class:`SettingError`."""

    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 lets others in, who need a key.")
    port: int = setting(7865, "Port of the API; 0 takes a free one.", 0, 65_535)
    api_keys: tuple[str, ...] = setting(
        (), "A key that is let in for this run, beside those that are kept; URVC_API_KEY holds one too."
    )
    is_open: bool = setting(False, "Let everybody in who reaches the address.")
    origins: tuple[str, ...] = setting(
        (), "Site whose pages may ask, such as https://example.com; others are refused."
    )
    max_upload_mb: int = setting(200, "Largest request, in millions of bytes.", 1, 100_000)
    answer_seconds: float = setting(
        120.0, "Audio up to so long is answered at once; longer audio becomes a job.", 1, 3600, unit="s"
    )
    most_waiting: int = setting(
        64, "Requests that wait or are answered at once; beyond that: 429.", 1, 10_000
    )
    most_jobs: int = setting(500, "Jobs that wait; beyond that: 429.", 1, 100_000)
    requests_per_minute: int | None = setting(
        None, "Requests of one key in a minute; left out: any.", 1, 1_000_000
    )
    batch_size: int = setting(8, "Requests for one voice that a GPU does together.", 1, 64)
    batch_window_ms: float = setting(20.0, "How long the first of them waits for others.", 0, 1000, unit="ms")

    cluster: str | None = setting(
        None, "Ray cluster that converts what is answered at once: host:6379, ray://host:10001, auto."
    )
    least_replicas: int = setting(1, "Converters that the cluster always keeps ready.", 0, 1000)
    most_replicas: int = setting(4, "Converters of the cluster when there is much to do.", 1, 1000)
    replica_cpus: float = setting(1.0, "Processor cores for a converter of the cluster.", 0, 256)
    replica_gpus: float = setting(0.0, "GPUs for a converter of the cluster; 0.5 lets two share one.", 0, 16)

    def __post_init__(self) -> None:
        check(self)
        if self.least_replicas > self.most_replicas:
            raise SettingError(
                f"least_replicas {self.least_replicas} is more than most_replicas {self.most_replicas}.",
                *("least_replicas", "most_replicas"),
            )
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.rstrip("/") != origin:
                raise SettingError(f"{origin!r} is no origin; write it like https://example.com.", "origins")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the API."""
        return is_loopback(self.host)

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * MEGABYTE
