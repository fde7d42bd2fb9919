"""Profiles: what a target accepts, as data. A TOML file each in ``publisher/profiles``, or one of the site's own."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from publisher.domain import ManifestForm, Platform
from publisher.errors import SettingsError
from publisher.quantities import size

NAMES = ("default", "foundry", "kserve", "sagemaker", "openshift")
EXPECTED = f"{', '.join(NAMES)}, or the path of a file that ends in .toml"
_FOLDER = Path(__file__).parent.parent / "profiles"

_Platforms = Annotated[
    tuple[Annotated[Platform, BeforeValidator(lambda text: Platform.parse(str(text)))], ...],
    Field(min_length=1),
]
_Size = Annotated[int | None, BeforeValidator(lambda text: size(str(text)))]
_Port = Annotated[int, Field(ge=1, le=65535)]


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("expected an absolute path")
    return path


def _uids(text: str) -> str:
    if text not in ("any", "numeric"):
        match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", text)
        if not match or int(match[1]) > int(match[2] or match[1]):
            raise ValueError("expected any, numeric, a uid, or a range of them such as 1000-1999")
    return text


class Defaults(BaseModel):
    """What a target of the profile has where its settings leave a key out; values as settings have them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    platforms: tuple[str, ...] | None = None
    user: str | None = None


class Profile(BaseModel):
    """What is not said is not asked for. `name`: as settings name it.

    `user`: "any", "numeric" (a number other than 0), one uid, or a range FIRST-LAST. `any_user`: the platform takes a
    uid of its own choice, with the group 0. `ports`: first and last that an image may expose; `port`: the one that
    requests go to. `arguments`: what the platform starts the image with in place of its command. `programs`: looked
    for in PATH. `starts`: the image must say what it starts. `largest_layer`, `largest_image`: bytes as they are
    pulled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    sources: tuple[str, ...] = ()
    platforms: _Platforms | None = None
    form: ManifestForm = "index"
    user: Annotated[str, AfterValidator(_uids)] = "any"
    any_user: bool = False
    ports: tuple[_Port, _Port] | None = None
    port: _Port | None = None
    refused_tags: tuple[str, ...] = ()
    largest_layer: _Size = None
    largest_image: _Size = None
    files: tuple[Annotated[str, AfterValidator(_absolute)], ...] = ()
    programs: tuple[Annotated[str, Field(pattern=r"^[^/\s]+$")], ...] = ()
    arguments: tuple[str, ...] = ()
    starts: bool = False
    defaults: Defaults = Defaults()

    @property
    def uids(self) -> range | None:
        """The uids that an image's user may have; None: any user, by name too."""
        if self.user == "any":
            return None
        if self.user == "numeric":
            return range(1, 2**32 - 1)
        first, _, last = self.user.partition("-")
        return range(int(first), int(last or first) + 1)


def named(name: str) -> Profile:
    """One of `NAMES`, or the file at that path. Raises SettingsError, which says what is wrong with the file."""
    if name in NAMES:
        return _packaged(name)
    if not name.endswith(".toml"):
        raise SettingsError([f"expected {EXPECTED}, got {name!r}"])
    return _read(Path(name), name)


@cache
def _packaged(name: str) -> Profile:
    return _read(_FOLDER / f"{name}.toml", name)


def _read(path: Path, name: str) -> Profile:
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return Profile.model_validate({**document, "name": name})
    except OSError as error:
        raise SettingsError([f"the profile {path} cannot be read: {error.strerror}"]) from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        told = [
            f"{'.'.join(map(str, fault['loc']))}: {re.sub('^Value error, ', '', fault['msg'])}"
            for fault in faults
        ]
        raise SettingsError([f"the profile {path}: {'; '.join(told)}"]) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingsError([f"the profile {path} is not a TOML file: {error}"]) from error
