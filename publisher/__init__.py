"""From a tag on an MLflow model version to a container image for every architecture, in any registry."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("model-publisher")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"
