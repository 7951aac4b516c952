"""Artifacts of a run: what the server's pages show of it."""

from __future__ import annotations

import re
from hashlib import sha256


def key(kind: str, *names: str) -> str:
    """The key of an artifact, which is of a variant or dataset: the pages show the newest of each key.

    Keys are lower case letters, digits and dashes. Names that would become one key are told apart by a digest.

    Examples
    --------
    >>> key("sections", "nightly"), key("sections", "paper_snr-6.0")
    ('sections-nightly', 'sections-paper-snr-6-0-9ffd588c')
    """
    name = "-".join(names)
    plain = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{kind}-{plain}" if plain == name else f"{kind}-{plain}-{sha256(name.encode()).hexdigest()[:8]}"
