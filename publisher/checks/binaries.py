"""Whether the programs and libraries of an image can be loaded, found out without executing any.

Every ELF file is of the image's architecture; the libraries that it needs are where its loader looks, base layers
included; the symbol versions that it needs, glibc's above all, are there; what the image starts is there, and its
user may execute it. What a package loads by other ways than the loader's counts as found (excuses.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from publisher.checks import excuses, machines, versions
from publisher.checks.elf import Elf
from publisher.checks.homes import Home, Homes
from publisher.checks.loader import Found, Loader
from publisher.checks.machines import Machine
from publisher.checks.program import Program, Start
from publisher.checks.reach import reached
from publisher.checks.surveys import Surveys
from publisher.checks.tree import File, Tree
from publisher.checks.users import User
from publisher.checks.verdict import Finding, Verdict, sentence
from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci import layout as layouts
from publisher.oci.layout import READABLE_LAYERS, Layout

NAME = "binaries"
_MOST = 500  # findings and notes that are kept; a hostile image has as many as it likes
_ENGINE = "Build the image anew: no engine makes such a layer."


def binaries(layout: Layout, platform: Platform, manifest: str, surveys: Surveys) -> Verdict:
    """The verdict on the image of one platform, whose manifest has the digest `manifest`.

    Raises what fetching a layer raises; a layer that cannot be read is a finding.
    """
    machine = machines.of(platform)
    if machine is None:
        return Verdict(NAME, "not looked at", f"nothing is known of programs for {platform}")
    layers = layout.layers(manifest)
    for layer in layers:
        if not layer.media_type.endswith(READABLE_LAYERS):
            return Verdict(
                NAME, "not looked at", f"a layer is of the type {layer.media_type}, which is not read here"
            )
    try:
        with layouts.readable(f"the config of {manifest}"):
            start = Start.of(layout.config(manifest))
        look = _Look(Tree(surveys.of(layout, layers)), machine, platform, start)
        look.all()
    except BuildError as error:
        return Verdict(NAME, "failed", str(error), (Finding("", "", str(error), error.hint or _ENGINE),))
    findings, notes = tuple(look.findings), tuple(look.notes)
    if findings:
        return Verdict(NAME, "failed", sentence(findings), findings, notes)
    found = f"{look.count:,} ELF files are for {platform}, and all that they need is in the image"
    return Verdict(NAME, "ok", found if look.count else "there is no ELF file in the image", (), notes)


@dataclass(slots=True)
class _Look:
    tree: Tree
    machine: Machine
    platform: Platform
    start: Start
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    count: int = 0
    _loader: Loader = field(init=False)
    _homes: Homes = field(init=False)
    _user: User | None = None
    _loaded: set[str] = field(
        default_factory=set
    )  # names that the image's program has loaded before any other
    _named: dict[str, list[tuple[str, File]]] = field(
        default_factory=dict
    )  # libraries by file name and soname
    _reached: set[int] = field(default_factory=set)  # ids of files that something loads
    _native: set[str] = field(default_factory=set)  # homes with files for the image's own processor

    def all(self) -> None:
        for layer, path, text in self.tree.faults[:_MOST]:
            self._fault(path, layer, text, _ENGINE)
        program = Program(self.tree, self.machine, self.start)
        program.follow()
        self.findings += program.findings
        files = sorted(self.tree.files(), key=lambda found: found[0])
        self._homes = Homes.of(self.tree.packages, files)
        self._loader = Loader(self.tree, self.machine, self.start.variables)
        self._user = User.of(self.start.user, self.tree)
        judged = self._judged(files)
        if program.file:
            self._load(program.path, program.file)
        self.count = len(judged)
        resolved = [(path, file, self._resolved(path, file)) for path, file in judged]
        for path, file, libraries in resolved:
            for name, found in libraries.items():
                if found.file is None:
                    self._loader.find_above(name, file, found)
                    found.importers = self._by_importer(name, self._homes.home(path, file))
        self._reached = reached(resolved)
        for path, file, libraries in resolved:
            self._needs(path, file, libraries)

    def _judged(self, files: list[tuple[str, File]]) -> list[tuple[str, File]]:
        """The ELF files that a loader of this image could load; of the others is told here."""
        whole, foreign, seen = [], [], set()
        for path, file in files:
            elf = file.elf
            if elf is None or id(file) in seen or path.startswith("/usr/lib/debug/"):
                continue
            seen.add(id(file))
            if elf.fault:
                self._broken(path, file, elf)
            elif not self.machine.runs(elf):
                foreign.append((path, file, elf))
            elif elf.kind in ("DYN", "EXEC"):
                whole.append((path, file))
                self._native.add(self._homes.home(path, file).place)
                for name in {path.rpartition("/")[2], elf.soname} - {""}:
                    self._named.setdefault(name, []).append((path, file))
        for path, file, elf in foreign:
            self._foreign(path, file, elf)
        return whole

    def _broken(self, path: str, file: File, elf: Elf) -> None:
        name = path.rpartition("/")[2]
        loads = name.endswith(".so") or ".so." in name or file.mode & 0o111
        if not loads or (reason := excuses.optional(path)):
            self._note(path, file.layer, elf.fault + (f": {reason}" if loads else ": nothing loads it"))
            return
        package = self._homes.home(path, file).package
        whose = f"the wheel of {package}" if package else "what it came from"
        self._fault(path, file.layer, elf.fault, f"Fetch {whose} once more, and build the image anew.")

    def _foreign(self, path: str, file: File, elf: Elf) -> None:
        home = self._homes.home(path, file)
        beside = bool(home.place) and home.place in self._native
        pure = bool(home.package and home.package.pure)
        if reason := excuses.foreign(path, elf, pure=pure, beside=beside):
            self._note(path, file.layer, reason)
            return
        text = f"is for {machines.called(elf)}, and the image is for {self.platform}"
        if home.package:
            remedy = f"Install the wheel of {home.package} that is for {self.platform}."
        else:
            remedy = (
                f"Put the one there that is for {self.platform}, or publish no image for {self.platform}."
            )
        self._fault(path, file.layer, text, remedy)

    def _load(self, path: str, file: File) -> None:
        """What the program loads before it does anything: whoever asks for one of these later has it."""
        todo, seen = [(path, file)], set()
        while todo:
            at, one = todo.pop()
            if one.elf is None or id(one) in seen:
                continue
            seen.add(id(one))
            self._loaded |= {one.elf.soname, at.rpartition("/")[2]} - {""}
            for found in self._resolved(at, one).values():
                if found.file:
                    todo.append((found.path, found.file))

    def _resolved(self, path: str, file: File) -> Mapping[str, Found]:
        elf = file.elf
        if elf is None or not elf.needed:
            return {}
        folders = self._loader.search(path, elf)
        libraries = {name: self._loader.find(name, folders) for name in elf.needed}
        for found in libraries.values():
            if found.file:
                self._loader.loaded(found.file, path, file)
        return libraries

    def _needs(self, path: str, file: File, libraries: Mapping[str, Found]) -> None:
        elf = file.elf
        if elf is None:
            return
        home = self._homes.home(path, file)
        for name, found in libraries.items():
            library = found.file or found.importers
            if library is None and name not in self._loaded:
                self._missing(path, file, home, name, found)
            elif library and library.elf:
                self._versions(path, file, home, name, library.elf)
        if elf.interpreter and file.mode & 0o111 and self.tree.file(elf.interpreter) is None:
            text = f"needs the loader {elf.interpreter}, which is not in the image"
            if path.rpartition("/")[0] in self.start.path and not home.package:
                self._fault(
                    path, file.layer, text, "Take a base image with the C library that it was made for."
                )
            else:
                self._note(path, file.layer, f"{text}: a program beside the one that the image starts")
        if (
            self._user
            and not elf.interpreter
            and elf.kind == "DYN"
            and not self._user.reads(self.tree, path, file)
        ):
            text = f"may not be read by the image's user {self._user.name}"
            self._fault(path, file.layer, text, "Let all read it (chmod a+r), and its folders.")

    def _by_importer(self, name: str, home: Home) -> File | None:
        """A library that a package loads itself, before what needs it: its own, or of a package that it requires."""
        for path, file in self._named.get(name, ()):
            other = self._homes.home(path, file)
            if home.place and other.place == home.place:
                return file
            if home.package and other.package and self._homes.asks_for(home.package, other.package):
                return file
        return None

    def _missing(self, path: str, file: File, home: Home, name: str, found: Found) -> None:
        if excuse := excuses.missing_library(path, name, reached=id(file) in self._reached):
            self._note(path, file.layer, excuse)
            return
        if found.foreign and found.foreign.elf:
            elf = found.foreign.elf
            which = "cannot be loaded" if elf.fault else f"is for {machines.called(elf)}"
            text = f"needs {name}, and the one in the image ({found.foreign.path}) {which}"
        else:
            text = f"needs {name}, which is not in the image"
            elsewhere = [at for at, _ in self._named.get(name, ())]
            if elsewhere:
                text = f"needs {name}, which is only at {elsewhere[0]}, where its loader does not look"
        self._fault(path, file.layer, text, excuses.remedy(name, str(home.package or "")))

    def _versions(self, path: str, file: File, home: Home, name: str, library: Elf) -> None:
        wanted = file.elf.wants.get(name, ()) if file.elf else ()
        package = str(home.package or "")
        fault = versions.lacking(wanted, name, library, package, musl=self._loader.musl)
        if fault is None:
            return
        text, remedy = fault
        if id(file) not in self._reached:
            self._note(path, file.layer, f"{text}: {excuses.unreached(path)}")
        else:
            self._fault(path, file.layer, text, remedy)

    def _fault(self, path: str, layer: str, text: str, remedy: str) -> None:
        if len(self.findings) < _MOST:
            self.findings.append(Finding(path, layer, text, remedy))

    def _note(self, path: str, layer: str, text: str) -> None:
        if len(self.notes) < _MOST:
            self.notes.append(Finding(path, layer, text))
