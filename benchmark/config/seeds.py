"""Seeds that follow from names, so that no draw depends on what was drawn before it."""

import hashlib
import json


def derive(*names: str | int) -> int:
    """Return 63 bits, the same on every machine, that have nothing to do with other names' bits.

    ("student", arch, seed) initialises a student, whatever its method; ("connectors", method, seed)
    a method's connectors; ("stream", seed) is the order and the augmentation of the images.
    """
    text = json.dumps(names)  # unambiguous: ("a", 1), ("a", "1") and ("a1",) differ
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
