"""The sizes of a synthesizer, as voice files record them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from ultimate_rvc.errors import VoiceFileError

CONFIG_LENGTH = 18
RESBLOCK_KIND = "1"  # the only residual block RVC ever trained; "2" is HiFi-GAN's smaller one


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
    def from_list(cls, config: Sequence[object], *, phone_dim: int, speakers: int | None = None) -> Self:
        """Read the ``config`` list of a voice file.

        Parameters
        ----------
        config : sequence of 18 values
            As stored: spec_channels, segment_size, inter, hidden, filter, heads, layers, kernel,
            dropout, resblock kind, resblock kernels, resblock dilations, upsample rates, initial
            channels, upsample kernels, speakers, speaker channels, sample rate.
        phone_dim : int
            Width of the content features: the number of columns of ``enc_p.emb_phone.weight``.
        speakers : int, optional
            Rows of ``emb_g.weight``; files often record a wrong number in ``config``.

        Raises
        ------
        VoiceFileError
            When the list has another length, a value of another type or sizes that do not fit.
        """
        if len(config) != CONFIG_LENGTH:
            raise VoiceFileError(
                f"The voice's config has {len(config)} values where {CONFIG_LENGTH} are expected; "
                "the file is no RVC voice or comes from an unknown variant."
            )
        if str(config[9]) != RESBLOCK_KIND:
            raise VoiceFileError(
                f"The voice uses residual blocks of kind {config[9]!r}; only kind {RESBLOCK_KIND!r} is known."
            )
        return cls(
            spec_channels=_integer(config[0], 0),
            segment_size=_integer(config[1], 1),
            inter_channels=_integer(config[2], 2),
            hidden_channels=_integer(config[3], 3),
            filter_channels=_integer(config[4], 4),
            heads=_integer(config[5], 5),
            layers=_integer(config[6], 6),
            kernel_size=_integer(config[7], 7),
            dropout=_number(config[8], 8),
            resblock_kernel_sizes=_integers(config[10], 10),
            resblock_dilations=tuple(_integers(item, 11) for item in _items(config[11], 11)),
            upsample_rates=_integers(config[12], 12),
            upsample_initial_channel=_integer(config[13], 13),
            upsample_kernel_sizes=_integers(config[14], 14),
            speakers=_integer(config[15], 15) if speakers is None else speakers,
            speaker_channels=_integer(config[16], 16),
            sample_rate=_sample_rate(config[17]),
            phone_dim=phone_dim,
        )

    def to_list(self) -> list[object]:
        """Return the 18 values as voice files store them."""
        return [
            self.spec_channels,
            self.segment_size,
            self.inter_channels,
            self.hidden_channels,
            self.filter_channels,
            self.heads,
            self.layers,
            self.kernel_size,
            self.dropout,
            RESBLOCK_KIND,
            list(self.resblock_kernel_sizes),
            [list(dilations) for dilations in self.resblock_dilations],
            list(self.upsample_rates),
            self.upsample_initial_channel,
            list(self.upsample_kernel_sizes),
            self.speakers,
            self.speaker_channels,
            self.sample_rate,
        ]

    @property
    def hop_length(self) -> int:
        """Output samples per frame (10 ms in every stock model)."""
        return math.prod(self.upsample_rates)

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


def _number(value: object, position: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VoiceFileError(
            f"Value {position + 1} of the voice's config is {value!r} where a number is expected; "
            "the file is damaged or is no RVC voice."
        )
    return value


def _integer(value: object, position: int) -> int:
    number = _number(value, position)
    if number != int(number):
        raise VoiceFileError(
            f"Value {position + 1} of the voice's config is {value!r} where a whole number is expected; "
            "the file is damaged or is no RVC voice."
        )
    return int(number)


def _sample_rate(value: object) -> int:
    """Read a sample rate; some files write ``"40k"`` for 40000."""
    kilohertz = value.removesuffix("k") if isinstance(value, str) else ""
    return int(kilohertz) * 1000 if kilohertz.isdecimal() else _integer(value, 17)


def _items(value: object, position: int) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise VoiceFileError(
            f"Value {position + 1} of the voice's config is {value!r} where a list is expected; "
            "the file is damaged or is no RVC voice."
        )
    return value


def _integers(value: object, position: int) -> tuple[int, ...]:
    return tuple(_integer(item, position) for item in _items(value, position))
