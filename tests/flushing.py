"""Nothing that a test writes has to outlast a power cut: to wait for the disk takes half of the time of a small store.

What must be flushed, and when, is asserted by tests that watch ``os.fsync`` being called. Processes that are started,
not forked, flush in earnest.
"""

from __future__ import annotations

import os


def flush(descriptor: int) -> None:
    """In place of ``os.fsync``: a file that is not open is still an error."""
    os.fstat(descriptor)


def without_flushing() -> None:
    """In this process, and in those forked from it."""
    os.fsync = flush  # type: ignore[assignment]
