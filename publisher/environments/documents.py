"""YAML of strangers: plain data only, and no more of it than its file has room for.

A few lines with aliases can stand for billions of values (each list names the one before ten times), and
merge keys copy while they are read. So a document is weighed as a graph before it is built.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_VALUES = 200_000  # of a document, with what its aliases stand for
_DEEPEST = 60  # lists and mappings within each other
_LONGEST_NUMBER = 64  # characters; YAML's numbers in base 60 take quadratic time
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Shallow(yaml.SafeLoader):
    """Knows no tags of Python: an object is an error, never made. And nothing may use up the stack."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def load(text: str) -> Any:
    """The data of a YAML document; raises ValueError or yaml.YAMLError, which say what is wrong with it."""
    loader = _Shallow(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node, {})
        return loader.construct_document(node)
    except RecursionError:  # by aliases of aliases
        raise ValueError("it is nested too deeply") from None
    finally:
        loader.dispose()


def _weigh(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; raises ValueError where there are too many, or without end."""
    weight = known.get(id(node))
    if weight == 0:
        raise ValueError("it contains itself")
    if weight is None:
        known[id(node)] = 0
        weight = 1 + sum(_weigh(child, known) for child in _children(node))
        known[id(node)] = weight
    if weight > MAX_VALUES:
        raise ValueError(f"it stands for more than {MAX_VALUES:,} values")
    if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
        raise ValueError("it holds a number that is too long")
    return weight


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
