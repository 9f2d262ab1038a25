"""A real nginx before the page, as a user would put one there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from web.server_process import ServerProcess, free_port, wait_until_it_answers

NEEDED = "URVC_TESTS_NEED_BROWSER"  # set where all programs that tests use must be there
PREFIX = "/rvc"
# What docs/user-guide.md shows, in a file that needs no rights.
CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /rvc/ {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_read_timeout 1h;
      client_max_body_size 0;
      proxy_set_header {host_header} $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      {more}
    }}
  }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
}}
"""


def nginx_or_skip() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        told = "no nginx found; on Debian and Ubuntu: apt install nginx-light"
        (pytest.fail if os.environ.get(NEEDED) else pytest.skip)(told)
    return path


@contextmanager
def nginx_before(
    server: ServerProcess, folder: Path, *, strips: bool, host_header: str = "Host", more: str = ""
) -> Iterator[str]:
    """The address of the page below :data:`PREFIX`, which nginx takes off or leaves on."""
    port, upstream = free_port(), server.url if strips else server.url.rstrip("/")
    config = folder / "nginx.conf"
    # To root it would be another user, who cannot enter the folders of a test.
    user = "user root root;" if os.geteuid() == 0 else ""
    given = {"user": user, "folder": folder, "port": port, "upstream": upstream, "more": more}
    config.write_text(CONFIG.format(**given, host_header=host_header))
    log = folder / "nginx.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [nginx_or_skip(), "-p", str(folder), "-c", str(config)], stdout=told, stderr=told
        )
    url = f"http://127.0.0.1:{port}{PREFIX}/"
    try:
        wait_until_it_answers(url, process, lambda: log.read_text(errors="replace"))
        yield url
    finally:
        process.terminate()
        process.wait()
