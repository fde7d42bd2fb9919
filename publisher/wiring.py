"""The composition root: which source, builders, destinations and memories there are, in plain dicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache as once
from functools import partial
from typing import TYPE_CHECKING

from publisher import folders, machine, scratch
from publisher.admission import Admission, for_builds, publications
from publisher.app import App
from publisher.builders.base import Builder
from publisher.builders.bases import Bases
from publisher.builders.buildah import Buildah
from publisher.builders.buildx import Buildx
from publisher.builders.command import of_tools
from publisher.builders.dockerfile import DockerfileBuilder, Engine
from publisher.builders.kaniko import Kaniko, Way
from publisher.builders.kaniko_container import Container
from publisher.builders.kaniko_here import Here
from publisher.builders.layers.build import LayerBuilder
from publisher.builders.layers.cache import Cache
from publisher.builders.reach import Reach
from publisher.cache_folder import CacheFolder
from publisher.contexts import Contexts
from publisher.destinations.base import Destination
from publisher.destinations.layout import LayoutDestination
from publisher.destinations.registry import RegistryDestination
from publisher.domain import Target
from publisher.environments import build_secrets
from publisher.environments.accounts import prepare
from publisher.environments.index import Index
from publisher.environments.lock import Resolver
from publisher.oci import access
from publisher.oci.credentials import Credentials, docker_accounts
from publisher.oci.images import Images
from publisher.oci.reference import Reference
from publisher.oci.registry import Registries
from publisher.progress import Progress
from publisher.proving import Proving
from publisher.redaction import redacted
from publisher.running import Running
from publisher.settings import Settings
from publisher.sources.mlflow import MlflowSource
from publisher.stages import Stages

if TYPE_CHECKING:
    from publisher.cluster.fan import Fan

_WAITED = 16  # publications at once whose images are built elsewhere: they only wait


@contextmanager
def connect(
    settings: Settings,
    environ: MutableMapping[str, str],
    progress: Progress,
    running: Running | None = None,
    *,
    fan_out: bool = True,
) -> Iterator[App]:
    """The whole house for one run. Nothing is asked of the network yet.

    `running`: what the process is at, where runs follow one another. `fan_out`: images may be built elsewhere, as the
    settings say.
    """
    redacted.learn_environment(environ)
    reached = access.of_targets(settings.targets)
    credentials = Credentials.load(environ, list(reached), redacted.learn)
    registries = Registries(credentials, reached)
    images = Images(registries, settings.mirrors)
    cache = Cache(settings.cache_folder)
    bases = Bases(images, settings.cache_folder, cache.keep)
    indexes = [Index.load(environ, target.index) for target in settings.targets]
    at_indexes = partial(prepare, indexes=indexes, environ=environ)
    memory = settings.memory or machine.memory()
    elsewhere = fan_out and settings.executor == "kubernetes"
    alone = publications(machine.processors(), memory)
    parallel = settings.parallel or (_WAITED if elsewhere else alone)
    layers = LayerBuilder(
        images, bases, cache, prepare=at_indexes, admission=Admission(for_builds(memory, parallel))
    )
    accounts = partial(docker_accounts, credentials)
    logs = settings.build_logs or settings.cache_folder / "logs"
    builders: dict[str, Builder] = {layers.name: layers}  # in this order `auto` tries them
    reach = Reach(
        settings.mirrors,
        {host for host, access in reached.items() if access.insecure},
        {host: access.ca_file for host, access in reached.items() if access.ca_file},
    )
    tools = of_tools(environ)
    for engine in _engines(settings, tools, reach):
        builders[engine.name] = DockerfileBuilder(engine, tools, accounts, logs, reach)

    def destination(target: Target) -> Destination:
        if target.layout_folder is not None:
            return LayoutDestination(target.layout_folder)
        name = target.cache.format(registry=target.registry)
        cached = Reference.parse(name).repository if name else None
        witnesses = settings.cache_folder / "pushed"
        return RegistryDestination(registries, cached, witnesses, settings.jobs)

    if settings.work_folder:
        settings.work_folder.mkdir(parents=True, exist_ok=True)
    folders.trusted(settings.cache_folder, "cache_folder")
    for place in (settings.work_folder, settings.cache_folder):
        scratch.reap(place)
    stages = Stages(
        contexts=Contexts(settings.context_limit, partial(build_secrets.of_target, environ)),
        source=MlflowSource(
            settings.mlflow_tracking_uri,
            environ,
            local_artifacts=settings.local_artifacts,
            artifact_hosts=settings.artifact_hosts,
        ),
        bases=bases,
        resolver=Resolver.load(settings.cache_folder, dict(environ)),
        builders=builders,
        memory=cache,
        proving=Proving(settings.cache_folder),
        destination=destination,
        progress=progress,
        work_folder=settings.work_folder,
        now=lambda: datetime.now(UTC),
        running=running or Running(),
        deadline=settings.deadline,
        holding=CacheFolder(settings.cache_folder).in_use,
        fan=once(partial(_fan, settings)) if elsewhere else None,
    )
    yield App(settings, stages, parallel)


def _fan(settings: Settings) -> Fan:
    """Who has images built elsewhere."""
    from publisher.cluster.api import Api  # noqa: PLC0415 - the client takes two seconds, and is an extra
    from publisher.cluster.fan import Fan  # noqa: PLC0415

    return Fan(Api.connect(settings.kubernetes_namespace), settings.kubernetes_patience)


def _engines(settings: Settings, environ: Mapping[str, str], reach: Reach) -> Iterator[Engine]:
    """The engines that run Dockerfiles, the one that `auto` prefers first."""
    yield Buildx(
        environ,
        reach,
        settings.buildx_builder,
        settings.buildkit,
        settings.buildkit_certificates,
        settings.work_folder,
    )
    yield Kaniko(list(_kanikos(settings, environ, reach)), reach)
    yield Buildah(of_tools(environ), reach)


def _kanikos(settings: Settings, environ: Mapping[str, str], reach: Reach) -> Iterator[Way]:
    """The ways to run kaniko that the settings allow."""
    if settings.kaniko in ("auto", "here"):
        yield Here(settings.kaniko_executor, environ)
    for name in ("docker", "podman"):
        if settings.kaniko in ("auto", name):
            yield Container(name, settings.kaniko_image, reach, environ, settings.work_folder)
