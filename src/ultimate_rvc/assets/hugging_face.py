"""Links to Hugging Face: the page of a file becomes the file, with the size and SHA-256 the site states."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from ultimate_rvc.assets.registry import endpoint
from ultimate_rvc.assets.remote_file import Answer, Asker, RemoteFile, choose_voice, shown_url
from ultimate_rvc.errors import DownloadError

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
FILE_WORDS = ("blob", "resolve", "raw")
MAX_HOPS = 3  # a renamed repository leads on once
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
# owner/name, or datasets/owner/name; what follows tells a file, a folder, or nothing.
_PATH = re.compile(
    r"/(?P<repository>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)(?:/(?P<word>[^/]+)/(?P<rest>.+?))?/?"
)


def is_hugging_face(url: str) -> bool:
    """Whether a link leads to Hugging Face, or to the server that stands in for it."""
    parts = urlsplit(url)
    if parts.hostname in HOSTS:
        return True
    match = _PATH.fullmatch(parts.path)
    is_file = match is not None and match["word"] in FILE_WORDS
    return is_file and parts.netloc == urlsplit(endpoint()).netloc


def find_on_hugging_face(url: str, asker: Asker) -> RemoteFile:
    """The file that a link of Hugging Face means.

    ``blob`` and ``raw`` pages become ``resolve`` links; the page of a repository or folder is listed, and its
    only voice taken. The download goes to the server that ``URVC_HF_ENDPOINT`` names.

    Raises
    ------
    DownloadError
        There is no such file, it is not public, or the page has several voices or none.
    """
    match = _PATH.fullmatch(urlsplit(url).path)
    if match is None:
        raise DownloadError(f"{shown_url(url)} is no file or repository of Hugging Face: check the link.")
    repository, word, rest = unquote(match["repository"]), match["word"], match["rest"] or ""
    revision, path = (unquote(part) for part in rest.partition("/")[::2])  # a revision may have %2F in it
    if word in FILE_WORDS and path:
        return _look_up(repository, revision, path, asker)
    if word not in (None, "tree"):
        raise DownloadError(f"{shown_url(url)} is no file of Hugging Face: open the file and copy its link.")
    return _only_voice(repository, revision or "main", path, asker)


def _look_up(repository: str, revision: str, path: str, asker: Asker) -> RemoteFile:
    """A file with what the site states of it before the download."""
    found = _file(repository, revision, path, asker)
    answer = _head(found, asker)
    if answer.status in (401, 403, 404):
        raise DownloadError(
            f"Hugging Face has no public file {path!r} in {repository} ({answer.status}): check the link."
        )
    headers = {name.lower(): value for name, value in answer.headers.items()}
    # Small files are not in the large file storage, and nothing is stated of them.
    digest = _SHA256.fullmatch(headers.get("x-linked-etag", ""))
    size = headers.get("x-linked-size", "")
    return replace(
        found, size_bytes=int(size) if size.isdigit() else None, sha256=digest[1] if digest else None
    )


def _head(file: RemoteFile, asker: Asker) -> Answer:
    """The site's own answer about a file, not that of the storage it leads to."""
    url = file.url
    for _ in range(MAX_HOPS):
        answer = asker.ask(url, method="HEAD", follow=False)
        location = answer.headers.get("Location", "")
        is_renamed = answer.status in (301, 302, 307, 308) and "X-Linked-Etag" not in answer.headers
        if not is_renamed or urlsplit(urljoin(url, location)).netloc != urlsplit(url).netloc:
            break
        url = urljoin(url, location)
    return answer


def _only_voice(repository: str, revision: str, folder: str, asker: Asker) -> RemoteFile:
    api = repository if repository.count("/") > 1 else f"models/{repository}"
    listing = asker.ask(
        f"{endpoint()}/api/{quote(api)}/tree/{quote(revision, safe='')}/{quote(folder)}?recursive=true"
    )
    page = f"https://{HOSTS[0]}/{repository}"
    if listing.status != 200:
        raise DownloadError(f"Hugging Face has no public {page} ({listing.status}): check the link.")
    entries = listing.json()
    if not isinstance(entries, list):
        raise DownloadError(
            f"Hugging Face answered about {page} in an unknown form; copy the link of a file."
        )
    files = [file for entry in entries if (file := _listed(entry, repository, revision, asker)) is not None]
    return choose_voice(files, page)


def _listed(entry: Any, repository: str, revision: str, asker: Asker) -> RemoteFile | None:
    if not isinstance(entry, dict) or entry.get("type") != "file" or not isinstance(entry.get("path"), str):
        return None
    path, stored = entry["path"], entry.get("lfs")
    stored = stored if isinstance(stored, dict) else {}
    digest = _SHA256.fullmatch(str(stored.get("oid", "")))
    size = stored.get("size")
    return replace(
        _file(repository, revision, path, asker),
        size_bytes=size if isinstance(size, int) else None,
        sha256=digest[1] if digest else None,
    )


def _file(repository: str, revision: str, path: str, asker: Asker) -> RemoteFile:
    return RemoteFile(
        f"{endpoint()}/{quote(repository)}/resolve/{quote(revision, safe='')}/{quote(path)}",
        f"https://{HOSTS[0]}/{repository}/blob/{revision}/{path}",
        path.rpartition("/")[2],
        manners=asker.manners,
    )
