"""The publisher's own image, made by its own layer builder: what `Dockerfile` makes with an engine.

wheel.py                 this installation becomes a wheel again
describe.py              that wheel and the lock become an ImageSpec
publish.py               the way of it to a target
requirements.txt         the packages in it, with the hashes of their wheels; `make lock` writes it
build-requirements.txt   what makes the publisher's wheel while `Dockerfile` runs
"""

from publisher.ownimage.publish import OwnImage, publish

__all__ = ["OwnImage", "publish"]
