"""What Kubernetes says of a Job, its pods and their events, in words for people. Pure: JSON in, words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from publisher.cluster import results
from publisher.cluster.jobs import CONTAINER
from publisher.cluster.results import Result
from publisher.domain import Platform
from publisher.errors import DeadlineError, EngineError, PublisherError

Json = Mapping[str, Any]
_STARTING = ("ContainerCreating", "PodInitializing")
_LONGEST = 400  # characters of what Kubernetes says
_HINTS = {
    "Unschedulable": "Add a node that fits, or ask for less in the template of Jobs (docs/fan-out.md).",
    "ErrImagePull": "Correct the image of the template of Jobs, or the account with which nodes pull it.",
    "CreateContainerConfigError": "Make the Secret or ConfigMap that it names, in the namespace of the Jobs.",
    "FailedMount": "Make the Secret or ConfigMap that it names, in the namespace of the Jobs.",
    "FailedCreate": "The namespace does not take the pod: see its quota, its Pod Security and its service accounts.",
}
_SAME = {
    "ImagePullBackOff": "ErrImagePull",
    "InvalidImageName": "ErrImagePull",
    "ErrImageNeverPull": "ErrImagePull",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a Job does not begin. It may pass by itself, so nothing is given up at once."""

    reason: str
    text: str

    @property
    def hint(self) -> str:
        return _HINTS.get(_SAME.get(self.reason, self.reason), "")


def ended(job: Json) -> Literal["Complete", "Failed", ""]:
    """How a Job ended; empty where it goes on."""
    for kind in ("Complete", "Failed"):
        if _condition(job, kind):
            return kind
    return ""


def begun(job: Json) -> bool:
    """Whether one of its pods is at work."""
    return bool(job.get("status", {}).get("ready"))


def handed_over(pods: Sequence[Json], platform: Platform) -> Result | PublisherError | None:
    """What the last pod that ended has said; None where none has, or what it said is nothing."""
    said = [
        (str(state.get("finishedAt", "")), found)
        for pod in pods
        if (state := _terminated(pod)) and (found := results.read(str(state.get("message", "")), platform))
    ]
    for _, found in said:
        if isinstance(found, Result):
            return found
    return max(said, key=lambda each: each[0])[1] if said else None


def failure(job: Json, pods: Sequence[Json], platform: Platform) -> PublisherError:
    """Why a Job has failed: what its pod said, else what Kubernetes says of it."""
    found = handed_over(pods, platform)
    if isinstance(found, PublisherError):
        return found
    name = job["metadata"]["name"]
    condition = _condition(job, "Failed") or {}
    if condition.get("reason") == "DeadlineExceeded":
        return DeadlineError(
            f"the Job {name} was not done within its deadline",
            hint="The next try comes by itself; a longer `deadline` of the target gives it more time.",
        )
    killed = [state for pod in pods if (state := _terminated(pod)) and state.get("reason") == "OOMKilled"]
    if killed:
        return EngineError(
            f"the Job {name} took more memory than its limit",
            hint="Give it more in the template of Jobs, or a template of its own: `job_template` of the target.",
        )
    codes = sorted({str(state.get("exitCode")) for pod in pods if (state := _terminated(pod))})
    why = f"its pods ended with {', '.join(codes)}" if codes else _short(condition.get("message", ""))
    return EngineError(
        f"the Job {name} failed ({condition.get('reason') or 'for no reason that is told'}): {why}",
        hint=f"kubectl logs job/{name} shows what they said, as long as they are there.",
    )


def trouble(pods: Sequence[Json], events: Sequence[Json]) -> Trouble | None:
    """What keeps a Job's pods from their work; None where nothing is known to."""
    for pod in pods:
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
            waiting = container.get("state", {}).get("waiting") or {}
            if waiting.get("reason") and waiting["reason"] not in _STARTING:
                return Trouble(waiting["reason"], _told(waiting["reason"], waiting.get("message", "")))
        for condition in status.get("conditions", ()):
            if condition.get("reason") == "Unschedulable" and condition.get("status") == "False":
                return Trouble("Unschedulable", _told("Unschedulable", condition.get("message", "")))
    warnings = [each for each in events if each.get("reason") in ("FailedCreate", "FailedMount")]
    if not warnings or any(map(begun_once, pods)):
        return None
    last = max(warnings, key=lambda each: str(each.get("lastTimestamp") or ""))
    return Trouble(last["reason"], _told(last["reason"], last.get("message", "")))


def begun_once(pod: Json) -> bool:
    """Whether its container has run."""
    return any(
        each.get("state", {}).get("running") or each.get("state", {}).get("terminated")
        for each in pod.get("status", {}).get("containerStatuses", ())
    )


def _terminated(pod: Json) -> dict[str, Any]:
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if container.get("name") == CONTAINER:
            return dict(container.get("state", {}).get("terminated") or {})
    return {}


def _condition(job: Json, kind: str) -> dict[str, Any] | None:
    for condition in job.get("status", {}).get("conditions", ()):
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def _told(reason: str, message: str) -> str:
    return f"{reason}: {_short(message)}" if message else reason


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
