"""A base image to build on, and engines that run Dockerfiles."""

from __future__ import annotations

from tests.e2e.conftest import base_layout, new_engine_workplace

__all__ = ["base_layout", "new_engine_workplace"]
