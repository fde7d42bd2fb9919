"""What files a package index has of a project (packaging.python.org, "Simple repository API")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

from publisher.environments.index import Index
from publisher.errors import IndexUnavailableError

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LIMIT = 64 << 20  # bytes of one page


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file. `sha256` is hex, "" where the index does not tell; `uploaded` None likewise."""

    filename: str
    url: str
    sha256: str = ""
    requires_python: str = ""
    yanked: bool = False
    uploaded: datetime | None = None


def project_files(http: requests.Session, index: Index, name: str) -> list[IndexFile]:
    """The files of project `name` on the first index that has any. Raises IndexUnavailableError."""
    for url in index.urls:
        page = f"{url.rstrip('/')}/{re.sub(r'[-_.]+', '-', name).lower()}/"
        try:
            with http.get(page, headers={"Accept": _ACCEPT}, timeout=(10, 60), stream=True) as answer:
                if answer.status_code == 404:
                    continue
                if answer.status_code != 200:
                    raise IndexUnavailableError(f"the package index answers {answer.status_code} for {name}")
                body = answer.raw.read(_LIMIT, decode_content=True)
                kind, where = answer.headers.get("Content-Type", ""), answer.url
                found = _of_json(body, where) if "json" in kind else _of_html(body, where)
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise IndexUnavailableError(
                f"the package index tells nothing of {name}: {type(error).__name__}"
            ) from error
        if found:
            return found
    return []


def _of_json(body: bytes, page: str) -> list[IndexFile]:

    return [_of_entry(entry, page) for entry in json.loads(body)["files"]]


def _of_entry(entry: Mapping[str, object], page: str) -> IndexFile:
    hashes, uploaded = entry.get("hashes"), entry.get("upload-time")
    return IndexFile(
        filename=str(entry["filename"]),
        url=urljoin(page, str(entry["url"])),
        sha256=str(hashes.get("sha256") or "") if isinstance(hashes, dict) else "",
        requires_python=str(entry.get("requires-python") or ""),
        yanked=bool(entry.get("yanked")),
        uploaded=datetime.fromisoformat(str(uploaded)) if uploaded else None,
    )


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


def _of_html(body: bytes, page: str) -> list[IndexFile]:
    parser = _Anchors()
    parser.feed(body.decode("utf-8", "replace"))
    found = []
    for attributes in parser.found:
        url, fragment = urldefrag(urljoin(page, attributes.get("href") or ""))
        digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        found.append(
            IndexFile(
                filename=unquote(urlsplit(url).path).rpartition("/")[2],
                url=url,
                sha256=digest[1] if digest else "",
                requires_python=attributes.get("data-requires-python") or "",
                yanked="data-yanked" in attributes,
            )
        )
    return found
