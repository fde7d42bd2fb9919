"""A base image to build on."""

from __future__ import annotations

from tests.e2e.conftest import base_layout

__all__ = ["base_layout"]
