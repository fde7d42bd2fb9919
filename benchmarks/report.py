"""The table, for the terminal and for the documents, and which targets are met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.machine import QUIET

_HEADER = ("what", "ours", "peer", "ratio", "target", "")
_BEGIN, _END = "<!-- table: benchmarks/run.py --docs -->", "<!-- end of table -->"
_OWN = "<!-- table: benchmarks/run.py --only {} --docs -->"


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, bool]]:
    """One row a figure: what, ours, peer, ratio, target, met."""
    if cold := found.get("cold"):
        ours = _seconds(cold["ours_seconds"])
        if cold["peer_both"]:
            peer = _seconds(cold["peer_both"]["seconds"])
            met = cold["ratio"] >= cold["target"]
            what = "cold, amd64 + arm64, against buildx with emulation"
            yield what, ours, peer, _times(cold["ratio"]), f"≥ {cold['target']}x", met
        peer, ratio = _seconds(cold["peer_amd64"]["seconds"]), _times(cold["ratio_amd64_alone"])
        yield "cold, amd64 + arm64, against buildx for amd64 alone", ours, peer, ratio, "", True
    if following := found.get("next"):
        for size, name in (("small", "next version"), ("large", "next version, 500 MB")):
            figures = following[size]
            peer, limit = _seconds(figures["crane_seconds"]), following["target"]
            ratio, met = figures["ratio"], figures["ratio"] <= limit
            what = f"{name}, whole process, against crane push"
            yield what, _seconds(figures["ours_seconds"]), peer, _times(ratio), f"≤ {limit}x", met
            # No target: what starting Python costs is part of a publication, and crane's own start is in its time.
            inside, ratio = _seconds(figures["ours_in_process"]), _times(figures["ratio_in_process"])
            yield f"{name}, its stages alone, against crane push", inside, peer, ratio, "", True
            extra = following["target_extra"]
            met = figures["new_pod_extra"] <= extra and figures["downloaded_by_new_pod"] == 0
            yield (
                f"{name}, new pod with an empty disk, against the same machine",
                _seconds(figures["new_pod_seconds"]),
                _seconds(figures["ours_seconds"]),
                f"{figures['new_pod_extra']:+.1f} s",
                f"≤ {extra:+d} s, 0 wheels",
                met,
            )
    if start := found.get("start"):
        met = start["ratio"] <= start["target"]
        times = _seconds(start["ours_seconds"]), _seconds(start["peer_seconds"])
        yield "docker run to the first prediction", *times, _times(start["ratio"]), "≤ 1x", met
    if shared := found.get("sharing"):
        own = f"{shared['bytes_of_its_own'] / 1e6:.1f} MB in {shared['wheels_of_its_own']} wheels"
        went = f"{shared['second']['downloaded'] / 1e6:.1f} MB"
        ratio = shared["ratio_downloaded"]
        yield (
            "second model: wheels downloaded, against those that only it has",
            went,
            own,
            _times(ratio),
            "≤ 1x",
            ratio <= 1,
        )
        sent, alone = (f"{shared[key]['sent'] / 1e6:.1f} MB" for key in ("second", "alone"))
        yield (
            "second model: sent, against the same model alone",
            sent,
            alone,
            _times(shared["ratio_sent"]),
            "",
            True,
        )
    if poll := found.get("poll"):
        quiet = not poll["writes"] and not poll["registry_requests"]
        what = f"poll, {poll['tagged']:,} tagged of {poll['versions']:,} versions, nothing to do, against one raw search"
        times = _seconds(poll["ours_seconds"]), _seconds(poll["peer_seconds"])
        met = poll["ratio"] <= poll["target"] and quiet
        yield what, *times, _times(poll["ratio"]), f"≤ {poll['target']}x, no write", met
        times = _seconds(poll["ours_in_process"]), _seconds(poll["peer_in_process"])
        yield "the same without the start of Python", *times, _times(poll["ratio_in_process"]), "", True
    if startup := found.get("startup"):
        times = _seconds(startup["ours_seconds"]), _seconds(startup["peer_seconds"])
        met = startup["extra"] <= startup["target"]
        extra, limit = f"{startup['extra']:+.2f} s", f"≤ {startup['target']:+.1f} s"
        yield "publisher --help, against python -c pass", *times, extra, limit, met


def notes(found: Mapping[str, Any]) -> Iterator[str]:
    """Where the seconds go, and what was sent."""
    if cold := found.get("cold"):
        middle = sorted(cold["ours"], key=lambda run: run["seconds"])[len(cold["ours"]) // 2]
        yield f"cold, ours: {_divided(middle)}"
        yield f"cold, all runs of ours: {', '.join(_seconds(run['seconds']) for run in cold['ours'])}"
        for key in ("peer_amd64", "peer_both"):
            if cold[key]:
                parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in cold[key]["steps"].items())
                yield f"cold, {key.replace('_', ' ')}: {parts}"
    if following := found.get("next"):
        for size in ("small", "large"):
            figures = following[size]
            middle = sorted(figures["ours"], key=lambda run: run["seconds"])[len(figures["ours"]) // 2]
            yield f"next, {size}: {_divided(middle)}"
            layers = ", ".join(figures["layers_sent"])
            yield f"next, {size}: sent {figures['sent'] / 1e6:.2f} MB; {sum(figures.get('uploads', {}).values())} blobs; new layers: {layers}; downloaded by the new pod: {figures['downloaded_by_new_pod']} B"
    if busy := list(disturbed(found)):
        yield f"{len(busy)} runs did not find the machine quiet; {max(busy):.1f} cores were busy at worst"


def disturbed(found: Any) -> Iterator[float]:
    """How many cores were busy before each run that did not find the machine quiet, wherever in the JSON."""
    if isinstance(found, Mapping):
        if found.get("busy_cores", 0) > QUIET:
            yield found["busy_cores"]
        found = list(found.values())
    if isinstance(found, list):
        for each in found:
            yield from disturbed(each)


def table(found: Mapping[str, Any]) -> Table:
    made = Table(*_HEADER, header_style="dim", show_edge=False)
    for *cells, target, met in rows(found):
        mark = ("[green]met[/]" if met else "[bold red]missed[/]") if target else ""
        made.add_row(*cells, target, mark)
    return made


def of_rows(lines: Iterable[Sequence[str]]) -> Table:
    """A table of its own for the terminal; the first line is its header."""
    header, *rest = lines
    made = Table(*header, header_style="dim", show_edge=False)
    for cells in rest:
        made.add_row(*cells)
    return made


def write_docs(
    found: Mapping[str, Any], path: Path, tables: Mapping[str, Callable[[Any], Iterable[Sequence[str]]]]
) -> None:
    """Replace the tables in the document, each between its two marks; `tables`: of parts with one of their own."""
    text = path.read_text()
    for name, of in tables.items():
        if name in found:
            header, *rest = of(found[name])
            lines = [_cells(header), _cells(["---", *["---:"] * (len(header) - 1)]), *map(_cells, rest)]
            text = _between(text, _OWN.format(name), [*lines, "", _measured(found[name])])
    if any(rows(found)):
        text = _between(text, _BEGIN, _lines(found))
    path.write_text(text)


def _lines(found: Mapping[str, Any]) -> list[str]:
    lines = [_cells(_HEADER), "| --- | ---: | ---: | ---: | --- | --- |"]
    for *cells, target, met in rows(found):
        lines.append(_cells((*cells, target, ("met" if met else "missed") if target else "")))
    latest = max(
        (part for name, part in found.items() if name not in ("engines", "proof")),
        key=lambda part: part["at"],
    )
    return [*lines, "", *(f"- {note}" for note in notes(found)), "", _measured(latest)]


def _measured(part: Mapping[str, Any]) -> str:
    machine = part["machine"]
    system = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    return f"Measured {part['at'][:10]} on {system}."


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _between(text: str, mark: str, lines: Sequence[str]) -> str:
    before, _, rest = text.partition(mark)
    return before + "\n".join([mark, *lines, _END]) + rest.partition(_END)[2]


def _divided(run: Mapping[str, Any]) -> str:
    """Stages in their order; what the process needs besides is its start and end."""
    stages = run["stages"]
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items())
    rest = run["seconds"] - sum(seconds for name, seconds in stages.items() if ":" not in name)
    return f"{run['seconds']:.2f} s = {parts}, process {rest:.2f} s"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"
