"""Make tests/data/retrieval/*: an index and what another implementation blends from it.

Run by hand, in an environment of its own that has rvc-next 0.2.16 (GPL-3.0: an oracle, never a
dependency) and faiss::

    python scripts/oracles/retrieval_reference.py tests/data/retrieval
"""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np
from rvc_next.engine.index.retrieval import blend, load_index

SEED = 21
DIM, VECTORS, CELLS, FRAMES = 32, 1500, 24, 200


def main(folder: Path) -> None:
    numbers = np.random.RandomState(SEED)
    # Clouds, as phones make them, so that cells and neighbours differ from frame to frame.
    centres = numbers.standard_normal((40, DIM)) * 2
    vectors = (centres[numbers.randint(0, 40, VECTORS)] + numbers.standard_normal((VECTORS, DIM))).astype(
        "f4"
    )
    features = (centres[numbers.randint(0, 40, FRAMES)] + numbers.standard_normal((FRAMES, DIM))).astype("f4")
    index = faiss.index_factory(DIM, f"IVF{CELLS},Flat")
    index.nprobe = 1
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(folder / "clouds.index"))
    means = blend(features, load_index(folder / "clouds.index"))
    np.savez_compressed(folder / "clouds.npz", features=features, neighbour_means=means)
    print(f"{folder}: moved by {np.linalg.norm(means - features, axis=1).mean():.2f} on average")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
