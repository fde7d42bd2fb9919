"""Whom a registry's certificate may come from, and the certificate that we show to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from urllib3.util.ssl_ import create_urllib3_context

from publisher.errors import SettingsError

# Where Docker and podman look, for all users and for one: https://docs.docker.com/engine/security/certificates/
FOLDERS = (
    "/etc/containers/certs.d",
    "/etc/docker/certs.d",
    "~/.config/containers/certs.d",
    "~/.config/docker/certs.d",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """`authorities` are trusted beside the usual ones; `pairs`: our certificate with its key."""

    authorities: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()

    def context(self, *, ours: bool) -> ssl.SSLContext | None:
        """None where the usual ones do. `ours`: with our own certificate. Raises SettingsError."""
        pairs = self.pairs if ours else ()
        if not self.authorities and not pairs:
            return None
        made = create_urllib3_context()
        path = Path()
        try:
            for path in self.authorities:
                made.load_verify_locations(path)
            for certificate, key in pairs:
                path = certificate
                made.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = "not a certificate in PEM, or not that of its key"
            if not isinstance(error, ssl.SSLError):
                reason = getattr(error, "strerror", None) or reason
            raise SettingsError([f"{path} cannot be used as a certificate: {reason}"]) from None
        return made


def find(host: str, own: Path | None = None, folders: Sequence[str] = FOLDERS) -> Certificates:
    """Those for `host` (``name[:port]``): the file `own` of authorities, and what lies in ``certs.d/HOST``,
    where ``*.crt`` are authorities and ``*.cert`` with ``*.key`` is ours."""
    authorities = [own] if own else []
    pairs: list[tuple[Path, Path]] = []
    for folder in _existing(host, folders):
        authorities += sorted(folder.glob("*.crt"))
        pairs += [(each, each.with_suffix(".key")) for each in sorted(folder.glob("*.cert"))]
    return Certificates(tuple(authorities), tuple(pairs))


def _existing(host: str, folders: Sequence[str]) -> Iterator[Path]:
    for text in folders:
        try:
            folder = Path(text).expanduser() / host
            if folder.is_dir():
                yield folder
        except (OSError, RuntimeError):
            continue  # no home, or a folder that is not for us
