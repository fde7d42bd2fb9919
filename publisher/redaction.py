"""No credential leaves this process in a text: logs, error lines and status reasons are filtered here.

What is known: the variables that hold credentials, the passwords of any URL in a variable, ~/.netrc, and
whatever is told to `Redaction.learn` when it is read or received. A secret is found in each form in which
clients and servers write it: as it is, URL-encoded, in JSON, in base64 at any offset (so in a Basic header, too).
"""

from __future__ import annotations

import base64
import json
import logging
import netrc
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
_SHORTEST = 4  # characters; what is shorter would be found in every other word, and keeps nobody out
_SHORTEST_BY_NAME = 8  # of a variable that is only named like a secret: FEATURE_TOKEN=true is none
_NAMED = frozenset(
    {
        "REGISTRY_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "DOMINO_USER_API_KEY",
    }
)
_LIKE_A_SECRET = re.compile(
    r"(TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|SECRET_KEY|ACCESS_KEY|ACCOUNT_KEY)$", re.I
)
_USERINFO = re.compile(r"(?<=://)([^/\s@\"']*)@(?=[^\s@])")
_NOTHING = re.compile(r"(?!)")


class Redaction:
    """The secrets of a process, and their filter. Safe for several threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern = _NOTHING
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """From now on `secrets` are filtered, in all their forms."""
        forms = {form for secret in secrets if len(secret.strip()) >= _SHORTEST for form in _forms(secret)}
        with self._lock:
            if forms <= self._forms:
                return
            self._forms |= forms
            # The longest first: a password that begins like another one is not left with its end showing.
            ordered = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def learn_environment(self, environ: Mapping[str, str]) -> None:
        """Take in what the variables and ~/.netrc hold."""
        self.learn(*_of_variables(environ), *_of_netrc(environ))

    def __call__(self, text: str) -> str:
        """`text` without any secret, and without the user and password of any URL."""
        return _USERINFO.sub(f"{MASK}@", self._pattern.sub(MASK, text))


redacted = Redaction()
"""The process's own: every sink calls it, and whoever reads a credential tells it."""


class Formatter(logging.Formatter):
    """Log records, with their tracebacks, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def named_like_a_secret(name: str, value: str) -> bool:
    """Whether `value` stands under a name that credentials have, and may be one."""
    return name in _NAMED or bool(_LIKE_A_SECRET.search(name) and len(value) >= _SHORTEST_BY_NAME)


def _of_variables(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if named_like_a_secret(name, value):
            yield value
        for found in _USERINFO.findall(value):
            user, colon, password = found.partition(":")
            if colon:
                yield from (unquote(password), password)
            elif len(user) >= _SHORTEST_BY_NAME:  # a token stands there alone, and so does a mere user name
                yield from (unquote(user), user)


def _of_netrc(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME")
    place = environ.get("NETRC") or (str(Path(home) / ".netrc") if home else "")
    try:
        hosts = netrc.netrc(place).hosts if place else {}
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return  # whoever needs it says what is wrong with it
    for _, _, password in hosts.values():
        yield password or ""


def _forms(secret: str) -> Iterator[str]:
    trimmed = secret.strip()
    for text in {secret, trimmed}:
        yield text
        yield json.dumps(text)[1:-1]
        yield repr(text)[1:-1]
        yield " ".join(text.split())  # as it stands on one line
        for encoded in (quote(text, safe=""), quote(text), quote_plus(text)):
            yield encoded
            yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
        # requests writes a Basic header in Latin-1, nearly everybody else in UTF-8.
        for content in {text.encode("utf-8", "replace"), text.encode("latin-1", "replace")}:
            yield content.hex()
            yield from _in_base64(content)


def _in_base64(content: bytes) -> Iterator[str]:
    """How `content` looks within something longer that is in base64, at each of the three offsets.

    The characters that also hold bits of its neighbours are left out.
    """
    for offset in range(3):
        first, last = -(-offset * 8 // 6), (offset + len(content)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inner = encode(bytes(offset) + content).decode()[first:last]
            if len(inner) >= _SHORTEST:
                yield inner
