"""Wheels from the package index into the cache: in parallel, hashes checked, flat memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from publisher import scratch
from publisher.domain import Wheel
from publisher.errors import IndexUnavailableError, PublisherError, TransferError

PARALLEL = 12
_TRIES = 4
_LARGEST = 16 << 30  # bytes of a wheel whose size the index does not tell
_AGAIN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, TransferError)
_BUSY = frozenset({408, 429, 500, 502, 503, 504})

Prepare = Callable[[requests.Session], object]


class _BusyError(requests.ConnectionError):
    pass


def session(prepare: Prepare = lambda _: None) -> requests.Session:
    """A session for `PARALLEL` downloads; `prepare` gives it accounts and certificates."""
    new = requests.Session()
    new.mount("https://", HTTPAdapter(pool_connections=4, pool_maxsize=PARALLEL))
    prepare(new)
    return new


def download(http: requests.Session, wheel: Wheel, path: Path, on_bytes: Callable[[int], None]) -> int:
    """Download `wheel` to `path` and return its size in bytes; 0 if it is there already.

    Raises TransferError when its hash is wrong twice, IndexUnavailableError when the index does not give it.
    """
    if path.is_file() and (not wheel.size or path.stat().st_size == wheel.size):
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    tries = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential_jitter(0.2, 5),
        retry=retry_if_exception_type(_AGAIN),
        reraise=True,
    )
    try:
        return int(tries(_once, http, wheel, path, on_bytes))
    except PublisherError:
        raise
    except requests.RequestException as error:
        host = urlsplit(wheel.url).hostname
        raise IndexUnavailableError(
            f"{wheel.filename} cannot be had from {host}: {type(error).__name__}",
            hint="The next try comes by itself; is the package index reachable from here?",
        ) from error


def _once(http: requests.Session, wheel: Wheel, path: Path, on_bytes: Callable[[int], None]) -> int:
    part = scratch.below(path.parent.parent).part(path.name)
    seen, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as sink:
            for chunk in _chunks(http, wheel):
                seen.update(chunk)
                size += len(chunk)
                if size > (wheel.size or _LARGEST):  # an answer without end must not fill the disk
                    raise TransferError(f"{wheel.filename} is larger than its package index says")
                sink.write(chunk)
                on_bytes(len(chunk))
        if seen.hexdigest() != wheel.sha256:
            raise TransferError(
                f"{wheel.filename} came from the package index with another hash than its lock names",
                hint="If it stays so, the index or a proxy before it changes files.",
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size


def _chunks(http: requests.Session, wheel: Wheel) -> Iterator[bytes]:
    if wheel.url.startswith("file:"):
        with Path(unquote(urlsplit(wheel.url).path)).open("rb") as stream:
            yield from iter(lambda: stream.read(1 << 20), b"")
        return
    with http.get(wheel.url, stream=True, timeout=(10, 60)) as answer:
        if answer.status_code in _BUSY:
            raise _BusyError(f"status {answer.status_code}")
        if answer.status_code != 200:
            raise IndexUnavailableError(
                f"the package index answers {answer.status_code} for {wheel.filename}",
                hint="Are the index's credentials there (UV_INDEX_<NAME>_USERNAME, netrc)?",
            )
        yield from answer.iter_content(1 << 18)
