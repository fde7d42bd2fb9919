"""Where packages come from: uv's and pip's variables, pip.conf, and the target's own settings, as one.

Credentials stay here: uv gets them in its environment, downloads as an `Authorization` for the index's own
origin, and nothing else sees them.
"""

from __future__ import annotations

import hashlib
import netrc
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from publisher.environments import pip_settings, uv_settings

PYPI = "https://pypi.org/simple"
_PASSED = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC"})
_PASSED_PREFIXES = ("UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
# Ours to say, each time: with another value uv would refuse its command line or answer another question.
_NOT_PASSED = frozenset(
    {
        "UV_EXCLUDE_NEWER",
        "UV_NO_BINARY",
        "UV_NO_BINARY_PACKAGE",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_NO_BUILD",
    }
)
_PORTS = {"https": 443, "http": 80}

Origin = tuple[str, str, int]  # scheme, host, port


@dataclass(frozen=True, slots=True)
class Index:
    """The package indexes of one target."""

    environment: Mapping[str, str]  # for uv; it holds credentials
    urls: tuple[str, ...]  # without credentials, the first that has a package gives it
    accounts: tuple[tuple[str, str, str], ...]  # URL without credentials, user, password
    netrc_path: Path | None = None
    configuration: str = ""  # a uv.toml with the same indexes, and how long their pages last

    @classmethod
    def load(cls, environ: Mapping[str, str], urls: Sequence[str] = ()) -> Index:
        """`urls` are the target's `index`, [NAME=]URL each; without them uv's variables count, then pip's."""
        kept = {
            key: value
            for key, value in environ.items()
            if key in _PASSED or key.upper().startswith(_PASSED_PREFIXES)
        }
        kept = {key: value for key, value in kept.items() if key not in _NOT_PASSED}
        if urls:
            kept = {key: value for key, value in kept.items() if key not in _INDEXES}
            kept["UV_DEFAULT_INDEX"] = urls[-1]
            if len(urls) > 1:
                kept["UV_INDEX"] = " ".join(urls[:-1])
        for key, value in pip_settings.as_uv(environ, indexes=not urls).items():
            kept.setdefault(key, value)
        for key in ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE"):
            if key in kept:  # uv runs in a folder of its own
                kept[key] = " ".join(str(Path(name).expanduser().absolute()) for name in kept[key].split())
        files = None if urls else uv_settings.indexes(environ)
        found = [*_configured(kept), *(files or ())]
        path = environ.get("NETRC") or (f"{environ['HOME']}/.netrc" if environ.get("HOME") else "")
        return cls(
            environment=kept,
            urls=tuple(bare(url) for _, url in found),
            accounts=tuple(account for name, url in found if (account := _account(name, url, kept))),
            netrc_path=Path(path) if path else None,
            configuration=uv_settings.for_one_run(_configured(kept))
            if files is None and _is_plain(kept)
            else "",
        )

    def for_run(self, *, fresh: bool) -> tuple[str, Mapping[str, str]]:
        """(uv.toml, variables) for one run of uv. `fresh`: pages of the last ten minutes are good enough."""
        if not self.configuration or not fresh:
            return "", self.environment
        return self.configuration, {k: v for k, v in self.environment.items() if k not in _INDEXES}

    @property
    def tells_times(self) -> bool:
        """Whether each index is known to tell when a file was uploaded, so that today's uploads change no past."""
        return all(url.rstrip("/") == PYPI for url in self.urls)

    def account(self, url: str) -> tuple[str, str] | None:
        """User and password for `url`: of the index of its origin whose path is nearest, else netrc's."""
        found = [entry for entry in self.accounts if origin(entry[0]) == origin(url)]
        if found:
            nearest = max(found, key=lambda entry: _shared(urlsplit(entry[0]).path, urlsplit(url).path))
            return nearest[1], nearest[2]
        return self._of_netrc(urlsplit(url).hostname or "")

    def _of_netrc(self, host: str) -> tuple[str, str] | None:
        if self.netrc_path is None:
            return None
        try:
            entry = netrc.netrc(self.netrc_path).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            return None
        return (entry[0], entry[2] or "") if entry else None

    def knows(self, url: str) -> bool:
        """Whether `url` is one of the configured indexes."""
        return bare(url).rstrip("/") in {each.rstrip("/") for each in self.urls}

    def serves(self, url: str) -> bool:
        """Whether `url` lies at the origin of a configured index."""
        return origin(url) in {origin(each) for each in self.urls}

    def key(self) -> list[str]:
        """What of this decides a resolution, without credentials."""
        decides = sorted(
            f"{name}={_without_userinfo(value)}"
            for name, value in self.environment.items()
            if name.startswith("UV_")
            and not re.search(r"USERNAME|PASSWORD|TOKEN|CACHE|HTTP|CONCURRENT|OFFLINE", name)
        )
        return (
            decides
            + [
                hashlib.sha256(Path(name).read_bytes()).hexdigest()
                for variable in ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE")
                for name in self.environment.get(variable, "").split()
                if Path(name).is_file()
            ]
            + [listing for place in self._links() for listing in _listing(place)]
        )

    def _links(self) -> list[str]:
        return [place for place in re.split(r"[,\s]+", self.environment.get("UV_FIND_LINKS", "")) if place]


def bare(url: str) -> str:
    """`url` without credentials and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def origin(url: str) -> Origin:
    """What credentials are bound to (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def _configured(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name or "", URL) of each index, in uv's order: UV_INDEX, then the extra ones, then the default."""
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        for entry in environment.get(variable, "").split():
            yield _named(entry)
    if not pip_settings.is_true(environment.get("UV_NO_INDEX", "")):
        yield _named(environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or PYPI)


def _is_plain(environment: Mapping[str, str]) -> bool:
    """Whether the indexes may stand in a file: no password is in their URLs, and there is a default one."""
    no_index = pip_settings.is_true(environment.get("UV_NO_INDEX", ""))
    return not no_index and not any("@" in urlsplit(url).netloc for _, url in _configured(environment))


def _named(entry: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9._-]+)=(.*)", entry)
    return (match[1], match[2]) if match else ("", entry)


def _account(name: str, url: str, environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    variable = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
    parts = urlsplit(url)
    user = environment.get(f"{variable}_USERNAME", "") if name else ""
    password = environment.get(f"{variable}_PASSWORD", "") if name else ""
    user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
    return (bare(url), user, password) if user or password else None


def _shared(one: str, other: str) -> int:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), len(one.split("/")))


def _without_userinfo(text: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://", text)


def _listing(place: str) -> list[str]:
    """The files of a local folder of wheels: with others, the answer is another one."""
    folder = Path(place)
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
