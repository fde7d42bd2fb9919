"""The console command: a module for each command, and `program`, which makes one program of them.

What is heavy (MLflow, pydantic, rich, the pipeline) is imported by the command that needs it, when it runs, so
that ``publisher --help`` answers at once.
"""

from publisher.cli.program import app, main

__all__ = ["app", "main"]
