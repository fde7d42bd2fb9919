"""For notebooks and scripts: one call has a model published, and shows where it is. See docs/notebook.md.

from publisher.notebook import register

published = register(model, "fraud", target="edge", input_example=rows).wait()
"""

from publisher.notebook.publication import Publication
from publisher.notebook.registering import find, register

__all__ = ["Publication", "find", "register"]
