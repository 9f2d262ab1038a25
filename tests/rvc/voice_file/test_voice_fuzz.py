"""Hundreds of voice files with one to four bytes changed; scripts/fuzz_voice_files.py opens any number."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_fuzz import sources, tally

FILES = 800


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_file_with_changed_bytes_is_a_voice_or_refused_in_a_sentence(tmp_path: Path) -> None:
    found = tally(tmp_path, FILES, seed=14)
    assert {outcome for _, outcome in found} == {"loaded", "refused"}
    # Both ends are reached from every dialect, or the changes would miss what they are meant to hit.
    assert len(found) == 2 * len(sources(tmp_path))
