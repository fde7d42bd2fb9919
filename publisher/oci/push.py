"""A layout into a repository: blobs, then platform manifests, then the index by digest. A tag is a step apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from publisher.errors import AuthenticationError, RegistryError, RegistryUnavailableError
from publisher.oci.layout import Blob, Descriptor, Layout, RemoteBlob
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `sent`: bytes of blobs and manifests; `mounted`, `present`: numbers of blobs."""

    sent: int = 0
    mounted: int = 0
    present: int = 0


def push(
    layout: Layout,
    repository: Repository,
    registries: Registries,
    *,
    workers: int = 8,
    on_total: Callable[[int], None] | None = None,
    on_bytes: Callable[[int], None] | None = None,
    mount_from: Sequence[Repository] = (),
    present: Set[str] = frozenset(),
) -> Pushed:
    """Bring `layout` into `repository`, by digest. What is there, or can be mounted there, is not sent.

    `mount_from`: repositories that may have the blobs; those of another registry are of no use here.
    `present`: digests of blobs that are known to be in `repository`; where that proves wrong, all are looked for.
    `on_total` hears the bytes to send each time that they grow, `on_bytes` each amount that went (negative
    where an attempt failed); both from several threads. Raises RegistryError and its kin, and what opening a
    blob raises.
    """
    registry = registries.at(repository.host)
    if registry.head_manifest(repository.name, layout.top.digest):
        # The order below is the reason: a registry has a top manifest only after everything that it names.
        return Pushed(present=len(layout.blobs))
    near = tuple(source.name for source in mount_from if source.host == repository.host)

    def attempt(believed: Set[str]) -> Pushed:
        run = _Run(
            layout, repository, registry, near, on_total=on_total or _ignore, on_bytes=on_bytes or _ignore
        )
        with ThreadPoolExecutor(workers, thread_name_prefix="push") as pool:
            by_size = sorted(layout.blobs.keys() - believed, key=lambda digest: -layout.sizes[digest])
            run.all(pool, run.blob, by_size)
            below = [child for child in layout.children() if child.digest != layout.top.digest]
            run.all(pool, run.manifest, below)
        run.manifest(layout.top)
        return Pushed(run.sent, run.mounted, run.present + len(layout.blobs.keys() & believed))

    try:
        return attempt(present)
    except (RegistryUnavailableError, AuthenticationError):
        raise
    except RegistryError:
        if not present:
            raise
        return attempt(frozenset())


def tag(
    layout_top: Descriptor, manifest_bytes: bytes, repository: Repository, tag: str, registries: Registries
) -> None:
    """Put the top manifest, which was pushed, under `tag`: from here on others see it. Whatever the tag
    held before is replaced; to look first is the caller's part."""
    registry = registries.at(repository.host)
    registry.put_manifest(repository.name, tag, layout_top.media_type, manifest_bytes)


class Ahead:
    """Blobs of an image that is still being built, sent as they become ready. Names nothing, tags nothing.

    What fails here is no fault yet: the push that follows sends it again, and tells why it cannot.
    """

    def __init__(
        self,
        repository: Repository,
        registries: Registries,
        *,
        workers: int = 3,
        mount_from: Sequence[Repository] = (),
    ) -> None:
        near = tuple(source.name for source in mount_from if source.host == repository.host)
        nothing = Layout(Descriptor("", "", 0), {}, {}, {})
        registry = registries.at(repository.host)
        self._run = _Run(nothing, repository, registry, near, on_total=_ignore, on_bytes=_ignore)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
        self.sent = 0  # bytes, once finished
        self.there: set[str] = set()  # digests that the repository has, once finished

    def offer(self, digest: str, size: int, blob: Blob) -> None:
        """`blob` is whole and stays so."""
        self._pool.submit(self._send, digest, size, blob)

    def _send(self, digest: str, size: int, blob: Blob) -> None:
        self._run.send(digest, size, blob)
        self.there.add(digest)

    def finish(self, *, abandon: bool = False) -> None:
        """Wait for what was offered, or drop it."""
        if abandon:
            self._run.stop()
        self._pool.shutdown(wait=True, cancel_futures=abandon)
        self.sent = self._run.sent


class _Run:
    """The counts and callbacks of one push; its methods run in several threads."""

    def __init__(
        self,
        layout: Layout,
        repository: Repository,
        registry: Registry,
        near: tuple[str, ...],
        *,
        on_total: Callable[[int], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._layout = layout
        self._repository = repository
        self._registry = registry
        self._near = near
        self._on_total = on_total
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._total = 0
        self.sent = 0
        self.mounted = 0
        self.present = 0

    def all(self, pool: ThreadPoolExecutor, work: Callable[[T], None], items: Sequence[T]) -> None:
        """Work through `items`; the first error stops the others, in mid-blob too, and is raised."""
        futures = [pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            self.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def stop(self) -> None:
        self._stopped.set()

    def blob(self, digest: str) -> None:
        self.send(digest, self._layout.sizes[digest], self._layout.blobs[digest])

    def send(self, digest: str, size: int, blob: Blob) -> None:
        name = self._repository.name
        if self._registry.head_blob(name, digest) is not None:
            with self._lock:
                self.present += 1
            return
        for source in self._sources(blob):
            if self._registry.mount_blob(name, digest, source):
                with self._lock:
                    self.mounted += 1
                return
        with self._lock:
            self._total += size
            self._on_total(self._total)
        self._registry.push_blob(name, digest, size, blob.open, self._went)
        with self._lock:
            self.sent += size

    def manifest(self, descriptor: Descriptor) -> None:
        content = self._layout.manifests[descriptor.digest]
        self._registry.put_manifest(self._repository.name, descriptor.digest, descriptor.media_type, content)
        with self._lock:
            self.sent += len(content)

    def _went(self, amount: int) -> None:
        if amount > 0 and self._stopped.is_set():
            raise RegistryError(
                "stopped, because another blob failed"
            )  # nobody hears it: the first error is told
        self._on_bytes(amount)

    def _sources(self, blob: Blob) -> list[str]:
        """Repositories of the same registry to mount from: the one that is known to have the blob first."""
        known = []
        if isinstance(blob, RemoteBlob) and blob.repository.host == self._repository.host:
            known.append(blob.repository.name)
        return [name for name in dict.fromkeys([*known, *self._near]) if name != self._repository.name]


def _ignore(_: int) -> None:
    """For callers that do not listen."""
