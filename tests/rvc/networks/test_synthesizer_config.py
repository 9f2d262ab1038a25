"""Reading the ``config`` list of a voice file."""

from __future__ import annotations

import pytest

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig

STOCK = [
    1025, 32, 192, 192, 768, 2, 6, 3, 0, "1", [3, 7, 11], [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    [10, 10, 2, 2], 512, [16, 16, 4, 4], 109, 256, 40000,
]  # fmt: skip


def changed(position: int, value: object) -> list[object]:
    return [value if index == position else item for index, item in enumerate(STOCK)]


def test_list_survives_the_round_trip() -> None:
    config = SynthesizerConfig.from_list(STOCK, phone_dim=768)
    assert config.to_list() == STOCK
    assert (config.hop_length, config.sample_rate, config.phone_dim) == (400, 40000, 768)


def test_speakers_of_the_weights_win_over_the_list() -> None:
    assert SynthesizerConfig.from_list(STOCK, phone_dim=768, speakers=2).to_list()[15] == 2


def test_tuples_and_a_written_out_sample_rate_are_read() -> None:
    config = SynthesizerConfig.from_list(changed(12, (10, 10, 2, 2)), phone_dim=256)
    assert config.upsample_rates == (10, 10, 2, 2)
    assert SynthesizerConfig.from_list(changed(17, "48k"), phone_dim=256).sample_rate == 48000


@pytest.mark.parametrize(
    ("position", "value", "complaint"),
    [
        (0, "many", "spec_channels = 'many'"),
        (2, 191, "inter_channels must be even"),
        (3, 193, "multiple of the heads"),
        (5, 0, "heads = 0"),
        (9, "2", "kind '2'"),
        (10, [3, 7, 10], "resblock kernel is even"),
        (11, [[1, 3, 5]], "differ in number"),
        (12, [10, 10, 2], "differ in number"),
        (12, [], "no upsampling stage"),
        (12, 400, "upsample_rates = 400"),
        (13, 24, "halved"),
        (14, [16, 16, 4, 1], "smaller than its rate"),
        (15, True, "impossible value"),
        (17, 40000.5, "sample_rate = 40000.5"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong(position: int, value: object, complaint: str) -> None:
    with pytest.raises(VoiceFileError, match=complaint):
        SynthesizerConfig.from_list(changed(position, value), phone_dim=768)


def test_the_list_of_rvc_webui_has_the_width_of_the_features_too() -> None:
    config = SynthesizerConfig.from_list([*STOCK[:17], 768, STOCK[17]], phone_dim=768)
    assert config.to_list() == STOCK


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(VoiceFileError, match="17 values"):
        SynthesizerConfig.from_list(STOCK[:17], phone_dim=768)
