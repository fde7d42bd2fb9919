"""Situations that a version can be in, each brought about on real servers, and what an explanation says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from publisher import __version__
from publisher.domain import Status
from tests.contract.world import World, now


@dataclass(frozen=True)
class Case:
    """`make` brings a version of a target about, and returns its number. `words`: what the explanation says."""

    make: Callable[[World, str, str], str]
    action: str
    words: tuple[str, ...]
    keys: tuple[tuple[str, str], ...] = ()  # settings of the target that differ afterwards


def tagged(world: World, target: str, tag: str) -> str:
    return world.register(**{tag: "true"})


def with_value(value: str) -> Callable[[World, str, str], str]:
    return lambda world, target, tag: world.register(**{tag: value})


def untagged(world: World, target: str, tag: str) -> str:
    return world.register()


def for_another(world: World, target: str, tag: str) -> str:
    return world.register(EXTERNAL_TARGET_ELSEWHERE="true")


def published(world: World, target: str, tag: str) -> str:
    number = tagged(world, target, tag)
    assert world.poll(target)[number][0] == "published"
    return number


def gone(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.remove(target, number)
    return number


def replaced(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.occupy(target, number)
    return number


def occupied(world: World, target: str, tag: str) -> str:
    number = tagged(world, target, tag)
    world.occupy(target, number)
    return number


def forgotten(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    for key in world.server.tags(world.model, number):
        if key.startswith("publisher."):
            world.server.client().delete_model_version_tag(world.model, number, key)
    return number


def said(**status: object) -> Callable[[World, str, str], str]:
    def make(world: World, target: str, tag: str) -> str:
        number = tagged(world, target, tag)
        world.say(number, target, Status(image=world.image(target, number), release=__version__, **status))  # type: ignore[arg-type]
        return number

    return make


def failed_then_changed(world: World, target: str, tag: str) -> str:
    number = said(state="failed", reason="no such thing", attempts=1, updated=now())(world, target, tag)
    world.tag(number, MODEL_ENTRY_POINT="python3")
    return number


def failed_for_good(world: World, target: str, tag: str) -> str:
    number = world.register(MODEL_FOLDER="elsewhere", **{tag: "true"})
    assert world.poll(target)[number][0] == "failed"
    return number


def published_then_changed(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.tag(number, MODEL_ENTRY_POINT="python3")
    return number


def withdrawn(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    with world.app(target) as app:
        (change,) = app.withdraw(world.model, number, None)
    assert (change.state, change.exit_code) == ("withdrawn", 0)
    return number


def wrong_folder(world: World, target: str, tag: str) -> str:
    return world.register(MODEL_FOLDER="../secrets", **{tag: "true"})


def no_files(world: World, target: str, tag: str) -> str:
    return world.register(files=False, **{tag: "true"})


def nonsense(world: World, target: str, tag: str) -> str:
    return world.register(requirements="six==1.16.0\n--trusted-host evil\n", **{tag: "true"})


def with_template(text: str) -> Callable[[World, str, str], str]:
    return lambda world, target, tag: world.register(template=text, **{tag: "true"})


CASES = {
    "never published": Case(
        tagged, "publish", ("none: nothing was recorded", "selected: its tag", "there is no")
    ),
    "published": Case(published, "skip", ("published on", "is there as sha256:", "as the status says")),
    "published, gone from the registry": Case(gone, "skip", ("the registry has no", "brings it back")),
    "published, replaced in the registry": Case(
        replaced, "skip", ("somebody replaced it", "not made by publisher")
    ),
    "not published, the tag is taken": Case(
        occupied, "fail", ("is there already as", "not made by publisher")
    ),
    "published, and the status was lost": Case(forgotten, "publish", ("made from this version",)),
    "failed, next try to come": Case(
        said(state="failed", reason="down", attempts=3, updated=now(), next_try=now() + timedelta(hours=1)),
        "skip",
        ("after 3 attempts: down", "next try: at "),
    ),
    "failed, next try is due": Case(
        said(state="failed", reason="down", attempts=3, updated=now(), next_try=now() - timedelta(hours=1)),
        "publish",
        ("after 3 attempts: down", "with the next poll"),
    ),
    "failed for good": Case(failed_for_good, "skip", ("none of itself", "MODEL_FOLDER", "publisher retry")),
    "failed, then changed": Case(failed_then_changed, "publish", ("have changed since",)),
    "being published by another": Case(
        said(state="publishing", attempts=1, updated=now()), "skip", ("began attempt 1",)
    ),
    "another publisher stopped long ago": Case(
        said(state="publishing", attempts=1, updated=now() - timedelta(hours=5)),
        "publish",
        ("began attempt 1",),
    ),
    "a publisher gave it up": Case(
        said(state="stopped", attempts=1, reason="asked to end", updated=now()),
        "publish",
        ("given up", "asked to end"),
    ),
    "its tag says false": Case(with_value("false"), "skip", ("not selected", "'false'")),
    "its tag says nothing known": Case(with_value("ture"), "skip", ("not selected", "'ture'", "write true")),
    "it has no tag": Case(untagged, "ignore", ("not selected: it has no tag",)),
    "its target is not configured here": Case(for_another, "ignore", ("EXTERNAL_TARGET_ELSEWHERE",)),
    "changed after it was published": Case(published_then_changed, "skip", ("have changed since", "--force")),
    "an extra tag is asked for since": Case(
        published, "tag", ("stable asked for, none there", "extra tags up to date"), (("tags", "stable"),)
    ),
    "withdrawn": Case(withdrawn, "skip", ("withdrawn on", "there is no", "publisher retry")),
    "MODEL_FOLDER leads out": Case(wrong_folder, "fail", ("files: ", "'../secrets'")),
    "no artifacts": Case(no_files, "fail", ("has no artifacts", "environment: not known")),
    "requirements that are none": Case(nonsense, "fail", ("environment: problem", "--trusted-host")),
    "no base image": Case(tagged, "fail", ("base image: problem",), (("base", "oci:/nowhere"),)),
    "the model's Python is not the base image's": Case(
        tagged, "fail", ("needs Python 3.9",), (("python", "3.9"),)
    ),
    "a Dockerfile of its own, and a builder that runs none": Case(
        with_template("FROM {{ base_image }}\n"),
        "fail",
        ("a Dockerfile of its own makes the image", "its own Dockerfile names it", "it runs none"),
        (("builder", "layers"),),
    ),
    "a Dockerfile of its own that the target does not want": Case(
        with_template("FROM {{ base_image }}\n"),
        "publish",
        ("'templates' is not used",),
        (("templates", "builtin"),),
    ),
    "a template that asks for an unknown name": Case(
        with_template("FROM python\nENV A={{ nobody }}\n"),
        "fail",
        ("templates: problem", "line 2", "'nobody' is undefined"),
    ),
    "the template makes no name": Case(
        tagged, "fail", ("name: problem",), (("registry", "127.0.0.1:1/" + "x" * 250),)
    ),
}
# What a poll tells of a version for which this was foretold.
STATES = {"publish": "published", "tag": "tagged", "skip": "skipped", "fail": "failed"}
