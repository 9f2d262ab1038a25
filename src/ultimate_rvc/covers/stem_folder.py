"""Folders of stems that another tool has made: which file is what, by the names in use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.errors import SourceError


class StemRole(StrEnum):
    LEAD = "lead"
    VOCALS = "vocals"
    BACKING = "backing"
    INSTRUMENTAL = "instrumental"
    PART = "part"  # one instrument of several; summed to the instrumental


# Phrases after all but letters and digits became spaces; the longest match at a place wins, so
# "no vocals" is an instrumental and "backing vocals" are no vocals. The customs are those of UVR
# and audio-separator ("(Vocals)", "(Instrumental)"), Demucs ("no_vocals", "drums", "other"),
# Spleeter ("accompaniment"), multitracks ("lead vox", "bgv") and karaoke sites ("off vocal").
ROLE_PHRASES: dict[StemRole, tuple[str, ...]] = {
    StemRole.LEAD: ("lead", "lead vocals?", "lead vox", "main vocals?", "main vox", "lead voice", "main"),
    StemRole.VOCALS: ("vocals?", "vox", "voice", "voices", "singing", "singer", "acapp?ella", "a cappella"),
    StemRole.BACKING: (
        "back(?:ing|up|ground)? ?(?:vocals?|vox|voices?)",
        "back(?:ing|up)",
        "bgvs?",
        "bvs?",
        "harmon(?:y|ies)",
        "harmony vocals?",
        "choir",
    ),
    StemRole.INSTRUMENTAL: (
        "instrumentals?",
        "instruments?",
        "inst",
        "accompaniment",
        "karaoke",
        "no vocals?",
        "non? vox",
        "off vocals?",
        "minus one",
        "backing track",
        "music",
    ),
    StemRole.PART: (
        "drums?|percussion|bass|guitars?|piano|keys|keyboards?|synths?|strings|brass|horns|wind|organ|other|fx",
    ),
}
_PHRASES = [
    (role, re.compile(rf"(?<![a-z0-9])(?:{phrase})(?![a-z0-9])"))
    for role, phrases in ROLE_PHRASES.items()
    for phrase in phrases
]


@dataclass(frozen=True)
class StemFiles:
    """The files of a song in parts; ``instrumental`` may be several, to be summed."""

    vocals: Path
    instrumental: tuple[Path, ...]
    backing: Path | None
    unused: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.vocals, *self.instrumental, *((self.backing,) if self.backing else ()))


def stem_role(name: str) -> StemRole | None:
    """What a file called ``name`` (without suffix) holds, or ``None``.

    A word in brackets counts before any other, since separators put theirs there; then the last
    one, since the title of the song comes first.
    """
    bracketed = re.findall(r"[(\[]([^)\]]*)[)\]]", name)
    for part in (*reversed(bracketed), name):
        if role := _last_role(part):
            return role
    return None


def _last_role(name: str) -> StemRole | None:
    plain = " ".join(re.findall(r"[^\W_]+", name.lower()))
    matches = [
        (match.end(), match.end() - match.start(), role)
        for role, pattern in _PHRASES
        for match in pattern.finditer(plain)
    ]
    return max(matches, key=lambda match: match[:2])[2] if matches else None


def find_stems(folder: Path) -> StemFiles:
    """Recognise the stems in ``folder`` (not in folders below it).

    Raises
    ------
    SourceError
        When vocals or instrumental are missing, or two files claim to be one of them; the
        sentence lists what was found.
    """
    files = audio_files(folder)
    roles = {path: stem_role(path.stem) for path in files}

    def only(role: StemRole) -> Path | None:
        chosen = [path for path in files if roles[path] is role]
        if len(chosen) > 1:
            names = " and ".join(path.name for path in chosen)
            raise SourceError(f"In the folder {folder} both {names} look like the {role}; keep one of them.")
        return chosen[0] if chosen else None

    lead, all_vocals, backing = only(StemRole.LEAD), only(StemRole.VOCALS), only(StemRole.BACKING)
    whole = only(StemRole.INSTRUMENTAL)
    instrumental = (whole,) if whole else tuple(path for path in files if roles[path] is StemRole.PART)
    vocals = lead or all_vocals
    if vocals is None or not instrumental:
        raise SourceError(_missing(folder, files, roles, vocals is None))
    used = {vocals, backing, *instrumental}
    return StemFiles(vocals, instrumental, backing, tuple(path for path in files if path not in used))


def _missing(folder: Path, files: list[Path], roles: dict[Path, StemRole | None], no_vocals: bool) -> str:
    found = ", ".join(f"{path.name} ({roles[path] or 'not recognised'})" for path in files)
    wanted = (
        "vocals (a file named such as vocals.wav)"
        if no_vocals
        else "instrumental (a file named such as instrumental.wav, or drums.wav, bass.wav, other.wav)"
    )
    return f"The folder {folder} has no {wanted}; found: {found or 'no audio files'}."
