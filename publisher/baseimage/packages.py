"""Debian's packages for a platform, chosen, fetched and verified by mmdebstrap; no root, nothing of them run.

``--mode=chrootless`` needs neither root nor user namespaces. mmdebstrap warns that maintainer scripts might
then reach the host: the variant ``extract`` runs none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from publisher.baseimage.debs import Package, read
from publisher.domain import Platform
from publisher.errors import EngineError, HostError, SettingsError

MIRROR = "PUBLISHER_DEBIAN_MIRROR"
ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64"}  # OCI -> Debian
DEFAULT = (
    "base-files",
    "base-passwd",
    "ca-certificates",
    "coreutils",
    "dash",
    "libc-bin",
    "libgomp1",
    "libstdc++6",
    "netbase",
    "python3",
    "tzdata",
)
# Part of the standard library until Python 3.12, which Debian packs apart. A pattern that finds nothing is an
# error of apt's, so this one finds python3-minimal in any case (apt-patterns(7)).
_DISTUTILS = "?and(?or(?exact-name(python3-distutils),?exact-name(python3-minimal)),?not(?virtual))"
# Needed only by maintainer scripts or by what is left out with them: the nis module alone wants libnsl2 and
# libtirpc3, and through them all of Kerberos. Naming one of them in `include` keeps it.
_CUT = frozenset(
    {
        *("debconf", "debianutils", "dpkg", "libdebconfclient0", "libnsl2", "libtirpc3", "mawk"),
        *("media-types", "perl-base", "readline-common", "sensible-utils", "tar"),
    }
)
_PASSED = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_SECONDS = 1800
_HINT_OTHER = "or take a base image from a registry that your site mirrors (`base` in publisher.toml)."


def fetch(
    platform: Platform, suite: str, include: Sequence[str], environ: Mapping[str, str], folder: Path
) -> list[Package]:
    """The packages of a platform, sorted by name, as files below `folder`, which mmdebstrap makes.

    `folder` is also the packages' unpacked tree, as mmdebstrap leaves it. Raises EngineError where mmdebstrap
    is missing or fails, HostError where the disk is full, SettingsError for names that are none.
    """
    architecture = check(platform, suite, include)
    tool = shutil.which("mmdebstrap", path=environ.get("PATH"))
    if tool is None:
        raise EngineError(
            "mmdebstrap is not installed",
            hint=f"Install it (`apt-get install mmdebstrap`, on Debian or Ubuntu), {_HINT_OTHER}",
        )
    roots = sorted({*DEFAULT, *include})
    command = [
        *(tool, "--mode=chrootless", "--skip=check/chrootless", "--variant=extract", "--format=directory"),
        *("--skip=cleanup/apt/cache", '--aptopt=Acquire::Retries "3"', f"--architectures={architecture}"),
        *(f"--include={','.join(roots)}", f"--include={_DISTUTILS}", suite, str(folder)),
    ]
    mirrors = [uri.strip() for uri in environ.get(MIRROR, "").split(",") if uri.strip()]
    if mirrors:  # on standard input: an address may hold a password, which a command line would show
        command.append("-")
    try:
        done = subprocess.run(
            command,
            input="".join(f"{_source(uri, suite)}\n" for uri in mirrors),
            env=_environment(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"mmdebstrap took more than {_SECONDS} s for {platform}", hint=_reach()) from error
    if done.returncode:
        raise _failure(platform, suite, done.stdout)
    files = sorted((folder / "var/cache/apt/archives").glob("*.deb"))
    return reachable([read(file) for file in files], [*roots, "python3-distutils"])


def check(platform: Platform, suite: str, include: Sequence[str]) -> str:
    """Debian's name of the platform; raises SettingsError with every fault of the three."""
    faults = []
    if platform.os != "linux" or platform.variant or platform.architecture not in ARCHITECTURES:
        known = ", ".join(f"linux/{name}" for name in ARCHITECTURES)
        faults.append(f"no base image can be made for {platform}, only for {known}")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", suite):
        faults.append(f"{suite!r} is not a Debian suite such as bookworm")
    wrong = [name for name in include if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)]
    faults += [f"{name!r} is not the name of a Debian package" for name in wrong]
    if faults:
        raise SettingsError(faults)
    return ARCHITECTURES[platform.architecture]


def reachable(packages: Sequence[Package], roots: Collection[str]) -> list[Package]:
    """The packages that `roots` need to run, sorted by name: dependencies of maintainer scripts are cut."""
    providers: dict[str, Package] = {}
    for package in packages:
        for name in package.provides():
            providers.setdefault(name, package)
    providers.update({package.name: package for package in packages})
    kept: dict[str, Package] = {}
    waiting = [providers[name] for name in roots if name in providers]
    while waiting:
        package = waiting.pop()
        if package.name in kept:
            continue
        kept[package.name] = package
        found = [next((n for n in names if n in providers), None) for names in package.needs()]
        needed = [providers[name] for name in found if name]
        waiting += [package for package in needed if package.name not in _CUT]
    return [kept[name] for name in sorted(kept)]


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What apt needs, and nothing else: the credentials of registries stay here."""
    passed = {key: environ[key] for name in _PASSED for key in (name, name.upper()) if key in environ}
    return {**passed, "SOURCE_DATE_EPOCH": "0", "LC_ALL": "C.UTF-8"}


def _source(uri: str, suite: str) -> str:
    """A line of sources.list(5). A whole line may be given too, for components, suites or options."""
    return uri if uri.startswith("deb ") else f"deb {uri} {suite} main"


def _reach() -> str:
    return f"Set {MIRROR} to a mirror that can be reached from here, or a proxy (http_proxy), {_HINT_OTHER}"


def _failure(platform: Platform, suite: str, output: str) -> EngineError | HostError:
    said = re.sub(r"(://)[^/\s@]*@", r"\1***@", output)
    detail = "\n".join(said.strip().splitlines()[-15:])
    if "No space left on device" in said:
        return HostError("the disk is full", hint="Free space below TMPDIR, or set TMPDIR.", detail=detail)
    missing = re.search(r"Unable to locate package (\S+)", said)
    if missing:
        return EngineError(
            f"Debian {suite} has no package {missing[1]} for {platform}",
            hint="Correct the name (packages.debian.org lists them).",
            detail=detail,
        )
    if "does not have a Release file" in said or re.search(r"404\s+Not Found", said):
        return EngineError(
            f"the Debian mirror has no suite {suite} for {platform}",
            hint=f"Name a suite that it has, such as bookworm, or another mirror in {MIRROR}.",
            detail=detail,
        )
    if re.search(r"NO_PUBKEY|not signed|keyring", said):
        return EngineError(
            f"the signature of Debian {suite} cannot be checked",
            hint="Install or update the package debian-archive-keyring.",
            detail=detail,
        )
    if re.search(r"Could not (resolve|connect)|Failed to fetch|Connection (failed|timed out)", said):
        return EngineError("the Debian mirror cannot be reached", hint=_reach(), detail=detail)
    return EngineError(f"mmdebstrap failed for {platform}", hint="Its last lines are below.", detail=detail)
