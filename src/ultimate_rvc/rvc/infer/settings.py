"""What a conversion sounds like: one dataclass for every door."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.choices import EmbedderModel, F0Method
from ultimate_rvc.errors import SettingError
from ultimate_rvc.settings import check, setting

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ConversionSettings:
    """Settings of one voice conversion, under the names users of RVC tools know.

    The defaults are those of Ultimate RVC. All are validated at construction; a value outside its
    range raises :class:`SettingError`.
    """

    n_octaves: int = setting(
        0,
        "Octaves to shift the voice by, added to the semitones; about 1 from a male to a female voice.",
        *(-4, 4), step=1, label="Octaves",
    )  # fmt: skip
    n_semitones: int = setting(
        0,
        "Semitones to shift the voice by; 12 are an octave.",
        *(-48, 48), step=1, label="Semitones",
    )  # fmt: skip
    f0_methods: tuple[F0Method, ...] = setting(
        (F0Method.AUTO,),
        "How pitch is found; several give their median. auto: rmvpe when its file is here, else fcpe.",
        label="Pitch detection",
    )
    index_rate: float = setting(
        0.3,
        "How far the sound moves to the voice's index: higher is more like the voice, lower keeps clearer words.",
        *(0, 1), step=0.01,
    )  # fmt: skip
    rms_mix_rate: float = setting(
        1.0,
        "1 keeps the loudness curve of the new voice, 0 copies that of the source.",
        *(0, 1), step=0.01, label="Loudness curve",
    )  # fmt: skip
    protect_rate: float = setting(
        0.33,
        "Keeps consonants and breath of the source from the index: lower keeps more of them, 0.5 switches it off.",
        *(0, 0.5), step=0.01, label="Protect consonants",
    )  # fmt: skip
    split_voice: bool = setting(
        False,
        "Convert only the parts above -60 dB of the loudest; pauses stay silent.",
        label="Convert only sounding parts",
    )
    autotune_voice: bool = setting(
        False, "Move every voiced frame to the nearest semitone (A4 = 440 Hz).", label="Autotune"
    )
    autotune_strength: float = setting(1.0, "How far autotune pulls to the note.", 0, 1, step=0.01)
    proposed_pitch: bool = setting(
        False,
        "Also shift by at most an octave, so that the median pitch meets the proposed pitch threshold.",
        label="Find the pitch for me",
    )
    proposed_pitch_threshold: float = setting(
        155.0,
        "Median pitch to aim at: about 155 for a male voice, 255 for a female one.",
        *(50, 1200), step=1.0, unit="Hz", label="Home pitch in Hz",
    )  # fmt: skip
    clean_voice: bool = setting(False, "Reduce steady noise in the result.", label="Reduce noise")
    clean_strength: float = setting(
        0.7, "Share of the steady noise to remove; too much sounds dull.", 0, 1, step=0.01,
        label="Noise reduction strength",
    )  # fmt: skip
    embedder_model: EmbedderModel | None = setting(
        None,
        "Content encoder, which reads the words; left out: the one that the voice was trained with.",
        label="Content encoder",
    )
    custom_embedder_model: str | None = setting(
        None,
        "Folder, or name below models/embedders, of the encoder for the embedder model custom.",
        path=True,
    )
    sid: int = setting(0, "Speaker inside the voice; 0 is the first.", 0, 2**31 - 1, label="Speaker number")
    seed: int = setting(0, "The same seed gives the same bytes on the same device.", 0, MAX_SEED)
    noise_scale: float = setting(
        0.66666,
        "How much chance is in the voice; RVC always uses 0.66666.",
        *(0, 2), step=0.00001, label="Variation",
    )  # fmt: skip
    source_noise_scale: float = setting(
        1.0,
        "Noise in the voice's source; 1 is how it was trained, 0 with noise scale 0 leaves nothing to chance.",
        *(0, 2), step=0.01, label="Breathiness",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        check_custom_embedder(self.embedder_model, self.custom_embedder_model)

    @property
    def shift_semitones(self) -> int:
        """The whole shift: octaves and semitones together."""
        return 12 * self.n_octaves + self.n_semitones


def check_custom_embedder(model: EmbedderModel | None, folder: str | None) -> None:
    """A :class:`SettingError` where only one of both says that the encoder is the user's own."""
    names = ("embedder_model", "custom_embedder_model")
    if folder and model is not EmbedderModel.CUSTOM:
        raise SettingError("custom_embedder_model needs embedder_model custom.", *names)
    if model is EmbedderModel.CUSTOM and not folder:
        raise SettingError("embedder_model custom needs custom_embedder_model, a folder.", *names)
