"""Domino's request headers, as a plugin of MLflow (entry point group ``mlflow.request_header_provider``).

In a Domino execution MLflow's server stands behind Domino's own gate, which asks who calls and for which
execution. This module is loaded in every program that uses MLflow beside publisher, and in publisher itself, so
it imports nothing heavy, MLflow above all; where Domino's variables are unset it costs two look-ups a request.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Mapping
from functools import lru_cache

from publisher.errors import EngineError

API_KEY = "DOMINO_USER_API_KEY"
RUN_ID = "DOMINO_RUN_ID"
# What Domino's published clients sign with: the token only names the execution, the API key proves who asks.
SIGNING_KEY = "secret"


class DominoHeaders:
    """``X-Domino-Api-Key`` and ``X-Domino-Execution`` from DOMINO_USER_API_KEY and DOMINO_RUN_ID.

    It has the methods of MLflow's RequestHeaderProvider, and is none only because that one imports MLflow.
    """

    def in_context(self) -> bool:
        """True where one of the variables is set."""
        return applies(os.environ)

    def request_headers(self) -> dict[str, str]:
        """The headers, less those that another plugin gives: MLflow would join both values into a wrong one."""
        # MLflow has no public way to ask for the others; nobody needs it where MLflow's client is not in use.
        registry = sys.modules.get("mlflow.tracking.request_header.registry")
        providers = getattr(registry, "_request_header_provider_registry", ())
        ours = headers(os.environ)
        others = [each for each in providers if not isinstance(each, DominoHeaders) and each.in_context()]
        given = {header.lower() for each in others for header in each.request_headers()}
        return {header: value for header, value in ours.items() if header.lower() not in given}


def applies(environ: Mapping[str, str]) -> bool:
    """Whether requests to MLflow get Domino's headers."""
    return bool(environ.get(API_KEY) or environ.get(RUN_ID))


def headers(environ: Mapping[str, str]) -> dict[str, str]:
    """The headers for these variables; raises ImportError where the token cannot be made."""
    found = {}
    if key := environ.get(API_KEY, "").strip():
        found["X-Domino-Api-Key"] = key
    if run_id := environ.get(RUN_ID, "").strip():
        found["X-Domino-Execution"] = _token(run_id)
    return found


def require(environ: Mapping[str, str]) -> None:
    """Raise EngineError where the headers cannot be made; MLflow would only warn, and send none."""
    if environ.get(RUN_ID) and importlib.util.find_spec("jwt") is None:
        raise EngineError(
            f"{RUN_ID} is set, and the Python module jwt, which Domino's request header needs, is missing",
            hint="pip install 'model-publisher[domino]', or unset the variable",
        )


@lru_cache(maxsize=4)
def _token(run_id: str) -> str:
    import jwt  # noqa: PLC0415 - an extra, and needed only in Domino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT finds the key short, and Domino's it is
        return jwt.encode({"execution_id": run_id}, SIGNING_KEY, algorithm="HS256")
