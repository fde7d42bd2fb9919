"""The rules of a profile that a few facts decide: platforms, user, ports, tag. Each gives what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from publisher.checks.profiles import Profile
from publisher.checks.verdict import Finding
from publisher.domain import Platform


def platforms(profile: Profile, wanted: Iterable[Platform]) -> Iterator[Finding]:
    """Each platform is one that runs there, and there are not more than its manifest can have."""
    found = list(wanted)
    if profile.platforms is not None:
        accepted = " or ".join(map(str, profile.platforms))
        for platform in found:
            if platform not in profile.platforms:
                text = f"{platform} does not run there: the profile {profile.name} takes {accepted}"
                yield Finding("", "", text, "Set `platforms` of the target to that.")
    if profile.form != "index" and len(found) > 1:
        text = f"an image for {', '.join(map(str, found))} needs an index, and the profile {profile.name} takes none"
        yield Finding(
            "", "", text, "Set `platforms` of the target to one platform, or make a target for each."
        )


def user(profile: Profile, text: str) -> Iterator[Finding]:
    """`text`: `User` of an image's config, empty for root."""
    uids, (uid, _, _) = profile.uids, text.partition(":")
    if uids is None:
        return
    called = f"the user {text!r}" if text else "root, because it names no user"
    example = profile.defaults.user or ("10001:10001" if 10001 in uids else str(uids[0]))
    remedy = (
        f"Write USER {example} as the last USER of its Dockerfile, or `user` of the target where it has none."
    )
    if not (uid.isascii() and uid.isdigit()):
        said = f"it runs as {called}, and the profile {profile.name} takes a number alone"
        yield Finding("", "", said, remedy)
    elif int(uid) not in uids:
        taken = "any number but 0" if profile.user == "numeric" else profile.user
        yield Finding("", "", f"it runs as {called}, and the profile {profile.name} takes {taken}", remedy)


def ports(profile: Profile, exposed: Iterable[int]) -> Iterator[Finding]:
    """An image that exposes none says nothing of them."""
    found = sorted(set(exposed))
    if profile.ports is not None:
        first, last = profile.ports
        for port in found:
            if not first <= port <= last:
                text = f"it exposes the port {port}, and the profile {profile.name} takes those from {first} to {last}"
                yield Finding("", "", text, "Let it listen on another port, and EXPOSE that.")
    if profile.port is not None and found and profile.port not in found:
        text = (
            f"it exposes {', '.join(map(str, found))}, and the profile {profile.name} asks at {profile.port}"
        )
        yield Finding("", "", text, f"Let it listen on {profile.port}, and EXPOSE that.")


def tag(profile: Profile, name: str) -> Iterator[Finding]:
    if name in profile.refused_tags:
        text = f"the profile {profile.name} takes no image with the tag {name}"
        yield Finding("", "", text, "Give it another in `image` and `tags` of the target.")
