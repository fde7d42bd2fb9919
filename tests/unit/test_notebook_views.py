"""What a notebook draws: nothing of it is markup of strangers, and it is legible on any page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.notebook import views
from publisher.notebook.bars import HtmlProgress
from publisher.notebook.views import Moving, Row
from publisher.redaction import redacted

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"


class Seen(HTMLParser):
    """Elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert {name for name, _ in attrs} <= {"style", "max", "value"}
        self.styles += [value or "" for name, value in attrs if name == "style"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def pages(text: str) -> list[str]:
    row = Row(text, text, text, text, [(text, 1_000_000)], text, text)
    return [
        views.publication(text, [row], [text]),
        views.findings(text, [(text, [(text, text, text)], text)]),
        views.progress([Moving(text, text, 0.5, text, 3)], [text]),
    ]


@given(st.text(min_size=1))
def test_no_value_becomes_markup(text: str) -> None:
    """Whatever is in a value, the page has the elements that it has for a plain one."""
    for page, plain in zip(pages(text), pages("x"), strict=True):
        assert Seen(page).elements == Seen(plain).elements


def test_values_are_seen_as_they_are() -> None:
    """Markup is shown as text, invisible characters are spelled out, a secret is masked."""
    redacted.learn("views-canary-1")
    for page in pages(f"{HOSTILE} views-canary-1"):
        assert "<script>" not in page
        assert not re.search("[\u202e\x1b]", page)
        assert "views-canary-1" not in page
        assert any("<script>alert(1)" in text for text in Seen(page).texts)


@pytest.mark.parametrize("state", ["published", "failed", "publishing", "withdrawn", "stopped", "anything"])
def test_text_stands_out_on_light_and_dark(state: str) -> None:
    """Where a page sets a colour it sets the background too, with the contrast that WCAG's AA asks for."""
    page = Seen(
        views.publication("m v1", [Row("EDGE", state, "i", f"sha256:{'0' * 64}", (), "p", "a")], ["n"])
    )
    coloured = [style for style in page.styles if re.search(r"(?<!-)color:(?!inherit)", style)]
    assert len(coloured) == 1
    [ground] = re.findall(r"background:(#\w{6})", coloured[0])
    assert "color:#fff" in coloured[0]
    assert 1.05 / (luminance(ground) + 0.05) >= 4.5
    grounds = {g for style in page.styles for g in re.findall(r"background:([^;]+)", style)} - {ground}
    assert grounds <= {"transparent", "rgba(128,128,128,.14)"}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_table_tells_what_it_is_asked_for() -> None:
    """State, image, digest, platforms with their bytes, and the command."""
    digest = f"sha256:{'a' * 64}"
    row = Row(
        "EDGE",
        "published",
        "r/m:v1",
        digest,
        [("linux/arm64", 12_345_678)],
        f"docker pull r/m@{digest}",
        "now",
    )
    texts = Seen(views.publication("m v1", [row], ["a note"])).texts
    for text in ("m v1", "EDGE", "published", "r/m:v1", digest, "linux/arm64, 12.3 MB", "a note"):
        assert text in texts
    assert f"docker pull r/m@{digest}" in texts


def test_progress_is_drawn_as_far_as_it_is() -> None:
    """A bar with its share, the stage and the bytes; drawn now and then, not for each byte."""
    drawn: list[str] = []
    progress = HtmlProgress(drawn.append)
    progress.stage("m v1", "build")
    first = len(drawn)
    progress.expect("m v1", "download", 2_000_000)
    for _ in range(1000):
        progress.advance("m v1", "download", 1000)
    assert len(drawn) == first == 1
    progress._drawn = 0
    progress.note("m v1", "a note")
    assert "value='50'" in drawn[-1]
    assert {"build", "1.0 MB of 2.0 MB", "m v1: a note"} <= set(Seen(drawn[-1]).texts)
