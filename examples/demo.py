"""`make demo`: the whole way with real parts, from a notebook's model to images that predict on two architectures.

A real MLflow server and a real container registry run in a temporary folder; the images run in Docker, where
there is one. Every claim is checked: the exit code is 0 only when all of them hold.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import models
from tests.engines import bare_client, docker
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.registry import RealRegistry, running

PLATFORMS = ("linux/amd64", "linux/arm64")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SUITES = {"3.11": "bookworm", "3.13": "trixie"}  # Debian releases by their Python: the model's own
TARGET = "DEMO"
# Settings of the person who runs the demo, which must not lead it to their servers.
FOREIGN = ("MLFLOW_", "MODEL_", "PUBLISHER_", "REGISTRY_", "DOCKER_")


class Story:
    """Tells the steps, checks the claims, remembers how long each step took."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.seconds: list[tuple[str, float]] = []
        self.broken: list[str] = []

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.console.print(f"\n[bold cyan]{len(self.seconds) + 1}. {title}[/]")
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.seconds.append((title, took))
        self.console.print(f"   [dim]{took:.1f} s[/]")

    def say(self, text: str) -> None:
        self.console.print(f"   {text}")

    def claim(self, text: str, holds: bool) -> None:
        self.console.print(f"   [green]✔[/] {text}" if holds else f"   [bold red]✘ {text}[/]")
        if not holds:
            self.broken.append(text)


class Publisher:
    """Runs the installed command in a folder with a cache of its own, and shows what it says."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.folder = folder
        clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        self.environment = {
            **clean,
            "DOCKER_CONFIG": str(folder / "docker"),
            "XDG_CACHE_HOME": str(folder / "caches"),
        }

    def __call__(self, *arguments: str) -> str:
        command = f"publisher {' '.join(arguments)}"
        self.story.say(f"[bold]$ {command}[/]")
        done = subprocess.run(
            [str(Path(sys.executable).with_name("publisher")), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            self.story.console.print(f"     {line}", style="dim", markup=False)
        if done.returncode:
            self.story.claim(f"{command} ended with {done.returncode}", False)
        return done.stdout


def base_image(publisher: Publisher, registry: RealRegistry) -> str:
    """The base image's name for a target: made of Debian packages, or Docker Hub's where it cannot be made."""
    if PYTHON in SUITES and shutil.which("mmdebstrap"):
        publisher("base-image", f"{registry.host}/base/python:{PYTHON}", "--suite", SUITES[PYTHON])
        return f"{registry.host}/base/python:{{python}}"
    publisher.story.say("no mmdebstrap, or no Debian release with this Python: taking Docker Hub's image")
    return "docker.io/library/python:{python}-slim"


def register(server: MlflowServer, seed: int = 0) -> models.Registered:
    """Train and register, as the notebook does; what MLflow chats meanwhile is left out."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return models.register_sklearn(server.uri, "breast-cancer", tag_target=TARGET, seed=seed)


def show_status(story: Story, tags: dict[str, str]) -> None:
    """The tags as MLflow has them, whole: digests are there to be copied."""
    for key in sorted(tags):
        story.say(f"[dim]{key:<28}[/] {tags[key]}")


def run_images(story: Story, image: str, model: models.Registered) -> None:
    """Run both architectures' images, and hold what they predict to the notebook's numbers."""
    if not docker.answers():
        story.say("[yellow]No container engine is here, so the images were not run.[/] See `make engines`.")
        return
    engine = docker.Docker()
    try:
        for platform in PLATFORMS:
            if docker.emulated(platform) and not docker.can_emulate(platform):
                story.say(f"[yellow]{platform} cannot run here, so it was not run.[/] See `make engines`.")
                continue
            began = time.perf_counter()
            with engine.run_image(image, platform) as url:
                up = time.perf_counter() - began
                predictions = docker.predict(url, model.request)
            how = "emulated" if docker.emulated(platform) else "native"
            text = f"{platform} ({how}; pulled and up in {up:.0f} s) predicts the notebook's numbers"
            story.claim(text, models.same_numbers(predictions, model.predictions))
            story.say(f"  first row: {predictions[0]}, in the notebook {model.predictions[0]}")
    finally:
        engine.clean()


def tell(story: Story, folder: Path, server: MlflowServer, registry: RealRegistry) -> None:
    """The steps, once server and registry run."""
    publisher = Publisher(story, folder)
    with story.step("A base image for both architectures, from Debian packages"):
        base = base_image(publisher, registry)
    with story.step("A notebook trains a model, registers it and tags the version"):
        model = register(server)
        story.say(f"{model.name} v{model.version}, tagged EXTERNAL_TARGET_{TARGET}")
    (folder / "publisher.toml").write_text(
        f'mlflow_tracking_uri = "{server.uri}"\ncache_folder = "{folder / "cache"}"\n'
        f'[targets.{TARGET}]\nregistry = "{registry.host}/demo"\n'
        f'base = "{base}"\nplatforms = {json.dumps(PLATFORMS)}\n'
    )
    with story.step("The publisher finds the tag; nothing is cached anywhere"):
        publisher("poll", "--once")
    tags = server.tags(model.name, model.version)
    image = tags.get(f"publisher.{TARGET}.image", "")
    show_status(story, tags)
    story.claim("MLflow says that it is published", tags.get(f"publisher.{TARGET}.state") == "published")
    found = bare_client.of_reference(image) if image else None
    digest = tags.get(f"publisher.{TARGET}.digest")
    story.claim("the registry's tag is the digest that MLflow names", bool(found) and found.digest == digest)
    if not found:
        return
    story.claim(f"it holds {' and '.join(PLATFORMS)}", sorted(found.platforms) == sorted(PLATFORMS))
    with story.step("The images run, and predict"):
        run_images(story, image, model)
    with story.step("A second poll: nothing has changed"):
        said = publisher("poll", "--once")
        story.claim("it says that there is nothing to do", "nothing to do" in said.lower())
        story.claim("no tag was written", server.tags(model.name, model.version) == tags)
    again = register(server, seed=1)
    with story.step("The next version of the model, with the same requirements"):
        publisher("poll", "--once")
        tags = server.tags(again.name, again.version)
        story.claim(f"v{again.version} is published", tags.get(f"publisher.{TARGET}.state") == "published")


def main() -> int:
    story = Story()
    if not shutil.which("docker-registry"):
        story.console.print("No container registry here: `make engines` installs one on Debian and Ubuntu.")
        return 1
    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryDirectory(prefix="publisher-demo-") as name, contextlib.ExitStack() as parts:
        folder = Path(name)
        with story.step("A real MLflow server and a real container registry"):
            server = parts.enter_context(serve(folder / "mlflow"))
            registry = parts.enter_context(running(folder / "registry"))
            story.say(f"MLflow {server.uri}, registry {registry.host}")
        tell(story, folder, server, registry)
    table = Table("step", "seconds", show_edge=False, header_style="dim")
    for title, seconds in story.seconds:
        table.add_row(title, f"{seconds:.1f}")
    story.console.print()
    story.console.print(table)
    if story.broken:
        story.console.print(f"\n[bold red]Not as claimed: {'; '.join(story.broken)}[/]")
        return 1
    story.console.print("\n[bold green]All as claimed.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
