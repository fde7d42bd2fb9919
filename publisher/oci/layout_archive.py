"""An OCI layout in a tar, as builders write it into a pipe, becomes a folder while it arrives."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from publisher.errors import EngineError

_BLOCK = 1 << 20  # bytes
_MOST = 10_000  # files; an image has one for each layer, and four more
_NAME = re.compile(r"(?:\./)?(oci-layout|index\.json|manifest\.json|blobs/sha256/[0-9a-f]{64})")


def unpack(stream: BinaryIO, folder: Path) -> None:
    """Write what is in `stream`, to its end, below the new `folder`; nothing is written beside it.

    Raises EngineError for what is no layout, OSError where it cannot be written.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as archive:
            for number, entry in enumerate(archive):
                named = _NAME.fullmatch(entry.name)
                if entry.isdir():
                    continue
                if not (named and entry.isreg()) or number > _MOST:
                    raise EngineError(f"what was built is no OCI layout: it holds {entry.name[:100]!r}")
                path = folder / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(entry)
                assert source is not None  # noqa: S101 - it is a regular file
                with source, path.open("xb") as sink:
                    shutil.copyfileobj(source, sink, _BLOCK)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, FileExistsError) as error:
        raise EngineError(f"what was built is no OCI layout: {error}") from error
    while stream.read(_BLOCK):  # a writer that finds its pipe closed believes that it failed
        pass


@contextmanager
def receiving(folder: Path) -> Iterator[BinaryIO]:
    """A pipe for whoever writes such a tar; when it is closed again, `folder` is the layout. Raises as `unpack`.

    What is raised in between comes first, unless there was no room for what was sent.
    """
    reader, writer = os.pipe()
    failed: list[Exception] = []

    def receive() -> None:
        with os.fdopen(reader, "rb") as stream:
            try:
                unpack(stream, folder)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=receive, name="layout", daemon=True)
    thread.start()
    try:
        with os.fdopen(writer, "wb") as sink:
            yield sink
    except Exception:
        thread.join()
        if failed and isinstance(failed[0], OSError):
            raise failed[0] from None
        raise
    finally:
        thread.join()
    if failed:
        raise failed[0]
