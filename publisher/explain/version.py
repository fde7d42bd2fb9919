"""What holds for a version whatever the target: what it is, where its files are, what it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from publisher.describe import served
from publisher.domain import ModelVersion
from publisher.explain.findings import Finding, step
from publisher.sources.base import Examined, Part, VersionTags
from publisher.stages import Stages


@dataclass(slots=True)
class Subject:
    """A version that is looked at. `folder` is for the few files that tell what it needs."""

    version: ModelVersion
    stages: Stages
    folder: Path
    examined: Examined | None = None
    findings: list[Finding] = field(default_factory=list)

    def look(self) -> None:
        """Fill everything else in."""
        looks: dict[str, Callable[[], Finding]] = {
            "version": self._version,
            "files": self._files,
            "program": self._program,
        }
        for topic, look in looks.items():
            self.stages.progress.stage(str(self.version), topic)
            self.findings.append(step(topic, look))

    def _version(self) -> Finding:
        version = self.version
        run = f", run {version.run_id}" if version.run_id else ""
        facts = {
            "registered": version.created.isoformat(timespec="seconds"),
            "source": version.source,
            "run": version.run_id,
            "registration": version.registration,
        }
        ready = version.registration == "ready"
        state = "" if ready else f"; its registration in MLflow is {version.registration}"
        text = f"registered {version.created:%Y-%m-%d %H:%M:%S %Z}, source {version.source}{run}{state}"
        return Finding("version", "ok" if ready else "problem", text, facts)

    def _files(self) -> Finding:
        found = self.stages.source.examine(
            self.version, self.folder / "files", self.stages.progress, str(self.version)
        )
        self.examined = found
        parts = {"model": found.model, "client": found.client, "templates": found.templates}
        told = [_told(name, part) for name, part in parts.items() if part]
        absent = [name for name, part in parts.items() if part is None]
        if absent:
            told.append(f"no {' and no '.join(absent)} folder")
        return Finding("files", "ok", "; ".join(told), {name: _facts(part) for name, part in parts.items()})

    def _program(self) -> Finding:
        tags = VersionTags.read(self.version)
        if served(tags):
            text = "no tag MODEL_EXECUTE_PATH, so the image serves the model over HTTP"
            return Finding("program", "ok", text, {"serves": True})
        text = f"its tags say {tags.entry_point} {tags.execute_path}"
        return Finding("program", "ok", text, {"serves": False, "execute_path": tags.execute_path})


def _told(name: str, part: Part) -> str:
    return f"{name} {part.folder!r} at {part.place} ({part.why}; {part.files} files, {part.bytes:,} bytes)"


def _facts(part: Part | None) -> dict[str, object] | None:
    if part is None:
        return None
    return {
        "folder": part.folder,
        "place": part.place,
        "why": part.why,
        "files": part.files,
        "bytes": part.bytes,
    }
