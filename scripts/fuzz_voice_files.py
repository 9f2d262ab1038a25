"""Open many voice files with one to four bytes changed: each must load or be refused in one sentence.

    python scripts/fuzz_voice_files.py [--files 20000] [--seed 0] [--keep FOLDER]

Changes fall where a file describes its tensors, in every dialect; about a hundred files a second. Ends with 1
if any file ended otherwise; those are kept in FOLDER.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from voice_fuzz import outcomes


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where files that went wrong are kept")
    chosen = parser.parse_args()
    found: Counter[tuple[str, str]] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, outcome, data) in enumerate(outcomes(Path(folder), chosen.files, chosen.seed)):
            found[name, outcome] += 1
            if outcome in ("loaded", "refused"):
                continue
            wrong += 1
            print(f"{name} {number}: {outcome}")
            if chosen.keep is not None:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                (chosen.keep / f"{name} {chosen.seed}-{number}").write_bytes(data)
    for (name, outcome), count in sorted(found.items()):
        print(f"{count:7} {name}: {outcome}")
    print(f"{wrong} of {chosen.files} ended in anything but a voice or a sentence")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
