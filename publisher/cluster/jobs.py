"""The Job that builds one platform of one version for one target. Pure: a template and the work in, a manifest out.

The template is a suspended CronJob, from which `kubectl create job --from=cronjob/…` would make a Job by hand. So a
site says in its own manifests what pods may use, and which secrets, and the publisher adds only what differs.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from publisher import __version__, errors
from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import EngineError, PublisherError
from publisher.status import fingerprint

PREFIX = "io.github.model-publisher"
CONTAINER = "publisher"  # the container of the template that builds
RESULT = "/dev/termination-log"  # what it writes there, Kubernetes shows in the pod's status
KEPT = 86400  # seconds that an ended Job stays, where the template says nothing
TRIES = 2  # pods after the first one, where the template says nothing
WRONG_USE = 2  # what a command line that cannot be read ends with
_ENGINES = ("buildx", "kaniko", "buildah")


@dataclass(frozen=True, slots=True)
class Work:
    """What one Job is to do. `deadline`: how long it may take with all its pods; None for as long as it wants."""

    version: ModelVersion
    target: Target
    platform: Platform
    deadline: timedelta | None = None
    force: bool = False

    @property
    def key(self) -> str:
        """64 hex digits over all that decides what is built: two publishers with the same settings have the same."""
        known = [
            __version__,
            self.version.name,
            self.version.version,
            self.target.name,
            str(self.platform),
            fingerprint(self.version, self.target),
        ]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    @property
    def memory(self) -> str:
        """Under which the target's cache repository has what was built; no other kind of key there begins so."""
        return f"platform-{self.key}"

    @property
    def name(self) -> str:
        """The Job's. It is the same for everyone, so that a second publisher meets the first one's Job."""
        readable = re.sub(r"[^a-z0-9]+", "-", self.version.name.lower())[:20].strip("-") or "model"
        return f"build-{readable}-{self.platform.architecture}-{self.key[:16]}"


def permanent() -> list[int]:
    """The exit codes after which another pod would end no better, in order."""
    found, todo = {WRONG_USE}, [PublisherError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if not kind.retryable:
            found.add(kind.exit_code)
    return sorted(found - {errors.SOME_FAILED})


def manifest(template: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The Job, by the `jobTemplate` of a CronJob. Raises EngineError where that has no container to build in."""
    made = copy.deepcopy(dict(template))
    spec = made.setdefault("spec", {})
    pod = spec.get("template", {}).get("spec", {})
    ours = [each for each in pod.get("containers", ()) if each.get("name") == CONTAINER]
    if not ours:
        raise EngineError(
            f"the template of Jobs, cronjob/{work.target.job_template}, has no container {CONTAINER}",
            hint="Take the one of k8s/components/fan-out.",
        )
    ours[0] |= {
        "args": arguments(work),
        "terminationMessagePath": RESULT,
        "terminationMessagePolicy": "File",
    }
    pod["restartPolicy"] = "Never"  # the only one with which a Job's failures are told apart by exit codes
    pod["affinity"], pod["nodeSelector"] = _placed(pod, work)
    spec |= {"completions": 1, "parallelism": 1, "podFailurePolicy": _failures()}
    spec.pop("suspend", None)
    spec.setdefault("backoffLimit", TRIES)
    spec.setdefault("ttlSecondsAfterFinished", KEPT)
    if work.deadline:
        spec["activeDeadlineSeconds"] = max(int(work.deadline.total_seconds()), 1)
    told = {
        "model": work.version.name,
        "version": work.version.version,
        "target": work.target.name,
        "platform": str(work.platform),
    }
    labels = {"app.kubernetes.io/name": "model-publisher", "app.kubernetes.io/component": "build"}
    for place in (made, spec["template"]):
        metadata = place.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        notes = {f"{PREFIX}.{key}": value for key, value in told.items()}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    made["metadata"]["name"] = work.name
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": made["metadata"], "spec": spec}


def arguments(work: Work) -> list[str]:
    """The command line of the pod. A name is no option there, and no reference to a variable."""
    options = [f"--target={work.target.name}", f"--platform={work.platform}", f"--key={work.key}"]
    options += [f"--result={RESULT}", *(["--force"] if work.force else [])]
    words = ["build-platform", *options, "--", work.version.name, work.version.version]
    # Kubernetes puts the value of a variable, which may be a password, in the place of $(NAME); $$ is a $.
    return [word.replace("$", "$$") for word in words]


def _failures() -> dict[str, Any]:
    """When another pod is tried. What Kubernetes itself took away, of a node that is drained, counts as no try."""
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": permanent()},
            },
        ]
    }


def _placed(pod: Mapping[str, Any], work: Work) -> tuple[dict[str, Any], dict[str, str]]:
    """Affinity and nodeSelector: a node of the platform's architecture, if there is one; an engine needs one, unless
    the target lets it emulate."""
    selector = {**(pod.get("nodeSelector") or {}), "kubernetes.io/os": work.platform.os}
    affinity = copy.deepcopy(dict(pod.get("affinity") or {}))
    if work.target.builder in _ENGINES and not work.target.emulate:
        return affinity, {**selector, "kubernetes.io/arch": work.platform.architecture}
    wanted = {"key": "kubernetes.io/arch", "operator": "In", "values": [work.platform.architecture]}
    preferred = {"weight": 100, "preference": {"matchExpressions": [wanted]}}
    nodes = affinity.setdefault("nodeAffinity", {})
    preferences = nodes.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
    preferences.append(preferred)
    return affinity, selector
