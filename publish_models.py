#!/usr/bin/env python3
"""./publish_models.py: publish MODEL_NAME and MODEL_VERSION where they are set, else poll once."""

import sys

from publisher.exits import guarded


def _main() -> int:
    from publisher.cli import main  # noqa: PLC0415 - inside guarded(), which tells of a missing dependency

    return main(["publish-models", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(guarded(_main))
