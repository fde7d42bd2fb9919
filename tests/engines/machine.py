"""How this machine reaches packages: for what is built here, in an image or in an engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def pip_settings() -> dict[str, str]:
    """This machine's package index, as pip.conf would say it in ``[global]``."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return dict(re.findall(r"^[\w:]+\.(index-url|extra-index-url|trusted-host|proxy)='(.*)'$", said, re.M))


def authorities() -> Path:
    """The file of the certificate authorities that this machine trusts."""
    named = [Path(os.environ[name]) for name in _AUTHORITIES if os.environ.get(name)]
    usual = Path("/etc/ssl/certs/ca-certificates.crt")
    for path in (*named, usual):
        if path.is_file():
            return path
    raise RuntimeError(f"no file of certificate authorities: set {_AUTHORITIES[0]}, or install {usual}")
