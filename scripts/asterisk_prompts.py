"""A person's recordings with their words: the prompts of the telephone exchange Asterisk, as Debian packages them.

One woman (Allison Smith, CC-BY-SA 3.0) says a few hundred short sentences at 16 kHz. A starter voice is never made
of them. Its own reader says the same, and the recording is one of the versions from which the voice learns what
others' words are.

One prompt in five is held out, by a hash of its name: no training reads it, so that a bench can.

Needs Debian's ``asterisk-core-sounds-en`` (the words) and ``asterisk-core-sounds-en-g722``, and PyAV.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import av
import numpy as np
from make_demo_songs import Signal

WORDS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
RECORDINGS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PACKAGES = ("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722")
RATE = 16_000
# No digits, since one reads "one zero" where another reads "ten"; nor sounds described in brackets.
PLAIN = re.compile(r"[A-Za-z ,.'?!-]+")
FEWEST_WORDS, MOST_WORDS = 3, 22
HELD_OUT_SHARE = 5  # one in so many


def prompts() -> dict[str, str]:
    """Name and words of each prompt that is said in plain words and whose recording is here, in order of names."""
    if not WORDS.is_file() or not RECORDINGS.is_dir():
        raise SystemExit(f"Asterisk's prompts are missing; install from Debian: {' '.join(PACKAGES)}.")
    found = {}
    with gzip.open(WORDS, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, words = line.partition(":")
            words = " ".join(words.split())
            if PLAIN.fullmatch(words) and FEWEST_WORDS <= len(words.split()) <= MOST_WORDS:
                found[name.strip()] = words if words[-1] in ".?!" else f"{words}."
    return {name: words for name, words in sorted(found.items()) if _path(name).is_file()}


def is_held_out(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % HELD_OUT_SHARE == 0


def read(name: str) -> Signal:
    """The recording, at 16 kHz."""
    with av.open(str(_path(name)), format="g722") as recording:
        frames = [frame.to_ndarray().ravel() for frame in recording.decode(audio=0)]
    return np.asarray(np.concatenate(frames), np.float64) / 32768


def _path(name: str) -> Path:
    return RECORDINGS / f"{name}.g722"
