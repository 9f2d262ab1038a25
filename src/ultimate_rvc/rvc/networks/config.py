"""The sizes of a synthesizer, as voice files record them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

from ultimate_rvc.errors import VoiceFileError

CONFIG_LENGTH = 18
WEBUI_CONFIG_LENGTH = 19  # ddPn08's rvc-webui and its forks
FEATURES_PLACE = 17  # of the width of the features, which only they record
RESBLOCK_PLACE = 9
RESBLOCK_KIND = "1"  # the only residual block RVC ever trained; "2" is HiFi-GAN's smaller one

# Bounds far above any model's: they keep a hostile file from asking for networks of a million layers.
MAX_VALUE = 1 << 17
MAX_ITEMS = 16
MAX_LAYERS = 256
MAX_TEXT = 100
MAX_KILOHERTZ_DIGITS = 3


@dataclass(frozen=True)
class SynthesizerConfig:
    """Every size of a synthesizer.

    The fields up to ``sample_rate`` stand in the order of the ``config`` list of a voice file
    (``resblock`` itself, always ``"1"``, is left out); ``phone_dim`` is the width of
    the content features, which files do not record: it is the input width of ``enc_p.emb_phone``.
    """

    spec_channels: int
    segment_size: int
    inter_channels: int
    hidden_channels: int
    filter_channels: int
    heads: int
    layers: int
    kernel_size: int
    dropout: float
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilations: tuple[tuple[int, ...], ...]
    upsample_rates: tuple[int, ...]
    upsample_initial_channel: int
    upsample_kernel_sizes: tuple[int, ...]
    speakers: int
    speaker_channels: int
    sample_rate: int
    phone_dim: int

    def __post_init__(self) -> None:
        for field in fields(self):
            for value in _flatten(getattr(self, field.name)):
                if field.name != "dropout" and value < 1:
                    raise VoiceFileError(
                        f"The voice's config has {field.name} = {value}, which must be at least 1; "
                        "the file is damaged or is no RVC voice."
                    )
        for broken, rule in self._broken_rules():
            if broken:
                raise VoiceFileError(
                    f"The voice's config is inconsistent: {rule}; the file is damaged or is no RVC voice."
                )

    def _broken_rules(self) -> tuple[tuple[bool, str], ...]:
        stages = len(self.upsample_rates)
        pairs = zip(self.upsample_rates, self.upsample_kernel_sizes, strict=False)
        return (
            (self.inter_channels % 2 != 0, "inter_channels must be even"),
            (self.hidden_channels % self.heads != 0, "hidden_channels must be a multiple of the heads"),
            (stages == 0, "there is no upsampling stage"),
            (stages != len(self.upsample_kernel_sizes), "upsample rates and kernels differ in number"),
            (any(kernel < rate for rate, kernel in pairs), "an upsample kernel is smaller than its rate"),
            (
                self.upsample_initial_channel % 2**stages != 0,
                "upsample_initial_channel cannot be halved once per stage",
            ),
            (len(self.resblock_kernel_sizes) == 0, "there is no residual block"),
            (
                len(self.resblock_kernel_sizes) != len(self.resblock_dilations),
                "resblock kernels and dilations differ in number",
            ),
            (any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes), "a resblock kernel is even"),
        )

    @classmethod
    def from_list(cls, config: object, *, phone_dim: int, speakers: int | None = None) -> Self:
        """Read the ``config`` list of a voice file.

        Parameters
        ----------
        config : list of 18 or 19 values
            As stored: spec_channels, segment_size, inter, hidden, filter, heads, layers, kernel,
            dropout, resblock kind, resblock kernels, resblock dilations, upsample rates, initial
            channels, upsample kernels, speakers, speaker channels, sample rate. rvc-webui and its
            forks put the width of the features before the rate.
        phone_dim : int
            Width of the content features: the number of columns of ``enc_p.emb_phone.weight``.
        speakers : int, optional
            Rows of ``emb_g.weight``; files often record a wrong number in ``config``.

        Raises
        ------
        VoiceFileError
            When the list has another length, a value of another type or sizes that do not fit.
        """
        if not isinstance(config, list | tuple) or len(config) not in (CONFIG_LENGTH, WEBUI_CONFIG_LENGTH):
            found = (
                f"{len(config)} values" if isinstance(config, list | tuple) else f"a {type(config).__name__}"
            )
            raise VoiceFileError(
                f"The voice's config has {found} where {CONFIG_LENGTH} values are expected; "
                "the file is damaged, is no RVC voice or comes from an unknown variant."
            )
        checked = [_bounded(value) for value in config]
        if len(checked) == WEBUI_CONFIG_LENGTH:
            del checked[FEATURES_PLACE]
        if str(checked.pop(RESBLOCK_PLACE)) != RESBLOCK_KIND:
            raise VoiceFileError(
                f"The voice uses residual blocks of kind {config[RESBLOCK_PLACE]!r}; only kind "
                f"{RESBLOCK_KIND!r} is known."
            )
        names = [field.name for field in fields(cls) if field.name != "phone_dim"]
        values = {
            name: _READERS.get(name, _integer)(value, name)
            for name, value in zip(names, checked, strict=True)
            if name != "speakers" or speakers is None
        }
        if values["layers"] > MAX_LAYERS:
            raise VoiceFileError(
                f"The voice's config asks for {values['layers']} layers; the file is damaged."
            )
        return cls(**{"speakers": speakers, **values}, phone_dim=phone_dim)

    def to_list(self) -> list[object]:
        """Return the 18 values as voice files store them."""
        values = [
            _as_stored(getattr(self, field.name)) for field in fields(self) if field.name != "phone_dim"
        ]
        values.insert(RESBLOCK_PLACE, RESBLOCK_KIND)
        return values

    @property
    def hop_length(self) -> int:
        """Output samples per frame (10 ms in every stock model)."""
        return math.prod(self.upsample_rates)

    @property
    def resblocks(self) -> list[tuple[int, tuple[int, ...]]]:
        """Kernel size and dilations of each residual block of a stage."""
        return list(zip(self.resblock_kernel_sizes, self.resblock_dilations, strict=True))

    def stage_channels(self, stage: int) -> int:
        """Channels after upsampling stage ``stage`` (0-based); stage -1 is the vocoder's input layer."""
        return self.upsample_initial_channel >> (stage + 1)

    def source_stride(self, stage: int) -> int:
        """Output samples per sample of upsampling stage ``stage``."""
        return math.prod(self.upsample_rates[stage + 1 :])


def _flatten(value: object) -> list[float]:
    if isinstance(value, tuple):
        return [number for item in value for number in _flatten(item)]
    assert isinstance(value, int | float)
    return [value]


def recorded_phone_dim(config: object) -> object:
    """The width of the features, which only the longer ``config`` lists tell."""
    if not isinstance(config, list | tuple) or len(config) != WEBUI_CONFIG_LENGTH:
        return None
    return config[FEATURES_PLACE]


def _as_stored(value: object) -> object:
    return [_as_stored(item) for item in value] if isinstance(value, tuple) else value


def _bounded(value: object, depth: int = 0) -> object:
    """``value`` if it could stand in a config: a short list, a short text or a number in bounds."""
    if isinstance(value, list | tuple) and depth < 2 and len(value) <= MAX_ITEMS:
        return [_bounded(item, depth + 1) for item in value]
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_VALUE:
        return value  # NaN fails the comparison
    raise VoiceFileError("The voice's config holds an impossible value; the file is damaged.")


def _unexpected(value: object, name: str, expected: str) -> VoiceFileError:
    return VoiceFileError(
        f"The voice's config has {name} = {value!r} where {expected} is expected; "
        "the file is damaged or is no RVC voice."
    )


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float):
        raise _unexpected(value, name, "a number")
    return value


def _integer(value: object, name: str) -> int:
    number = _number(value, name)
    if number != int(number):
        raise _unexpected(value, name, "a whole number")
    return int(number)


def _sample_rate(value: object, name: str) -> int:
    """Read a sample rate; some files write ``"40k"`` for 40000."""
    kilohertz = value.removesuffix("k") if isinstance(value, str) else ""
    is_written_out = kilohertz.isascii() and kilohertz.isdigit() and len(kilohertz) <= MAX_KILOHERTZ_DIGITS
    return int(kilohertz) * 1000 if is_written_out else _integer(value, name)


def _items(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise _unexpected(value, name, "a list")
    return value


def _integers(value: object, name: str) -> tuple[int, ...]:
    return tuple(_integer(item, name) for item in _items(value, name))


def _lists_of_integers(value: object, name: str) -> tuple[tuple[int, ...], ...]:
    return tuple(_integers(item, name) for item in _items(value, name))


_READERS: dict[str, Callable[[object, str], Any]] = {
    "dropout": _number,
    "resblock_kernel_sizes": _integers,
    "resblock_dilations": _lists_of_integers,
    "upsample_rates": _integers,
    "upsample_kernel_sizes": _integers,
    "sample_rate": _sample_rate,
}
