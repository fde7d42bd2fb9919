"""A layer whose digest must be the same everywhere; needs nothing but publisher's layer writer.

Run as a program it prints the digest: the tests do so on another architecture.
"""

from __future__ import annotations

import io
import random
import zlib

from publisher.oci.layer import LayerWriter

DIGEST = "sha256:59349aa05556976c14075bb1e77f62a7cc33940d76c901cdf4139e1a2338fef4"


def digest() -> str:
    writer = LayerWriter(io.BytesIO())
    source = random.Random(5)
    words = [source.choice([b"model", b"layer", b"wheel", b"digest"]) for _ in range(400_000)]
    writer.directory("app")
    writer.file("app/text", b"the same bytes everywhere\n" * 4000)
    writer.file("app/words", b" ".join(words))
    writer.file("app/noise", random.Random(3).randbytes(2 << 20))
    writer.symlink("app/link", "text")
    raw = b"\x01\x05\x00\xfa\xffhello"  # a stored block
    writer.deflated("app/copied", 5, zlib.crc32(b"hello"), iter([raw]))
    return writer.close().digest


if __name__ == "__main__":
    print(digest())
