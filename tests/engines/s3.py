"""An S3: moto's server, a real process that speaks its protocol."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines import free_port

START_SECONDS = 60
BUCKET = "models"


@dataclass(frozen=True, slots=True)
class S3:
    """`environment`: what MLflow's client and server read to find it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "canary-s3-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        import boto3  # noqa: PLC0415 - takes a second

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="someone",
            aws_secret_access_key="canary-s3-secret",
        )


@contextmanager
def running() -> Iterator[S3]:
    """An empty S3 with one bucket, until the block ends."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("moto_server does not answer") from None
                    time.sleep(0.1)
            found = S3(url)
            found.client().create_bucket(Bucket=BUCKET)
            yield found
        finally:
            process.kill()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 for the session."""
    with running() as found:
        yield found
