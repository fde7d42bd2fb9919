"""A version on its way to its targets, as a notebook holds it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from publisher import status
from publisher.domain import ModelVersion, Outcome, Status
from publisher.errors import DeadlineError, ModelRegistryError, PublicationError, PublisherError
from publisher.naming import image_name
from publisher.notebook import containers, layers, views
from publisher.notebook.bars import watching
from publisher.notebook.containers import Container
from publisher.notebook.explanation import Explained
from publisher.notebook.here import Here
from publisher.notebook.layers import Layer
from publisher.oci.reference import Reference
from publisher.progress import Progress, subject_of
from publisher.settings_sources import normal

_FIRST, _LONGEST = 0.5, 5.0  # seconds between two questions to MLflow
_WAITING = "waiting for a publisher"


@dataclass(slots=True)
class Publication:
    """A registered version. `targets`: those that it was asked to be published to, or is by its tags; `notes`: what
    could not be looked at before it was registered; `outcomes`: of `publish`, with the seconds of each stage."""

    name: str
    version: str
    targets: tuple[str, ...]
    here: Here = field(repr=False)
    notes: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    _seen: dict[str, Status | None] = field(init=False, repr=False)
    _layers: dict[str, list[Layer]] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._seen = dict.fromkeys(self.targets)

    def status(self) -> dict[str, Status | None]:
        """What MLflow says now of each target, by its name; None: no publisher has taken the version up yet."""
        with self.here.app() as app:
            return self._look(app.stages.source.get(self.name, self.version))

    def wait(self, timeout: float | timedelta = 1800, *, quiet: bool = False) -> Publication:
        """Wait until a publisher has published the version to all its targets; `timeout` in seconds. `quiet`: no bar.

        Raises PublicationError with the reason where it failed for good, and DeadlineError where `timeout` is over,
        with what was seen last.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        end, pause = time.monotonic() + seconds, _FIRST
        with watching(quiet=quiet) as progress, self.here.app() as app:
            while True:
                try:
                    open_ = self._open(app.stages.source.get(self.name, self.version), progress)
                except ModelRegistryError as error:
                    if not error.away:
                        raise
                    open_ = [
                        error.line
                    ]  # it will be back: whoever waits for half an hour waits for that, too
                if not open_:
                    return self
                left = end - time.monotonic()
                if left <= 0:
                    raise DeadlineError(
                        f"{self.name} v{self.version} is not published after {seconds:.0f} s: {'; '.join(open_)}",
                        hint="Does a publisher poll for this target? `.publish()` publishes from here.",
                    )
                time.sleep(min(pause, left))
                pause = min(pause * 1.3, _LONGEST)

    def publish(self, *, force: bool = False) -> Publication:
        """Publish the version from here and now, with the settings and credentials of this place.

        Raises PublicationError with the reason of the first target that failed, SettingsError where no target is
        configured here.
        """
        with watching() as progress, self.here.app(progress) as app:
            done = app.publish(self.name, self.version, self.targets or None, dry_run=False, force=force)
        self.outcomes = tuple(done)
        self.targets = self.targets or tuple(outcome.target for outcome in done)
        self.status()
        for outcome in done:
            if outcome.state in ("failed", "stopped"):
                raise PublicationError(f"{subject_of(outcome.version, outcome.target)}: {outcome.reason}")
        return self

    @property
    def image(self) -> str:
        """The published image's name. Raises PublicationError before there is one, or where there are several."""
        images = self.images
        if len(images) != 1:
            said = f"has images for {', '.join(images)}: see `.images`" if images else "is not published"
            raise PublicationError(f"{self.name} v{self.version} {said}")
        return next(iter(images.values()))

    @property
    def images(self) -> dict[str, str]:
        """The names of the published images by target."""
        return {target: known.image for target, known in self._published().items()}

    def layers(self, target: str | None = None) -> list[Layer]:
        """The layers of the published image, which its registry tells: where the bytes are."""
        image, digest = self._ours(target)
        if digest not in self._layers:
            with self.here.app() as app:
                self._layers[digest] = layers.layers(app, image, digest)
        return self._layers[digest]

    def explain(self) -> Explained:
        """Why it is published or not: every decision with its reason, for the targets that are known here."""
        with self.here.app() as app:
            known = [name for name in self.targets if self.here.target(name)]
            return Explained(app.explain(self.name, self.version, known or None))

    def run(self, *arguments: str, target: str | None = None, timeout: float = 300) -> Container:
        """Run the published image here, by docker or podman, as a cluster would: with a read-only root.

        One that serves its model is left running until `.stop()`, or the end of a `with` block; one that runs a
        program, or is given `arguments` for it, is waited for. Raises EngineError, BuildError.
        """
        image, digest = self._ours(target)
        if image.startswith("oci:"):
            raise PublicationError(f"{image} is a layout on disk, which no engine pulls")
        return containers.run(f"{layers.bare(image)}@{digest}", *arguments, timeout=timeout)

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each target."""
        with contextlib.suppress(PublisherError):  # a page that is shown again later may be far from MLflow
            self.status()
        rows = [self._row(target, known) for target, known in self._seen.items()]
        return views.publication(f"{self.name} v{self.version}", rows, self.notes)

    def __str__(self) -> str:
        told = [f"{self.name} v{self.version}"]
        for target, known in self._seen.items():
            state = known.state if known else _WAITING
            about = f", {_pinned(known)}" if known and known.state == "published" else ""
            told.append(f"  {target}: {state}{about}{f', {known.reason}' if known and known.reason else ''}")
        return "\n".join([*told, *(f"  {note}" for note in self.notes)])

    def _look(self, version: ModelVersion) -> dict[str, Status | None]:
        written = re.findall(r"^publisher\.(.+)\.state$", "\n".join(version.tags), re.MULTILINE)
        names = {
            normal(name): name for name in (*self.targets, *sorted(written))
        }  # a publisher's own spelling counts
        self._seen = {name: status.read(version.tags, name) for name in names.values()}
        return dict(self._seen)

    def _open(self, version: ModelVersion, progress: Progress) -> list[str]:
        """The targets that are waited for still, each with what is known of it. Raises PublicationError."""
        waiting = []
        asked = {normal(target) for target in self.targets}
        for target, known in self._look(version).items():
            if asked and normal(target) not in asked:
                continue
            subject = subject_of(version, target)
            state = known.state if known else _WAITING
            progress.stage(subject, state)
            if known and (state == "withdrawn" or (state == "failed" and known.next_try is None)):
                name = f"{self.name} {self.version}"
                raise PublicationError(
                    f"{subject}: {known.reason or state}",
                    hint=f"`publisher retry {name}` lets the next poll try it again, `publisher explain {name}` tells more.",
                )
            if state != "published":
                reason = f": {known.reason}" if known and known.reason else ""
                waiting.append(f"{target}: {state}{reason}")
        return waiting if self._seen else [_WAITING]

    def _published(self) -> dict[str, Status]:
        if not any(known and known.state == "published" for known in self._seen.values()):
            self.status()
        return {target: known for target, known in self._seen.items() if known and known.state == "published"}

    def _ours(self, target: str | None) -> tuple[str, str]:
        """Name and digest of the published image, if its name is the one that the settings here make.

        The status is tags, which anybody may write who may write any: it starts no program here, and sends no
        question to a registry of its choice.
        """
        found = self._published()
        if target:
            found = {name: known for name, known in found.items() if normal(name) == normal(target)}
        if len(found) != 1:
            said = f"is published to {', '.join(found)}: name one of them" if found else "is not published"
            raise PublicationError(f"{self.name} v{self.version} {said}")
        [(name, known)] = found.items()
        configured = self.here.target(name)
        version = ModelVersion(self.name, self.version, "", datetime.now(UTC))
        ours = image_name(configured, version) if configured else ""
        if known.image != ours or not known.digest:
            why = f"the settings here make it {ours}" if ours else f"no settings here have a target {name}"
            raise PublicationError(
                f"the status of {self.name} v{self.version} names the image {known.image or 'none'}, and {why}",
                hint=f"Put the target {name} into publisher.toml, or pull the image by hand where you trust its registry.",
            )
        return ours, known.digest

    def _row(self, target: str, known: Status | None) -> views.Row:
        if known is None:
            return views.Row(target, _WAITING)
        about = known.reason
        if known.next_try and known.state == "failed":
            about += f"; next try at {known.next_try:%Y-%m-%d %H:%M:%S %Z}"
        if known.state != "published":
            return views.Row(target, known.state, known.image, about=about)
        when = f"{known.updated:%Y-%m-%d %H:%M:%S %Z}" if known.updated else ""
        return views.Row(
            target, known.state, known.image, known.digest, self._sizes(target), _pull(known), when
        )

    def _sizes(self, target: str) -> Sequence[tuple[str, int]]:
        """Bytes to pull by platform; nothing where the registry does not answer us here."""
        sizes: dict[str, int] = {}
        with contextlib.suppress(PublisherError):
            for layer in self.layers(target):
                sizes[layer.platform] = sizes.get(layer.platform, 0) + layer.size
        return list(sizes.items())


def _pinned(known: Status) -> str:
    return f"{layers.bare(known.image)}@{known.digest}" if known.digest else known.image


def _pull(known: Status) -> str:
    """The command to copy; none where what the tag says is no reference, but perhaps another command."""
    try:
        Reference.parse(known.image)
    except ValueError:
        return ""
    return f"docker pull {_pinned(known)}"
