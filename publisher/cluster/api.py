"""The few calls to the API of Kubernetes, which are all that the service account needs rights for.

Answers are JSON as Kubernetes sends it, and not the client's classes: those know less than what newer servers say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from publisher.errors import EngineError

GROUP = "io.github.model-publisher/work"  # a label: Jobs of one version on its way to one target
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SECONDS = (10, 30)  # to connect, between two pieces of an answer
_WATCHED = 10  # seconds of a watch at most, so that whoever waits can be stopped
_PASSING = (408, 429, 500, 502, 503, 504)
_SHORT = 300


class AwayError(EngineError):
    """Nobody answers, or not now: to be asked again."""


@dataclass(frozen=True, slots=True)
class Api:
    """Jobs of one namespace. Every method raises EngineError where it may not, AwayError where nobody answers."""

    namespace: str
    batch: Any
    core: Any

    @classmethod
    def connect(cls, namespace: str | None) -> Api:
        """By the service account of this pod, else by the kubeconfig as kubectl finds it."""
        settings = client.Configuration()
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=settings)
                own = _OWN_NAMESPACE.read_text("utf-8").strip()
            else:
                config.load_kube_config(client_configuration=settings)
                own = config.list_kube_config_contexts()[1].get("context", {}).get("namespace") or "default"
        except (ConfigException, OSError) as error:
            raise EngineError(
                f"there is no way to Kubernetes: {error}",
                hint="Run the publisher with a service account, or set KUBECONFIG (docs/fan-out.md).",
            ) from error
        # What is away is asked again by those who wait, who can be stopped meanwhile.
        settings.retries = urllib3.Retry(0)
        connection = client.ApiClient(settings)
        return cls(namespace or own, client.BatchV1Api(connection), client.CoreV1Api(connection))

    def template(self, name: str) -> dict[str, Any]:
        """The `jobTemplate` of a CronJob."""
        found = self._get(self.batch.read_namespaced_cron_job, name, what=f"cronjob/{name}")
        return dict(found["spec"]["jobTemplate"])

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> bool:
        """Whether it was made: it is not where there is one of that name."""
        only = {"dry_run": "All"} if dry_run else {}
        try:
            self._get(self.batch.create_namespaced_job, body=manifest, what="make Jobs", **only)
        except _ThereError:
            return False
        return True

    def delete(self, job: Mapping[str, Any]) -> None:
        """This very Job and its pods; one of the same name that was made since stays."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": job["metadata"]["uid"]}}
        name = job["metadata"]["name"]
        try:
            self._get(self.batch.delete_namespaced_job, name, body=options, what="delete Jobs")
        except (_ThereError, _NoneError):
            return  # somebody else has

    def jobs(self, group: str) -> tuple[dict[str, dict[str, Any]], str]:
        """The Jobs of a group by their names, and the moment, for `changed`."""
        chosen = f"{GROUP}={group}"
        found = self._get(self.batch.list_namespaced_job, label_selector=chosen, what="list Jobs")
        moment = str(found["metadata"]["resourceVersion"])
        return {each["metadata"]["name"]: each for each in found["items"]}, moment

    def changed(self, group: str, moment: str) -> None:
        """Return when one of the group's Jobs has changed since the moment, or after a while."""
        try:
            answer = self.batch.list_namespaced_job(
                self.namespace,
                label_selector=f"{GROUP}={group}",
                resource_version=moment,
                watch=True,
                timeout_seconds=_WATCHED,
                _request_timeout=_SECONDS,
                _preload_content=False,
            )
            with closing(answer):
                next(answer.stream(1024), None)
        except ApiException as error:
            if error.status != 410:  # too long ago: then it is listed again
                raise self._told(error, "watch Jobs") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _away(error) from error

    def pods(self, job: str) -> list[dict[str, Any]]:
        chosen = f"batch.kubernetes.io/job-name={job}"
        found = self._get(self.core.list_namespaced_pod, label_selector=chosen, what="list pods")
        return list(found["items"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Of the object of that name."""
        chosen = f"involvedObject.name={name}"
        found = self._get(self.core.list_namespaced_event, field_selector=chosen, what="list events")
        return list(found["items"])

    def _get(self, call: Callable[..., Any], *words: str, what: str, **more: Any) -> Any:
        """The answer's document; `what` is for faults."""
        named = {"namespace": self.namespace, "_preload_content": False, "_request_timeout": _SECONDS}
        try:
            with closing(call(*words, **named, **more)) as answer:
                return json.loads(answer.read())
        except ApiException as error:
            raise self._told(error, what) from error
        # The client stumbles over its own error where a certificate is not trusted: an attribute that is not there.
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            raise _away(error) from error

    def _told(self, error: ApiException, what: str) -> EngineError:
        said = _said(error)
        if error.status in _PASSING:
            return AwayError(f"Kubernetes does not answer now: {said}")
        if error.status == 409 and "exceeded quota" not in said:
            return _ThereError(said)
        if error.status == 404:
            return _NoneError(
                f"Kubernetes has no such thing in the namespace {self.namespace}: {said}",
                hint="Apply k8s/components/fan-out there, or name the namespace: `kubernetes_namespace`.",
            )
        if "exceeded quota" in said:
            hint = "Wait for other Jobs to end, or raise the quota."
        elif error.status in (401, 403):
            hint = f"Give the publisher's service account the rights of k8s/components/fan-out, to {what}."
        else:
            hint = "Correct the template of Jobs (docs/fan-out.md)."
        return EngineError(f"Kubernetes refuses ({error.status}): {said}", hint=hint)


class _ThereError(EngineError):
    """There is one of that name, or it is another one by now."""


class _NoneError(EngineError):
    """There is none."""


def _said(error: ApiException) -> str:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        text = str(error.reason or body)
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _away(error: Exception) -> AwayError:
    return AwayError(
        f"the API server of Kubernetes does not answer ({type(error).__name__}: {str(error)[:_SHORT]})",
        hint="The next try comes by itself; what was begun there goes on.",
    )
