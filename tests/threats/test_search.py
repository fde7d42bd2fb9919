"""The search for secrets finds them: a search that finds nothing proves something only then."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.threats.canaries import inflated, leaking_files, leaks

SECRET = 'c4nary/p@ss+w"ord:ä'


@pytest.mark.parametrize("user", ["a", "ab", "abc", "robot"])
def test_every_form_is_found(user: str) -> None:
    """Literal, JSON, URL-encoded, base64, a Basic header of any user's: in the middle of other bytes."""
    pair = f"{user}:{SECRET}".encode()
    for text in (
        *(
            SECRET.encode(),
            json.dumps(SECRET).encode(),
            quote(SECRET, safe="").encode(),
            quote_plus(SECRET).encode(),
        ),
        *(base64.b64encode(pair), base64.urlsafe_b64encode(pair), base64.b64encode(pair + b"tail")),
        *(base64.b64encode(SECRET.encode()), f"https://{user}:{quote(SECRET)}@host/".encode()),
    ):
        assert leaks(b"before " + text + b" after", {"it": SECRET}) == ["it"], text
    assert not leaks(b"before c4nary/p@ss after", {"it": SECRET})


def test_packed_files_are_searched(tmp_path: Path) -> None:
    """Gzip members are inflated, one after the other, and file names count too."""
    layer = gzip.compress(b"first") + gzip.compress(SECRET.encode())
    assert inflated(layer) == b"first" + SECRET.encode()
    (tmp_path / "layer").write_bytes(layer)
    (tmp_path / "known").write_bytes(layer)
    assert leaking_files(tmp_path, {"it": SECRET}, {"known"}) == [(str(tmp_path / "layer"), "it")]
