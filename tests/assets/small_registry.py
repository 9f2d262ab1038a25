"""A table of two small models and a server that has them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.misbehaving_server import Loopback, by_range, loopback
from ultimate_rvc.assets import manage, registry

CONFIG, OLD_CONFIG, WEIGHTS, PITCH = b'{"a": 1}', b"{}", os.urandom(300_000), b"pitch" * 1000
TABLE = [
    ("encoder", "small", "embedders/small/config.json", CONFIG, "team/one@main:a/config.json"),
    ("encoder", "small", "embedders/small/config.json", OLD_CONFIG, "-"),
    (
        "encoder",
        "small",
        "embedders/small/model.bin",
        WEIGHTS,
        "team/one@main:a/model.bin team/two@v1:b%20.bin",
    ),
    ("pitch", "tone", "predictors/tone.pt", PITCH, "team/one@main:tone.pt"),
]


def row(kind: str, name: str, path: str, content: bytes, mirrors: str) -> str:
    return "\t".join((kind, name, path, str(len(content)), hashlib.sha256(content).hexdigest(), mirrors))


@contextmanager
def small_registry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Put the small table in place of the one that ships, and serve its files on this machine."""
    table = folder / "registry.tsv"
    table.write_text(
        "# comment\nkind\tname\tpath\tbytes\tsha256\tmirrors\n" + "".join(row(*r) + "\n" for r in TABLE)
    )
    small = registry.read_table(table)
    for module in (registry, manage):
        monkeypatch.setattr(module, "assets", lambda: small)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as running:
        monkeypatch.setenv("URVC_HF_ENDPOINT", running.url + "/")
        monkeypatch.delenv("URVC_OFFLINE")
        running.serve("/team/one/resolve/main/a/config.json", by_range(CONFIG))
        running.serve("/team/one/resolve/main/a/model.bin", by_range(WEIGHTS))
        running.serve("/team/one/resolve/main/tone.pt", by_range(PITCH))
        yield running


def models(path: str) -> Path:
    return Path(os.environ["URVC_MODELS_DIR"]) / path


def put(path: str, content: bytes) -> Path:
    target = models(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target
