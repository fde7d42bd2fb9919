"""A multi-architecture Python base image from Debian packages, for places that no public registry reaches.

packages.py   mmdebstrap chooses, fetches and verifies the packages of each platform
rootfs.py     packages become a file tree, without what a server never reads
stdlib.py     the standard library's bytecode, once for all architectures
image.py      layers become manifests
"""

from publisher.baseimage.build import build, make

__all__ = ["build", "make"]
