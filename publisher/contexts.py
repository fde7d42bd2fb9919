"""The build contexts of Dockerfile engines: what a version brings itself, or what our own templates make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from publisher import context_files
from publisher.context_files import ENVIRONMENT
from publisher.domain import BaseImage, Context, Environment, ImageSpec, ModelVersion, Target
from publisher.errors import BuildError, TemplateError
from publisher.oci.reference import Reference
from publisher.rendering import dockerfile
from publisher.rendering.context import ENVIRONMENT_FILES, Facts, context
from publisher.rendering.render import Rendered, render, write
from publisher.sources.base import Fetched, VersionTags

DOCKERFILE = "Dockerfile"
_FILES = {
    "requirements_file": "requirements.txt",
    "conda_file": "conda.yaml",
    "python_env_file": "python_env.yaml",
}
assert tuple(_FILES) == ENVIRONMENT_FILES  # noqa: S101


def builtin() -> Path:
    """The folder of our own templates: in an installed package, else in the checkout."""
    package = Path(__file__).parent
    return next(place for place in (package / "templates", package.parent / "templates") if place.is_dir())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a context is for: `image` is the whole name of what will be built of `fetched`."""

    version: ModelVersion
    target: Target
    image: str
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Contexts:
    """`limit`: bytes of a context. `secrets`: the build secrets of a target's package indexes, written to a folder;
    with their accounts or without."""

    limit: int
    secrets: Callable[[Target, Path, bool], Mapping[str, Path]] = lambda _target, _folder, _accounts: {}

    def of_version(self, wanted: Wanted, base: str, python: str) -> Context | None:
        """Render the version's own templates beside its files, and make a context of those where one of them is a
        Dockerfile; None where none is, or where the target's templates count.

        `base`: name of the target's base image for the version, `python`: its version; each "" where not known.
        Raises TemplateError, BuildError.
        """
        target, fetched = wanted.target, wanted.fetched
        if target.templates != "version" or fetched.templates is None:
            return None
        model = fetched.model.relative_to(fetched.root).as_posix()
        client = fetched.client.relative_to(fetched.root).as_posix() if fetched.client else ""
        facts = _facts(wanted, base, python, model, client)
        rendered = render(fetched.templates, context(facts))
        context_files.protect(rendered, {model: "the model's files"})
        write(rendered, fetched.root)
        return self._context(target, rendered, fetched.root, own=False, trusted=target.trust_dockerfiles)

    def ours(self, wanted: Wanted, spec: ImageSpec, environment: Environment, folder: Path) -> Context:
        """Write a whole build context for `spec` into `folder`, by the site's templates or by our own.

        Raises TemplateError, BuildError, HostError.
        """
        for fileset in spec.files:
            # A publisher's own files are copied: somebody may come to edit those of a context.
            link = fileset.root.is_relative_to(wanted.fetched.root)
            context_files.copy(fileset, folder / fileset.name, link=link)
        local = context_files.environment(environment, spec.locks.values(), folder / ENVIRONMENT)
        names = [each.name for each in spec.files]
        client = "client" if "client" in names else ""
        facts = _facts(wanted, _pinned(spec.base), environment.python or "", "model", client)
        own = {
            "files": [{"folder": each.name, "destination": each.destination} for each in spec.files],
            "local_wheels": local,
        }
        target = wanted.target
        place = Path(target.templates) if target.has_templates else builtin()
        rendered = render(place, context(facts, spec) | own)
        context_files.protect(rendered, {"model": "the model's files", ENVIRONMENT: "what was locked"})
        write(rendered, folder)
        # What conda installs may run its authors' code, and conda.yaml is the model's author's.
        trusted = not spec.conda or target.trust_dockerfiles
        found = self._context(target, rendered, folder, own=True, trusted=trusted)
        if found is None:
            raise TemplateError(
                f"{place} has no {DOCKERFILE}.j2 and no {DOCKERFILE}.template",
                hint="Add one, or set `templates` of the target to builtin.",
            )
        return found

    def _context(
        self, target: Target, rendered: list[Rendered], folder: Path, *, own: bool, trusted: bool
    ) -> Context | None:
        text = next((each.text for each in rendered if each.path == DOCKERFILE), None)
        if text is None:
            return None
        outside = folder.with_name(f"{folder.name}-secrets")
        return Context(
            folder=folder,
            own=own,
            digest=context_files.settle(folder, self.limit),
            bases=dockerfile.images(text),
            secrets=self.secrets(target, outside, trusted),
            cache=target.cache.format(registry=target.registry) if target.engine_cache else "",
        )


def _facts(wanted: Wanted, base: str, python: str, model: str, client: str) -> Facts:
    """`model`, `client`: their folders in the build context."""
    version, fetched = wanted.version, wanted.fetched
    tags = VersionTags.read(version)
    files = {name: f"{model}/{file}" for name, file in _FILES.items() if (fetched.model / file).is_file()}
    return Facts(
        version=version,
        target=wanted.target,
        image=wanted.image,
        model_folder=model,
        client_folder=client,
        entry_point=tags.entry_point,
        command_line=tags.execute_path or "",
        base_image=base,
        python_version=python,
        files=files,
        labels={},
    )


def _pinned(base: BaseImage) -> str:
    """The base as a FROM names it: by digest and without tag, for not every engine takes both."""
    if base.name.startswith("oci:"):
        raise BuildError(
            f"the base image {base.name} is a folder, and a Dockerfile can only name one in a registry",
            hint="Push it to a registry and name it there, or let the embedded builder build: builder = "
            '"layers".',
        )
    return f"{Reference.parse(base.name).repository}@{base.digest}"
