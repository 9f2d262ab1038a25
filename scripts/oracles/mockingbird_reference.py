"""Write the reference embeddings of the speaker encoder: `tests/data/mockingbird/embeddings.npz`.

Resemblyzer 0.1.4 (Apache-2.0) hears the recordings of `tests/mockingbird_material.py`, with weights that the tests
make as well, and with its own. Neither the product nor its tests need it. In an environment with this project:

    pip install "setuptools<80" Resemblyzer
    PYTHONPATH=src:tests:benchmarks python scripts/oracles/mockingbird_reference.py
"""

from __future__ import annotations

import numpy as np
from resemblyzer import VoiceEncoder

from mockingbird_material import DATA, RECORDINGS, numbered


def main() -> None:
    encoders = {
        "trained": VoiceEncoder("cpu", verbose=False),
        "numbered": numbered(lambda: VoiceEncoder("cpu", verbose=False)),
    }
    embeddings = {
        f"{kind}_{name}": encoder.embed_utterance(recording()).astype(np.float32)
        for kind, encoder in encoders.items()
        for name, recording in RECORDINGS.items()
    }
    np.savez_compressed(DATA / "embeddings.npz", **embeddings)


if __name__ == "__main__":
    main()
