"""The tests' own Kubernetes, without any of publisher's code: what other tests rely on does hold."""

from __future__ import annotations

import socket
import threading
from typing import Any

from tests.engines.kubernetes import ADDRESS, Kubernetes

IMAGE = "publisher.test/pause:1"
CAREFUL = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _pod(name: str, **context: Any) -> dict[str, Any]:
    container = {"name": "pause", "image": IMAGE, "securityContext": context}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container]},
    }


def test_a_pod_runs_and_outlives_the_api_server(kubernetes: Kubernetes) -> None:
    """A namespace that enforces "restricted" admits a careful pod; the API server comes back after its end."""
    with kubernetes.namespace("restricted") as namespace:
        kubernetes.apply(_pod("careful", **CAREFUL), namespace=namespace)
        ready = ("wait", "--for=condition=Ready", "pod/careful", "--timeout=60s", "-n", namespace)
        kubernetes.kubectl(*ready)
        kubernetes.kill("kube-apiserver")
        kubernetes.kubectl(*ready)


def test_a_careless_pod_is_refused(kubernetes: Kubernetes) -> None:
    """The same namespace admits no pod that could be root."""
    with kubernetes.namespace("restricted") as namespace:
        document = str(_pod("careless")).replace("'", '"')
        said = kubernetes.kubectl("apply", "-n", namespace, "-f", "-", stdin=document, expect=1)
    assert 'violates PodSecurity "restricted' in said


def test_loopback_is_reached_by_the_node_s_address(kubernetes: Kubernetes) -> None:
    """A server of 127.0.0.1 alone answers at the address that pods use, here as well."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
        assert kubernetes.reached(f"http://127.0.0.1:{port}/x") == f"http://{ADDRESS}:{port}/x"
        with socket.create_connection((ADDRESS, port), timeout=10) as client:
            assert client.recv(5) == b"hello"
