"""What a model asks for, and what that is on each platform: read, lock."""

from publisher.environments.read import read

__all__ = ["read"]
