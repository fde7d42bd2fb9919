"""Which images a Dockerfile needs: their registries' accounts, and no others, go to the engine."""

from __future__ import annotations

import pytest

from publisher.rendering.dockerfile import images


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM python:3.11\n", ["python:3.11"]),
        ("from python:3.11 as base\nfrom base\n", ["python:3.11"]),
        ("FROM a AS one\nFROM b\nCOPY --from=one /x /x\nCOPY --from=0 /y /y\n", ["a", "b"]),
        ("FROM a AS One\nFROM ONE\n", ["a"]),
        ("FROM a\nCOPY --from=quay.io/x/y:1 /x /x\n", ["a", "quay.io/x/y:1"]),
        ("FROM a\nRUN --mount=type=bind,from=b,target=/b true\n", ["a", "b"]),
        ("FROM a\nRUN --mount=from=b,target=/b --mount=type=cache,target=/c true\n", ["a", "b"]),
        ("FROM --platform=$BUILDPLATFORM a AS x\nFROM scratch\n", ["a"]),
        ("ARG BASE=python TAG='3.11'\nFROM ${BASE}:$TAG\n", ["python:3.11"]),
        ("ARG TAG\nFROM python:${TAG:-3.12}\nFROM python:${TAG}\n", ["python:3.12"]),
        ("FROM a\nARG BASE=evil\nFROM $BASE\n", ["a"]),
        ("FROM \\\n  # why\n  python:3.11 \\\n  AS x\nFROM x\n", ["python:3.11"]),
        ("# escape=`\nFROM `\n a\n", ["a"]),
        ("# escape=`\n# syntax=docker/dockerfile:1\nFROM a\n", ["docker/dockerfile:1", "a"]),
        ("# a comment\n# syntax=docker/dockerfile:1\nFROM a\n", ["a"]),
        ("FROM a\nRUN <<EOF\nFROM evil\nCOPY --from=other /x /x\nEOF\nRUN true\n", ["a", "other"]),
        ("FROM a\nCOPY <<-'END' /x\n\tFROM evil\n\tEND\n", ["a"]),
        ("FROM a\n# FROM b\n", ["a"]),
        ("FROM a\nFROM a\n", ["a"]),
        ("", []),
    ],
)
def test_images(text: str, found: list[str]) -> None:
    """Stages, numbers and scratch are none; variables have their defaults; what is unknown is left out."""
    assert list(images(text)) == found
