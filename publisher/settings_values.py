"""What single values of settings must be. Each raises ValueError that says what is expected."""

from __future__ import annotations

import re
import ssl
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from publisher.checks import profiles
from publisher.domain import MACHINES, Platform
from publisher.errors import SettingsError
from publisher.oci.hosts import is_loopback
from publisher.quantities import SIZE
from publisher.quantities import duration as parsed_duration
from publisher.quantities import size as parsed_size

PLATFORMS = tuple(f"linux/{architecture}" for architecture in MACHINES)
INDEX = "corp=https://pypi.example.org/simple"
TEMPLATES = "version, builtin, or a folder of templates"
BUILDKIT = "the address of a BuildKit, such as unix:///run/buildkit/buildkitd.sock or tcp://buildkit:1234"
REALM = "hosts without port, such as auth.example.org"
_LEAST_MEMORY = 128 << 20  # bytes; one publication alone needs it
_LEAST_CHUNK = 1 << 20


def listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def platforms(value: object) -> tuple[Platform, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"expected a list of {' and '.join(PLATFORMS)}")
    found = [Platform.parse(str(name)) for name in names]
    for platform in found:
        if str(platform) not in PLATFORMS:
            raise ValueError(f"{platform} cannot be built yet; expected a list of {' and '.join(PLATFORMS)}")
    return tuple(dict.fromkeys(found))


def profile(value: str) -> str:
    """Read once, so that what is wrong with a site's own file is told with all other faults."""
    try:
        return profiles.named(value).name
    except SettingsError as error:
        raise ValueError("; ".join(error.faults)) from error


def lines(value: object) -> object:
    """In a variable, one a line: commas, spaces and semicolons are parts of a requirement."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def index(value: str) -> str:
    name, equals, url = value.rpartition("=") if re.match(r"[A-Za-z0-9._-]+=", value) else ("", "", value)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        wanted = re.sub(r"[^A-Z0-9]", "_", name.upper()) or "NAME"
        raise ValueError(
            "must not hold credentials: write NAME=URL and put them into "
            f"UV_INDEX_{wanted}_USERNAME and UV_INDEX_{wanted}_PASSWORD, or into netrc"
        )
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected the URL of a package index such as {INDEX}, got {value!r}")
    if parts.scheme == "http" and not is_loopback(parts.netloc):
        raise ValueError(f"http:// lets anybody on the way change packages: write https://, got {value!r}")
    return f"{name}{equals}{url}"


def constraint(value: str) -> str:
    try:
        found = Requirement(value)
    except InvalidRequirement:
        raise ValueError(f"expected a constraint such as numpy<2, got {value!r}") from None
    if found.url or found.extras:
        raise ValueError(f"expected a constraint without URL and extras, such as numpy<2, got {value!r}")
    return str(found)


def user(value: str) -> str:
    uid, _, gid = value.partition(":")
    if not re.fullmatch(r"\d+(:\d+)?", value, re.ASCII) or max(int(uid), int(gid or 0)) > 2**32 - 2:
        raise ValueError(f"expected a numeric uid or uid:gid, such as 10001:10001, got {value!r}")
    if int(uid) == 0:
        raise ValueError("must not be root: clusters refuse such images; expected a uid other than 0")
    return value


def tracking_uri(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        raise ValueError(
            "must not hold credentials: put them into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if not value or not value.isprintable():
        raise ValueError("expected the address of an MLflow server, such as https://mlflow.example.org")
    return value


def hosts(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    expected = "expected a list of host or host:port, such as artifacts.example.org:5500"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(expected)
    found = [name.strip().lower() for name in names]
    for name in found:
        if "@" in name:
            raise ValueError("must not hold credentials: these hosts are sent those of the MLflow server")
        if not re.fullmatch(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", name):
            raise ValueError(f"{expected}, got {name!r}")
    return tuple(dict.fromkeys(found))


def duration(value: object) -> timedelta:
    return parsed_duration(value if isinstance(value, str) else str(value))


def memory(value: object) -> int | None:
    return _at_least(_LEAST_MEMORY, value)


def authorities(value: Path | None) -> Path | None:
    path = value and value.expanduser().absolute()
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise ValueError(f"expected certificates in PEM, and {path} has none") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


def realms(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError(f"expected a list of {REALM}")  # noqa: TRY004 - what pydantic takes for a fault
    found = [str(name).strip().lower() for name in names]
    for name in found:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
            raise ValueError(f"expected {REALM}, got {name!r}")
    return tuple(dict.fromkeys(found))


def templates(value: str) -> str:
    if value in ("version", "builtin"):
        return value
    path = Path(value).expanduser()
    if not path.is_dir():
        raise ValueError(f"expected {TEMPLATES}, and there is no folder {value!r}")
    return str(path.absolute())


def buildkit(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(
        r"(unix:///|tcp://|docker-container://|kube-pod://)[!-~]+", value
    ):
        raise ValueError(f"expected {BUILDKIT}, got {value!r}")
    return value


def context(value: object) -> int:
    return _at_least(1 << 20, value) or 0


def chunk(value: object) -> int | None:
    return _at_least(_LEAST_CHUNK, value)


def _at_least(least: int, value: object) -> int | None:
    if value is None:
        return None
    found = parsed_size(str(value))
    if found < least:
        raise ValueError(f"expected {SIZE}, at least {least >> 20}MiB, got {value!r}")
    return found
