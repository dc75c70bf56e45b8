"""Random seeds derived from names, so that no random draw depends on earlier ones."""

import hashlib
import json


def derive(*names: str | int) -> int:
    """Return a 63-bit seed for a sequence of names. It is the same on every machine.

    Different names give statistically independent seeds. ("student", arch, seed) initialises a
    student, for every method; ("connectors", method, seed) initialises a method's connectors;
    ("stream", seed) determines the order and the augmentation of the images.
    """
    text = json.dumps(names)  # unambiguous: ("a", 1), ("a", "1") and ("a1",) differ
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
