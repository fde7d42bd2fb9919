"""The Job of one platform: its name, its manifest, what comes back, and what Kubernetes says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest

from publisher import errors
from publisher.cluster import results, states
from publisher.cluster.jobs import Work, arguments, manifest, permanent
from publisher.cluster.results import Result
from publisher.domain import ModelVersion, Platform, Proof, Target
from publisher.errors import CheckError, EngineError, PublisherError, RegistryError

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
VERSION = ModelVersion("Fraud Model", "3", "runs:/1/m", datetime(2026, 1, 1, tzinfo=UTC), "1")
TARGET = Target("lab", "LAB", "r.example.org", (AMD64, ARM64), "python:3.11")
WORK = Work(VERSION, TARGET, ARM64, timedelta(minutes=30))
DIGEST = "sha256:" + "a" * 64


def template(**pod: Any) -> dict[str, Any]:
    container = {"name": "publisher", "image": "model-publisher:1", "args": ["doctor"]}
    return {"spec": {"template": {"spec": {"containers": [container], **pod}}}}


def test_the_name_tells_all_that_decides_and_nothing_else() -> None:
    """Two publishers with the same settings meet; what makes another image makes another name."""
    assert WORK.name == replace(WORK, deadline=None, force=True).name
    assert WORK.name.startswith("build-fraud-model-arm64-") and len(WORK.name) <= 63
    changed = [
        replace(WORK, platform=AMD64),
        replace(WORK, version=replace(VERSION, version="4")),
        replace(WORK, version=replace(VERSION, tags={"MODEL_FOLDER": "x"})),
        replace(WORK, target=replace(TARGET, name="other")),
        replace(WORK, target=replace(TARGET, python="3.12")),
    ]
    assert len({WORK.name, *(each.name for each in changed)}) == 6
    for odd in ("", "模型", "-", "A" * 300):
        assert Work(replace(VERSION, name=odd), TARGET, AMD64).name.replace("-", "").isalnum()


def test_the_manifest_is_a_job_that_kubernetes_knows() -> None:
    """It adds to the template what differs, and leaves the template as it was."""
    given = template(nodeSelector={"pool": "builds"})
    before = json.dumps(given)
    job = manifest(given, WORK)
    kubernetes_validate.validate(job, "1.34", strict=True)
    assert json.dumps(given) == before
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] == 1800 and spec["backoffLimit"] == 2
    assert spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"] == permanent()
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["nodeSelector"] == {"pool": "builds", "kubernetes.io/os": "linux"}
    (preferred,) = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"]["matchExpressions"][0]["values"] == ["arm64"]
    assert manifest({"spec": {**given["spec"], "backoffLimit": 0}}, WORK)["spec"]["backoffLimit"] == 0


def test_an_engine_needs_a_node_of_the_architecture_unless_it_may_emulate() -> None:
    """The embedded builder never does."""
    for target, required in (
        (replace(TARGET, builder="buildx"), True),
        (replace(TARGET, builder="buildx", emulate=True), False),
        (replace(TARGET, builder="layers"), False),
    ):
        pod = manifest(template(), replace(WORK, target=target))["spec"]["template"]["spec"]
        assert ("kubernetes.io/arch" in pod["nodeSelector"]) is required


def test_a_template_without_our_container_is_told() -> None:
    with pytest.raises(EngineError, match="publisher-build, has no container publisher"):
        manifest({"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}, WORK)


def test_a_name_is_neither_an_option_nor_a_variable() -> None:
    """Kubernetes would put a password in the place of $(NAME)."""
    words = arguments(replace(WORK, version=replace(VERSION, name="--x$(REGISTRY_TOKEN)")))
    assert words[-3:] == ["--", "--x$$(REGISTRY_TOKEN)", "3"]


def test_exit_codes_after_which_no_other_pod_is_tried() -> None:
    """Those that docs/exit-codes.md calls final, and no others."""
    assert permanent() == [1, 2, 3, 5, 6, 8, 9, 11, 14, 19, 22, 23, 24]


def test_a_result_comes_back_as_it_was() -> None:
    proofs = (Proof("binaries", ARM64, "ok", ""), Proof("prediction", ARM64, "not looked at", "no example"))
    result = Result(DIGEST, "amd64", proofs, "slim: x", 5, 7)
    assert results.read(results.message(result).decode(), ARM64) == result
    long = Result(DIGEST, "amd64", (Proof("binaries", ARM64, "ok", "é" * 9999),) * 6, "é" * 9999)
    assert len(results.message(long)) <= results.LIMIT
    assert isinstance(results.read(results.message(long).decode(), ARM64), Result)


ODD = {**Result(DIGEST, "x").document(), "digest": "sha256:../.."}
UNKNOWN = {"error": "error", "line": "", "hint": "", "detail": ""}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"result": {}}', '{"failure": {"error": "Exit"}}']
    + [json.dumps(each) for each in ({"result": ODD}, {"failure": UNKNOWN})],
)
def test_what_is_no_result_is_none(text: str) -> None:
    assert results.read(text, ARM64) is None


def test_every_failure_comes_back_as_what_it_was() -> None:
    """With its kind, which decides about the next try; a pod's own settings and its end are not the version's fault."""
    for name, kind in vars(errors).items():
        if not (isinstance(kind, type) and issubclass(kind, PublisherError)):
            continue
        made = kind(["line"]) if kind is errors.SettingsError else kind("line", hint="hint")  # type: ignore[arg-type]
        back = results.read(results.message(made).decode(), ARM64)
        assert isinstance(back, PublisherError) and str(back) == "line"
        other = name in ("SettingsError", "StoppedError")
        assert type(back) is (EngineError if other else kind)
    huge = RegistryError("é" * 9000, hint="é" * 9000, detail="é" * 9000)
    assert len(results.message(huge)) <= results.LIMIT
    assert isinstance(results.read(results.message(huge).decode(), ARM64), RegistryError)


def pod(reason: str = "", message: str = "", **state: Any) -> dict[str, Any]:
    container = {"name": "publisher", "state": state or {"waiting": {"reason": reason, "message": message}}}
    return {"status": {"containerStatuses": [container]}}


def ended(code: int, said: PublisherError | Result | None = None, reason: str = "Error") -> dict[str, Any]:
    message = results.message(said).decode() if said else ""
    state = {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-01-01T00:00:00Z"}
    return pod(terminated=state)


def failed(reason: str) -> dict[str, Any]:
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": "said"}
    return {"metadata": {"name": "build-x"}, "status": {"conditions": [condition]}}


def test_a_failed_job_says_what_its_pod_said() -> None:
    found = states.failure(failed("PodFailurePolicy"), [ended(24, CheckError("does not work"))], ARM64)
    assert isinstance(found, CheckError)
    assert states.failure(failed("DeadlineExceeded"), [], ARM64).exit_code == 18
    assert "more memory" in str(states.failure(failed("X"), [ended(137, reason="OOMKilled")], ARM64))
    assert "ended with 137" in str(states.failure(failed("X"), [ended(137)], ARM64))
    assert states.failure(failed("X"), [], ARM64).retryable


def test_a_result_goes_before_the_failures_of_other_pods() -> None:
    found = states.handed_over([ended(0, Result(DIGEST, "amd64")), ended(15, RegistryError("no"))], ARM64)
    assert isinstance(found, Result)


def test_what_keeps_a_pod_from_its_work() -> None:
    """The container's own reason, then the scheduler's, then events; a pod that is being started has none."""
    event = {"reason": "FailedMount", "message": 'secret "x" not found', "lastTimestamp": "2026"}
    nowhere = {
        "status": {"conditions": [{"reason": "Unschedulable", "status": "False", "message": "0/1 nodes"}]}
    }
    for pods, events, reason in (
        ([pod("ErrImagePull", "no such image")], [event], "ErrImagePull"),
        ([nowhere], [], "Unschedulable"),
        ([pod("ContainerCreating")], [event], "FailedMount"),
        ([], [{"reason": "FailedCreate", "message": "exceeded quota"}], "FailedCreate"),
    ):
        found = states.trouble(pods, events)
        assert found and found.reason == reason and found.hint
    assert states.trouble([pod("ContainerCreating")], []) is None
    assert states.trouble([pod(running={"startedAt": "2026"})], [event]) is None
