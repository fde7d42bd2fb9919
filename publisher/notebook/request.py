"""What was asked for, as tags of a version, and all that stands against it before anything is asked of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from publisher.domain import ModelVersion, Target
from publisher.errors import ArtifactError, BuildError, RegistrationError
from publisher.naming import image_name
from publisher.notebook.here import Here
from publisher.redaction import named_like_a_secret, redacted
from publisher.settings import TARGET_TAG, default_tag
from publisher.sources.base import VersionTags
from publisher.status import key

CLIENT, TEMPLATES = "MODEL_CLIENT_FOLDER", "MODEL_TEMPLATES_FOLDER"
_FOLDERS = {CLIENT: "client", TEMPLATES: "templates"}
_OWN = key("", "")[: len("publisher.")]  # with what status tags begin


@dataclass(frozen=True, slots=True)
class Asked:
    """A target that was asked for. `target` is None where no settings say whether there is one."""

    name: str
    tag: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that the version's run has or shall have. `local`: on this machine, to be logged; None: it is there."""

    name: str
    local: Path | None


@dataclass(frozen=True, slots=True)
class Request:
    """`folders`: by the tag that names them. `tags`: all others, those of the targets last."""

    name: str
    targets: tuple[Asked, ...]
    folders: Mapping[str, Folder]
    tags: Mapping[str, str]

    @classmethod
    def of(
        cls,
        here: Here,
        name: str,
        target: str | Sequence[str] | None,
        *,
        logged: bool = False,
        client: str | Path | None = None,
        templates: str | Path | None = None,
        entry_point: str | None = None,
        execute_path: str | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> Request:
        """Raises RegistrationError with everything that can be found wrong here.

        `logged`: the model has a run already, which may have the folders too, so these may be named by their name
        there.
        """
        targets, faults = _asked(here, target)
        folders = {
            tag: _folder(tag, given, logged)
            for tag, given in ((CLIENT, client), (TEMPLATES, templates))
            if given
        }
        said = {"MODEL_ENTRY_POINT": entry_point, "MODEL_EXECUTE_PATH": execute_path}
        own = {key: str(value) for key, value in (tags or {}).items()}
        wanted = {
            **own,
            **{key: value for key, value in said.items() if value is not None},
            **{asked.tag: "true" for asked in targets},
        }
        request = cls(name, tuple(targets), folders, wanted)
        faults += [*_of_tags(own), *_of_credentials(name, wanted), *_of_folders(request, execute_path)]
        faults += _of_name(request)
        if faults:
            raise RegistrationError(*faults, hint="Nothing was registered.")
        return request

    def version(self, number: str = "1", source: str = "", run_id: str | None = None) -> ModelVersion:
        """The version as the publisher would meet it."""
        folders = {tag: folder.name for tag, folder in self.folders.items()}
        tags = {**folders, **self.tags}
        return ModelVersion(self.name, number, source, datetime.now(UTC), run_id, tags)


def _asked(here: Here, wanted: str | Sequence[str] | None) -> tuple[list[Asked], list[str]]:
    known = here.settings.targets
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    configured = ", ".join(target.name for target in known)
    if not names and len(known) == 1:
        names = [known[0].name]
    if not names:
        told = f" (there are: {configured})" if known else ""
        return [], [f'no target is named: say target="NAME"{told}']
    found, faults = [], []
    for name in dict.fromkeys(names):
        target = here.target(name)
        if target:
            found.append(Asked(target.name, target.tag, target))
        elif known:
            faults.append(f"there is no target {name!r}; the settings here have {configured}")
        elif not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            faults.append(f"{name!r} is no name of a target: those have letters, digits, - and _")
        else:
            found.append(Asked(name, default_tag(name), None))
    return found, faults


def _folder(tag: str, given: str | Path, logged: bool) -> Folder:
    local = Path(given).expanduser()
    if local.exists() or isinstance(given, Path) or not logged:
        return Folder(_FOLDERS[tag], local)
    return Folder(str(given), None)


def _of_tags(own: Mapping[str, str]) -> Iterator[str]:
    parameters = {CLIENT: "client", TEMPLATES: "templates"}
    parameters |= {"MODEL_ENTRY_POINT": "entry_point", "MODEL_EXECUTE_PATH": "execute_path"}
    for name in own:
        if name.startswith(_OWN):
            yield f"the tag {name} is one that the publisher writes"
        elif name in parameters or name.startswith(TARGET_TAG):
            yield f"the tag {name} is said by {parameters.get(name, 'target')}="


def _of_credentials(name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Whoever may read the models of a server reads their tags, and some are printed into images."""
    if redacted(name) != name:
        yield "the name of the model holds a credential"
    for tag, value in tags.items():
        if redacted(tag) != tag:
            yield f"the tag {redacted(tag)} holds a credential"
        elif redacted(value) != value or named_like_a_secret(tag, value):
            yield f"the tag {tag} holds a credential: everybody who sees the model would read it"


def _of_folders(request: Request, execute_path: str | None) -> Iterator[str]:
    for tag, folder in request.folders.items():
        if folder.local is None:
            continue
        if not folder.local.is_dir():
            yield f"{_FOLDERS[tag]}={str(folder.local)!r} is no folder of this machine"
        elif not any(path.is_file() for path in folder.local.rglob("*")):
            yield f"{_FOLDERS[tag]}={str(folder.local)!r} is empty"
    client = request.folders.get(CLIENT)
    inside = re.fullmatch(r"(?:/app/)?client/([^\s'\"]+)", execute_path or "")
    if inside and client is None:
        yield f"execute_path={execute_path!r} lies in the client folder, and there is no client="
    elif inside and client and client.local and not (client.local / inside[1]).is_file():
        yield f"execute_path={execute_path!r}: the folder {str(client.local)!r} has no file {inside[1]!r}"


def _of_name(request: Request) -> Iterator[str]:
    if not request.name.strip():
        yield "the name of the model is empty"
        return
    if re.search(r"[/:\x00-\x1f\x7f]", request.name):
        yield f"the name {request.name!r} has a character that MLflow takes in no model's name: / : or a control character"
        return
    version = request.version()
    for asked in request.targets:
        try:
            if asked.target:
                image_name(asked.target, version)
        except BuildError as error:
            yield error.line
    try:
        VersionTags.read(version)
    except ArtifactError as error:
        yield str(error)
