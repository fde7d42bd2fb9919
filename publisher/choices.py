"""What is chosen for one version and target by rules: its environment, its base image, the builder."""

from __future__ import annotations

from collections.abc import Mapping

from publisher import environments
from publisher.builders.base import Builder
from publisher.describe import served
from publisher.domain import Environment, ImageSpec, ModelVersion, Target
from publisher.errors import BuildError, EngineError, RequirementsError
from publisher.sources.base import Fetched, VersionTags


def environment_of(version: ModelVersion, target: Target, fetched: Fetched) -> Environment:
    """What the version's image needs for `target`. Raises RequirementsError, ArtifactError."""
    return environments.read(fetched.model, serve=served(VersionTags.read(version)), conda=target.conda)


def told(version: ModelVersion, target: Target, fetched: Fetched) -> tuple[str, str]:
    """The target's base image for the version, and the version's Python, as a Dockerfile of its own may use them.

    Each is empty where the version's files do not tell it: its own Dockerfile need not ask.
    """
    try:
        environment = environment_of(version, target, fetched)
        return base_name(target, environment)[0], environment.python or ""
    except (RequirementsError, BuildError):
        return "", ""


def base_name(target: Target, environment: Environment) -> tuple[str, str]:
    """The base image for an environment, and the minor version of Python that it must have ("": any).

    Raises BuildError where the target leaves it to the model, and the model does not say.
    """
    python = target.python or environment.python_minor
    minor = ".".join(python.split(".")[:2]) if python else ""
    if name := target.base_for(minor):
        return name, minor
    if not minor:
        raise BuildError(
            "the model does not say which Python it needs",
            hint=f"Set `python` on the target {target.name}, or log the model with MLflow's log_model().",
        )
    raise BuildError(
        f"the model needs Python {minor}, and the target {target.name} has base images "
        f"for {', '.join(sorted(target.base))} alone",
        hint=f'Add "{minor}" to its `base`, or set its `python`.',
    )


def check_python(target: Target, minor: str, base: str, python: str) -> None:
    """Raise BuildError where the image `base`, which has `python`, has another one than the `minor` needed."""
    if minor and ".".join(python.split(".")[:2]) != minor:
        raise BuildError(
            f"the model needs Python {minor}, and the base image {base} has {python}",
            hint=f'Put {{python}} into `base` of the target {target.name}, make it a table with "{minor}", or set its `python`.',
        )


def choose(spec: ImageSpec, target: Target, builders: Mapping[str, Builder]) -> Builder:
    """The target's builder, or with ``auto`` the first that can. Raises EngineError: what was tried, why not."""
    names = list(builders) if target.builder == "auto" else [target.builder]
    reasons = []
    for name in names:
        builder = builders.get(name)
        if builder is None:
            why_not = f"there is none of that name; there are {', '.join(builders)}"
        elif target.builder == "auto" and target.has_templates and not builder.by_dockerfile:
            why_not = "the target's templates make the image by a Dockerfile, and it runs none"
        else:
            why_not = builder.check(spec)
        if builder and not why_not:
            return builder
        reasons.append(f"{name}: {why_not}")
    hint = ""
    if spec.context and not spec.context.own:
        hint = (
            'The version has a Dockerfile of its own: install an engine, see docs/engines.md, or set templates = "builtin" '
            f"on the target {target.name} to build it without that."
        )
    elif spec.conda:
        hint = (
            'Install an engine, see docs/engines.md, or set conda = "pip" on the target '
            f"{target.name} to take PyPI's packages instead of conda's."
        )
    raise EngineError(f"no builder can build this image ({'; '.join(reasons)})", hint=hint)
