"""From a link that people share to the file behind it."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from ultimate_rvc.assets.google_drive import find_on_google_drive, is_google_drive
from ultimate_rvc.assets.hugging_face import find_on_hugging_face, is_hugging_face
from ultimate_rvc.assets.pixeldrain import find_on_pixeldrain, is_pixeldrain
from ultimate_rvc.assets.remote_file import Asker, RemoteFile, shown_url
from ultimate_rvc.errors import DownloadError

SITES = (
    (is_hugging_face, find_on_hugging_face),
    (is_google_drive, find_on_google_drive),
    (is_pixeldrain, find_on_pixeldrain),
)
# Sites whose links lead to no file without a browser.
CLOSED_SITES = {"mega.nz": "Mega", "mega.io": "Mega", "www.mediafire.com": "MediaFire"}

ADDRESS = re.compile(r"([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?/\S+", re.IGNORECASE)  # a host, and something of it


def is_link(text: str) -> bool:
    """Whether a text is meant as a link and not as a path or name."""
    return text.strip().lower().startswith(("https://", "http://"))


def pasted_link(text: str) -> str:
    """What a person pasted as a link: without the brackets or quotes around it, with the ``https://`` that lacks."""
    link = text.strip().strip("<>\"'").strip()
    return f"https://{link}" if not is_link(link) and ADDRESS.fullmatch(link) else link


def find_remote_file(url: str, asker: Asker | None = None) -> RemoteFile:
    """The file behind a link, with what its site states of it.

    Links of Hugging Face, Google Drive and pixeldrain are understood as people share them; any other
    is taken for the file itself.

    A link begins with ``https://``; ``http://`` is only for this machine.

    Raises
    ------
    DownloadError
        There is no such file, it is not public, or the link must not be followed; the sentence says which.
    """
    asker, link = asker or Asker(), url.strip()
    asker.check_url(link)
    for is_its_link, find in SITES:
        if is_its_link(link):
            return find(link, asker)
    parts = urlsplit(link)
    if site := CLOSED_SITES.get(parts.hostname or ""):
        raise DownloadError(f"{site} gives files to browsers only: download it there and import the file.")
    name = unquote(parts.path).rpartition("/")[2]
    return RemoteFile(link, shown_url(link), name or None, manners=asker.manners)
