"""A real Kubernetes of one node (kubernetes.sh), shared by all test processes of this machine.

Whoever uses it holds a lock; when the last one lets go, or was killed, the node ends and leaves nothing behind.
So tests use namespaces of their own, and nothing of the whole cluster that another test would notice.

Pods reach this machine's loopback at `ADDRESS`, by the same ports, and so does the machine itself: a registry of the
fixtures at 127.0.0.1:5000 is, for everyone, also at 10.201.0.1:5000. Policies for networks are stored, not enforced,
and there is no name service for Services.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.engines import programs
from tests.engines.docker import unavailable

ADDRESS = "10.201.0.1"
NODE = "node"
START_SECONDS = 180
_SCRIPT = Path(__file__).with_name("kubernetes.sh")
_FOLDER = Path("/var/lib/publisher-kubernetes")
_NETWORK = "publisher-kubernetes"
_AWAY = ("was refused", "connection reset", "EOF", "i/o timeout", "apiserver not ready")


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A running node. `kubeconfig` is the administrator's."""

    kubeconfig: Path
    folder: Path

    def kubectl(self, *words: str, stdin: str = "", expect: int | None = 0, seconds: float = 120) -> str:
        """What kubectl prints, stderr after stdout. `expect`: its exit code, None for any.

        It is asked again for a while where the API server is away: a test may have ended it.
        """
        command = [str(programs.path("kubectl")), "--kubeconfig", str(self.kubeconfig)]
        command += ["--cache-dir", str(self.folder / "kubectl"), *words]
        for left in range(20, -1, -1):
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds
            )
            said = done.stdout + done.stderr
            if not (left and done.returncode and any(fault in done.stderr for fault in _AWAY)):
                break
            time.sleep(1)
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"kubectl {' '.join(words)} ended with {done.returncode}:\n{said[-6000:]}")
        return said

    def get(self, kind: str, name: str = "", *, namespace: str = "", labels: str = "") -> Any:
        """An object, or a list of them, as its JSON."""
        words = ["get", kind, *([name] if name else []), "--output", "json"]
        words += ["--namespace", namespace] if namespace else []
        words += ["--selector", labels] if labels else []
        return json.loads(self.kubectl(*words))

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> str:
        """Create or change objects, given as JSON would have them."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=document)

    @contextmanager
    def namespace(self, enforce: str = "restricted", **labels: str) -> Iterator[str]:
        """A namespace with that Pod Security standard until the block ends; all that is in it goes with it."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        marks = {"pod-security.kubernetes.io/enforce": enforce, **labels}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": marks}},
        )
        try:
            self.until(lambda: "default" in self.kubectl("get", "serviceaccounts", "-n", name), 30)
            yield name
        except Exception as error:
            error.add_note(self.told(name))
            raise
        finally:
            # Pods that are asked nicely take half a minute, and nobody looks at them any more.
            self.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=0", "--force", expect=None)
            self.kubectl("delete", "namespace", name, "--wait=false", expect=None)

    def told(self, namespace: str) -> str:
        """Objects, events and logs of a namespace, for a failure's message."""
        parts = [self.kubectl("get", "all", "-o", "wide", "-n", namespace, expect=None)]
        parts += [self.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp", expect=None)]
        for pod in self.kubectl("get", "pods", "-o", "name", "-n", namespace, expect=None).split():
            parts.append(
                self.kubectl("logs", "--tail=40", "--all-containers", "-n", namespace, pod, expect=None)
            )
        return "\n".join(parts)

    def reached(self, address: str) -> str:
        """``127.0.0.1:5000``, or a URL with it, as pods and this machine alike reach it."""
        host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
        if host not in ("127.0.0.1", "localhost"):
            raise ValueError(f"{address} is not on loopback")
        return address.replace(host, ADDRESS, 1)

    def pulls_from(self, registry: str) -> str:
        """Let the node pull by plain HTTP from a `registry` on loopback; the name by which it does."""
        host = self.reached(registry)
        file = self.folder / "hosts" / host / "hosts.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'[host."http://{host}"]\ncapabilities = ["pull", "resolve"]\n')
        return host

    def load(self, layout: Path, name: str) -> None:
        """Give the node the image of an OCI layout, under `name`, which a registry need not have."""
        archive = self.folder / f"{uuid.uuid4().hex}.tar"
        try:
            with tarfile.open(archive, "w") as sink:
                sink.add(layout, ".")
            self._containerd("images", "import", "--index-name", name, str(archive))
        finally:
            archive.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove an image from the node."""
        self._containerd("images", "rm", "--sync", name)

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Until the block ends, no test ends a program of the node: for whoever cannot ask a second time."""
        with self._lock(fcntl.LOCK_SH):
            yield

    def kill(self, program: str) -> None:
        """End one of the node's own programs, such as ``kube-apiserver``, at once, and wait until it is back."""
        with self._lock(fcntl.LOCK_EX):
            before = self._pids(program)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            self.until(lambda: set(self._pids(program)) - set(before))
            self.until(lambda: self.kubectl("get", "--raw", "/readyz", expect=None).strip() == "ok")

    def until(self, true: Callable[[], Any], seconds: float = 60) -> Any:
        """What `true` gives once it is something. Raises AssertionError where it stays nothing."""
        end = time.monotonic() + seconds
        while not (found := true()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:.0f} s")
            time.sleep(0.3)
        return found

    def _pids(self, program: str) -> list[int]:
        everyone = subprocess.run(
            ["ip", "netns", "pids", _NETWORK], capture_output=True, text=True, check=True
        )
        pids = [int(word) for word in everyone.stdout.split()]
        return [pid for pid in pids if _name(pid) == program]

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        with Path(f"{self.folder}.calm").open("a") as file:
            fcntl.flock(file, kind)
            yield

    def _containerd(self, *words: str) -> None:
        command = ["ctr", "--address", str(self.folder / "containerd.sock"), "-n", "k8s.io", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:  # it has ended
        return ""


@contextmanager
def running(folder: Path = _FOLDER) -> Iterator[Kubernetes]:
    """Start the node, or join those who use it; the last one ends it. As root."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.users").open("a") as users:
        # A node that is just being taken down has this lock alone, until all of it is gone.
        fcntl.flock(users, fcntl.LOCK_SH)
        found = Kubernetes(folder / "kubeconfig", folder)
        if _free(folder):
            subprocess.Popen(
                [_SCRIPT, "serve", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        _wait(found)
        yield found
    _leave(folder)


def _free(folder: Path) -> bool:
    """Whether nobody runs the node: what is in the folder was left by one that was killed."""
    with Path(f"{folder}.serving").open("a") as serving:
        try:
            fcntl.flock(serving, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    (folder / "kubeconfig").unlink(missing_ok=True)
    return True


def _wait(found: Kubernetes) -> None:
    end = time.monotonic() + START_SECONDS
    while not found.kubeconfig.exists():
        if time.monotonic() > end:
            logs = sorted((found.folder / "log").glob("*")) if found.folder.exists() else []
            ends = [f"{log.name}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs]
            raise RuntimeError("Kubernetes does not start:\n" + "\n".join(ends))
        time.sleep(0.2)


def _leave(folder: Path) -> None:
    """Wait until the node is gone, unless others use it."""
    for _ in range(20):
        if not (folder / "kubeconfig").exists():
            break
        time.sleep(0.1)
    else:
        return
    with Path(f"{folder}.users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubernetes]:
    """The node, for as long as this process needs it."""
    if os.geteuid():
        unavailable("a Kubernetes node runs as root: run the tests as root")
    can = subprocess.run([_SCRIPT, "can"], capture_output=True, text=True, check=False)
    if can.returncode:
        unavailable(f"no Kubernetes ({can.stdout.strip()}): make engines brings it")
    with running() as found:
        yield found
