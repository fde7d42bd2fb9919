"""Files that take long begin first, so that no process waits at the end for another's last one.

xdist hands out whole files, by itself those with many tests first: those are quick here. SECONDS has what each took;
`make test ARGS=--record-seconds` writes that down.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

SECONDS = Path(__file__).with_name("seconds.json")
LEAST = 5  # seconds; which of the quicker ones comes first makes no difference


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-seconds", action="store_true", help=f"write into {SECONDS.name} what files took"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-seconds") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the processes of xdist alone: who runs some tests by hand sees them in the order of the files."""
    if hasattr(config, "workerinput"):
        seconds: dict[str, int] = json.loads(SECONDS.read_text())
        items.sort(key=lambda item: -seconds.get(_file(item.nodeid), 0))


class Record:
    """Sums up what all processes report."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[_file(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Files that did not run keep what is known of them."""
        took = Counter[str](json.loads(SECONDS.read_text()))
        took.update({name: round(seconds) - took[name] for name, seconds in self.seconds.items()})
        found = {name: seconds for name, seconds in took.most_common() if seconds >= LEAST}
        SECONDS.write_text(json.dumps(found, indent=1) + "\n")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
