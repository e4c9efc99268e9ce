"""Fetch pip's own wheel from the package index that pip would use, without pip.

The page is the "simple" one (PEP 503): links with the file's SHA-256 in the fragment and the
Python versions beside them.  The digest is checked.  Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import sys
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

import pipconf

WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl$")
LARGEST = 32 * 1024 * 1024  # bytes; pip's wheel is about 2 MiB


class Links(HTMLParser):
    """Gathers the links of pip's wheels that run on this Python, with their version."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.found: list[tuple[tuple[int, ...], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = urljoin(self.page, values.get("href") or "")
        match = WHEEL.search(unquote(urlsplit(address).path))
        if tag == "a" and match and "data-yanked" not in values and suits(values.get("data-requires-python") or ""):
            self.found.append((version(match[1]), address))


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def suits(requirement: str) -> bool:
    """Whether this Python meets the lower bounds of e.g. ``>=3.9``; other clauses do not occur for pip."""
    lowest = re.findall(r">=\s*(\d+(?:\.\d+)*)", requirement)
    return all(version(bound) <= tuple(sys.version_info[:3]) for bound in lowest)


def fetch(address: str, found: dict[str, str]) -> bytes:
    """The bytes at an http, https or file address, with pip's certificate, trust, proxy and time-out settings."""
    parts = urlsplit(address)
    context = ssl.create_default_context(cafile=found.get("cert") or None)
    if (parts.hostname or "") in found.get("trusted-host", "").split():
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if found.get("proxy"):
        handlers.append(urllib.request.ProxyHandler({"http": found["proxy"], "https": found["proxy"]}))
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers={"Accept": "text/html, */*"})
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    timeout = float(found.get("timeout") or found.get("default-timeout") or 60)
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
        body: bytes = answer.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise ValueError(f"{address} is larger than {LARGEST} bytes")
    return body


def candidates(address: str, found: dict[str, str]) -> list[tuple[tuple[int, ...], str]]:
    """The wheels that one page, or one folder of this machine, offers."""
    parts = urlsplit(address)
    folder = Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
    if folder is not None and folder.is_dir():
        matches = [(WHEEL.search(path.name), path) for path in folder.iterdir()]
        wheels = [(version(match[1]), path.resolve().as_uri()) for match, path in matches if match]
        if wheels or not (folder / "index.html").is_file():
            return wheels
        address = (folder / "index.html").resolve().as_uri()
    elif folder is not None and not folder.is_file():
        return []
    links = Links(address)
    links.feed(fetch(address, found).decode("utf-8", "replace"))
    return links.found


def download(folder: Path, environ: dict[str, str]) -> Path:
    """Put the newest wheel of pip that runs here into ``folder``; OSError or ValueError where none is to be had."""
    found = pipconf.settings(environ)
    offers: list[tuple[tuple[int, ...], str]] = []
    failures: list[Exception] = []
    for address in pipconf.page_addresses(found):
        try:
            offers += candidates(address, found)
        except (OSError, ValueError) as error:
            failures.append(error)
    if not offers:
        if failures:
            raise failures[0]
        raise ValueError("no configured package index offers a wheel of pip")
    address, fragment = urldefrag(max(offers)[1])
    body = fetch(address, found)
    wanted = fragment.partition("sha256=")[2]
    if wanted and hashlib.sha256(body).hexdigest() != wanted:
        raise ValueError(f"{address} does not have the SHA-256 that the index names")
    wheel = folder / unquote(urlsplit(address).path.rpartition("/")[2])
    wheel.write_bytes(body)
    return wheel
