"""What MLflow's client, requests and storages raise, and what becomes of it."""

from __future__ import annotations

import json

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from publisher.errors import ModelRegistryError, UnknownVersionError
from publisher.redaction import redacted
from publisher.sources.faults import redact, status_of, told, translate

URL = "https://ann:canary@mlflow.example.org/mlflow"


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("no", response=response)


class BucketError(Exception):
    """Shaped as botocore's ClientError."""

    def __init__(self, status: int) -> None:
        super().__init__("An error occurred (AccessDenied) when calling ListObjectsV2")
        self.response = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (answered(503), 503),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "m"}), 404),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "m"}), 403),
        (
            MlflowException(
                "API request to endpoint /x failed with error code 401 != 200. Response body: ''"
            ),
            401,
        ),
        (MlflowException("API request to https://h/x failed with exception refused"), None),
        (requests.ConnectionError("refused"), None),
        (BucketError(403), 403),
        (ValueError("odd"), None),
    ],
)
def test_the_status_behind_an_error(error: Exception, status: int | None) -> None:
    """The HTTP status is found in each form that MLflow's client hides it in."""
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "said"),
    [
        (answered(404), UnknownVersionError, False, "has no model version m v3"),
        (answered(401), ModelRegistryError, True, "refuses our credentials"),
        (answered(400), ModelRegistryError, False, "(HTTP 400)"),
        (answered(429), ModelRegistryError, True, "(HTTP 429)"),
        (answered(502), ModelRegistryError, True, "(HTTP 502)"),
        (
            requests.ConnectionError(f"Max retries for {URL}: Connection refused"),
            ModelRegistryError,
            True,
            "cannot reach",
        ),
        (RuntimeError("odd\n" + "x" * 999), ModelRegistryError, True, "odd xxx"),
    ],
)
def test_translation(error: Exception, kind: type[ModelRegistryError], retryable: bool, said: str) -> None:
    """Each fault has its kind, tells whether a retry may help, and is one short line without the password."""
    fault = translate(error, URL, "model version m v3")
    assert type(fault) is kind
    assert fault.retryable is retryable
    assert said in str(fault)
    assert "https://mlflow.example.org/mlflow" in str(fault)
    assert "canary" not in fault.line
    assert len(fault.line) < 450


def test_a_storage_is_not_called_mlflow() -> None:
    """A bucket that refuses us is named as a storage, and no MLflow password is asked for."""
    fault = translate(BucketError(403), "s3://bucket/x", "the artifacts in the root")
    assert str(fault).startswith("the storage s3://bucket/x refuses our credentials")
    assert "MLFLOW" not in fault.line


def test_our_own_errors_pass() -> None:
    """An error of ours goes through unchanged."""
    ours = UnknownVersionError("gone")
    with pytest.raises(UnknownVersionError) as fault, told(URL, "x"):
        raise ours
    assert fault.value is ours


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"see {URL} and {URL}",
        "http://u:can@ary@canary@h/x",
        "postgresql://u:canary@db/x",
        json.dumps({"u": "http://canary@h"}),
    ],
)
def test_redaction(text: str) -> None:
    """No user and no password of a URL stays in a text."""
    assert "canary" not in redact(text)
    assert "@" not in redact(text)


def test_a_secret_is_masked_before_the_words_are_cut() -> None:
    """A server's long answer that holds a secret where it is cut shows no part of the secret."""
    redacted.learn("cut-canary-0123456789")
    for before in range(200, 260):
        said = str(translate(Exception(f"{'x' * before}cut-canary-0123456789"), URL, "a search"))
        assert "cut" not in said
        assert "canary" not in said
