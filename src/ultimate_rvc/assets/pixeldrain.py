"""Links to pixeldrain: the page of a file becomes its API's download, with size and SHA-256."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from ultimate_rvc.assets.remote_file import Answer, Asker, RemoteFile, choose_voice
from ultimate_rvc.errors import DownloadError

HOSTS = ("pixeldrain.com", "www.pixeldrain.com", "pixeldrain.net", "pixeldrain.dev", "pixeldra.in")
ENDPOINT = "https://pixeldrain.com"
_FILE = re.compile(r"/(?:u|api/file)/(\w{4,40})(?:/\w*)?")
_LIST = re.compile(r"/(?:l|api/list)/(\w{4,40})(?:/\w*)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_pixeldrain(url: str) -> bool:
    """Whether a link leads to pixeldrain."""
    return urlsplit(url).hostname in HOSTS


def find_on_pixeldrain(url: str, asker: Asker) -> RemoteFile:
    """The file that a link means: ``/u/ID``, ``/api/file/ID``, or the only voice of a list ``/l/ID``.

    Raises
    ------
    DownloadError
        There is no such file, it is withheld, or the list has several voices or none.
    """
    path = urlsplit(url).path
    if match := _FILE.fullmatch(path):
        answer = asker.ask(f"{ENDPOINT}/api/file/{match[1]}/info")
        return _remote(_facts(answer), asker)
    if match := _LIST.fullmatch(path):
        facts = _facts(asker.ask(f"{ENDPOINT}/api/list/{match[1]}"))
        entries = facts.get("files")
        files = [_remote(entry, asker) for entry in entries if isinstance(entry, dict)] if entries else []
        return choose_voice(files, f"{ENDPOINT}/l/{match[1]}")
    raise DownloadError("The link names no file of pixeldrain: those look like https://pixeldrain.com/u/ID.")


def _facts(answer: Answer) -> dict[str, Any]:
    if answer.status == 404:
        raise DownloadError("pixeldrain has no such file, or has deleted it: ask for another link.")
    facts = answer.json()
    if answer.status != 200 or not isinstance(facts, dict):
        said = facts.get("message") if isinstance(facts, dict) else None
        raise DownloadError(f"pixeldrain answered {answer.status} ({str(said or 'no reason')[:200]}).")
    return facts


def _remote(facts: dict[str, Any], asker: Asker) -> RemoteFile:
    file_id, digest, size = str(facts.get("id")), str(facts.get("hash_sha256")), facts.get("size")
    if not re.fullmatch(r"\w{4,40}", file_id):
        raise DownloadError("pixeldrain named a file in an unknown form.")
    if withheld := str(facts.get("availability") or ""):
        raise DownloadError(
            f"pixeldrain withholds the file ({withheld[:80]}): download it in a browser and import it."
        )
    return RemoteFile(
        f"{ENDPOINT}/api/file/{file_id}?download",
        f"https://{HOSTS[0]}/u/{file_id}",
        str(facts.get("name") or "") or None,
        size if isinstance(size, int) and size > 0 else None,
        digest if _SHA256.fullmatch(digest) else None,
        asker.manners,
    )
