"""No form of a secret passes the filter, and all else does."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
import requests

from publisher.errors import BuildError
from publisher.exits import guarded
from publisher.json_output import to_json
from publisher.redaction import MASK, Formatter, Redaction, redacted
from publisher.terminal import Paper

SECRETS = ["canary-4f1c9e", "p@ss/w:ord +%ü", 'quo"te\\back', "abcd", "eyJhbGciOi.J9_-"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", "u:", "ci:", "bob:", "anna:"])
def test_every_form_of_a_secret_is_masked(secret: str, before: str) -> None:
    """Literal, URL-encoded in either case, JSON, hex, base64 and base64 of user:password at every offset."""
    redacted = Redaction([secret])
    basic = f"{before}{secret}".encode()
    forms = [
        secret,
        quote(secret, safe=""),
        quote(secret, safe="").lower() if quote(secret, safe="") != secret else secret,
        quote_plus(secret),
        urlencode({"token": secret}),
        json.dumps({"password": secret}),
        repr(secret),
        secret.encode().hex(),
        base64.b64encode(basic).decode(),
        base64.urlsafe_b64encode(basic + b":more").decode().rstrip("="),
        str(requests.Request("GET", "http://h", auth=(before or "u", secret)).prepare().headers),
    ]
    for form in forms:
        text = redacted(f"before {form} after")
        assert text.startswith("before "), form
        assert text.endswith(" after"), form
        assert MASK in text, form
        assert secret not in text
        for offset in range(3):
            core = base64.b64encode(bytes(offset) + secret.encode()).decode()[4:-4]
            assert not core or core not in text, form


def test_other_text_stays() -> None:
    """Words that resemble a secret, an e-mail address and a digest are left as they are."""
    text = "numpy@1.26 of ann@example.org, sha256:abc0123, canary-4f1c9d http://host:80/path @ 10:00"
    assert Redaction(["canary-4f1c9e", "", " ", "abc"])(text) == text


def test_a_longer_secret_that_begins_like_a_shorter_one_is_masked_whole() -> None:
    """Of two passwords, one the beginning of the other, no end stays visible."""
    assert Redaction(["hunter22", "hunter22-and-more"])("x hunter22-and-more y") == f"x {MASK} y"


def test_the_environment_is_read(tmp_path: Path) -> None:
    """Variables by name, passwords and tokens within URLs (proxies, indexes), .netrc; not plain settings."""
    (tmp_path / ".netrc").write_text("machine index.example.org login ann password from-netrc\n")
    redacted = Redaction()
    redacted.learn_environment(
        {
            "HOME": str(tmp_path),
            "REGISTRY_TOKEN": "tok1",
            "REGISTRY_USER": "robot",
            "MLFLOW_TRACKING_PASSWORD": "mlflow-canary",
            "UV_INDEX_INTERNAL_PASSWORD": "index-canary",
            "HTTPS_PROXY": "http://me:proxy%2Fcanary@proxy.example.org:3128",
            "UV_DEFAULT_INDEX": "https://glpat-canary@index.example.org/simple",
            "PIP_EXTRA_INDEX_URL": "https://a.example.org https://b:second-canary@b.example.org/simple",
            "FEATURE_TOKEN": "true",
        }
    )
    for secret in (
        "tok1",
        "mlflow-canary",
        "index-canary",
        "proxy/canary",
        "proxy%2Fcanary",
        "glpat-canary",
        "second-canary",
        "from-netrc",
    ):
        assert redacted(f"a {secret} b") == f"a {MASK} b"
    assert redacted("robot says true") == "robot says true"


def test_the_user_information_of_any_url_is_masked() -> None:
    """A password that nobody told us of, in a URL that somebody else's message holds, is masked all the same."""
    said = Redaction()("cannot reach https://ann:unknown@mlflow.example.org/x, or http://tok@h")
    assert said == f"cannot reach https://{MASK}@mlflow.example.org/x, or http://{MASK}@h"


def test_secrets_are_learned_while_others_are_filtered() -> None:
    """What a thread learned is filtered from then on, whatever other threads learn meanwhile."""
    redacted = Redaction()

    def learn(number: int) -> None:
        for count in range(30):
            secret = f"secret-{number}-{count}-end"
            redacted.learn(secret)
            assert redacted(secret) == MASK

    threads = [threading.Thread(target=learn, args=(number,)) for number in range(4)]
    failed: list[object] = []
    hook, threading.excepthook = threading.excepthook, failed.append
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = hook
    assert not failed


def test_every_sink_of_the_process_filters(capsys: pytest.CaptureFixture[str]) -> None:
    """Error lines and their details, tracebacks, results as lines and as JSON, log records."""
    secret = "sink-canary-77aa"
    redacted.learn(secret)

    def fail() -> int:
        raise BuildError(f"no {secret}", hint=f"not {secret}", detail=f"said {secret}")

    assert guarded(fail, debug=True) == BuildError.exit_code
    Paper(sys.stdout).line(f"m v3: {secret}")
    print(to_json({"reason": secret}))
    record = logging.LogRecord("publisher", logging.INFO, "f", 1, "a %s", (secret,), None)
    print(Formatter().format(record))
    seen = capsys.readouterr()
    assert secret not in seen.out + seen.err
    assert seen.err.count(MASK) >= 4
    assert seen.out.count(MASK) == 3
