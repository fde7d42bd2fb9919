"""Secrets that are looked for, in every form in which programs write them, wherever bytes may hide."""

from __future__ import annotations

import base64
import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[bytes]:
    """As it is, in JSON, in a URL, and in base64 at any offset, as in a Basic header behind a user's name."""
    found = {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""), quote_plus(secret)}
    found |= {quote(secret, safe="").replace("%", "%25"), repr(secret)[1:-1]}
    texts = {form.encode() for form in found} | {secret.encode("latin-1", "replace")}
    for offset in range(3):
        raw = b"\0" * offset + secret.encode()
        # The characters at the ends depend on what stands before and after.
        inner = base64.b64encode(raw)[(0, 2, 3)[offset] :].rstrip(b"=")
        inner = inner if len(raw) % 3 == 0 else inner[:-1]
        texts |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {text for text in texts if len(text) >= 8}


def leaks(content: bytes, secrets: Mapping[str, str]) -> list[str]:
    """The names of the secrets that `content` holds in any form."""
    return [name for name, secret in secrets.items() if any(form in content for form in forms(secret))]


def inflated(content: bytes) -> bytes:
    """What gzip members in `content` hold, one after the other; empty where it is no gzip."""
    out = bytearray()
    while content[:2] == b"\x1f\x8b":
        engine = zlib.decompressobj(31)
        with suppress(zlib.error):
            out += engine.decompress(content)
        if not engine.eof:
            break
        content = engine.unused_data
    return bytes(out)


def leaking_files(folder: Path, secrets: Mapping[str, str], known: set[str]) -> list[tuple[str, str]]:
    """(file, secret) below `folder`, packed files inflated too. `known`: digests of blobs that are passed over."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or any(part in known for part in path.parts):
            continue
        content = path.read_bytes()
        text = content + inflated(content) + str(path).encode()
        found += [(str(path), name) for name in leaks(text, secrets)]
    return found


@dataclass(slots=True)
class Processes:
    """Descendants of a process as anybody on the machine sees them: command lines, and their environments."""

    lines: set[bytes] = field(default_factory=set)
    environments: dict[bytes, set[bytes]] = field(default_factory=dict)  # by command line

    def look(self, root: int) -> None:
        for pid in _descendants(root):
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                self.lines.add(line)
                if pid != root:
                    self.environments.setdefault(line, set()).add(Path(f"/proc/{pid}/environ").read_bytes())


@contextmanager
def watched(root: int) -> Iterator[Processes]:
    """Look again and again until the block ends."""
    seen, over = Processes(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.look(root)
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _descendants(root: int) -> list[int]:
    found = [root]
    for pid in found:  # grows while it is walked
        with suppress(OSError):  # it has ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = map(int, (task / "children").read_text().split())
                found += [child for child in children if child not in found]
    return found
