"""What belongs together: a Python package with all of its files, a product's own folder, a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from publisher.checks.packages import Package
from publisher.checks.tree import File

_SITE = re.compile(r"(/.*?/(?:site|dist)-packages)/(.+)")
# The system's folders for programs and libraries; what is in a folder below them is one product.
_SYSTEM = re.compile(
    r"/((usr/(local/)?)?(lib(32|64|x32)?|libexec)/([a-z0-9_]+-linux-gnu[a-z0-9]*/)?|(usr/(local/)?)?s?bin/|usr/share/)"
)


@dataclass(frozen=True, slots=True)
class Home:
    """`place`: a folder, or the folder and name of a package; the system's libraries have none."""

    place: str = ""
    package: Package | None = None


@dataclass(slots=True)
class Homes:
    """Where each file of an image is at home."""

    packages: Mapping[tuple[str, str], Package]  # by site and name
    _tops: dict[str, set[Package]] = field(default_factory=dict)  # by folder or file in a site

    @classmethod
    def of(cls, packages: Iterable[Package], files: Iterable[tuple[str, File]]) -> Homes:
        homes = cls({(package.site, package.name): package for package in packages})
        for path, file in files:
            if file.package and (top := _top(path)):
                homes._tops.setdefault(top, set()).add(file.package)
        return homes

    def home(self, path: str, file: File) -> Home:
        package, top = file.package, _top(path)
        if package is None and top:
            known = self._tops.get(
                top, set()
            )  # no RECORD names it; what is around it is of one package, or of many
            package = next(iter(known)) if len(known) == 1 else None
        if package:
            return Home(f"{package.site} {package.name}", package)
        if top:
            return Home(top)
        if system := _SYSTEM.match(path):
            first, slash, _ = path[system.end() :].partition("/")
            return Home(system[0] + first) if slash else Home()
        return Home("/".join(path.split("/")[:3]) if path.count("/") > 2 else path.rpartition("/")[0])

    def asks_for(self, package: Package, other: Package) -> bool:
        """Whether `package` requires `other`, itself or by what it requires."""
        todo, seen = [package], {package.name}
        while todo:
            for name in todo.pop().requires:
                if name == other.name:
                    return True
                found = self.packages.get((package.site, name))
                if found and name not in seen:
                    seen.add(name)
                    todo.append(found)
        return False


def _top(path: str) -> str:
    match = _SITE.match(path)
    return f"{match[1]}/{match[2].partition('/')[0]}" if match else ""
