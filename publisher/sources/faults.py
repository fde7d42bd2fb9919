"""What MLflow's client raises, as errors of ours: one line, no credentials, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from publisher.errors import ModelRegistryError, PublisherError, UnknownVersionError
from publisher.redaction import redacted

MAX_SAID = 240  # characters of a server's own words
_CREDENTIALS = re.compile(r"(?<=//)[^/\s]+@")
_STATUS = re.compile(r"failed with error code (\d{3})")
_UNREACHED = re.compile(r"failed with (timeout )?exception|^Invalid url|Could not connect to the endpoint")


def redact(text: str) -> str:
    """`text` without the user and password of any URL in it."""
    return _CREDENTIALS.sub("", text)


@contextmanager
def told(url: str, what: str) -> Iterator[None]:
    """Turn any exception of MLflow's client inside into one of ours; `what` is what was asked for.

    UnknownVersionError: the server has no such thing. ModelRegistryError: everything else.
    """
    try:
        yield
    except PublisherError:
        raise
    except Exception as error:
        raise translate(error, url, what) from error


def translate(error: Exception, url: str, what: str) -> ModelRegistryError:
    """The error to raise for an exception of MLflow's client or of requests."""
    server = url.startswith(("http:", "https:"))
    place = f"MLflow at {redact(url)}" if server else f"the storage {redact(url)}"
    status = status_of(error)
    if status is None and _is_unreached(error):
        unreached = ModelRegistryError(
            f"cannot reach {place}: {_cause(error)}",
            hint="see that it runs and that MLFLOW_TRACKING_URI names it" if server else "see that it runs",
        )
        unreached.away = server
        return unreached
    if status in (401, 403):
        # Retryable all the same: the fault is in the credentials of this publisher, not in the version.
        return ModelRegistryError(
            f"{place} refuses our credentials for {what} (HTTP {status})",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            if server
            else "give this publisher an account that may read it",
        )
    if status == 404:
        return UnknownVersionError(
            f"{place} has no {what}", hint="see the name and the version in MLflow's Models page"
        )
    fault = ModelRegistryError(
        f"{place} fails for {what}" + (f" (HTTP {status})" if status else "") + f": {_said(error)}",
        hint="its log tells more",
    )
    # What the server calls a wrong request stays wrong.
    fault.retryable = status is None or status in (408, 429) or status >= 500
    # What stands before a server that is down says so for it.
    fault.away = server and status in (502, 503, 504)
    return fault


def status_of(error: Exception) -> int | None:
    """The HTTP status behind an exception, None where no server answered."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    if isinstance(response, requests.Response):
        return response.status_code
    text = str(error)
    if match := _STATUS.search(text):
        return int(match[1])
    if _is_unreached(error):
        return None
    code = getattr(error, "get_http_status_code", None)
    return int(code()) if callable(code) else None


def _is_unreached(error: Exception) -> bool:
    return isinstance(error, requests.ConnectionError | requests.Timeout) or bool(
        _UNREACHED.search(str(error))
    )


def _cause(error: BaseException) -> str:
    """The innermost cause that says something to a person: 'Connection refused', 'timed out'."""
    text = redact(" ".join(str(error).split()))
    for pattern in (
        r"Connection refused",
        r"Name or service not known|nodename nor servname[^)']*|Temporary failure in name resolution",
        r"(?:read|connect) timed? ?out|timed out",
        r"certificate verify failed[^()]*",
        r"Connection reset by peer|Remote end closed connection without response",
        r"No route to host|Network is unreachable",
        r"too many \d+ error responses",
    ):
        if match := re.search(pattern, text, re.IGNORECASE):
            return match[0].strip()
    return _said(error)


def _said(error: BaseException) -> str:
    # Before it is cut: the first half of a password would not be known for one.
    text = redacted(redact(" ".join(str(error).split()))) or type(error).__name__
    return text if len(text) <= MAX_SAID else text[: MAX_SAID - 1] + "…"
