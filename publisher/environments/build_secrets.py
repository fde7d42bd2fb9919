"""What pip in a build needs to reach the package indexes: files that engines mount for one command, and keep nowhere.

They are written for one publication, beside its build context and never in it.
"""

from __future__ import annotations

import configparser
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from publisher.domain import Target
from publisher.environments import pip_settings
from publisher.environments.index import PYPI, Index, bare
from publisher.errors import HostError
from publisher.redaction import redacted

# Their ids: under these a command of a Dockerfile asks for them, and finds them in /run/secrets.
PIP_CONF, AUTHORITIES = "pip.conf", "ca.pem"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def of_target(environ: Mapping[str, str], target: Target, folder: Path, accounts: bool) -> dict[str, Path]:
    """Write the files into `folder`, for the owner alone, and return them by their ids; none where pip needs none.

    `accounts`: with the users and passwords of the indexes, else with their addresses alone. Raises HostError.
    """
    index = Index.load(environ, target.index)
    authorities = _authorities(index, environ)
    settings = _settings(index, accounts=accounts)
    if authorities:
        settings["cert"] = f"/run/secrets/{AUTHORITIES}"
    texts = {PIP_CONF: _text(settings) if settings else "", AUTHORITIES: authorities}
    try:
        return {name: _write(folder, name, text) for name, text in texts.items() if text}
    except OSError as error:
        raise HostError(f"the build secrets cannot be written: {error.strerror}") from error


def _settings(index: Index, *, accounts: bool) -> dict[str, str]:
    """The options of pip; none where it would do the same without."""
    found: dict[str, str] = {}
    urls = [_address(index, url, accounts=accounts) for url in index.urls]
    if pip_settings.is_true(index.environment.get("UV_NO_INDEX", "")):
        found["no-index"] = "true"
    elif urls and urls != [PYPI]:
        found["index-url"] = urls[-1]
        if urls[:-1]:
            found["extra-index-url"] = "\n".join(["", *urls[:-1]])
    places = re.split(r"[,\s]+", index.environment.get("UV_FIND_LINKS", ""))
    links = [_address(index, place, accounts=accounts) for place in places if "://" in place]
    if links := [link for link in links if urlsplit(link).scheme in ("http", "https")]:
        found["find-links"] = "\n".join(["", *links])
    if hosts := index.environment.get("UV_INSECURE_HOST", "").split():
        found["trusted-host"] = "\n".join(["", *(host.rpartition("://")[2].rstrip("/") for host in hosts)])
    return found


def _address(index: Index, url: str, *, accounts: bool) -> str:
    """`url` with the user and password for it, or without any."""
    account = index.account(url) if accounts else None
    plain = bare(url)
    if account is None:
        return plain
    user, password = account
    redacted.learn(password, quote(password, safe=""))
    parts = urlsplit(plain)
    host = f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def _text(settings: Mapping[str, str]) -> str:
    parser = configparser.RawConfigParser()
    parser["global"] = dict(settings)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _authorities(index: Index, environ: Mapping[str, str]) -> str:
    """The certificates of the file that the site names, and nothing else of it; "" where it names none."""
    named = [index.environment.get("SSL_CERT_FILE", "")]
    named += [environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    for name in filter(None, named):
        try:
            found = _CERTIFICATE.findall(Path(name).read_text("utf-8", "replace"))
        except OSError:
            continue  # uv and requests say what is wrong with it
        if found:
            return "".join(f"{each}\n" for each in found)
    return ""


def _write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
