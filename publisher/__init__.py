"""From a tag on an MLflow model version to a container image for every architecture, in any registry."""

__version__ = "0.1.0"  # pyproject.toml takes it from here: asking importlib.metadata costs every start 15 ms
