"""What a conversion sounds like: one dataclass for every door."""

from __future__ import annotations

from dataclasses import dataclass

from ultimate_rvc.choices import EmbedderModel, F0Method
from ultimate_rvc.errors import SettingError, check_setting

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ConversionSettings:
    """Settings of one voice conversion, under the names users of RVC tools know.

    The defaults are those of Ultimate RVC. All are validated at construction; a value outside its
    range raises :class:`SettingError`.
    """

    n_octaves: int = 0
    """Octaves to shift the voice by, -4 to 4; added to ``n_semitones``."""
    n_semitones: int = 0
    """Semitones to shift the voice by, -48 to 48."""
    f0_methods: tuple[F0Method, ...] = (F0Method.AUTO,)
    """Pitch methods; the median is taken over several. ``auto``: rmvpe when its file is there, else fcpe."""
    index_rate: float = 0.3
    """How far features move to those of the voice's index, 0 to 1."""
    rms_mix_rate: float = 1.0
    """1 keeps the level curve of the converted voice, 0 copies that of the source."""
    protect_rate: float = 0.33
    """Keeps unvoiced consonants of the source from the index, 0 to 0.5; 0.5 switches it off."""
    split_voice: bool = False
    """Convert only the parts above -60 dB of the loudest, and leave the pauses silent."""
    autotune_voice: bool = False
    """Move voiced frames to the nearest semitone (A4 = 440 Hz), after transposition."""
    autotune_strength: float = 1.0
    """How far autotune moves a frame towards its note, 0 to 1, in the log domain."""
    proposed_pitch: bool = False
    """Add the shift that moves the median voiced f0 to ``proposed_pitch_threshold``, at most an octave."""
    proposed_pitch_threshold: float = 155.0
    """Median f0 in Hz to aim at, 50 to 1200 (about 155 for a male voice, 255 for a female one)."""
    clean_voice: bool = False
    """Reduce steady noise in the converted voice."""
    clean_strength: float = 0.7
    """Share of the noise to remove, 0 to 1."""
    embedder_model: EmbedderModel | None = None
    """Content encoder; ``None`` takes the one the voice records (contentvec if it records none)."""
    custom_embedder_model: str | None = None
    """Folder, or name below ``models/embedders``, of the encoder when ``embedder_model`` is custom."""
    sid: int = 0
    """Speaker id inside the voice."""
    seed: int = 0
    """Seed of all random numbers: the same seed gives the same bytes on the same device."""
    noise_scale: float = 0.66666
    """Scale of the prior's noise; RVC always uses 0.66666."""
    source_noise_scale: float = 1.0
    """Scale of the noise in the vocoder's source; 0 with ``noise_scale`` 0 is free of randomness."""

    def __post_init__(self) -> None:
        check_setting("n_octaves", self.n_octaves, -4, 4)
        check_setting("n_semitones", self.n_semitones, -48, 48)
        check_setting("index_rate", self.index_rate, 0, 1)
        check_setting("rms_mix_rate", self.rms_mix_rate, 0, 1)
        check_setting("protect_rate", self.protect_rate, 0, 0.5)
        check_setting("autotune_strength", self.autotune_strength, 0, 1)
        check_setting("proposed_pitch_threshold", self.proposed_pitch_threshold, 50, 1200)
        check_setting("clean_strength", self.clean_strength, 0, 1)
        check_setting("seed", self.seed, 0, MAX_SEED)
        check_setting("noise_scale", self.noise_scale, 0, 2)
        check_setting("source_noise_scale", self.source_noise_scale, 0, 2)
        check_setting("sid", self.sid, 0, 2**31 - 1)
        if not self.f0_methods:
            raise SettingError(f"--f0-method needs at least one of {', '.join(F0Method)}.")
        if self.custom_embedder_model and self.embedder_model is not EmbedderModel.CUSTOM:
            raise SettingError("--custom-embedder-model needs --embedder-model custom.")
        if self.embedder_model is EmbedderModel.CUSTOM and not self.custom_embedder_model:
            raise SettingError("--embedder-model custom needs --custom-embedder-model FOLDER.")

    @property
    def shift_semitones(self) -> int:
        """The whole shift: octaves and semitones together."""
        return 12 * self.n_octaves + self.n_semitones
