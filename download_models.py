#!/usr/bin/env python3
"""./download_models.py DIR: the files of all tagged model versions, as ``publisher download DIR`` does it."""

import sys

from publisher.exits import guarded


def _main() -> int:
    from publisher.cli import main  # noqa: PLC0415 - inside guarded(), which tells of a missing dependency

    return main(["download", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(guarded(_main))
