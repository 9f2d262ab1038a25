"""Two voices made one: weights between theirs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.settings import check_range
from ultimate_rvc.voices.finding import VoiceRef, find_voice, folder_ref
from ultimate_rvc.voices.importing import add_voice
from ultimate_rvc.voices.locking import changing, refuse_taken_name, unfinished_folder
from ultimate_rvc.voices.names import checked_name

if TYPE_CHECKING:
    from torch import Tensor

    from ultimate_rvc.rvc.voice_file.describe import VoiceFile, VoiceMetadata

SPEAKER_TABLE = "emb_g.weight"


def blend_voices(first: str, second: str, name: str, ratio: float = 0.5) -> VoiceRef:
    """Make a voice between two others and put it into the library.

    Every weight is ``ratio * first + (1 - ratio) * second``, computed in single and stored in half precision.
    Where one voice has more speakers than the other, those that both have are blended. An
    index cannot be blended: the new voice has none; give it one with ``attach_index``.

    ``first`` and ``second`` are voices as :func:`~ultimate_rvc.voices.finding.find_voice` takes them. The
    new voice's warnings tell what was doubtful.

    Raises
    ------
    SettingError
        The ratio is not from 0 to 1, or the name cannot be a folder's name.
    VoiceFileError, VoiceNotFoundError
        The voices differ in rate, encoder, vocoder, pitch or layers, or there is no such voice.
    """
    from ultimate_rvc.rvc.voice_file.read import read_voice_file

    check_range("ratio", ratio, 0, 1)
    wanted = checked_name(name)
    library = voice_models_dir()
    with changing(library, f"Blending {first!r} and {second!r}"), unfinished_folder(library) as workplace:
        refuse_taken_name(wanted, library)
        refs = (find_voice(first), find_voice(second))
        names = (refs[0].name, refs[1].name)
        one, other = (read_voice_file(ref.model_path) for ref in refs)
        warnings = [*check_alike(one, other, *names)]
        blended = blend(one, other, ratio, names)
        values = {
            "blended_from": [
                blend_source(ref.name, ref.model_path, share)
                for ref, share in zip(refs, (ratio, 1 - ratio), strict=True)
            ]
        }
        final = add_voice(blended, wanted, values=values, library=library, workplace=workplace)
    if any(ref.index_path is not None for ref in refs):
        warnings.append(
            "The blend has no index; give it one of either voice with `urvc voices attach-index`."
        )
    return replace(folder_ref(final), name=wanted, warnings=tuple(warnings))


def check_alike(one: VoiceFile, other: VoiceFile, one_name: str, other_name: str) -> tuple[str, ...]:
    """Doubts about blending two voices, one sentence each; raises ``VoiceFileError`` if they cannot be."""
    a, b = one.metadata, other.metadata
    pairs = (
        ("sample rate", f"{a.sample_rate} Hz", f"{b.sample_rate} Hz"),
        ("width of features", a.config.phone_dim, b.config.phone_dim),
        ("vocoder", a.vocoder, b.vocoder),
        ("pitch", "with f0" if a.has_f0 else "without f0", "with f0" if b.has_f0 else "without f0"),
    )
    for what, mine, theirs in pairs:
        if mine != theirs:
            raise VoiceFileError(
                f"{one_name!r} and {other_name!r} cannot be blended: they differ in {what} "
                f"({mine} and {theirs})."
            )
    if replace(a.config, speakers=1, segment_size=1) != replace(b.config, speakers=1, segment_size=1):
        raise VoiceFileError(
            f"{one_name!r} and {other_name!r} cannot be blended: their networks have other sizes."
        )
    return _encoder_doubts(a, b, one_name, other_name)


def blend(one: VoiceFile, other: VoiceFile, ratio: float, names: tuple[str, str]) -> VoiceFile:
    """The voice with weights ``ratio * one + (1 - ratio) * other``, in float32.

    The caller has run :func:`check_alike`, so that they have the same layers in the same shapes.
    """
    from ultimate_rvc.rvc.networks.weight_norm_layers import unfold_weight_norm

    # A voice may have the product of a pair that the other has apart: both are brought to pairs.
    first, second = (unfold_weight_norm(voice.state, voice.metadata.vocoder) for voice in (one, other))
    state = {key: _between(key, first[key], second[key], ratio) for key in first}
    return type(one)(_described(one.metadata, other.metadata, ratio, names), state)


def _between(key: str, one: Tensor, other: Tensor, ratio: float) -> Tensor:
    if key == SPEAKER_TABLE:
        rows = min(one.shape[0], other.shape[0])
        one, other = one[:rows], other[:rows]
    return ratio * one.float() + (1 - ratio) * other.float()


def _described(a: VoiceMetadata, b: VoiceMetadata, ratio: float, names: tuple[str, str]) -> VoiceMetadata:
    speakers = a.speakers[: len(b.speakers)]
    same = tuple(
        mine if mine.name == theirs.name else replace(mine, name=None)
        for mine, theirs in zip(speakers, b.speakers, strict=False)
    )
    known = a.embedder_recorded or b.embedder_recorded
    return replace(
        a,
        dialect=type(a.dialect).RVC,
        config=replace(a.config, speakers=len(speakers)),
        speakers=same,
        embedder=a.embedder if a.embedder_recorded else b.embedder,
        embedder_recorded=known,
        info=f"{ratio:.2f} {names[0]} + {1 - ratio:.2f} {names[1]}",
        epoch=None,
        step=None,
        model_name=None,
        author=None,
        creation_date=None,
        f0_median_hz=_median_between(a.f0_median_hz, b.f0_median_hz, ratio),
        warnings=(),
    )


def _median_between(one: float | None, other: float | None, ratio: float) -> float | None:
    """Between two pitches as the ear hears them: by their logarithms."""
    if one is None or other is None:
        return None
    return math.exp(ratio * math.log(one) + (1 - ratio) * math.log(other))


def _encoder_doubts(a: VoiceMetadata, b: VoiceMetadata, one_name: str, other_name: str) -> tuple[str, ...]:
    if a.embedder == b.embedder:
        return ()
    if a.embedder_recorded and b.embedder_recorded:
        raise VoiceFileError(
            f"{one_name!r} and {other_name!r} cannot be blended: they were trained with other content "
            f"encoders ({a.embedder} and {b.embedder})."
        )
    unsure, named = (one_name, b.embedder) if b.embedder_recorded else (other_name, a.embedder)
    return (f"{unsure!r} records no content encoder; the blend is taken for one of {named}.",)


def blend_source(name: str, model_path: str | Path, share: float) -> dict[str, object]:
    """One voice of a blend, for ``blended_from`` in the record."""
    return {"name": name, "share": round(share, 4), "sha256": file_hash(Path(model_path))}
