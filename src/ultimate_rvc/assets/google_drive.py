"""Share links of Google Drive: the page that asks whether to download a large file is answered."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from ultimate_rvc.assets.connection import Manners, disposition_name
from ultimate_rvc.assets.remote_file import Answer, Asker, RemoteFile, host_of
from ultimate_rvc.errors import DownloadError

HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
ENDPOINT = "https://drive.usercontent.google.com"
FORM_ID = "download-form"
GOOGLES_DOMAINS = (".google.com", ".googleusercontent.com")
SIGN_IN_HOST = "accounts.google.com"
QUOTA_WORDS = ("quota exceeded", "too many users have viewed or downloaded")
_ID = re.compile(r"[\w-]{10,200}")
_PATH_ID = re.compile(r"/file/(?:u/\d+/)?d/([\w-]+)")


def is_google_drive(url: str) -> bool:
    """Whether a link leads to Google Drive."""
    return urlsplit(url).hostname in HOSTS


def find_on_google_drive(url: str, asker: Asker) -> RemoteFile:
    """The file that a share link means.

    Google scans small files for viruses and sends them at once. Before a large one it shows a page with a
    form, which is filled in here as the button on it would.

    Raises
    ------
    DownloadError
        The link is to a folder, the file is not shared with everyone, or was fetched too often today.
    """
    file_id, resource_key = _read_link(url)
    query = {"id": file_id, "export": "download", **({"resourcekey": resource_key} if resource_key else {})}
    page = f"https://{HOSTS[0]}/file/d/{file_id}/view"
    answer = asker.ask(f"{ENDPOINT}/download?{urlencode(query)}")
    manners = Manners(answer.cookies, asker.check_url, refuse_pages=True)
    if name := disposition_name(answer.headers):
        return RemoteFile(f"{ENDPOINT}/download?{urlencode(query)}", page, name, manners=manners)
    form = _Form()
    form.feed(answer.text)
    if form.action is None:
        raise DownloadError(_why_not(answer, page))
    target = urljoin(answer.url, form.action)
    _check_target(target)
    fields = urlencode({**query, **form.fields})
    return RemoteFile(f"{target}?{fields}", page, form.file_name, manners=manners)


def _read_link(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    in_path = _PATH_ID.search(parts.path)
    file_id = in_path[1] if in_path else query.get("id", [""])[0]
    if "/folders/" in parts.path or "/folderview" in parts.path:
        raise DownloadError(
            "The link is to a folder of Google Drive: open the file in it and share that one."
        )
    if not _ID.fullmatch(file_id):
        raise DownloadError("The link names no file of Google Drive: use 'Share', then 'Copy link'.")
    return file_id, query.get("resourcekey", [None])[0]


def _check_target(url: str) -> None:
    """A form may only lead to Google: the page it came in need not be Google's."""
    host = host_of(url)
    if urlsplit(url).netloc != urlsplit(ENDPOINT).netloc and not host.endswith(GOOGLES_DOMAINS):
        raise DownloadError(f"Google Drive's page leads to {host}, which is not Google's; refused.")


def _why_not(answer: Answer, page: str) -> str:
    text = answer.text.lower()
    if any(words in text for words in QUOTA_WORDS):
        return (
            f"Google Drive does not give {page} away today: it was downloaded too often. Try again "
            "tomorrow, or ask for another link."
        )
    if host_of(answer.url) == SIGN_IN_HOST or answer.status in (401, 403):
        return f"{page} is not shared with everyone who has the link: ask its owner to share it."
    if answer.status == 404:
        return f"Google Drive has no file {page}: check the link."
    return (
        f"Google Drive answered about {page} with a page that has no download: open it in a browser, "
        "download the file there and import it."
    )


class _Form(HTMLParser):
    """The download form of a page: where it goes, its hidden fields, and the file's name above it."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self._inside = False
        self._at_name = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and values.get("id") == FORM_ID:
            self.action, self._inside = values.get("action", ""), True
        elif tag == "input" and self._inside and values.get("type") == "hidden":
            self.fields[values.get("name", "")] = values.get("value", "")
        self._at_name = (self._at_name and tag == "a") or "uc-name-size" in values.get("class", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"

    def handle_data(self, data: str) -> None:
        if self._at_name and self.file_name is None and data.strip():
            self.file_name = data.strip()
